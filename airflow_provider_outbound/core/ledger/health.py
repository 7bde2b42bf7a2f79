"""The state of the ledger: its contents, the positions of its readers, and what needs attention."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import Connection, and_, case, cast, func, select
from sqlalchemy.dialects.postgresql import REGCLASS

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.collectors import Collecting, read_collectors
from airflow_provider_outbound.core.ledger.instances import RECENT_DAYS, TopicInstance, read_instances
from airflow_provider_outbound.core.ledger.keys import noted, sample
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState, Tombstone
from airflow_provider_outbound.core.ledger.records import JobState

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

#: The number of newest events that are searched for topics, which have no index.
RECENT_EVENTS = 100_000
#: The number of groups, latest change first, over which the share of results from the API is computed.
RECENT_GROUPS = 20
#: Another consumer is likely from this share of results without a message, of at least this number of results.
FOREIGN_SHARE, FOREIGN_RESULTS = 0.1, 20

_groups, _jobs, _events = schema.job_groups.c, schema.jobs.c, schema.events.c


@attrs.frozen(kw_only=True)
class CursorLag:
    """The lag of a reader of the event log."""

    name: str
    #: The number of events that it has not read.
    unread: int
    #: When the oldest of them was recorded.
    oldest_unread_at: datetime | None
    moved_at: datetime


@attrs.frozen(kw_only=True)
class TopicActivity:
    """The events of a topic among the newest :data:`RECENT_EVENTS`."""

    topic: str | None
    last_event_at: datetime
    events: int


@attrs.frozen(kw_only=True)
class Recovery:
    """The number of final statuses without a message, in the :data:`RECENT_GROUPS` groups that changed last."""

    #: Final statuses in the groups for which messages are expected.
    results: int
    #: Those of them that came from the API.
    from_api: int
    #: Groups for which messages are expected and no message brought a result, latest change first.
    silent_groups: tuple[str, ...]
    #: The results of those groups; all of them came from the API.
    silent_results: int

    @property
    def share(self) -> float:
        """The part of the results that came from the API, from 0 to 1."""
        return self.from_api / self.results if self.results else 0.0

    @property
    def is_high(self) -> bool:
        """
        Whether another consumer seems to receive messages of this ledger's consumer group.

        Another consumer receives only some of the messages, so silent groups are not counted.
        """
        results, from_api = self.results - self.silent_results, self.from_api - self.silent_results
        return results >= FOREIGN_RESULTS and from_api >= FOREIGN_SHARE * results


@attrs.frozen(kw_only=True)
class KeyUse:
    """The use of a key, as far as a sample of rows and the notes of writers show."""

    #: Its identifier, which reveals nothing about the key; ``unknown``: rows that no key opened.
    key_id: str
    #: Whether it is among the keys given.
    is_given: bool
    #: Whether it is the first of them, which is used for encryption.
    is_first: bool
    #: Whether rows may need it: it was used for writing, and no rekey has found it unused since.
    is_needed: bool
    #: The number of rows in the sample that it opens.
    rows: int


@attrs.frozen(kw_only=True)
class Health:
    """See :func:`examine`."""

    ledger_id: str
    revision: str
    size_bytes: int
    #: Rows by table.
    rows: dict[str, int]
    cursors: tuple[CursorLag, ...]
    topics: tuple[TopicActivity, ...]
    #: Which bot instances send to which topic.
    instances: tuple[TopicInstance, ...]
    recovery: Recovery
    collecting: Collecting
    #: Why messages did not arrive since the oldest of the :data:`RECENT_GROUPS` groups was created; empty if no cause
    #: is known.
    why_from_api: str
    purged_groups: int
    #: Messages that arrived for purged groups.
    late_messages: int
    #: The keys given, and keys that are needed but were not given.
    keys: tuple[KeyUse, ...]
    #: Of the ``tried`` rows, those that no key given opens. The rows are a sample, see :func:`~.keys.sample`.
    undecryptable: int
    tried: int

    @property
    def missing_keys(self) -> list[str]:
        """Keys that rows may need but that were not given."""
        return [key.key_id for key in self.keys if not key.is_given]

    @property
    def shared_topics(self) -> dict[str, list[str]]:
        """The instances of each topic to which several have sent recently, if the connection names none of them."""
        found: dict[str, list[TopicInstance]] = defaultdict(list)
        for instance in self.instances:
            found[instance.topic].append(instance)
        shared = {}
        for topic, instances in found.items():
            last = max(instance.last_at for instance in instances)
            of_late = [one for one in instances if last - one.last_at < timedelta(days=RECENT_DAYS)]
            if len(of_late) > 1 and not any(instance.is_named for instance in instances):
                shared[topic] = [instance.instance_id or "(unnamed)" for instance in of_late]
        return shared

    @property
    def oldest_unread_at(self) -> datetime | None:
        """When the oldest event was recorded that some reader has not read."""
        return min((lag.oldest_unread_at for lag in self.cursors if lag.oldest_unread_at), default=None)


def examine(database: Database) -> Health:
    """
    Examine a ledger. Counting ten million rows may take a minute; it holds no lock.

    :raises LedgerUnavailableError: the database cannot be reached.
    """
    with database.read() as connection:
        rows = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in sorted(schema.metadata.sorted_tables, key=lambda table: table.name)
            if table is not schema.ledger
        }
        tombstones = connection.execute(select(_groups.observed).where(_groups.purged_at.is_not(None))).scalars().all()
        tried = sample(connection, database.cipher)
        collecting = read_collectors(connection, database.time(connection))
        return Health(
            ledger_id=database.ledger_id,
            revision=schema.REVISION,
            size_bytes=ledger_size(database, connection),
            rows=rows,
            cursors=tuple(_lags(connection)),
            topics=tuple(_topics(connection)),
            instances=tuple(read_instances(connection)),
            recovery=read_recovery(connection),
            collecting=collecting,
            why_from_api=_why_from_api(connection, collecting),
            purged_groups=len(tombstones),
            late_messages=sum(Tombstone.from_json(row).late_messages for row in tombstones),
            keys=tuple(_key_uses(database.cipher.key_ids, noted(connection), tried)),
            undecryptable=tried[None],
            tried=tried.total(),
        )


def _lags(connection: Connection) -> Iterable[CursorLag]:
    for cursor in connection.execute(select(schema.cursors).order_by(schema.cursors.c.name)).all():
        unread = _events.sequence > cursor.sequence
        oldest = select(_events.recorded_at).where(unread).order_by(_events.sequence).limit(1)
        yield CursorLag(
            name=cursor.name,
            unread=connection.execute(select(func.count()).select_from(schema.events).where(unread)).scalar_one(),
            oldest_unread_at=connection.execute(oldest).scalar(),
            moved_at=cursor.moved_at,
        )


def _topics(connection: Connection) -> Iterable[TopicActivity]:
    recent = (
        select(_events.topic, _events.recorded_at).order_by(_events.sequence.desc()).limit(RECENT_EVENTS).subquery()
    )
    rows = connection.execute(
        select(recent.c.topic, func.max(recent.c.recorded_at).label("last"), func.count().label("events"))
        .group_by(recent.c.topic)
        .order_by(recent.c.topic)
    )
    for row in rows:
        yield TopicActivity(topic=row.topic, last_event_at=row.last, events=row.events)


def read_recovery(connection: Connection) -> Recovery:
    """Count results. A group without messages only counts if a wait expected some."""
    newest = (
        select(_groups.job_group_id, _groups.observed)
        .where(_groups.purged_at.is_(None))
        .order_by(_groups.changed.desc())
        .limit(RECENT_GROUPS)
    )
    expects = {
        row.job_group_id: ReconcileState.from_json(row.observed).expects_messages
        for row in connection.execute(newest).all()
    }
    told, total = func.sum(case((_jobs.source == "message", 1), else_=0)), func.count()
    rows = connection.execute(
        select(_jobs.job_group_id, total.label("results"), told.label("told"))
        .where(
            _jobs.job_group_id.in_(list(expects)),
            and_(_jobs.state == JobState.ACCEPTED, _jobs.terminal),
        )
        .group_by(_jobs.job_group_id)
    ).all()
    results = {row.job_group_id: row.results for row in rows if row.told or expects[row.job_group_id]}
    silent = {row.job_group_id for row in rows if not row.told} & results.keys()
    return Recovery(
        results=sum(results.values()),
        from_api=sum(results.values()) - sum(int(row.told) for row in rows),
        silent_groups=tuple(group for group in expects if group in silent),
        silent_results=sum(results[group] for group in silent),
    )


def _why_from_api(connection: Connection, collecting: Collecting) -> str:
    newest = select(_groups.created_at).where(_groups.purged_at.is_(None)).order_by(_groups.changed.desc())
    moments = list(connection.execute(newest.limit(RECENT_GROUPS)).scalars())
    # Collectors of an earlier version do not report.
    return collecting.cause_since(min(moments)) if moments and collecting.collectors else ""


def _key_uses(given: Sequence[str], needed: Collection[str], tried: Mapping[str | None, int]) -> Iterable[KeyUse]:
    for key_id in (*given, *sorted(set(needed) - set(given))):
        yield KeyUse(
            key_id=key_id,
            is_given=key_id in given,
            is_first=key_id == given[0],
            is_needed=key_id in needed or bool(tried.get(key_id)),
            rows=tried.get(key_id, 0),
        )


def ledger_size(database: Database, connection: Connection) -> int:
    """Bytes that the ledger's file or tables take."""
    if database.is_sqlite:
        path = Path(str(database.engine.url.database))
        return sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal")) if file.exists())
    sizes = (func.pg_total_relation_size(cast(table.name, REGCLASS)) for table in schema.metadata.sorted_tables)
    return sum(connection.execute(select(*sizes)).one())
