"""Counts of messages by topic and bot instance, which show when several instances share a topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import attrs
from sqlalchemy import Connection, exists, func, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.statements import chunks, insert
from airflow_provider_outbound.core.models.event import Event

#: The maximum number of instances that are counted by name; the others are counted together, without a name.
MAX_NAMED = 200
#: How long after its last message an instance counts as a sender to its topic (days).
RECENT_DAYS = 30

_table = schema.topic_instances.c
_groups, _assignments = schema.job_groups.c, schema.assignments.c


@attrs.frozen(kw_only=True)
class TopicInstance:
    """The number of messages from one bot instance in one topic, with repeats."""

    topic: str
    #: Empty: messages that name no instance, and those of instances beyond :data:`MAX_NAMED`.
    instance_id: str
    #: Whether the connection named it when its last message arrived.
    is_named: bool
    stored: int
    #: Messages that were acknowledged and not stored, because they belong to another ledger.
    skipped: int
    last_at: datetime


def others(connection: Connection, events: Iterable[Event], named: Collection[str]) -> set[str]:
    """
    Hashes of the events that belong to instances of other ledgers.

    An event belongs to this ledger if it names no instance, or if a task of this ledger created its group or assigned
    to it, whatever instance it names.

    :param named: The ledger's instances; empty: all.
    """
    foreign = [event for event in events if named and event.instance_id and event.instance_id not in named]
    groups = sorted({event.job_group_id for event in foreign})
    ours: set[str] = set()
    for part in chunks(groups):
        assigned = exists().where(_assignments.job_group_id == _groups.job_group_id)
        statement = select(_groups.job_group_id).where(
            _groups.job_group_id.in_(part), or_(_groups.run_key.is_not(None), assigned)
        )
        ours.update(connection.execute(statement).scalars())
    return {event.hash for event in foreign if event.job_group_id not in ours}


def count(
    connection: Connection,
    now: datetime,
    stored: Iterable[tuple[str, str | None]],
    skipped: Iterable[tuple[str, str | None]],
    named: Collection[str],
) -> None:
    """
    Add to the counts. The caller has taken numbers of the event sequence, so no other process counts meanwhile.

    :param stored: Topic and instance of each message that was stored.
    :param skipped: The same of each that was not.
    """
    counts = {
        name: Counter((topic[:256], _name(instance_id, named)) for topic, instance_id in pairs)
        for name, pairs in (("stored", stored), ("skipped", skipped))
    }
    for topic, instance_id in sorted({*counts["stored"], *counts["skipped"]}):
        more = {name: counter[topic, instance_id] for name, counter in counts.items()}
        seen = {"is_named": instance_id in named, "last_at": now}
        changed = connection.execute(
            schema.topic_instances.update()
            .where(_table.topic == topic, _table.instance_id == instance_id)
            .values({**seen, **{name: _table[name] + number for name, number in more.items()}})
        )
        if changed.rowcount:
            continue
        known = connection.execute(select(func.count()).select_from(schema.topic_instances)).scalar_one()
        name = instance_id if known < MAX_NAMED else ""
        statement = insert(connection, schema.topic_instances).values(
            topic=topic, instance_id=name, is_named=name in named, last_at=now, **more
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["topic", "instance_id"],
                set_={"last_at": now, **{one: _table[one] + statement.excluded[one] for one in more}},
            )
        )


def read_instances(connection: Connection) -> Sequence[TopicInstance]:
    """Read every topic's instances."""
    rows = connection.execute(select(schema.topic_instances).order_by(_table.topic, _table.instance_id))
    return [TopicInstance(**row) for row in rows.mappings()]


def _name(instance_id: str | None, named: Collection[str]) -> str:
    """The name that an instance is counted by. The sender chooses its id, so one that may be a number is not stored."""
    if instance_id is None or (instance_id not in named and not any(map(str.isalpha, instance_id))):
        return ""
    return instance_id
