"""Recording messages: reading, applying and logging them in one transaction, after which they may be acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from airflow_provider_outbound.core.ledger import instances, schema
from airflow_provider_outbound.core.ledger.projector import JobProjector
from airflow_provider_outbound.core.ledger.quarantine import quarantine
from airflow_provider_outbound.core.ledger.records import Incoming, Recorded
from airflow_provider_outbound.core.ledger.statements import insert, insert_of
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.exceptions import LedgerError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from airflow_provider_outbound.core.ledger.database import Database
    from airflow_provider_outbound.core.ledger.groups import Groups


@cache
def _insert_events(dialect: str) -> Any:
    return insert_of(dialect, schema.events).on_conflict_do_nothing().returning(schema.events.c.hash)


class Inbox:
    """Reads and writes of ``events``, ``recordings`` and ``quarantine``."""

    def __init__(self, database: Database, groups: Groups) -> None:
        self._database = database
        self._groups = groups

    def record(self, messages: Sequence[Incoming], *, instance_ids: Collection[str] = ()) -> Recorded:
        """
        Store messages durably. A repeat changes nothing; an unreadable message is quarantined.

        Once this returns, all of them may be acknowledged.

        :param instance_ids: Bot instances of this ledger; events of others are only counted. Empty: every instance.
        :raises LedgerUnavailableError: the database cannot be reached or written now; nothing was stored.
        :raises LedgerAccessError: it refuses this user, or is not a ledger; nothing was stored.
        """
        try:
            with self._database.write() as connection:
                return self._record(connection, messages, instance_ids)
        except LedgerError:
            raise
        except Exception:  # noqa: BLE001 - caused by one message: store the others
            return self._record_singly(messages, instance_ids)

    def _record_singly(self, messages: Sequence[Incoming], instance_ids: Collection[str]) -> Recorded:
        total = Recorded(new=0, repeated=0, quarantined=0)
        with self._database.write() as connection:
            for message in messages:
                total += self.record_within(connection, message, instance_ids)
        return total

    def record_within(self, connection: Connection, message: Incoming, instance_ids: Collection[str] = ()) -> Recorded:
        """Store one message in the caller's transaction, or quarantine it if that fails."""
        try:
            with connection.begin_nested():
                return self._record(connection, [message], instance_ids)
        except LedgerError:
            raise
        except Exception as error:
            if isinstance(error, DBAPIError) and self._database.translate(error) is not None:
                # The database is at fault, not the message.
                raise
            quarantine(self._database, connection, message, f"cannot be stored ({type(error).__name__})")
            return Recorded(new=0, repeated=0, quarantined=1)

    def _record(self, connection: Connection, messages: Sequence[Incoming], instance_ids: Collection[str]) -> Recorded:
        readable, quarantined = self._read(connection, messages)
        readable, skipped = self._count(connection, readable, instance_ids)
        if not readable:
            return Recorded(new=0, repeated=0, quarantined=quarantined, others=skipped)
        # Every writer takes it first, so that writers wait for each other before they hold any other lock.
        first = self._database.take_sequence(connection, len(readable))
        last = first + len(readable) - 1
        late: Counter[str] = Counter()
        tombstones = self._groups.ensure_groups(connection, (event.job_group_id for event, _ in readable))
        if tombstones:
            late = Counter(event.job_group_id for event, _ in readable if event.job_group_id in tombstones)
            self._groups.count_late(connection, late)
            readable = [pair for pair in readable if pair[0].job_group_id not in tombstones]
        # In the order of jobs, so that two writers cannot deadlock.
        readable.sort(key=lambda pair: (pair[0].job_group_id, pair[0].job_id, pair[0].hash))
        fresh = self._log(connection, readable, first) if readable else []
        if fresh:
            projector = JobProjector(self._database, connection)
            projector.take_all([(event.job_group_id, event) for event in fresh])
            self._groups.touch_all(connection, sorted({event.job_group_id for event in fresh}), last)
            self._keep_recordings(connection, self._without(connection, fresh, projector.forgotten))
        return Recorded(
            new=len(fresh),
            repeated=len(readable) - len(fresh),
            quarantined=quarantined,
            purged=sum(late.values()),
            others=skipped,
        )

    def _read(self, connection: Connection, messages: Sequence[Incoming]) -> tuple[list[tuple[Event, Incoming]], int]:
        """Read messages and quarantine the unreadable ones. Also returns the number of unreadable messages."""
        readable: list[tuple[Event, Incoming]] = []
        for message in messages:
            try:
                if message.fault:
                    raise ValueError(message.fault)
                readable.append((Event.from_message(message.body), message))
            except ValueError as error:
                quarantine(self._database, connection, message, str(error))
        return readable, len(messages) - len(readable)

    def _count(
        self, connection: Connection, readable: Sequence[tuple[Event, Incoming]], instance_ids: Collection[str]
    ) -> tuple[list[tuple[Event, Incoming]], int]:
        """Count events by topic and bot instance. Returns this ledger's events and the number of the others."""
        theirs = instances.others(connection, (event for event, _ in readable), instance_ids)
        ours = [pair for pair in readable if pair[0].hash not in theirs]
        instances.count(
            connection,
            self._database.time(connection),
            stored=((message.topic, event.instance_id) for event, message in ours),
            skipped=((message.topic, event.instance_id) for event, message in readable if event.hash in theirs),
            named=instance_ids,
        )
        return ours, len(readable) - len(ours)

    def _log(self, connection: Connection, readable: Sequence[tuple[Event, Incoming]], first: int) -> list[Event]:
        """Add events to the log, and return the new ones."""
        now = self._database.time(connection)
        rows = {
            event.hash: {
                "sequence": first + offset,
                "hash": event.hash,
                "event_type": event.event_type,
                "job_group_id": event.job_group_id,
                "job_id": event.job_id,
                "occurred_at": event.occurred_at,
                "recorded_at": now,
                "topic": message.topic,
                "body": self._database.cipher.encrypt(message.body),
            }
            for offset, (event, message) in enumerate(readable)
        }
        # The rows as parameters: with the rows in it, the statement would be compiled again for each batch.
        statement = _insert_events(connection.dialect.name)
        inserted = set(connection.execute(statement, list(rows.values())).scalars())
        return list({event.hash: event for event, _ in readable if event.hash in inserted}.values())

    def _without(self, connection: Connection, events: Sequence[Event], job_ids: Collection[str]) -> list[Event]:
        """
        Erase the bodies of late messages about persons who were forgotten.

        :return: The other events.
        """
        if not job_ids:
            return list(events)
        blank = {"body": self._database.cipher.encrypt(b"")}
        for event in events:
            if event.job_id in job_ids:
                here = schema.events.c.hash == event.hash
                connection.execute(update(schema.events).where(here).values(blank))
        return [event for event in events if event.job_id not in job_ids]

    def _keep_recordings(self, connection: Connection, events: Sequence[Event]) -> None:
        rows = {
            (event.recording.task_id, event.recording.file_name): {
                "task_id": event.recording.task_id,
                "file_name": event.recording.file_name,
                "job_group_id": event.job_group_id,
                "job_id": event.job_id,
                "body": self._database.cipher.encrypt_json(event.recording.raw),
                "recorded_at": self._database.time(connection),
            }
            for event in events
            if event.recording is not None
        }
        if rows:
            connection.execute(
                insert(connection, schema.recordings).values(list(rows.values())).on_conflict_do_nothing()
            )
