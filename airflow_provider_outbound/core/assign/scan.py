"""Reading all of a group's jobs from the API into the ledger, and settling with them what is in doubt."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from datetime import datetime, timedelta

import attrs

from airflow_provider_outbound.core.assign.groups import ledger_of
from airflow_provider_outbound.core.assign.intake import Seen
from airflow_provider_outbound.core.assign.lease import Lease
from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.core.models.job import JobGroup

#: A listing whose pages are drawn from a changing order is read again until all its jobs were met.
MAX_PASSES = 20
#: Complete scans in which a job must be absent.
_SCANS = 2
#: Scans that may fail to be complete before what is in doubt stays so.
_INCOMPLETE_SCANS = 5
_LONGEST_WAIT = 15.0

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class GroupReader:
    """The jobs of one group, as the API lists them."""

    client: OutboundBotClient
    ledger: Ledger
    job_group_id: str
    instance_id: str | None = None

    def describe(self) -> JobGroup:
        """The group and its progress."""
        return self.client.describe_job_group(job_group_id=self.job_group_id, instance_id=self.instance_id)

    def scan(self) -> bool:
        """
        Read the whole listing into the ledger.

        :return: Whether it was complete: as many distinct jobs as the listing counted, before and after.
        """
        total: int | None = None
        with closing(Seen(unique_phone=False)) as seen:
            for _ in range(MAX_PASSES):
                number, read, steady = 1, 0, True
                while True:
                    page = self.client.list_jobs_by_group(
                        job_group_id=self.job_group_id, page_number=number, instance_id=self.instance_id
                    )
                    self.ledger.jobs.record_listing(self.job_group_id, page.items, tells_calls=False)
                    seen.add_ids(job.job_id for job in page.items)
                    steady = steady and total in (None, page.total)
                    total = page.total
                    number, read = number + 1, read + len(page.items)
                    if not page.items or read >= page.total:
                        break
                if steady and seen.count() == total:
                    return True
                if steady and seen.count() > total:
                    # The service lists more jobs than it counts; reading again will not mend that.
                    return False
        return False

    def reconcile(self) -> JobGroup:
        """Bring the ledger up to the API if that has more jobs than the ledger knows, or others wrote to the group."""
        group = self.describe()
        known = self.ledger.jobs.counts(self.job_group_id)
        is_ours = ledger_of(group.description) in (None, self.ledger.ledger_id)
        if group.progress is None or group.progress.total > known.total or not is_ours:
            log.info("Job group %s has jobs the ledger does not know; reading them", self.job_group_id)
            self.scan()
        return group


def settle(reader: GroupReader, lease: Lease, *, since: datetime, settle_seconds: float) -> bool:
    """
    Find out what became of requests without a usable answer. Nothing of this assignment may be in flight.

    Rows that the listing shows, or that a message tells of meanwhile, are accepted. Those absent from two complete
    scans, both begun ``settle_seconds`` after the last such request, are marked unresolved.

    :param since: When the last request in doubt ended, by the ledger's clock.
    :return: Whether absence is certain; ``False`` if the service never listed the whole group.
    :raises LeaseLostError: another process settles now.
    """
    jobs, assignment = reader.ledger.jobs, lease.assignment
    due = since + timedelta(seconds=settle_seconds)
    complete = incomplete = 0
    wait = 0.2
    while doubts := [doubt.reference_id for doubt in jobs.in_doubt(assignment)]:
        lease.check()
        begun_at = reader.ledger.now()
        is_complete = reader.scan()
        if begun_at >= due:
            complete, incomplete = complete + is_complete, incomplete + (not is_complete)
        left = [doubt.reference_id for doubt in jobs.in_doubt(assignment)]
        if not left:
            break
        if complete >= _SCANS or incomplete >= _INCOMPLETE_SCANS:
            jobs.mark_unresolved(assignment, left)
            return complete >= _SCANS
        if len(left) != len(doubts) or begun_at < due:
            log.info("Job group %s: %d contacts still in doubt", reader.job_group_id, len(left))
        until_due = (due - reader.ledger.now()).total_seconds()
        time.sleep(min(wait, until_due) if until_due > 0 else min(wait, settle_seconds / 4))
        wait = min(wait * 2, _LONGEST_WAIT)
    return True
