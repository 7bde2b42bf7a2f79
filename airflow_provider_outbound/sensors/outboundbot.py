"""The sensor that waits for a job group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound import config
from airflow_provider_outbound.arguments import check_choice, check_flags, named_group, whole_number
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import JobGroupFailedError, LedgerUnavailableError, OutboundBotError
from airflow_provider_outbound.hooks.metrics import count_results
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook
from airflow_provider_outbound.links.outboundbot import OutboundBotConsoleLink
from airflow_provider_outbound.sensors.errors import OutboundBotGroupCancelledError, OutboundBotSensorTimeoutError
from airflow_provider_outbound.sensors.killed import cancel_if_ended
from airflow_provider_outbound.sensors.late import LONG_AGO, cancel_and_wait, cancel_if_late, read_end
from airflow_provider_outbound.sensors.troubles import Troubles
from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.complete import Completion, Summary

#: How long last calls and messages may take after the end of a group's window.
TIMEOUT_MARGIN = timedelta(hours=2)


class OutboundBotJobCompleteSensor(BaseSensorOperator):
    """
    Wait until every job of a group has ended, without holding a worker.

    Returns ``job_group_id``, ``total``, ``completed``, ``succeeded``, ``failed``, ``cancelled``, ``answered``,
    ``unanswered``, ``not_dialled``, ``other`` (these four add up to ``completed``), ``answer_rate`` (answered of
    completed), ``by_status``, ``by_failure_reason``, ``by_call_status`` (of each job's last call), ``by_tag`` (by
    ``NAME=VALUE``; only by ``NAME`` if the values are what people said; empty if the ledger does not know the tags),
    ``started_at``, ``ended_at`` (ISO 8601, UTC), ``recovered`` (results that came from the API and not by a message),
    ``unresolved`` (contacts whose status is unknown: they may or may not have been assigned; not part of the total),
    ``mismatch`` (the group ended with other jobs than were assigned, or a task gave up assigning to it), ``timed_out``
    and ``group_cancelled``.

    :param job_group_id: The group, or the return value of the operator that created it. Templated.
    :param expected_jobs: The number of jobs the group must have, if programs other than this ledger's tasks assign.
    :param instance_id: The group's bot instance; ``None`` for the ledger's, or else the connection's. Templated.
    :param outboundbot_conn_id: Connection of type ``outboundbot``. Templated.
    :param rocketmq_conn_id: Connection of type ``rocketmq``; ``None`` to use only the API. Templated.
    :param deferrable: Wait in the triggerer. Otherwise by ``mode``, and without messages if triggers collect them.
    :param timeout: Longest wait, timedelta or seconds; ``None``: until :data:`TIMEOUT_MARGIN` after the end of the
        group's window, or after the start if that is later; without a window, ``[sensors] default_timeout``. Like any
        Airflow sensor, it is not retried after that, whatever its ``retries``.
    :param on_timeout: ``fail``; ``partial``: succeed with the results so far; ``cancel``: also cancel the other jobs.
        A wait that fails before its time, for example because a key of the ledger is missing, cancels nothing.
    :param on_cancelled: ``fail`` or ``succeed`` if the group was cancelled as a whole. Single jobs may always be
        cancelled.
    :param on_unresolved_jobs: ``fail`` or ``accept`` if the group has unresolved contacts, for example because the
        task that assigns was asked to hold them.
    :param enrich: At the end, fetch the tags of answered jobs from the API for ``by_tag``: one request per 100 answered
        jobs. Without it ``by_tag`` counts only what the ledger already has.
    :param cancel_on_kill: Cancel the group's jobs when a person marks this waiting task as failed or successful, or its
        run exceeds ``dagrun_timeout``. Clearing it cancels nothing. Before Airflow 3.3 a deferred task is not notified.
    """

    template_fields: Sequence[str] = (
        "job_group_id",
        "expected_jobs",
        "instance_id",
        "outboundbot_conn_id",
        "rocketmq_conn_id",
    )
    operator_extra_links = (OutboundBotConsoleLink(),)
    ui_color = "#e2f0d9"

    def __init__(
        self,
        *,
        job_group_id: Any,
        expected_jobs: int | None = None,
        instance_id: str | None = None,
        outboundbot_conn_id: str = OutboundBotHook.default_conn_name,
        rocketmq_conn_id: str | None = RocketMQHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: timedelta | float | None = None,
        on_timeout: str = "fail",
        on_cancelled: str = "fail",
        on_unresolved_jobs: str = "fail",
        cancel_on_kill: bool = False,
        enrich: bool = False,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        if timeout is not None:  # before Airflow 3.3 the base class does not accept None
            kwargs["timeout"] = timeout
        super().__init__(mode=mode, **kwargs)
        self.job_group_id = job_group_id
        self.expected_jobs = expected_jobs
        self.instance_id = instance_id
        self.outboundbot_conn_id = outboundbot_conn_id
        self.rocketmq_conn_id = rocketmq_conn_id
        self.deferrable = deferrable
        self.wait_timeout = timeout
        self.on_timeout = on_timeout
        self.on_cancelled = on_cancelled
        self.on_unresolved_jobs = on_unresolved_jobs
        self.cancel_on_kill = cancel_on_kill
        self.enrich = enrich
        self._troubles = Troubles()
        self._looked_up_at = time.monotonic()

    def execute(self, context: Context) -> Any:
        self._check_arguments()
        with self._waiting(lambda: self._first_poke(context)):
            if not self.deferrable:
                # This sensor has its own deadline; the base class must not time out earlier.
                self.timeout = timedelta(days=3650).total_seconds()
                return super().execute(context)
            summary = self._check()
            if summary is not None:
                return self._finish(summary)
            deadline = self._deadline(datetime.now(UTC))
        return self._defer(deadline)

    def poke(self, context: Context) -> PokeReturnValue:
        try:
            return self._poke(context)
        except LedgerUnavailableError as error:
            if datetime.now(UTC) >= self._deadline(self._first_poke(context)):
                raise
            self._troubles.report_outage(self._group_id, error)
        return PokeReturnValue(is_done=False)

    def _poke(self, context: Context) -> PokeReturnValue:
        self._take_up_corrections()
        summary = self._completion.check()
        if summary is not None:
            return PokeReturnValue(is_done=True, xcom_value=self._finish(summary))
        self._completion.progress.log(self._completion.changes)
        if self.rocketmq_conn_id is not None and config.load().collector == "external":
            self._troubles.report_silence(self._group_id, self.hook.ledger, self.rocketmq_conn_id)
        if datetime.now(UTC) < self._deadline(self._first_poke(context)):
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._time_out())

    def _first_poke(self, context: Context) -> datetime:
        started_at = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        return started_at or self._started_at

    def execute_complete(
        self,
        context: Context,  # noqa: ARG002 - Airflow passes it
        event: Mapping[str, Any] | None = None,
        deadline: str | None = None,
    ) -> Any:
        """
        Resume after the trigger's event.

        :param event: See :class:`OutboundBotJobCompleteTrigger`; ``None`` if the triggerer lost it.
        :param deadline: When to give up, ISO 8601.
        """
        is_over = deadline is not None and datetime.fromisoformat(deadline) <= datetime.now(UTC)
        is_over = is_over or (event is not None and event["status"] == "timeout")
        with self._waiting(lambda: LONG_AGO if is_over else datetime.now(UTC)):
            if event is None:
                summary = self._check()
                if summary is not None:
                    return self._finish(summary)
                until = self._deadline(datetime.now(UTC)) if deadline is None else datetime.fromisoformat(deadline)
            elif event["status"] == "complete":
                return self._finish(dict(event["summary"]))
            elif event["status"] == "timeout":
                # The group's window may have been extended meanwhile.
                until = self._deadline(LONG_AGO)
                if until <= datetime.now(UTC):
                    return self._time_out()
            else:
                kind = JobGroupFailedError if event.get("kind") == "JobGroupFailedError" else OutboundBotError
                raise kind(str(event["message"]))
        return self._defer(until)

    def on_kill(self) -> None:
        """Cancel the group's jobs, if the author asked for that and a person has ended this task."""
        if self.cancel_on_kill:
            hook = OutboundBotHook(self.outboundbot_conn_id)
            cancel_if_ended(hook, self._group_id, self.instance_id)

    def _check(self) -> Summary | None:
        """Check once; a ledger that is unavailable is waited for in the triggerer."""
        try:
            return self._completion.check()
        except LedgerUnavailableError as error:
            self._troubles.report_outage(self._group_id, error)
            return None

    @cached_property
    def hook(self) -> OutboundBotHook:
        """The hook of the connection, which owns client and ledger."""
        return self._new_hook()

    def _new_hook(self, *, require_keys: bool | None = True) -> OutboundBotHook:
        hook = OutboundBotHook(self.outboundbot_conn_id)
        # A mistake in rules for calls must not prevent the cancellation at the end of the wait.
        hook.may_call, hook.require_keys = self.on_timeout != "cancel", require_keys
        return hook

    def _take_up_corrections(self) -> None:
        """
        Look up the connection again once per interval: in mode ``poke`` one process waits all the time.

        The old client is replaced together with the old hook, between two requests.
        """
        now = time.monotonic()
        if now - self._looked_up_at < self._settings.reconcile_interval:
            return
        self._looked_up_at = now
        hook = self._new_hook()
        try:
            is_as_before = hook.settings.client == self.hook.settings.client
        except OutboundBotError as error:
            self.log.warning("Job group %s: the wait continues, its connection unchanged: %s", self._group_id, error)
            return
        if not is_as_before:
            self.log.info(
                "Job group %s: the connection has been changed; the wait uses it from this point on", self._group_id
            )
            self._let_go()
            self.hook = hook

    def _let_go(self) -> None:
        """Close all connections."""
        self.hook.close()
        for name in ("hook", "_completion", "_settings"):
            vars(self).pop(name, None)

    @cached_property
    def _settings(self) -> config.Settings:
        return config.load()

    @cached_property
    def _started_at(self) -> datetime:
        return datetime.now(UTC)

    @property
    def _group_id(self) -> str:
        # Read on use, because a resumed task renders its templates again.
        return named_group(self.job_group_id)

    @property
    def _expected_jobs(self) -> int | None:
        return whole_number(self.expected_jobs, "expected_jobs", least=0)

    @cached_property
    def _completion(self) -> Completion:
        from airflow_provider_outbound.core.complete import Completion

        settings = self._settings
        return Completion(
            self.hook.ledger,
            self.hook.client,
            self._group_id,
            instance_id=self.instance_id,
            expected_jobs=self._expected_jobs,
            reconcile_interval=settings.reconcile_interval,
            # An embedded collector runs only while a trigger waits: a sensor that does not defer cannot count on one.
            messages=self.rocketmq_conn_id is not None and (self.deferrable or settings.collector == "external"),
        )

    @contextmanager
    def _waiting(self, started_at: Callable[[], datetime]) -> Iterator[None]:
        """
        Close the ledger at the end; skip instead of failing for a failed group if the author asked for that.

        :param started_at: When the wait started, to cancel the group of one that fails although it has timed out.
        """
        try:
            yield
        except JobGroupFailedError as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from None
            raise
        except OutboundBotError:
            if self.on_timeout == "cancel":
                self._let_go()
                self.hook = self._new_hook(require_keys=None)
                cancel_if_late(self.hook, self._group_id, self.instance_id, started_at(), self._deadline)
            raise
        finally:
            self._let_go()

    def _check_arguments(self) -> None:
        check_flags(self, "deferrable", "cancel_on_kill", "enrich")
        _ = self._group_id, self._expected_jobs
        check_choice(self.on_timeout, "on_timeout", ("fail", "partial", "cancel"))
        check_choice(self.on_cancelled, "on_cancelled", ("fail", "succeed"))
        check_choice(self.on_unresolved_jobs, "on_unresolved_jobs", ("fail", "accept"))

    def _deadline(self, started_at: datetime) -> datetime:
        """Return when to give up: by ``timeout``, or some time after the group's window, or by Airflow's default."""
        if self.wait_timeout is not None:
            wait = self.wait_timeout
            return started_at + (wait if isinstance(wait, timedelta) else timedelta(seconds=wait))
        ends_at = self._ends_at()
        if ends_at is not None:
            # A sensor that starts late still gets the margin, because results may have to be fetched.
            return max(ends_at, started_at) + TIMEOUT_MARGIN
        return started_at + timedelta(seconds=conf.getfloat("sensors", "default_timeout"))

    def _ends_at(self) -> datetime | None:
        """Return when the group's window ends: from the ledger, or from the API if the ledger is unavailable."""
        try:
            return self._completion.ends_at()
        except LedgerUnavailableError:
            return read_end(self.hook.client, self._group_id, self.instance_id)

    def _defer(self, deadline: datetime) -> NoReturn:
        self.log.info("Waiting for job group %s until %s at most", self._group_id, deadline.isoformat("T", "seconds"))
        self.defer(
            trigger=OutboundBotJobCompleteTrigger(
                job_group_id=self._group_id,
                outboundbot_conn_id=self.outboundbot_conn_id,
                rocketmq_conn_id=self.rocketmq_conn_id,
                instance_id=self.instance_id,
                expected_jobs=self._expected_jobs,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_complete",
            kwargs={"deadline": deadline.isoformat()},
        )

    def _finish(self, summary: Summary) -> Summary:
        """Return the summary of a group that has ended; raise if the author does not accept it."""
        from airflow_provider_outbound.core.complete import describe

        self.log.info("Job group %s: %s", self._group_id, describe(summary))
        count_results(summary, self.dag_id)
        if unresolved := summary["unresolved"]:
            words = "Job group %s: %s unresolved: they may or may not have been assigned"
            self.log.warning(words, self._group_id, count_of(unresolved, "contact is", "contacts are"))
        if summary["mismatch"]:
            words = "Job group %s ended with other jobs than were assigned, or a task gave up assigning to it: %s"
            self.log.warning(words, self._group_id, summary["by_status"])
        if summary["group_cancelled"] and self.on_cancelled == "fail":
            raise OutboundBotGroupCancelledError(
                f"job group {self._group_id} was cancelled before {summary['cancelled']} of {summary['total']} jobs"
                " were done: these people are not called. To use the other results, pass on_cancelled='succeed' and"
                " clear this task, or mark it as successful"
            )
        return self._assigned(summary)

    def _assigned(self, summary: Summary) -> Summary:
        """Return the summary; raise if not all contacts of the group were assigned."""
        from airflow_provider_outbound.core.complete import check_assigned

        check_assigned(self.hook.ledger, summary, accept_unresolved=self.on_unresolved_jobs == "accept")
        return {**summary, "by_tag": self._count_tags()}

    def _count_tags(self) -> dict[str, int]:
        from airflow_provider_outbound.core.results import count_tags, enrich

        ledger = self.hook.ledger
        record = ledger.groups.get(self._group_id)
        if record is None or record.purged_at is not None:
            # A group without rows has no tags.
            return {}
        if self.enrich:
            instance_id = self.instance_id or record.instance_id
            enrich(ledger, self.hook.client, self._group_id, tags_only=True, instance_id=instance_id)
        return count_tags(ledger, self._group_id)

    def _time_out(self) -> Summary:
        """Handle a group that has not ended in time, according to ``on_timeout``."""
        completion = self._completion
        if self.on_timeout == "fail":
            summary = completion.summary(timed_out=True)
            raise OutboundBotSensorTimeoutError(
                f"job group {self._group_id}: timed out with {summary['completed']} of {summary['total']} jobs complete"
                f"; clear this task to wait on, or stop calls: outbound cancel {self._group_id}; see also on_timeout"
            )
        if self.on_timeout == "cancel":
            cancel_and_wait(completion)
        completion.take_listing()
        summary = completion.summary(timed_out=True)
        words = "Job group %s: timed out with %d of %d jobs complete"
        self.log.warning(words, self._group_id, summary["completed"], summary["total"])
        return self._assigned(summary)
