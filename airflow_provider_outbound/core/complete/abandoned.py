"""Settling the jobs in doubt of dead assignments, so that no task waits for them forever."""

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

#: Seconds after the end of its lease at which an assignment counts as dead if no other try has taken it. Longer than
#: the usual pause before a task's next try.
ABANDONED_AFTER = 900.0
#: The lease of the process that settles, seconds; renewed while it works.
_LEASE = 300.0


def settle_dead_assignments(reader: GroupReader, *, dead_for: float) -> None:
    """
    Settle the jobs that dead assignments of a group left in doubt, and abandon the assignments.

    Jobs that two complete scans do not show are unresolved. If the service lists the group incompletely, the lease
    expires, and a later call tries again.

    :param dead_for: Seconds after the end of its lease at which an open assignment counts as dead. An assignment that
        its own task abandoned is settled as soon as its lease has expired.
    """
    # Part of a wait: each scan reads the listing once, and the rest is left to the next comparison.
    reader = attrs.evolve(reader, max_passes=1)
    for assignment in reader.ledger.takeovers.take_over(reader.job_group_id, dead_for=dead_for, lease_seconds=_LEASE):
        try:
            _settle(reader, assignment)
        except LeaseLostError:
            log.info("Job group %s: another process is settling this assignment", reader.job_group_id)


def _settle(reader: GroupReader, assignment: Assignment) -> None:
    settings, ledger = reader.client.settings, reader.ledger
    request_seconds = min(settings.connect_timeout + settings.read_timeout, _LEASE / 2)
    with Lease(ledger, assignment, seconds=_LEASE, request_seconds=request_seconds) as lease:
        # take_over() only returns assignments whose last request the service must list by now.
        settled = settle(reader, lease, since=ledger.now(), settle_seconds=0)
        if not settled.is_certain:
            return
        ledger.journal.mark_unresolved(assignment, settled.absent)
        ledger.assignments.abandon(assignment)
    log.warning(
        "Job group %s: an assignment ended without finishing; %d of its jobs are unresolved",
        reader.job_group_id,
        len(settled.absent),
    )
