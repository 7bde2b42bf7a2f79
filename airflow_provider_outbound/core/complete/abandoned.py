"""Assignments that nobody will finish: their doubtful jobs are settled here, so that no waiter waits for the dead."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.exceptions import LeaseLostError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import Assignment, Ledger

log = logging.getLogger(__name__)

#: An assignment is dead when its lease has been over for so long (seconds) and no other try took it: longer than the
#: pause before a task's next try usually is.
ABANDONED_AFTER = 900.0
#: Lease of the process that settles, seconds; a scan renews it.
_LEASE = 300.0
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
    for assignment in ledger.jobs.take_over(job_group_id, dead_for=dead_for, lease_seconds=_LEASE):
        try:
            changed |= _settle(ledger, client, assignment, instance_id)
        except LeaseLostError:
            log.info("Job group %s: another process settles this assignment now", job_group_id)
    return changed


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

    ledger.jobs.record_listing(job_group_id, listed(), tells_calls=False)
    after = client.list_jobs_by_group(job_group_id=job_group_id, page_size=1, instance_id=instance_id).total
    return before == len(seen) == after
