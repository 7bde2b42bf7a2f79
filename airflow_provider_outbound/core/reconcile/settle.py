"""Settling requests whose answer was lost: does the service list their jobs?"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

import attrs

from airflow_provider_outbound.core.reconcile.lease import Lease
from airflow_provider_outbound.core.reconcile.listing import GroupReader

#: Complete scans in which a job must be absent.
_SCANS = 2
#: Scans that may fail to be complete before what is in doubt stays so.
_INCOMPLETE_SCANS = 5
#: Pauses between two scans, seconds; they double.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0

log = logging.getLogger(__name__)


@attrs.frozen
class Settled:
    """
    What scans could not show.

    :param absent: References of the jobs that are still in doubt.
    :param is_certain: Whether their absence is certain; if not, the service never listed the whole group.
    """

    absent: list[str]
    is_certain: bool


def settle(reader: GroupReader, lease: Lease, *, since: datetime, settle_seconds: float) -> Settled:
    """
    Find out whether the service has the jobs of requests without a usable answer. None may be under way.

    Rows that the listing shows, or that a message tells of meanwhile, are accepted. A row is absent if two complete
    scans do not show it, both begun ``settle_seconds`` after the last such request.

    :param lease: Of the assignment that made the requests.
    :param since: When the last of them ended, by the ledger's clock.
    :raises LeaseLostError: another process settles now.
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
            log.info("Job group %s: %d contacts still in doubt", reader.job_group_id, len(left))
        until_due = (due - reader.ledger.now()).total_seconds()
        time.sleep(min(pause, until_due) if until_due > 0 else min(pause, settle_seconds / 4))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return Settled([], is_certain=True)
