"""Actions that list job groups and jobs: a page, or all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from airflow_provider_outbound.core.client.answers import Page, paginate, parsed, read_page
from airflow_provider_outbound.core.client.base import MAX_JOBS_PER_REQUEST, ClientActions
from airflow_provider_outbound.core.client.errors import unusable
from airflow_provider_outbound.core.models.job import Job, JobGroup
from airflow_provider_outbound.exceptions import OutboundBotConfigError


class ListingActions(ClientActions):
    """Actions that list job groups and jobs. None of them changes anything."""

    def list_job_groups(
        self,
        *,
        search_text: str | None = None,
        status: Sequence[str] = (),
        page_number: int = 1,
        page_size: int = 50,
        instance_id: str | None = None,
    ) -> Page[JobGroup]:
        """
        Return one page of the instance's groups.

        :param search_text: Part of a group's name or id.
        :param status: Only groups in one of these statuses.

        Source: ``ListJobGroups`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "ListJobGroups",
            InstanceId=self._instance(instance_id),
            SearchText=search_text or None,
            JobGroupStatusFilter=",".join(status) or None,
            PageNumber=page_number,
            PageSize=page_size,
        )
        return read_page(
            "ListJobGroups", answer.get("JobGroups"), "TotalCount", JobGroup.from_api, page_number, page_size
        )

    def iter_job_groups(
        self,
        *,
        search_text: str | None = None,
        status: Sequence[str] = (),
        page_size: int = 50,
        instance_id: str | None = None,
    ) -> Iterator[JobGroup]:
        """Yield every group of :meth:`list_job_groups`."""
        return paginate(
            partial(
                self.list_job_groups,
                search_text=search_text,
                status=status,
                page_size=page_size,
                instance_id=instance_id,
            )
        )

    def list_jobs_by_group(
        self,
        *,
        job_group_id: str,
        status: str | None = None,
        page_number: int = 1,
        page_size: int = 100,
        instance_id: str | None = None,
    ) -> Page[Job]:
        """
        Return one page of a group's jobs: status and reference id, without calls.

        :param status: Only jobs in this status.

        Source: ``ListJobsByGroup`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "ListJobsByGroup",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            JobStatus=status,
            PageNumber=page_number,
            PageSize=page_size,
        )
        return read_page("ListJobsByGroup", answer.get("Jobs"), "TotalCount", Job.from_api, page_number, page_size)

    def iter_jobs_by_group(
        self, *, job_group_id: str, status: str | None = None, page_size: int = 100, instance_id: str | None = None
    ) -> Iterator[Job]:
        """Yield every job of :meth:`list_jobs_by_group`; if it changes meanwhile, some may be repeated or missing."""
        return paginate(
            partial(
                self.list_jobs_by_group,
                job_group_id=job_group_id,
                status=status,
                page_size=page_size,
                instance_id=instance_id,
            )
        )

    def query_jobs_with_result(
        self,
        *,
        job_group_id: str,
        status: str | None = None,
        answered: bool | None = None,
        page_number: int = 1,
        page_size: int = 100,
        instance_id: str | None = None,
    ) -> Page[Job]:
        """
        Return one page of a group's jobs, each with the outcome of its latest call.

        :param status: Only jobs in this status.
        :param answered: Only jobs whose call was answered, or was not.

        Source: ``QueryJobsWithResult`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "QueryJobsWithResult",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            JobStatusFilter=status,
            HasAnsweredFilter=answered,
            PageNumber=page_number,
            PageSize=page_size,
        )
        read = partial(Job.from_query, job_group_id=job_group_id)
        return read_page("QueryJobsWithResult", answer.get("Jobs"), "RowCount", read, page_number, page_size)

    def iter_jobs_with_result(
        self, *, job_group_id: str, status: str | None = None, page_size: int = 100, instance_id: str | None = None
    ) -> Iterator[Job]:
        """Yield every job of :meth:`query_jobs_with_result`; if it changes, some may be repeated or missing."""
        return paginate(
            partial(
                self.query_jobs_with_result,
                job_group_id=job_group_id,
                status=status,
                page_size=page_size,
                instance_id=instance_id,
            )
        )

    def list_jobs(self, *, job_ids: Sequence[str], instance_id: str | None = None) -> tuple[Job, ...]:
        """
        Return up to 99 jobs with their calls. Jobs that the API does not know are left out.

        Source: ``ListJobs`` (2019-12-26).
        """
        if len(job_ids) > MAX_JOBS_PER_REQUEST:
            raise OutboundBotConfigError(f"ListJobs: {len(job_ids)} job ids; send at most {MAX_JOBS_PER_REQUEST}")
        if not job_ids:
            return ()
        answer = self._sender.repeatable("ListJobs", InstanceId=self._instance(instance_id), JobId=job_ids)
        jobs = answer.get("Jobs")
        if not isinstance(jobs, list):
            raise unusable("ListJobs", "Jobs is not a list")
        return tuple(parsed("ListJobs", job, Job.from_api) for job in jobs)
