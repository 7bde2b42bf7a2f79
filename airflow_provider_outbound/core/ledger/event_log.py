"""The event log as its readers see it: in order, each from its own cursor."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import EventPage, LoggedEvent
from airflow_provider_outbound.core.ledger.statements import insert
from airflow_provider_outbound.core.models.enums import EventType
from airflow_provider_outbound.exceptions import LedgerError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

_events = schema.events.c
_cursors = schema.cursors.c


class EventLog:
    """Reads of ``events``, reads and writes of ``cursors``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_cursor(self, name: str) -> int:
        """
        Return the position of a reader. A new reader begins with the events that are recorded from now on.

        :return: The sequence number of the last event that it has processed.
        """
        with self._database.write() as connection:
            statement = insert(connection, schema.cursors).values(
                name=name, sequence=_newest(connection), moved_at=self._database.time(connection)
            )
            connection.execute(statement.on_conflict_do_nothing())
            return int(connection.execute(select(_cursors.sequence).where(_cursors.name == name)).scalar_one())

    def move_cursor(self, name: str, sequence: int) -> None:
        """Record that a reader has processed everything up to ``sequence``; a cursor never moves back."""
        with self._database.write() as connection:
            connection.execute(
                update(schema.cursors)
                .where(_cursors.name == name, _cursors.sequence < sequence)
                .values(sequence=sequence, moved_at=self._database.time(connection))
            )

    def drop_cursor(self, name: str, *, dry_run: bool = False) -> int:
        """
        Delete the cursor of a reader that will not return, so that no event is kept for it.

        :param dry_run: Only report what would be done.
        :return: The number of events that it had not read.
        :raises LedgerError: there is no such cursor.
        """
        # Counted before the write: counting millions of events takes seconds, and writers should not wait for it.
        with self._database.read() as connection:
            sequence = connection.execute(select(_cursors.sequence).where(_cursors.name == name)).scalar()
            if sequence is None:
                raise LedgerError(f"cursor {name!r}: the ledger has no such cursor; see: outbound ledger status")
            unread = select(func.count()).select_from(schema.events).where(_events.sequence > sequence)
            count = int(connection.execute(unread).scalar_one())
        if not dry_run:
            with self._database.write() as connection:
                connection.execute(delete(schema.cursors).where(_cursors.name == name))
        return count

    def read(
        self, after: int, limit: int, *, event_types: Collection[str] = (), job_group_id: str | None = None
    ) -> EventPage:
        """
        Read the next events.

        :param after: Sequence number up to which the reader has read.
        :param limit: The maximum number of events.
        :param event_types: Only these types; empty for all.
        :param job_group_id: Only events of this group.
        """
        statement = (
            select(_events.sequence, _events.event_type, _events.job_group_id, _events.job_id, _events.occurred_at)
            .where(_events.sequence > after)
            .order_by(_events.sequence)
            .limit(limit)
        )
        if event_types:
            statement = statement.where(_events.event_type.in_(event_types))
        if job_group_id is not None:
            statement = statement.where(_events.job_group_id == job_group_id)
        with self._database.read() as connection:
            # First, so that an event recorded between the two reads is not skipped.
            newest = _newest(connection)
            rows = connection.execute(statement).all()
        events = tuple(
            LoggedEvent(
                sequence=row.sequence,
                event_type=EventType(row.event_type),
                job_group_id=row.job_group_id,
                job_id=row.job_id,
                occurred_at=row.occurred_at,
            )
            for row in rows
        )
        last = events[-1].sequence if events else after
        is_full = len(events) == limit
        return EventPage(events=events, upto=last if is_full else max(last, newest), is_full=is_full)


def _newest(connection: Connection) -> int:
    return connection.execute(select(func.max(_events.sequence))).scalar() or 0
