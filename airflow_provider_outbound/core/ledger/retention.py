"""
Retention: what finished long ago is purged, in small transactions, while other processes keep writing.

A purged group leaves a tombstone, its row in ``job_groups``. So its task finds the group and creates no second one,
late messages are counted and not stored, and tasks that would assign to it or wait for it are refused. Refusals outlive
the rows that they follow from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, Row, Table, delete, exists, func, or_, select, tuple_, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState, Tombstone
from airflow_provider_outbound.core.ledger.records import OPEN
from airflow_provider_outbound.core.ledger.statements import chunks
from airflow_provider_outbound.exceptions import JobGroupUnknownError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database
    from airflow_provider_outbound.core.ledger.follow_ups import FollowUps
    from airflow_provider_outbound.core.ledger.groups import Groups

#: Rows deleted in one transaction; other writers wait for its commit.
BATCH = 500
#: A task may still wait for a group that is not known to be complete if the API was asked about it this recently. A
#: waiting task asks once per ``reconcile_interval``, at most a day, unless its triggerer is down.
WAITED_FOR = timedelta(days=1)
#: How long after the end of a group's window, or its cancellation, all its calls are taken to have ended.
ON_THE_LINE = timedelta(days=1)

_groups, _jobs, _events = schema.job_groups.c, schema.jobs.c, schema.events.c
#: Tables with rows of one group, in an order in which no row refers to a deleted one. Withdrawals of refusals are
#: deleted last, so that a purge that is killed leaves no refusal without its withdrawal.
_OF_GROUP = (
    *(
        table
        for table in reversed(schema.metadata.sorted_tables)
        if "job_group_id" in table.c and table not in (schema.job_groups, schema.handled)
    ),
    schema.handled,
)


_STILL_DIALLED = (
    "has jobs that have not ended and may still be dialled{until}: cancel them (outbound cancel) and wait for the"
    " group with a sensor; or purge it a day after its window ends or it is cancelled"
)


@attrs.frozen(kw_only=True)
class PurgedGroup:
    """A group that was purged, or would be."""

    job_group_id: str
    dag_id: str | None
    #: When it last changed, as far as the ledger knows.
    last_at: datetime
    jobs: int


@attrs.frozen(kw_only=True)
class PassedOver:
    """A group that is old enough and was kept."""

    job_group_id: str
    dag_id: str | None
    #: Why, as a predicate that follows the group's name.
    reason: str


@attrs.frozen(kw_only=True)
class FinishedGroup:
    """A group whose interrupted purge was finished."""

    job_group_id: str
    #: The number of rows that had been left.
    rows: int


@attrs.frozen(kw_only=True)
class Purge:
    """What a purge did, or would do."""

    purged: tuple[PurgedGroup, ...]
    passed_over: tuple[PassedOver, ...]
    #: Groups that an earlier purge had begun.
    finished: tuple[FinishedGroup, ...] = ()
    #: Rows of ``events`` that every cursor has passed, of groups that are kept.
    events: int


class Retention:
    """Purges the rows of groups and events that are old enough."""

    def __init__(self, database: Database, groups: Groups, follow_ups: FollowUps) -> None:
        self._database = database
        self._groups = groups
        self._follow_ups = follow_ups

    def purge(
        self,
        older_than: timedelta,
        *,
        job_group_id: str | None = None,
        dry_run: bool = False,
        report: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Purge:
        """
        Purge groups that have not changed for a time, and events that are older and that every cursor has passed.

        Other processes may write meanwhile, and this one may be killed: the next purge continues where it stopped. A
        group is passed over while a task may wait for it or assigns to it, while a reader has not read its events, and
        while its jobs may still be dialled, because a command that stops all groups would not find it. Abandoned jobs
        of unknown status are purged too if nothing has changed for a day. They cannot be sent again, because the group
        is a tombstone.

        :param older_than: How long ago the last change must be.
        :param job_group_id: Purge only this group, and no events of others.
        :param dry_run: Only report what would be done.
        :param report: Called with the number of groups that were examined so far, and of all.
        :raises JobGroupUnknownError: the group is not in the ledger.
        """
        before = self._database.now() - older_than
        finished = tuple(self._finish(group_id, dry_run=dry_run) for group_id in self._left_over(job_group_id))
        done = {group.job_group_id for group in finished}
        purged: list[PurgedGroup] = []
        passed_over: list[PassedOver] = []
        candidates = self._candidates(before, job_group_id)
        for index, group in enumerate(candidates):
            report(index, len(candidates))
            if group.job_group_id in done:
                continue
            found = self._examine(group, before)
            if isinstance(found, PurgedGroup) and not dry_run:
                found = self._leave_tombstone(group, found)
            if isinstance(found, PurgedGroup):
                purged.append(found)
                if not dry_run:
                    self._empty(found.job_group_id)
            elif found is not None and (job_group_id is not None or not found.young):
                passed_over.append(
                    PassedOver(job_group_id=group.job_group_id, dag_id=group.dag_id, reason=found.reason)
                )
        events = 0
        if job_group_id is None:
            events = self._forget_events(before, [group.job_group_id for group in purged], dry_run=dry_run)
        if self._database.is_sqlite and not dry_run:
            self.empty_log()
        return Purge(purged=tuple(purged), passed_over=tuple(passed_over), finished=finished, events=events)

    def forgotten_since(self, since: datetime) -> int:
        """The number of purged groups that may have called people after ``since``; their calls cannot be counted."""
        with self._database.read() as connection:
            rows = connection.execute(select(_groups.observed).where(_groups.purged_at >= since)).scalars()
            # An older version may have overwritten a tombstone. Such a group may have called people.
            last = [Tombstone.from_json(row).last_at for row in rows]
        return sum(moment is None or moment >= since for moment in last)

    def _candidates(self, before: datetime, job_group_id: str | None) -> list[Row[Any]]:
        statement = select(schema.job_groups).where(_groups.purged_at.is_(None)).order_by(_groups.created_at)
        if job_group_id is not None:
            statement = select(schema.job_groups).where(_groups.job_group_id == job_group_id)
        else:
            statement = statement.where(
                _groups.created_at <= before, or_(_groups.ends_at.is_(None), _groups.ends_at <= before)
            )
        with self._database.read() as connection:
            rows = list(connection.execute(statement))
        if job_group_id is not None and not rows:
            raise JobGroupUnknownError(job_group_id)
        return rows

    def _examine(self, group: Row[Any], before: datetime) -> PurgedGroup | _Kept:
        """Check whether a group may be purged. Reads all its jobs, so not in a writing transaction."""
        if group.purged_at is not None:
            return _Kept(f"was already purged at {_moment(group.purged_at)}")
        with self._database.read() as connection:
            reasons = self._obstacles(connection, group)
            assigned = connection.execute(
                select(func.max(schema.assignments.c.opened_at)).where(
                    schema.assignments.c.job_group_id == group.job_group_id
                )
            ).scalar()
            last_event = connection.execute(
                select(_events.recorded_at)
                .where(_events.job_group_id == group.job_group_id)
                .order_by(_events.sequence.desc())
                .limit(1)
            ).scalar()
            jobs, last_call = connection.execute(
                select(func.count(), func.max(func.coalesce(_jobs.ended_at, _jobs.started_at, _jobs.sent_at))).where(
                    _jobs.job_group_id == group.job_group_id
                )
            ).one()
        # The window of a complete group does not matter.
        ends_at = None if self._is_complete(group) else group.ends_at
        moments = (group.created_at, ends_at, assigned, last_event, last_call)
        last_at = max(moment for moment in moments if moment is not None)
        is_young = last_at > before
        if is_young:
            what = "its window ends" if last_at == group.ends_at else "it last changed"
            reasons.insert(0, f"is too recent: {what} at {_moment(last_at)}")
        if (still_dialled := self._why_still_dialled(group, last_at)) is not None:
            reasons.append(still_dialled)
        if reasons:
            # All of them, so that the next attempt does not reveal another.
            return _Kept("; it ".join(reasons), young=is_young)
        return PurgedGroup(job_group_id=group.job_group_id, dag_id=group.dag_id, last_at=last_at, jobs=jobs)

    def _is_complete(self, group: Row[Any]) -> bool:
        """Whether all jobs of a group are known to have ended, and nothing was assigned since."""
        return self._groups.state(group.job_group_id).confirmed is not None

    def _why_still_dialled(self, group: Row[Any], last_at: datetime) -> str | None:
        """Why jobs of the group may still be dialled; ``None`` if they cannot be."""
        here = _jobs.job_group_id == group.job_group_id
        with self._database.read() as connection:
            now = self._database.time(connection)
            unfinished = connection.execute(select(exists().where(here, schema.UNFINISHED))).scalar()
            doubtful = connection.execute(select(exists().where(here, schema.DOUBTFUL))).scalar()
            sent_at = connection.execute(select(func.max(_jobs.sent_at)).where(here)).scalar()
        if not unfinished and not (doubtful and last_at + ON_THE_LINE > now):
            return None
        if self._is_complete(group):
            return None
        state = self._groups.state(group.job_group_id)
        ends = [] if group.ends_at is None else [group.ends_at]
        cancelled_at = state.reconcile_state.cancelled_at
        if cancelled_at is not None:
            # Jobs that were assigned after the cancellation are not cancelled.
            ends += [cancelled_at] if sent_at is None or sent_at <= cancelled_at else []
        if not ends:
            return _STILL_DIALLED.format(until="")
        over_at = min(ends) + ON_THE_LINE
        return None if over_at <= now else _STILL_DIALLED.format(until=f" until {_moment(over_at)}")

    def _obstacles(self, connection: Connection, group: Row[Any]) -> list[str]:
        """Why a group must not be purged now, by a few look-ups."""
        group_id, reasons = group.job_group_id, []
        due_at: datetime | None = group.look_due_at
        if due_at is not None:
            # Tasks that wait for a complete group learn it at their next poll, without another request.
            grace = timedelta(0) if ReconcileState.from_json(group.observed).confirmed else WAITED_FOR
            if due_at + grace > self._database.time(connection):
                reasons.append(f"may have a waiting task until {_moment(due_at + grace)}")
        assignments = schema.assignments.c
        if connection.execute(
            select(exists().where(assignments.job_group_id == group_id, assignments.state == OPEN))
        ).scalar():
            reasons.append("has an assignment that is not finished: clear its task, or wait for the group")
        newest = select(func.max(_events.sequence)).where(_events.job_group_id == group_id).scalar_subquery()
        cursors = schema.cursors.c
        cursor = connection.execute(
            select(cursors.name, cursors.moved_at).where(cursors.sequence < newest).order_by(cursors.sequence).limit(1)
        ).one_or_none()
        if cursor is not None:
            moved_at = _moment(cursor.moved_at)
            reasons.append(
                f"has events that cursor {cursor.name} (last moved at {moved_at}) has not read; if its trigger is gone"
                f" for good: outbound ledger purge --cursor {cursor.name}"
            )
        return reasons

    def _leave_tombstone(self, group: Row[Any], found: PurgedGroup) -> PurgedGroup | _Kept:
        """Create the tombstone, unless the group has changed since it was examined."""
        here = _groups.job_group_id == group.job_group_id
        with self._database.write() as connection:
            now = connection.execute(select(schema.job_groups).where(here)).one()
            reasons = self._obstacles(connection, now)
            if now.purged_at is not None or now.changed != group.changed:
                reasons = ["is in use"]
            if reasons:
                return _Kept("; it ".join(reasons))
            connection.execute(
                update(schema.job_groups)
                .where(here)
                .values(
                    purged_at=self._database.time(connection),
                    observed=Tombstone(last_at=found.last_at, jobs=found.jobs).to_json(),
                )
            )
            self._groups.touch(connection, group.job_group_id, self._database.take_sequence(connection, 1))
        return found

    def _left_over(self, job_group_id: str | None) -> list[str]:
        """Purged groups with remaining rows, because a purge was killed or an older version wrote them since."""
        rows_left = or_(*(exists().where(table.c.job_group_id == _groups.job_group_id) for table in _OF_GROUP))
        statement = select(_groups.job_group_id).where(_groups.purged_at.is_not(None), rows_left)
        if job_group_id is not None:
            statement = statement.where(_groups.job_group_id == job_group_id)
        with self._database.read() as connection:
            return list(connection.execute(statement).scalars())

    def _finish(self, job_group_id: str, *, dry_run: bool) -> FinishedGroup:
        """Delete the remaining rows of a purged group; in a dry run, only count them."""
        if not dry_run:
            return FinishedGroup(job_group_id=job_group_id, rows=self._empty(job_group_id))
        counts = [
            select(func.count()).select_from(table).where(table.c.job_group_id == job_group_id) for table in _OF_GROUP
        ]
        with self._database.read() as connection:
            rows = sum(connection.execute(count).scalar_one() for count in counts)
        return FinishedGroup(job_group_id=job_group_id, rows=rows)

    def _empty(self, job_group_id: str) -> int:
        self._follow_ups.keep_refusals(job_group_id)
        return sum(self._delete(table, table.c.job_group_id == job_group_id) for table in _OF_GROUP)

    def _forget_events(self, before: datetime, but: Sequence[str], *, dry_run: bool) -> int:
        """
        Delete old events. They are numbered in the order of arrival, so old ones are found without reading the others.

        :param but: Groups whose events are counted elsewhere.
        """
        first_young = select(_events.sequence).where(_events.recorded_at > before).order_by(_events.sequence).limit(1)
        with self._database.read() as connection:
            # Events that arrive from now on have greater numbers.
            newest = connection.execute(select(func.max(_events.sequence))).scalar() or 0
            young = connection.execute(first_young).scalar()
            read = connection.execute(select(func.min(schema.cursors.c.sequence))).scalar()
            through = min(newest if young is None else young - 1, newest if read is None else read)
            old = _events.sequence <= through
            if dry_run:
                count = select(func.count()).select_from(schema.events).where(old)
                elsewhere = sum(
                    connection.execute(count.where(_events.job_group_id.in_(part))).scalar_one() for part in chunks(but)
                )
                return connection.execute(count).scalar_one() - elsewhere
        return self._delete(schema.events, old, order=_events.sequence)

    def _delete(self, table: Table, *conditions: Any, order: Any = None) -> int:
        """
        Delete rows in batches, and leave other writers as much time as each batch takes.

        :param order: The column whose index finds the rows, where a planner might scan the table instead.
        """
        key = tuple_(*table.primary_key.columns)
        batch = select(*table.primary_key.columns).where(*conditions).order_by(order).limit(BATCH)
        deleted = 0
        while True:
            begun = time.monotonic()
            with self._database.write() as connection:
                count = connection.execute(delete(table).where(key.in_(batch))).rowcount
            deleted += count
            if count < BATCH:
                return deleted
            time.sleep(time.monotonic() - begun)

    def empty_log(self) -> None:
        """Reset SQLite's write-ahead log, which still holds what was deleted, unless a reader prevents it."""
        with self._database.engine.connect() as connection:
            cursor = connection.connection.cursor()
            try:
                # Short, because other processes wait meanwhile.
                cursor.execute("PRAGMA busy_timeout=500")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                cursor.close()
                connection.invalidate()


@attrs.frozen
class _Kept:
    """Why a group is not purged."""

    reason: str
    young: bool = False


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
