"""Operators that act on jobs already assigned: suspend, resume, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.exceptions import OutboundBotApiError, OutboundBotConfigError
from airflow_provider_outbound.operators.base import OutboundBotOperator, named_group, text_list

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.models.job import JobGroup, Progress


class SteerJobsOperator(OutboundBotOperator):
    """
    Base of the operators that act on jobs already assigned.

    :param job_group_id: The group, or what another of our tasks returned.
    :param job_ids: Jobs, by the service's ids; an empty list is none.
    :param reference_ids: Jobs, by the contacts' reference ids; an empty list is none.
    :param all_jobs: All jobs of the group that have not ended.
    :return: ``job_group_id``, ``requested`` (``None`` for all), and the group's counts afterwards: ``total``,
        ``scheduling``, ``executing``, ``paused``, ``failed``, ``cancelled``, ``completed``.
    """

    template_fields: Sequence[str] = ("job_group_id", "job_ids", "reference_ids", "instance_id", "outboundbot_conn_id")
    action: ClassVar[str]

    def __init__(
        self,
        *,
        job_group_id: Any,
        job_ids: Sequence[str] | None = None,
        reference_ids: Sequence[str] | None = None,
        all_jobs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.job_ids = job_ids
        self.reference_ids = reference_ids
        self.all_jobs = all_jobs

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Act, then look once what came of it."""
        job_group_id = named_group(self.job_group_id)
        job_ids = text_list(self.job_ids, "job_ids")
        reference_ids = text_list(self.reference_ids, "reference_ids")
        if self.all_jobs == (self.job_ids is not None or self.reference_ids is not None):
            raise OutboundBotConfigError(
                f"{self.action}: say which jobs: job_ids, reference_ids, or all_jobs=True for the whole group"
            )
        if self.hook.dry_run:
            raise AirflowSkipException("dry run: nothing was sent")
        with self.open_ledger() as ledger:
            record = ledger.jobs.get_job_group(job_group_id)
        instance_id = self.instance_id or (record.instance_id if record else None)
        client = self.hook.client
        group = client.describe_job_group(job_group_id=job_group_id, instance_id=instance_id)
        wanted = len(job_ids) + len(reference_ids)
        is_finished = group.progress is not None and group.progress.total > 0 and group.progress.unfinished == 0
        if wanted or self.all_jobs:
            if not is_finished:
                self.check(group)
            try:
                getattr(client, self.action)(
                    job_group_id=job_group_id,
                    instance_id=instance_id,
                    job_ids=job_ids,
                    reference_ids=reference_ids,
                    all_jobs=self.all_jobs,
                )
            except OutboundBotApiError as error:
                # Asked all the same, because progress may lag behind; that it refuses then is no failure.
                if not is_finished:
                    raise
                self.log.info("Job group %s has ended: %s", job_group_id, error)
            if self.all_jobs:
                self.note_all(job_group_id, is_finished)
            group = client.describe_job_group(job_group_id=job_group_id, instance_id=instance_id)
            if self.all_jobs and group.progress is not None and not self.is_done(group.progress):
                self.log.warning("Job group %s: not all jobs are as asked for yet", job_group_id)
        counts = _counts(group)
        self.log.info("Job group %s: %s: %s", job_group_id, self.action, counts)
        return {"job_group_id": job_group_id, "requested": None if self.all_jobs else wanted, **counts}

    def check(self, group: JobGroup) -> None:
        """Refuse what must not be done now."""

    def note_all(self, job_group_id: str, was_finished: bool) -> None:
        """Remember that the whole group was asked to change."""

    def is_done(self, progress: Progress) -> bool:
        """Whether a group looks as it should after the action; calls on the line are finished first."""
        raise NotImplementedError


class OutboundBotSuspendJobsOperator(SteerJobsOperator):
    """
    Hold jobs back: they are not dialled until they are resumed. A call on the line is finished first.

    Arguments and result are those of :class:`SteerJobsOperator`.
    """

    action = "suspend_jobs"

    def is_done(self, progress: Progress) -> bool:
        """Nothing waits to be dialled."""
        return progress.scheduling == 0


class OutboundBotResumeJobsOperator(SteerJobsOperator):
    """
    Let suspended jobs go on.

    Arguments and result are those of :class:`SteerJobsOperator`.
    """

    action = "resume_jobs"

    def check(self, group: JobGroup) -> None:
        """Resumed jobs are dialled, so the connection's calling hours apply."""
        from airflow_provider_outbound.operators.guards import check_hours, window_of

        check_hours(self.hook.calling_hours, window_of(group), datetime.now(UTC))

    def is_done(self, progress: Progress) -> bool:
        """Nothing is held back."""
        return progress.paused == 0


class OutboundBotCancelJobsOperator(SteerJobsOperator):
    """
    End jobs for good. A call on the line is finished first.

    Arguments and result are those of :class:`SteerJobsOperator`.
    """

    action = "cancel_jobs"

    def note_all(self, job_group_id: str, was_finished: bool) -> None:
        """A sensor with ``on_cancelled="fail"`` must know it of a group that is cancelled part-way, too."""
        from airflow_provider_outbound.core.complete import note_cancelled

        if not was_finished:
            with self.open_ledger() as ledger:
                note_cancelled(ledger, job_group_id)

    def is_done(self, progress: Progress) -> bool:
        """Nothing will be dialled."""
        return progress.scheduling == 0 and progress.paused == 0


def _counts(group: JobGroup) -> dict[str, int]:
    progress = group.progress
    names = ("total", "scheduling", "executing", "paused", "failed", "cancelled", "completed")
    return {name: getattr(progress, name) for name in names} if progress else {}
