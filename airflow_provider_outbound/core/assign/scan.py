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
from airflow_provider_outbound.exceptions import OutboundBotAnswerError, OutboundBotConfigError

#: A listing whose pages are drawn from a changing order is read again until all its jobs were met.
MAX_PASSES = 20
#: Complete scans in which a job must be absent.
_SCANS = 2
#: Scans that may fail to be complete before what is in doubt stays so.
_INCOMPLETE_SCANS = 5
_LONGEST_WAIT = 15.0
#: Seconds between two scans of a group that was not listed whole.
_RESCAN_PAUSE = 0.5

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

    def reconcile(self, lease: Lease, *, settle_seconds: float, by_phone: bool) -> JobGroup:
        """
        Bring the ledger up to the API if that has more jobs than the ledger knows, or if another ledger wrote to the
        group: then only after ``settle_seconds``, in which the service lists what that ledger sent last.

        :param by_phone: Whether jobs are recognised by their numbers.
        :raises OutboundBotConfigError: another ledger's jobs cannot be recognised, for their numbers are masked.
        :raises OutboundBotAnswerError: the service does not list the whole group.
        """
        group = self.describe()
        is_ours = ledger_of(group.description) in (None, self.ledger.ledger_id)
        if not is_ours:
            self._wait_for_listing(lease, settle_seconds)
        elif group.progress is not None and group.progress.total <= self.ledger.jobs.counts(self.job_group_id).total:
            return group
        log.info("Job group %s may have jobs the ledger does not know; reading them", self.job_group_id)
        self._scan_whole(group if is_ours else None, lease)
        if not is_ours and by_phone and self.ledger.jobs.has_nameless_jobs(self.job_group_id):
            raise OutboundBotConfigError(
                f"job_group_id: job group {self.job_group_id} has jobs of another ledger whose numbers the service"
                " does not show in full, so whether they are these contacts is not known; create another job group, or"
                " use the ledger that assigned them. Nobody was called"
            )
        return group

    def _scan_whole(self, group: JobGroup | None, lease: Lease) -> None:
        """
        Scan until the listing was complete.

        :param group: If given, it is enough that the ledger has as many rows as the group has jobs: other tasks of the
            ledger may be adding more meanwhile, so that no listing of it is complete.
        """
        for scan in range(_INCOMPLETE_SCANS):
            if scan:
                lease.check()
                time.sleep(_RESCAN_PAUSE)
            if self.scan():
                return
            if group is not None and group.progress is not None:
                known = self.ledger.jobs.counts(self.job_group_id)
                if group.progress.total <= known.total + known.in_doubt + known.unresolved:
                    return
        raise OutboundBotAnswerError(
            "ListJobsByGroup",
            "IncompleteListing",
            f"the service does not list the whole job group {self.job_group_id}, so who was assigned to it is not"
            " known; try again later. Nobody was called",
        )

    def _wait_for_listing(self, lease: Lease, settle_seconds: float) -> None:
        log.warning(
            "Job group %s was filled by another ledger; waiting %g s until the service lists all that it sent",
            self.job_group_id,
            settle_seconds,
        )
        until = time.monotonic() + settle_seconds
        while (left := until - time.monotonic()) > 0:
            lease.check()
            time.sleep(min(left, 1.0))


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
