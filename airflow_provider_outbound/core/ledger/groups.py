"""Job groups: their tasks, what comparing them with the API has shown, and when the API may be asked next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, exists, func, not_, or_, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState, Tombstone
from airflow_provider_outbound.core.ledger.records import (
    ABANDONED,
    CLOSED,
    OPEN,
    GroupState,
    JobGroupRecord,
    OpenAssignment,
    TaskKey,
)
from airflow_provider_outbound.core.ledger.statements import chunks, insert
from airflow_provider_outbound.exceptions import JobGroupPurgedError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

_groups = schema.job_groups.c
# The conditions of the partial indexes, literally: a planner does not recognise them with bound parameters.
_DOUBT = exists().where(schema.jobs.c.job_group_id == _groups.job_group_id, schema.DOUBTFUL)
_UNFINISHED = exists().where(schema.jobs.c.job_group_id == _groups.job_group_id, schema.UNFINISHED)
_ASSIGNING = exists().where(
    schema.assignments.c.job_group_id == _groups.job_group_id, schema.assignments.c.state == OPEN
)
# Built once: building a statement takes longer than running it, and there may be a thousand waiting tasks.
_STATE = select(
    _groups.changed,
    _groups.observed,
    _groups.purged_at,
    _groups.suspended_at,
    _DOUBT.label("doubt"),
    _UNFINISHED.label("unfinished"),
).where(_groups.job_group_id == bindparam("group"))
_LOOK_DUE_AT = select(_groups.look_due_at).where(_groups.job_group_id == bindparam("group"))
_ASSIGNMENTS = select(schema.assignments).where(schema.assignments.c.job_group_id == bindparam("group"))
_CHANGED_SINCE = select(
    _groups.job_group_id,
    _groups.changed,
    or_(~_UNFINISHED & ~_DOUBT & ~_ASSIGNING, _groups.suspended_at.is_not(None)).label("concerns_waits"),
).where(_groups.changed > bindparam("sequence"))

_OF_GROUPS = _groups.job_group_id.in_(bindparam("groups", expanding=True))
_PURGED = select(_groups.job_group_id, _groups.purged_at).where(_OF_GROUPS)
_TOUCH = update(schema.job_groups).where(_OF_GROUPS).values(changed=bindparam("at"))
#: Groups that tasks of this ledger created or assigned to.
_OWN = or_(
    schema.job_groups.c.run_key.is_not(None),
    exists().where(schema.assignments.c.job_group_id == schema.job_groups.c.job_group_id),
)


class Groups:
    """Reads and writes of ``job_groups``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, run_key: str) -> JobGroupRecord | None:
        """The group that a task created, by :attr:`TaskKey.run_key`."""
        return self._one_group(schema.job_groups.c.run_key == run_key)

    def get(self, job_group_id: str) -> JobGroupRecord | None:
        """A group, by the id that the service gave it."""
        return self._one_group(schema.job_groups.c.job_group_id == job_group_id)

    def list_all(self) -> list[JobGroupRecord]:
        """Groups that tasks of this ledger created or assigned to, newest first, without purged ones."""
        return self._list(_OWN)

    def list_waited_for(self) -> list[JobGroupRecord]:
        """Groups that tasks only waited for, newest first: others created them, or this ledger was restored since."""
        return self._list(and_(not_(_OWN), schema.job_groups.c.look_due_at.is_not(None)))

    def _list(self, wanted: ColumnElement[bool]) -> list[JobGroupRecord]:
        groups = schema.job_groups
        with self._database.read() as connection:
            rows = connection.execute(
                select(groups)
                .where(wanted, groups.c.purged_at.is_(None))
                .order_by(groups.c.created_at.desc(), groups.c.job_group_id)
            ).all()
        return [_group(row) for row in rows]

    def record(self, record: JobGroupRecord) -> JobGroupRecord:
        """
        Store a group; the first writer of a run key wins.

        :return: The group with that run key, which may differ from the one given.
        """
        table = schema.job_groups
        key = record.task_key
        values = {
            "run_key": record.run_key,
            "dag_id": key.dag_id if key else None,
            "run_id": key.run_id if key else None,
            "task_id": key.task_id if key else None,
            "map_index": key.map_index if key else None,
            "instance_id": record.instance_id,
            "script_id": record.script_id,
            "name": record.name,
            "starts_at": record.starts_at,
            "ends_at": record.ends_at,
        }
        with self._database.write() as connection:
            self.ensure_group(connection, record.job_group_id)
            taken = None
            if record.run_key is not None:
                taken = connection.execute(select(table).where(table.c.run_key == record.run_key)).one_or_none()
            if taken is not None and taken.job_group_id != record.job_group_id:
                return _group(taken)
            kept = {name: value for name, value in values.items() if value is not None}
            if kept:
                connection.execute(update(table).where(table.c.job_group_id == record.job_group_id).values(**kept))
            return _group(connection.execute(select(table).where(table.c.job_group_id == record.job_group_id)).one())

    def ensure_group(self, connection: Connection, job_group_id: str) -> None:
        """Insert a group's row if it is missing, in the caller's transaction."""
        statement = insert(connection, schema.job_groups).values(
            job_group_id=job_group_id, created_at=self._database.time(connection), changed=0
        )
        connection.execute(statement.on_conflict_do_nothing())

    def ensure_groups(self, connection: Connection, job_group_ids: Iterable[str]) -> dict[str, datetime]:
        """
        Insert the rows of groups that have none, in the caller's transaction.

        :return: The purged groups among them, and when they were purged: nothing may be written for them.
        """
        wanted = sorted(set(job_group_ids))
        known: dict[str, datetime | None] = {}
        for part in chunks(wanted):
            rows = connection.execute(_PURGED, {"groups": part})
            known |= {row.job_group_id: row.purged_at for row in rows}
        for job_group_id in wanted:
            if job_group_id not in known:
                self.ensure_group(connection, job_group_id)
        return {job_group_id: purged_at for job_group_id, purged_at in known.items() if purged_at is not None}

    def ensure_unpurged(self, connection: Connection, job_group_id: str) -> None:
        """
        Insert a group's row if it is missing, in the caller's transaction.

        :raises JobGroupPurgedError: the row is a tombstone: the group was purged.
        """
        for purged_at in self.ensure_groups(connection, [job_group_id]).values():
            raise JobGroupPurgedError(job_group_id, purged_at)

    def count_late(self, connection: Connection, late: Mapping[str, int]) -> None:
        """Count late messages on the tombstones of purged groups, in the caller's transaction."""
        table = schema.job_groups
        for job_group_id, messages in late.items():
            here = table.c.job_group_id == job_group_id
            found = Tombstone.from_json(connection.execute(select(table.c.observed).where(here)).scalar_one())
            counted = attrs.evolve(found, late_messages=found.late_messages + messages)
            connection.execute(update(table).where(here).values(observed=counted.to_json()))

    def touch(self, connection: Connection, job_group_id: str, sequence: int) -> None:
        """Notify tasks that wait for the group, in the caller's transaction."""
        table = schema.job_groups
        connection.execute(update(table).where(table.c.job_group_id == job_group_id).values(changed=sequence))

    def touch_all(self, connection: Connection, job_group_ids: Sequence[str], sequence: int) -> None:
        """Notify tasks that wait for any of the groups, in the caller's transaction."""
        for part in chunks(job_group_ids):
            connection.execute(_TOUCH, {"groups": part, "at": sequence})

    def state(self, job_group_id: str) -> GroupState:
        """What a waiting task needs at every poll: a few look-ups by index, however large the group is."""
        with self._database.read() as connection:
            group = connection.execute(_STATE, {"group": job_group_id}).one_or_none()
            rows = connection.execute(_ASSIGNMENTS, {"group": job_group_id}).all()
        closed = [row for row in rows if row.state == CLOSED]
        is_purged = group is not None and group.purged_at is not None
        return GroupState(
            known=group is not None,
            changed=group.changed if group else 0,
            open_assignments=tuple(
                OpenAssignment(
                    assignment_id=row.assignment_id, lease_until=row.lease_until, settle_seconds=row.settle_seconds
                )
                for row in rows
                if row.state == OPEN
            ),
            closed_assignments=len(closed),
            abandoned_assignments=sum(row.state == ABANDONED for row in rows),
            closed=sum(row.sealed_count or 0 for row in closed),
            has_doubt=bool(group and group.doubt),
            has_unfinished=bool(group and group.unfinished),
            reconcile_state=ReconcileState.from_json(None if is_purged else group.observed if group else None),
            purged_at=group.purged_at if group else None,
            suspended_at=group.suspended_at if group else None,
            tombstone=Tombstone.from_json(group.observed) if group and is_purged else None,
        )

    def claim_reconcile(self, job_group_id: str, interval: float) -> bool:
        """
        Claim the right to compare this group with the API.

        :param interval: Seconds until the next process may claim it.
        :return: ``True`` for one caller per interval.
        """
        table = schema.job_groups
        with self._database.write() as connection:
            self.ensure_group(connection, job_group_id)
            now = self._database.time(connection)
            next_due = now + timedelta(seconds=interval)
            claimed = connection.execute(
                update(table)
                .where(
                    table.c.job_group_id == job_group_id,
                    # A time later than one interval was written before the clock was set back.
                    or_(table.c.look_due_at.is_(None), table.c.look_due_at <= now, table.c.look_due_at > next_due),
                )
                .values(look_due_at=next_due)
            )
            return claimed.rowcount == 1

    def next_look_at(self, job_group_id: str) -> datetime | None:
        """When this group may be compared with the API next, by the database's clock; ``None``: at once."""
        with self._database.read() as connection:
            return connection.execute(_LOOK_DUE_AT, {"group": job_group_id}).scalar_one_or_none()

    def save_reconcile_state(self, job_group_id: str, state: ReconcileState) -> None:
        """
        Store the result of comparing a group with the API for the next comparison, unless the group was purged.

        A cancellation by this package is preserved, even if ``state`` was read before it.
        """
        self._change_state(
            job_group_id,
            lambda before: attrs.evolve(
                state,
                cancelled=state.cancelled or before.cancelled_at is not None,
                cancelled_at=before.cancelled_at or state.cancelled_at,
            ),
        )

    def note_cancelled(self, job_group_id: str) -> None:
        """
        Record that this package cancelled all jobs of a group.

        As far as is known, the service does not report a group as cancelled if some of its jobs had already ended.
        """
        now = self._database.now()
        self._change_state(job_group_id, lambda before: attrs.evolve(before, cancelled=True, cancelled_at=now))

    def note_connection(self, job_group_id: str, conn_id: str) -> None:
        """
        Record the Airflow connection through which a group is controlled; the first one given stays.

        A purged group is left as it is.
        """
        table = schema.job_groups
        with self._database.write() as connection:
            self.ensure_group(connection, job_group_id)
            connection.execute(
                update(table)
                .where(table.c.job_group_id == job_group_id, table.c.conn_id.is_(None), table.c.purged_at.is_(None))
                .values(conn_id=conn_id)
            )

    def note_window(self, job_group_id: str, starts_at: datetime | None, ends_at: datetime | None) -> None:
        """
        Record a group's window as the API reports it, if the group is in the ledger and was not purged.

        :param ends_at: ``None``: it has no end.
        """
        self._change_state(
            job_group_id,
            lambda before: attrs.evolve(before, ends_at=ends_at, knows_end=True),
            starts_at=starts_at,
            ends_at=ends_at,
        )

    def note_suspended(self, job_group_id: str, *, suspended: bool) -> None:
        """
        Record that this package suspended, or resumed, all jobs of a group, if the group is in the ledger.

        This is a change of the group, so that tasks that wait for it log it.
        """
        table = schema.job_groups
        with self._database.write() as connection:
            moment = self._database.time(connection) if suspended else None
            sequence = self._database.take_sequence(connection, 1)
            connection.execute(
                update(table).where(table.c.job_group_id == job_group_id).values(suspended_at=moment, changed=sequence)
            )
            if not suspended:
                self._change_observed(connection, job_group_id, lambda before: attrs.evolve(before, paused_at=None))

    def _change_state(
        self, job_group_id: str, change: Callable[[ReconcileState], ReconcileState], **columns: Any
    ) -> None:
        with self._database.write() as connection:
            self._change_observed(connection, job_group_id, change, **columns)

    def _change_observed(
        self,
        connection: Connection,
        job_group_id: str,
        change: Callable[[ReconcileState], ReconcileState],
        **columns: Any,
    ) -> None:
        """Change a group's state in the caller's transaction, if the group is in the ledger and was not purged."""
        table = schema.job_groups
        here = and_(table.c.job_group_id == job_group_id, table.c.purged_at.is_(None))
        row = connection.execute(select(table.c.observed).where(here).with_for_update()).one_or_none()
        if row is not None:
            changed = change(ReconcileState.from_json(row.observed))
            connection.execute(update(table).where(here).values(observed=changed.to_json(), **columns))

    def changed_since(self, sequence: int) -> tuple[int, dict[str, bool]]:
        """
        Return the groups that have changed.

        :param sequence: The number that an earlier call returned, or 0.
        :return: The newest number, and for each changed group, by its id, whether this concerns who waits for its end:
            it was suspended, or no job is open or in doubt, and no assignment is open.
        """
        with self._database.read() as connection:
            rows = connection.execute(_CHANGED_SINCE, {"sequence": sequence}).all()
        return max((row.changed for row in rows), default=sequence), {
            row.job_group_id: bool(row.concerns_waits) for row in rows
        }

    def newest(self) -> int:
        """The number of the latest change to any group."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(schema.job_groups.c.changed))).scalar() or 0

    def _one_group(self, condition: Any) -> JobGroupRecord | None:
        with self._database.read() as connection:
            row = connection.execute(select(schema.job_groups).where(condition)).one_or_none()
        return None if row is None else _group(row)


def _group(row: Row[Any]) -> JobGroupRecord:
    key = None if row.dag_id is None else TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index)
    return JobGroupRecord(
        job_group_id=row.job_group_id,
        run_key=row.run_key,
        task_key=key,
        instance_id=row.instance_id,
        script_id=row.script_id,
        name=row.name,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        created_at=row.created_at,
        purged_at=row.purged_at,
        conn_id=row.conn_id,
    )
