"""Read a complete job group from the API into the ledger, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from airflow_provider_outbound.core.client import MAX_JOBS_PER_REQUEST, OutboundBotClient
from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.core.models.job import Job, JobGroup
from airflow_provider_outbound.core.reconcile.distinct import DistinctIds

#: How often a listing is read at most: if its order changes between pages, it is read again until it is complete.
MAX_PASSES = 20


@attrs.frozen(kw_only=True)
class GroupReader:
    """
    Reads the jobs of one group from the API.

    :param instance_id: The group's instance; ``None``: the client's.
    :param max_passes: How often :meth:`scan` may read the listing.
    """

    client: OutboundBotClient
    ledger: Ledger
    job_group_id: str
    instance_id: str | None = None
    max_passes: int = MAX_PASSES

    def describe(self) -> JobGroup:
        """Return the group and its progress."""
        return self.client.describe_job_group(job_group_id=self.job_group_id, instance_id=self.instance_id)

    def scan(self) -> bool:
        """
        Record which jobs the group has, without their statuses, because this listing has no calls.

        :return: Whether the listing was complete: its total did not change, and it had that number of distinct jobs.
        """
        total: int | None = None
        with DistinctIds() as met:
            for _ in range(self.max_passes):
                number, read, steady = 1, 0, True
                while True:
                    page = self.client.list_jobs_by_group(
                        job_group_id=self.job_group_id, page_number=number, instance_id=self.instance_id
                    )
                    self.ledger.results.record_listing(self.job_group_id, page.items, includes_calls=False)
                    met.add(job.job_id for job in page.items)
                    steady = steady and total in (None, page.total)
                    total = page.total
                    number, read = number + 1, read + len(page.items)
                    if not page.items or read >= page.total:
                        break
                if steady and met.count() == total:
                    return True
                if steady and met.count() > total:
                    # The service lists more jobs than its total; reading again does not change that.
                    return False
        return False

    def read_results(self) -> int:
        """
        Record every job of the group, with the outcome of its latest call.

        :return: The number of distinct jobs recorded. A listing whose order changes between pages leaves some out.
        """
        with DistinctIds() as met:
            self.ledger.results.record_listing(self.job_group_id, self._results(met))
            return met.count()

    def _results(self, met: DistinctIds) -> Iterator[Job]:
        nameless: list[str] = []
        listed = self.client.iter_jobs_with_result(job_group_id=self.job_group_id, instance_id=self.instance_id)
        for job in listed:
            if job.reference_id or job.phone_number:
                met.add([job.job_id])
                yield job
                continue
            # The contact is part of the latest call, so a job without any call has no contact here.
            nameless.append(job.job_id)
            if len(nameless) == MAX_JOBS_PER_REQUEST:
                yield from self._named(nameless, met)
                nameless.clear()
        yield from self._named(nameless, met)

    def _named(self, job_ids: list[str], met: DistinctIds) -> Iterator[Job]:
        """Yield jobs with their contacts. One that this answer leaves out has not been met."""
        found = self.client.list_jobs(job_ids=job_ids, instance_id=self.instance_id)
        met.add([job.job_id for job in found])
        yield from found
