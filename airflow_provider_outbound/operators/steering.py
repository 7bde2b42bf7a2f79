"""Operators that act on jobs already assigned: suspend, resume, cancel."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_outbound.arguments import check_duration, check_flags, check_seconds, named_group, text_list
from airflow_provider_outbound.exceptions import (
    JobGroupCancelledError,
    JobGroupTimeoutError,
    OutboundBotConfigError,
    OutboundBotError,
    before_changing,
)
from airflow_provider_outbound.operators.base import MAX_RUN_AGE, OutboundBotOperator, run_guard
from airflow_provider_outbound.triggers.steering import OutboundBotJobsSteeredTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.control import JobCommand
    from airflow_provider_outbound.core.models.job import JobGroup

#: How long an action may take to have its effect: calls in progress are not interrupted.
TIMEOUT = timedelta(minutes=15)


class JobControlOperator(OutboundBotOperator):
    """
    Base of the operators that act on jobs already assigned.

    :param job_group_id: The group, or the return value of another task of this provider.
    :param job_ids: Jobs by the service's ids; an empty list selects none. If some are not in the group, the others are
        acted on, and the task fails.
    :param reference_ids: Jobs by the contacts' reference ids; an empty list selects none. If none is in the group, or
        one that is to be resumed is not, the task fails after the others were acted on. Otherwise their number is
        logged.
    :param all_jobs: All jobs of the group that have not ended.
    :param wait_for_completion: Whether to wait until the action has taken effect.
    :param deferrable: Wait in the triggerer and hold no worker.
    :param timeout: Longest wait; then the task fails. A retry repeats the action.
    :param poll_interval: Interval between two polls of the API (seconds).
    :return: ``job_group_id``, ``requested`` (``None`` for all), and the group's counts afterwards: ``total``,
        ``scheduling``, ``executing``, ``paused``, ``failed``, ``cancelled``, ``completed``.
    """

    template_fields: Sequence[str] = ("job_group_id", "job_ids", "reference_ids", "instance_id", "outboundbot_conn_id")
    action: ClassVar[str]
    #: Whether people may be called afterwards; see :attr:`OutboundBotHook.may_call`.
    may_call: ClassVar[bool] = False

    def __init__(
        self,
        *,
        job_group_id: Any,
        job_ids: Sequence[str] | None = None,
        reference_ids: Sequence[str] | None = None,
        all_jobs: bool = False,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: timedelta = TIMEOUT,
        poll_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.job_ids = job_ids
        self.reference_ids = reference_ids
        self.all_jobs = all_jobs
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval

    @before_changing()
    def execute(self, context: Context) -> dict[str, Any]:
        """
        Send the action, then wait until it has taken effect.

        :raises AirflowFailException: what was to be resumed was cancelled. A retry would find the same.
        """
        return self._control(context)

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """
        Resume after the trigger's event.

        :param event: See :class:`OutboundBotJobsSteeredTrigger`; ``None`` if the triggerer lost it.
        """
        if event is None:
            return self._control(context)
        if event["status"] == "error":
            raise OutboundBotError(str(event["message"]))
        if event["status"] == "timeout":
            with self.hook:
                raise self._too_late(self._command(), event["remaining"])
        self.hook.may_call = self.may_call
        with self.hook:
            return self._result(self._command())

    def check(self, group: JobGroup, context: Context) -> None:
        """Raise if the action must not be sent now."""

    def _control(self, context: Context) -> dict[str, Any]:
        self.hook.may_call = self.may_call
        with self.hook as hook:
            command = self._command()
            if hook.dry_run:
                raise AirflowSkipException("dry run: nothing was sent")
            if not command.is_empty:

                def check(group: JobGroup) -> None:
                    self.check(group, context)
                    if self.may_call:
                        command.check_allowed(hook.client, hook.allowed_phone_numbers)

                try:
                    command.send(hook.client, lambda: hook.ledger, check)
                    command = command.by_job_id(hook.client, lambda: hook.ledger)
                    command.check_not_cancelled(hook.client)
                except JobGroupCancelledError as error:
                    raise AirflowFailException(str(error)) from error
        # Opened again on use: a wait needs the ledger only if the connection limits requests.
        with self.hook:
            if self.wait_for_completion and not command.is_empty:
                self._wait(command)
            return self._result(command)

    def _command(self) -> JobCommand:
        import attrs

        from airflow_provider_outbound.core.control import Action, JobCommand

        job_group_id = named_group(self.job_group_id)
        check_flags(self, "all_jobs", "wait_for_completion", "deferrable")
        check_duration(self.timeout, "timeout")
        check_seconds(self.poll_interval, "poll_interval")
        if self.all_jobs == (self.job_ids is not None or self.reference_ids is not None):
            raise OutboundBotConfigError(
                f"{self.action}: select jobs by job_ids, reference_ids, or all_jobs=True for the whole group"
            )
        command = JobCommand.for_group(
            Action(self.action), job_group_id, lambda: self.hook.ledger, instance_id=self.instance_id
        )
        return attrs.evolve(
            command,
            job_ids=text_list(self.job_ids, "job_ids"),
            reference_ids=text_list(self.reference_ids, "reference_ids"),
            all_jobs=self.all_jobs,
        )

    def _wait(self, command: JobCommand) -> None:
        deadline = datetime.now(UTC) + self.timeout
        while (remaining := command.remaining(self.hook.client)) != 0:
            if self.deferrable:
                trigger = OutboundBotJobsSteeredTrigger(
                    action=self.action,
                    job_group_id=command.job_group_id,
                    job_ids=None if self.all_jobs else list(command.job_ids),
                    outboundbot_conn_id=self.outboundbot_conn_id,
                    instance_id=command.instance_id,
                    poll_interval=self.poll_interval,
                    deadline=deadline,
                )
                self.defer(trigger=trigger, method_name="execute_complete")
            if datetime.now(UTC) >= deadline:
                raise self._too_late(command, remaining)
            time.sleep(self.poll_interval)

    def _too_late(self, command: JobCommand, remaining: int | None) -> Exception:
        jobs = "an unknown number of" if remaining is None else remaining
        text = f"job group {command.job_group_id}: {self.action}: no effect yet on {jobs} jobs after {self.timeout}"
        if command.was_suspended_again(lambda: self.hook.ledger):
            # A retry would resume them.
            return AirflowFailException(
                f"{text}: the group was suspended meanwhile, and stays so. To resume it, clear this task"
            )
        if self.may_call:
            return JobGroupTimeoutError(f"{text}: they are still suspended. Clear this task to resume them again")
        return JobGroupTimeoutError(
            f"{text}; their calls continue, or contacts are still being assigned: try again, or allow a longer timeout"
        )

    def _result(self, command: JobCommand) -> dict[str, Any]:
        command.check_found(self.hook.client, text_list(self.job_ids, "job_ids"))
        progress = command.describe(self.hook.client).progress
        names = ("total", "scheduling", "executing", "paused", "failed", "cancelled", "completed")
        counts = {name: getattr(progress, name) for name in names} if progress else {}
        self.log.info("Job group %s: %s: %s", command.job_group_id, self.action, counts)
        requested = None if self.all_jobs else len(self.job_ids or ()) + len(self.reference_ids or ())
        return {"job_group_id": command.job_group_id, "requested": requested, **counts}


class OutboundBotSuspendJobsOperator(JobControlOperator):
    """
    Suspend jobs: they are not dialled until they are resumed. Calls in progress are not interrupted.

    Arguments and return value are those of :class:`JobControlOperator`.
    """

    action = "suspend"


class OutboundBotResumeJobsOperator(JobControlOperator):
    """
    Resume suspended jobs.

    A retry also resumes jobs that somebody suspended after the try before it had resumed them: pass ``retries=0`` if
    people suspend this group. If the wait ends because the group was suspended meanwhile, there is no retry.

    Other arguments and the return value are those of :class:`JobControlOperator`.

    :param max_run_age: How long after the time that the DAG run stands for people may still be called.
    :param allow_backfill: Whether a backfill may call people.
    """

    action = "resume"
    may_call = True

    def __init__(self, *, max_run_age: timedelta = MAX_RUN_AGE, allow_backfill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_run_age = max_run_age
        self.allow_backfill = allow_backfill

    def check(self, group: JobGroup, context: Context) -> None:
        """Check the rules about late runs and the connection's calling hours, because resumed jobs are dialled."""
        from airflow_provider_outbound.core.rules import check_resume

        now = datetime.now(UTC)
        rules = run_guard(self, context)
        rules.check_run(now)
        check_resume(rules.hours, group, self.hook.ledger.assignments.strategies(group.job_group_id), now)


class OutboundBotCancelJobsOperator(JobControlOperator):
    """
    Cancel jobs permanently. Calls in progress are not interrupted.

    Arguments and return value are those of :class:`JobControlOperator`.
    """

    action = "cancel"
