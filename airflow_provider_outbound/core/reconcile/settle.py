"""Settle requests whose answer was lost, by whether the service lists their jobs."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

import attrs

from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.reconcile.lease import Lease
from airflow_provider_outbound.core.reconcile.listing import GroupReader

#: The number of complete scans from which a job must be absent.
_SCANS = 2
#: The number of incomplete scans after which jobs in doubt stay in doubt.
_INCOMPLETE_SCANS = 5
#: First and longest pause between two scans, seconds; each is twice as long as the one before.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0

log = logging.getLogger(__name__)


@attrs.frozen
class Settled:
    """
    The result of settling.

    :param absent: References of the jobs that are still in doubt, because no scan showed them.
    :param is_certain: Whether their absence is certain. If not, the service never listed the complete group.
    """

    absent: list[str]
    is_certain: bool


def settle(reader: GroupReader, lease: Lease, *, since: datetime, settle_seconds: float) -> Settled:
    """
    Find out whether the service has the jobs of requests without a usable answer. No request may be in flight.

    A job becomes accepted if the listing shows it, or if a message about it arrives. A job is absent if two complete
    scans do not show it, both begun at least ``settle_seconds`` after the last of these requests.

    :param lease: The lease of the assignment that made the requests.
    :param since: When the last of these requests ended, by the ledger's clock.
    :raises LeaseLostError: another process has taken the lease.
    """
    ledger, assignment = reader.ledger, lease.assignment
    due = since + timedelta(seconds=settle_seconds)
    complete = incomplete = 0
    pause = _FIRST_PAUSE
    while doubts := [doubt.reference_id for doubt in ledger.journal.in_doubt(assignment)]:
        lease.check()
        begun_at = reader.ledger.now()
        is_complete = reader.scan()
        if begun_at >= due:
            complete, incomplete = complete + is_complete, incomplete + (not is_complete)
        left = [doubt.reference_id for doubt in ledger.journal.in_doubt(assignment)]
        if not left:
            break
        if complete >= _SCANS or incomplete >= _INCOMPLETE_SCANS:
            return Settled(left, is_certain=complete >= _SCANS)
        if len(left) != len(doubts) or begun_at < due:
            log.info("Job group %s: %s still in doubt", reader.job_group_id, count_of(len(left), "contact"))
        until_due = (due - reader.ledger.now()).total_seconds()
        time.sleep(min(pause, until_due) if until_due > 0 else min(pause, settle_seconds / 4))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return Settled([], is_certain=True)
