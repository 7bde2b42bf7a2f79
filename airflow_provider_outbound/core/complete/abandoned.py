"""Assignments that nobody will finish: their doubtful jobs are settled here, so that no waiter waits for the dead."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.exceptions import LeaseLostError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import Assignment, Ledger

log = logging.getLogger(__name__)

#: An assignment is dead when its lease has been over for so long (seconds) and no other try took it: longer than the
#: pause before a task's next try usually is.
ABANDONED_AFTER = 900.0
#: Lease of the process that settles, seconds; a scan renews it.
_LEASE = 300.0
_OWNER = "settler:"
#: Scans in a row before it is left to the next look; a listing that changes meanwhile is not complete.
_TRIES = 4


def settle_dead_assignments(
    ledger: Ledger, client: OutboundBotClient, job_group_id: str, instance_id: str | None, *, dead_for: float
) -> bool:
    """
    Settle what dead assignments of a group left in doubt, and give them up.

    :param dead_for: Seconds since the end of the lease of an open assignment that make it a dead one. One that its own
        task gave up is settled as soon as its lease is over.
    :return: Whether anything changed.
    """
    changed = False
    for assignment in _take_over(ledger, job_group_id, dead_for):
        try:
            changed |= _settle(ledger, client, assignment, instance_id)
        except LeaseLostError:
            log.info("Job group %s: another process settles this assignment now", job_group_id)
    return changed


def _take_over(ledger: Ledger, job_group_id: str, dead_for: float) -> list[Assignment]:
    """
    Take the leases of dead assignments, so that no late try of their task sends while its doubts are settled.

    Those whose last request could still appear in a listing are left to a later look.
    """
    from sqlalchemy import exists, func, select, update

    from airflow_provider_outbound.core.ledger import Assignment
    from airflow_provider_outbound.core.ledger.schema import assignments, jobs

    table = assignments.c
    doubtful = (jobs.c.assignment_id == table.assignment_id) & jobs.c.state.in_(("sending", "in_doubt"))
    unfinished = select(
        assignments,
        exists().where(doubtful).label("has_doubt"),
        select(func.max(jobs.c.sent_at)).where(doubtful).scalar_subquery().label("sent_at"),
    ).where(table.job_group_id == job_group_id, table.state.in_(("open", "abandoned")))

    def dead(connection: Connection) -> list[Row[Any]]:
        now = ledger.time(connection)
        return [row for row in connection.execute(unfinished) if _is_dead(row, now, dead_for)]

    with ledger.read() as connection:
        if not dead(connection):
            return []
    owner = f"{_OWNER}{uuid.uuid4().hex}"
    with ledger.write() as connection:
        rows = dead(connection)
        lease_until = ledger.time(connection) + timedelta(seconds=_LEASE)
        for row in rows:
            connection.execute(
                update(assignments)
                .where(table.assignment_id == row.assignment_id)
                .values(state="open", owner=owner, lease_until=lease_until)
            )
    return [
        Assignment(
            assignment_id=row.assignment_id, job_group_id=job_group_id, owner=owner, reopened=True, was_sealed=False
        )
        for row in rows
    ]


def _is_dead(row: Row[Any], now: datetime, dead_for: float) -> bool:
    if row.state == "abandoned" and not row.has_doubt:
        return False
    # A task that gave up, and a settler that died itself, leave nobody to wait for.
    patience = 0.0 if row.state == "abandoned" or row.owner.startswith(_OWNER) else dead_for
    if row.lease_until + timedelta(seconds=patience) > now:
        return False
    sent_at: datetime | None = row.sent_at
    return sent_at is None or sent_at + timedelta(seconds=row.settle_seconds) <= now


def _settle(ledger: Ledger, client: OutboundBotClient, assignment: Assignment, instance_id: str | None) -> bool:
    """
    Look for the doubtful jobs in two complete scans; what neither shows is unresolved.

    :return: Whether the assignment is settled; else its lease runs out, and a later look tries again.
    """
    group_id = assignment.job_group_id
    complete_scans = 0
    for _ in range(_TRIES + 1):
        doubts = ledger.jobs.in_doubt(assignment)
        if not doubts or complete_scans == 2:
            ledger.jobs.mark_unresolved(assignment, [doubt.reference_id for doubt in doubts])
            ledger.jobs.abandon(assignment)
            log.warning(
                "Job group %s: an assignment ended without finishing; %d of its jobs could not be traced",
                group_id,
                len(doubts),
            )
            return True
        complete_scans += scan(ledger, client, group_id, instance_id)
        ledger.jobs.renew(assignment, _LEASE)
    return False


def scan(ledger: Ledger, client: OutboundBotClient, job_group_id: str, instance_id: str | None) -> bool:
    """
    Take in the whole listing of a group.

    :return: Whether it was complete: as many distinct jobs as the total before and after it.
    """
    before = client.list_jobs_by_group(job_group_id=job_group_id, page_size=1, instance_id=instance_id).total
    seen: set[str] = set()

    def listed() -> Iterator[Job]:
        for job in client.iter_jobs_by_group(job_group_id=job_group_id, instance_id=instance_id):
            seen.add(job.job_id)
            yield job

    ledger.jobs.record_listing(job_group_id, listed())
    after = client.list_jobs_by_group(job_group_id=job_group_id, page_size=1, instance_id=instance_id).total
    return before == len(seen) == after
