"""Assignments: who assigns to which group, and who holds the lease."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, and_, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.leases import bound_lease
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState
from airflow_provider_outbound.core.ledger.records import ABANDONED, CLOSED, OPEN, Assignment, JobState, TaskKey
from airflow_provider_outbound.core.ledger.statements import chunks, insert
from airflow_provider_outbound.exceptions import LeaseHeldError, LeaseLostError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database
    from airflow_provider_outbound.core.ledger.groups import Groups


@attrs.frozen(kw_only=True)
class Stop:
    """
    A command of this package that stopped all jobs of a group.

    :param at: When, by the database's clock.
    :param is_final: Whether they were cancelled; otherwise they were suspended, and not resumed.
    """

    at: datetime
    is_final: bool


class Assignments:
    """Reads and writes of ``assignments`` by their own tasks."""

    def __init__(self, database: Database, groups: Groups) -> None:
        self._database = database
        self._groups = groups

    def open(
        self, key: TaskKey, job_group_id: str, *, owner: str, lease_seconds: float, settle_seconds: float
    ) -> Assignment:
        """
        Take the lease of a task's assignment, which is new or was opened by an earlier try.

        :param owner: Unique name of this process.
        :param lease_seconds: How long the lease lasts unless it is renewed.
        :param settle_seconds: How long after a request its jobs may still appear in listings.
        :raises LeaseHeldError: another owner holds the lease.
        :raises JobGroupPurgedError: the group's rows were purged, so who was called is unknown.
        """
        assignment_id = key.assignment_id(job_group_id)
        with self._database.write() as connection:
            self._groups.ensure_unpurged(connection, job_group_id)
            now = self._database.time(connection)
            lease = {
                "state": OPEN,
                "owner": owner,
                "lease_until": now + timedelta(seconds=lease_seconds),
                "lease_seconds": lease_seconds,
                "settle_seconds": round(settle_seconds),
            }
            is_new = _insert(connection, key, job_group_id, lease, now)
            was_closed, held_until = False, None
            if not is_new:
                was_closed, held_until = _reopen(connection, assignment_id, lease, now)
            if held_until is None:
                self._groups.touch(connection, job_group_id, self._database.take_sequence(connection, 1))
        if held_until is not None:
            raise LeaseHeldError(held_until)
        return Assignment(
            assignment_id=assignment_id,
            job_group_id=job_group_id,
            owner=owner,
            reopened=not is_new,
            was_closed=was_closed,
        )

    def note_strategy(self, assignment: Assignment, strategy_json: str) -> None:
        """Store the strategy of an assignment whose jobs have their own: the API only reports the group's strategy."""
        table = schema.assignments
        with self._database.write() as connection:
            connection.execute(
                update(table).where(table.c.assignment_id == assignment.assignment_id).values(strategy=strategy_json)
            )

    def note_query(self, key: TaskKey, job_group_id: str, statement: str, instance_id: str) -> None:
        """
        Store which result of a query a task reads, until its assignment is finished.

        :param instance_id: The result's id in its database.
        """
        self._write_query(
            key, job_group_id, {"query": self._database.identity.query(statement), "instance_id": instance_id}
        )

    def forget_query(self, key: TaskKey, job_group_id: str) -> None:
        """Let the next try of a task run its query again."""
        self._write_query(key, job_group_id, None)

    def find_query(self, key: TaskKey, job_group_id: str, statement: str) -> str | None:
        """Return the id of the result of this query that a task reads; ``None`` if there is none."""
        table = schema.assignments.c
        stored = select(table.query_result).where(table.assignment_id == key.assignment_id(job_group_id))
        with self._database.read() as connection:
            found = connection.execute(stored).scalar()
        if found is None or found["query"] != self._database.identity.query(statement):
            return None
        return str(found["instance_id"])

    def _write_query(self, key: TaskKey, job_group_id: str, value: Mapping[str, str] | None) -> None:
        table = schema.assignments
        with self._database.write() as connection:
            connection.execute(
                update(table).where(table.c.assignment_id == key.assignment_id(job_group_id)).values(query_result=value)
            )

    def strategies(self, job_group_id: str) -> list[str]:
        """StrategyJson of the assignments to a group that have their own."""
        table = schema.assignments.c
        with self._database.read() as connection:
            return list(
                connection.execute(
                    select(table.strategy)
                    .where(table.job_group_id == job_group_id, table.strategy.is_not(None))
                    .distinct()
                ).scalars()
            )

    def other_instances(self, assignment: Assignment) -> list[str]:
        """
        Return the assignments of the other instances of a mapped task, in its DAG run and to other groups.

        :return: Their ids; none if no earlier try had finished this assignment.
        """
        own, other = schema.assignments.alias(), schema.assignments.alias()
        same_run = [own.c[name] == other.c[name] for name in ("dag_id", "run_id", "task_id")]
        wanted = select(other.c.assignment_id).where(
            own.c.assignment_id == assignment.assignment_id,
            own.c.map_index >= 0,
            own.c.sealed_count.is_not(None),
            *same_run,
            own.c.map_index != other.c.map_index,
            own.c.job_group_id != other.c.job_group_id,
        )
        with self._database.read() as connection:
            return list(connection.execute(wanted).scalars())

    def contacts_of(self, assignment_ids: Collection[str], phone_keys: Sequence[str]) -> set[tuple[str, str]]:
        """Return which of these persons the assignments have, or may have: phone key and reference id of each."""
        jobs = schema.jobs.c
        found: set[tuple[str, str]] = set()
        with self._database.read() as connection:
            for part, index in product(chunks(phone_keys), (schema.UNIQUE_PHONE, schema.NOT_UNIQUE_PHONE)):
                rows = connection.execute(
                    select(jobs.phone_key, jobs.reference_id, jobs.assignment_id).where(
                        index, jobs.phone_key.in_(part), jobs.state != JobState.REFUSED
                    )
                )
                found |= {(row.phone_key, row.reference_id) for row in rows if row.assignment_id in assignment_ids}
        return found

    def may_have_called(self, key: TaskKey, job_group_id: str) -> bool:
        """Return whether a task has assigned contacts to a group, or may have."""
        table = schema.jobs.c
        with self._database.read() as connection:
            found = connection.execute(
                select(table.assignment_id)
                .where(table.assignment_id == key.assignment_id(job_group_id), table.state != JobState.REFUSED)
                .limit(1)
            )
            return found.first() is not None

    def find_stop(self, assignment: Assignment, run_started_at: datetime | None = None) -> Stop | None:
        """
        Return the command that stopped all jobs of the group, if this assignment must not add to them.

        A suspension counts until the group is resumed or cancelled. A cancellation counts for good in the DAG run that
        created the group. In a group that others created, it counts for assignments that were opened before it, and in
        DAG runs that had started before it: such a group may be used every day.

        :param run_started_at: When the DAG run of the assignment started, aware; ``None`` if that is not known.
        """
        table, groups = schema.assignments.c, schema.job_groups.c
        is_own = and_(groups.dag_id == table.dag_id, groups.run_id == table.run_id)
        statement = (
            select(table.opened_at, groups.suspended_at, groups.observed, is_own.label("is_own"))
            .join_from(schema.assignments, schema.job_groups, table.job_group_id == groups.job_group_id)
            .where(table.assignment_id == assignment.assignment_id)
        )
        with self._database.read() as connection:
            row = connection.execute(statement).one()
        cancelled_at = ReconcileState.from_json(row.observed).cancelled_at
        suspended_at = row.suspended_at
        begun_at = row.opened_at if run_started_at is None else min(row.opened_at, run_started_at)
        if cancelled_at is not None and (row.is_own or cancelled_at > begun_at):
            return Stop(at=cancelled_at, is_final=True)
        if suspended_at is not None and (cancelled_at is None or cancelled_at < suspended_at):
            return Stop(at=suspended_at, is_final=False)
        return None

    def renew(self, assignment: Assignment, lease_seconds: float) -> None:
        """
        Extend the lease, counted from now.

        :raises LeaseLostError: another process took it, or it expired.
        """
        table = schema.assignments
        with self._database.write() as connection:
            now = self.check_lease(connection, assignment)
            connection.execute(
                update(table)
                .where(table.c.assignment_id == assignment.assignment_id)
                .values(lease_until=now + timedelta(seconds=lease_seconds), lease_seconds=lease_seconds)
            )

    def check_lease(self, connection: Connection, assignment: Assignment) -> Any:
        """
        Check the lease, and lock it until the caller's transaction ends.

        :return: The database's time.
        :raises LeaseLostError: another process took it, or it expired.
        """
        table = schema.assignments
        row = connection.execute(
            select(table.c.owner, table.c.state, table.c.lease_until)
            .where(table.c.assignment_id == assignment.assignment_id)
            .with_for_update(read=True)
        ).one()
        now = self._database.time(connection)
        if row.owner != assignment.owner or row.state != OPEN or row.lease_until <= now:
            raise LeaseLostError(
                f"job group {assignment.job_group_id}: the lease of this assignment expired or another process took"
                " it; a retry continues the assignment, and assigns nobody twice"
            )
        return now

    def close(self, assignment: Assignment, count: int) -> None:
        """
        Finish an assignment: no more of its jobs will be added.

        :param count: The number of its jobs in the group.
        :raises LeaseLostError: another process owns it.
        """
        # Whoever runs the task once more wants its query to run once more.
        self.end(assignment, state=CLOSED, sealed_count=count, query_result=None)

    def abandon(self, assignment: Assignment) -> None:
        """
        Abandon an assignment. What is in doubt stays in doubt, and no task waits for more of its jobs.

        :raises LeaseLostError: another process owns it.
        """
        self.end(assignment, state=ABANDONED)

    def end(self, assignment: Assignment, **values: Any) -> None:
        """
        End the lease, and change the row.

        :raises LeaseLostError: another process owns the assignment.
        """
        table = schema.assignments
        with self._database.write() as connection:
            self.check_lease(connection, assignment)
            connection.execute(update(table).where(table.c.assignment_id == assignment.assignment_id).values(**values))
            self._groups.touch(connection, assignment.job_group_id, self._database.take_sequence(connection, 1))


def _insert(connection: Connection, key: TaskKey, job_group_id: str, lease: Mapping[str, Any], now: datetime) -> bool:
    """Insert an assignment with its lease; return ``False`` if it exists."""
    table = schema.assignments
    made = connection.execute(
        insert(connection, table)
        .values(
            assignment_id=key.assignment_id(job_group_id),
            dag_id=key.dag_id,
            run_id=key.run_id,
            task_id=key.task_id,
            map_index=key.map_index,
            job_group_id=job_group_id,
            opened_at=now,
            **lease,
        )
        .on_conflict_do_nothing()
        .returning(table.c.assignment_id)
    ).scalar_one_or_none()
    return made is not None


def _reopen(
    connection: Connection, assignment_id: str, lease: Mapping[str, Any], now: datetime
) -> tuple[bool, datetime | None]:
    """
    Take the lease of an assignment that exists, unless another owner holds it.

    :param lease: The columns to write.
    :return: Whether the assignment was closed, and until when another owner holds the lease.
    """
    table = schema.assignments
    row = connection.execute(select(table).where(table.c.assignment_id == assignment_id).with_for_update()).one()
    if row.state == OPEN and row.owner != lease["owner"] and row.lease_until > now:
        return False, bound_lease(connection, row, now)
    connection.execute(update(table).where(table.c.assignment_id == assignment_id).values(**lease))
    return row.state == CLOSED, None
