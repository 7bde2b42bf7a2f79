"""Assignments that their own task does not finish: other processes take their leases, and settle what is in doubt."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, exists, func, or_, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.leases import bound_lease, is_too_long
from airflow_provider_outbound.core.ledger.records import (
    ABANDONED,
    OPEN,
    Assignment,
    JobState,
    TaskKey,
    UndecidedAssignment,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.assignments import Assignments
    from airflow_provider_outbound.core.ledger.database import Database

#: Prefix of the names of owners that settle what other tasks left in doubt.
SETTLER = "settler:"

_table, _jobs = schema.assignments.c, schema.jobs.c
_DOUBTFUL = and_(_jobs.assignment_id == _table.assignment_id, _jobs.state.in_((JobState.SENDING, JobState.IN_DOUBT)))
#: Assignments that are not finished, with their requests in doubt.
_UNFINISHED = select(
    schema.assignments,
    exists().where(_DOUBTFUL).label("has_doubt"),
    select(func.max(_jobs.sent_at)).where(_DOUBTFUL).scalar_subquery().label("sent_at"),
).where(_table.state.in_((OPEN, ABANDONED)))


class Takeovers:
    """Reads and writes of ``assignments`` by processes other than their own tasks."""

    def __init__(self, database: Database, assignments: Assignments) -> None:
        self._database = database
        self._assignments = assignments

    def take_over(self, job_group_id: str, *, dead_for: float, lease_seconds: float) -> list[Assignment]:
        """
        Take the leases of dead assignments, so that no late try of their task sends while their jobs in doubt are
        settled.

        An assignment whose last request may still appear in a listing is left for a later call.

        :param dead_for: Seconds after the end of its lease at which an open assignment counts as dead. An assignment
            that its own task abandoned with jobs in doubt counts as dead as soon as its lease has expired.
        :param lease_seconds: How long the leases last unless they are renewed.
        """
        unfinished = _UNFINISHED.where(_table.job_group_id == job_group_id)

        def dead(connection: Connection) -> list[Row[Any]]:
            now = self._database.time(connection)
            return [row for row in connection.execute(unfinished) if _is_dead(row, now, dead_for)]

        self._bound_leases(job_group_id)
        with self._database.read() as connection:
            if not dead(connection):
                return []
        owner = f"{SETTLER}{uuid.uuid4().hex}"
        with self._database.write() as connection:
            rows = dead(connection)
            lease_until = self._database.time(connection) + timedelta(seconds=lease_seconds)
            for row in rows:
                connection.execute(
                    update(schema.assignments)
                    .where(_table.assignment_id == row.assignment_id)
                    .values(state=OPEN, owner=owner, lease_until=lease_until, lease_seconds=lease_seconds)
                )
        return [
            Assignment(
                assignment_id=row.assignment_id, job_group_id=job_group_id, owner=owner, reopened=True, was_closed=False
            )
            for row in rows
        ]

    def undecided(self, assignment: Assignment) -> list[UndecidedAssignment]:
        """Other assignments to the same group with requests in doubt or in flight."""
        self._bound_leases(assignment.job_group_id)
        with self._database.read() as connection:
            now = self._database.time(connection)
            rows = connection.execute(
                _UNFINISHED.where(
                    _table.job_group_id == assignment.job_group_id,
                    _table.assignment_id != assignment.assignment_id,
                    exists().where(_DOUBTFUL),
                )
            ).all()
        return [
            UndecidedAssignment(
                assignment_id=row.assignment_id,
                task_key=TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index),
                owner=row.owner,
                is_settling=row.owner.startswith(SETTLER),
                is_abandoned=row.state == ABANDONED,
                is_over=row.state == ABANDONED or row.lease_until <= now,
                lease_until=row.lease_until,
                settle_seconds=row.settle_seconds,
                sent_at=row.sent_at,
            )
            for row in rows
        ]

    def borrow(self, other: UndecidedAssignment, job_group_id: str, lease_seconds: float) -> Assignment | None:
        """
        Take the lease of another task's assignment, so that no late try of it sends while its doubts are settled.

        :return: ``None`` if another process has taken it meanwhile.
        """
        owner = f"{SETTLER}{uuid.uuid4().hex}"
        with self._database.write() as connection:
            now = self._database.time(connection)
            taken = connection.execute(
                update(schema.assignments)
                .where(
                    _table.assignment_id == other.assignment_id,
                    _table.owner == other.owner,
                    _is_idle(now),
                )
                .values(
                    state=OPEN,
                    owner=owner,
                    lease_until=now + timedelta(seconds=lease_seconds),
                    lease_seconds=lease_seconds,
                )
            )
        if not taken.rowcount:
            return None
        return Assignment(
            assignment_id=other.assignment_id,
            job_group_id=job_group_id,
            owner=owner,
            reopened=True,
            was_closed=False,
        )

    def hand_back(self, borrowed: Assignment, other: UndecidedAssignment) -> None:
        """
        End a borrowed lease, and restore the assignment: its own task may still continue it.

        :raises LeaseLostError: another process owns it.
        """
        state = ABANDONED if other.is_abandoned else OPEN
        self._assignments.end(borrowed, state=state, owner=other.owner, lease_until=other.lease_until)

    def has_left(self, assignment: Assignment) -> bool:
        """Whether tasks that have not finished and are not running left contacts unresolved in the group."""
        with self._database.read() as connection:
            now = self._database.time(connection)
            left = exists().where(
                _jobs.assignment_id.in_(
                    select(_table.assignment_id).where(
                        _table.job_group_id == assignment.job_group_id,
                        _table.assignment_id != assignment.assignment_id,
                        _is_idle(now),
                    )
                ),
                _jobs.state == JobState.UNRESOLVED,
            )
            return bool(connection.execute(select(left)).scalar_one())

    def unresolved_tasks(self, job_group_id: str) -> list[TaskKey]:
        """Tasks that have unresolved contacts in the group."""
        unresolved = exists().where(_jobs.assignment_id == _table.assignment_id, _jobs.state == JobState.UNRESOLVED)
        with self._database.read() as connection:
            rows = connection.execute(
                select(schema.assignments)
                .where(_table.job_group_id == job_group_id, unresolved)
                .order_by(_table.opened_at)
            ).all()
        return [TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index) for row in rows]

    def _bound_leases(self, job_group_id: str) -> None:
        """Apply :func:`bound_lease` to a group's leases: a dead task does not shorten its own."""
        held = select(schema.assignments).where(_table.job_group_id == job_group_id, _table.state == OPEN)
        with self._database.read() as connection:
            now = self._database.time(connection)
            if not any(is_too_long(row, now) for row in connection.execute(held)):
                return
        with self._database.write() as connection:
            now = self._database.time(connection)
            for row in connection.execute(held).all():
                bound_lease(connection, row, now)

    def idle(self, connection: Connection, assignment_ids: set[str], *, for_update: bool = False) -> frozenset[str]:
        """The assignments that are not finished and that no process works on."""
        if not assignment_ids:
            return frozenset()
        wanted = select(_table.assignment_id).where(
            _table.assignment_id.in_(assignment_ids), _is_idle(self._database.time(connection))
        )
        return frozenset(connection.execute(wanted.with_for_update() if for_update else wanted).scalars())


def _is_idle(now: datetime) -> Any:
    """Not finished, and no process works on it. A task that abandoned it had no request in flight."""
    return or_(_table.state == ABANDONED, and_(_table.state == OPEN, _table.lease_until <= now))


def _is_dead(row: Row[Any], now: datetime, dead_for: float) -> bool:
    if row.state == ABANDONED and not row.has_doubt:
        return False
    # After a task that abandoned it, or a settler that died, there is no process to wait for.
    patience = 0.0 if row.state == ABANDONED or row.owner.startswith(SETTLER) else dead_for
    if row.lease_until + timedelta(seconds=patience) > now:
        return False
    sent_at: datetime | None = row.sent_at
    return sent_at is None or sent_at + timedelta(seconds=row.settle_seconds) <= now
