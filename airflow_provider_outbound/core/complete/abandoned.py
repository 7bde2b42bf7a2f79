"""Assignments that nobody will finish: their doubtful jobs are settled here, so that no waiter waits for the dead."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from airflow_provider_outbound.core.reconcile import Lease, settle
from airflow_provider_outbound.exceptions import LeaseLostError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Assignment
    from airflow_provider_outbound.core.reconcile import GroupReader

log = logging.getLogger(__name__)

#: An assignment is dead when its lease has been over for so long (seconds) and no other try took it: longer than the
#: pause before a task's next try usually is.
ABANDONED_AFTER = 900.0
#: Lease of the process that settles, seconds; renewed while it works.
_LEASE = 300.0


def settle_dead_assignments(reader: GroupReader, *, dead_for: float) -> None:
    """
    Settle what dead assignments of a group left in doubt, and give them up.

    What two complete scans do not show is unresolved. If the service lists the group incompletely, the lease runs out,
    and a later call tries again.

    :param dead_for: Seconds since the end of the lease of an open assignment that make it a dead one. One that its own
        task gave up is settled as soon as its lease is over.
    """
    # This belongs to a wait: it reads the listing once a scan, and leaves the rest to its next look.
    reader = attrs.evolve(reader, max_passes=1)
    for assignment in reader.ledger.takeovers.take_over(reader.job_group_id, dead_for=dead_for, lease_seconds=_LEASE):
        try:
            _settle(reader, assignment)
        except LeaseLostError:
            log.info("Job group %s: another process settles this assignment now", reader.job_group_id)


def _settle(reader: GroupReader, assignment: Assignment) -> None:
    settings, ledger = reader.client.settings, reader.ledger
    request_seconds = min(settings.connect_timeout + settings.read_timeout, _LEASE / 2)
    with Lease(ledger, assignment, seconds=_LEASE, request_seconds=request_seconds) as lease:
        # Only assignments are taken over whose last request the service must list by now.
        settled = settle(reader, lease, since=ledger.now(), settle_seconds=0)
        if not settled.is_certain:
            return
        ledger.journal.mark_unresolved(assignment, settled.absent)
        ledger.assignments.abandon(assignment)
    log.warning(
        "Job group %s: an assignment ended without finishing; %d of its jobs could not be traced",
        reader.job_group_id,
        len(settled.absent),
    )
