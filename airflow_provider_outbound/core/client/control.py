"""Actions that suspend, resume and cancel jobs of a group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from airflow_provider_outbound.core.client.base import MAX_JOBS_PER_REQUEST, ClientActions
from airflow_provider_outbound.exceptions import OutboundBotConfigError


class ControlActions(ClientActions):
    """Actions that suspend, resume and cancel jobs of a group. Safe to repeat."""

    def suspend_jobs(
        self,
        *,
        job_group_id: str,
        job_ids: Sequence[str] = (),
        reference_ids: Sequence[str] = (),
        all_jobs: bool = False,
        instance_id: str | None = None,
    ) -> None:
        """
        Pause jobs of a group: those named, or all.

        Source: ``SuspendJobs`` (2019-12-26).
        """
        self._control("SuspendJobs", job_group_id, job_ids, reference_ids, all_jobs, instance_id)

    def resume_jobs(
        self,
        *,
        job_group_id: str,
        job_ids: Sequence[str] = (),
        reference_ids: Sequence[str] = (),
        all_jobs: bool = False,
        instance_id: str | None = None,
    ) -> None:
        """
        Resume paused jobs of a group: those named, or all.

        Source: ``ResumeJobs`` (2019-12-26).
        """
        self._control("ResumeJobs", job_group_id, job_ids, reference_ids, all_jobs, instance_id)

    def cancel_jobs(
        self,
        *,
        job_group_id: str,
        job_ids: Sequence[str] = (),
        reference_ids: Sequence[str] = (),
        all_jobs: bool = False,
        instance_id: str | None = None,
    ) -> None:
        """
        Cancel jobs of a group permanently: those named, or all.

        Source: ``CancelJobs`` (2019-12-26).
        """
        self._control("CancelJobs", job_group_id, job_ids, reference_ids, all_jobs, instance_id)

    def _control(
        self,
        action: str,
        job_group_id: str,
        job_ids: Sequence[str],
        reference_ids: Sequence[str],
        all_jobs: bool,
        instance_id: str | None,
    ) -> None:
        if all_jobs and (job_ids or reference_ids):
            raise OutboundBotConfigError(f"{action}: give either all_jobs, or job_ids and reference_ids")
        send = partial(
            self._sender.repeatable,
            action,
            # Jobs are resumed at the connection's rate. Stopping calls does not wait for other requests.
            urgent=action != "ResumeJobs",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            All=all_jobs,
        )
        if all_jobs:
            send()
        for parameter, values in (("JobId", job_ids), ("JobReferenceId", reference_ids)):
            for start in range(0, len(values), MAX_JOBS_PER_REQUEST):
                send(**{parameter: values[start : start + MAX_JOBS_PER_REQUEST]})
