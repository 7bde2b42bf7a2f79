"""The trigger that waits for a job group."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_outbound import config
from airflow_provider_outbound.exceptions import LedgerUnavailableError, OutboundBotError
from airflow_provider_outbound.hooks.metrics import set_collecting
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook
from airflow_provider_outbound.hooks.stopping import cancel_unless_ended, explain_uncertainty
from airflow_provider_outbound.triggers.connections import MISSING_SECONDS, Connections
from airflow_provider_outbound.triggers.ended_tasks import ENDED, task_state
from airflow_provider_outbound.triggers.events import OutboundBotCallEventTrigger
from airflow_provider_outbound.triggers.shared_resources import (
    SharedResources,
    load_watch,
    lookup_limiter,
    settings_reader,
    shared_resources,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import ClientSettings
    from airflow_provider_outbound.core.collect.watch import Waiter, WatchSettings
    from airflow_provider_outbound.core.complete import Completion

__all__ = ["OutboundBotCallEventTrigger", "OutboundBotJobCompleteTrigger"]

log = logging.getLogger(__name__)

#: Pause between two attempts to open an unavailable ledger (seconds).
LEDGER_SECONDS = 5.0
#: How long to try to cancel the jobs of a task that a person has ended, and the pause between two attempts (seconds).
CANCEL_SECONDS, CANCEL_PAUSE = 600.0, 5.0
#: Cancellations in progress: a loop refers to its tasks only weakly.
_cancellations: set[asyncio.Task[None]] = set()


class OutboundBotJobCompleteTrigger(BaseTrigger):
    """
    Wait until every job of a group has ended.

    The event's ``status`` is ``complete`` (with ``summary``), ``timeout`` (with the ``summary`` so far), or ``error``
    (with ``message``, one line, and ``kind``, the name of the error's class).

    :param job_group_id: The group.
    :param outboundbot_conn_id: Connection of type ``outboundbot``.
    :param rocketmq_conn_id: Connection of type ``rocketmq``; ``None`` if no messages are expected.
    :param instance_id: The group's bot instance; ``None`` for the ledger's, or else the connection's.
    :param expected_jobs: The number of jobs the group must have, if other programs assign jobs.
    :param deadline: When to give up, aware; ``None`` for never.
    :param cancel_on_kill: Whether to cancel the group's jobs when a person ends the waiting task.
    :param abandoned_after: How long after the end of its lease an assignment counts as dead (seconds); ``None`` for
        the default.
    """

    def __init__(
        self,
        *,
        job_group_id: str,
        outboundbot_conn_id: str = OutboundBotHook.default_conn_name,
        rocketmq_conn_id: str | None = RocketMQHook.default_conn_name,
        instance_id: str | None = None,
        expected_jobs: int | None = None,
        deadline: datetime | None = None,
        cancel_on_kill: bool = False,
        abandoned_after: float | None = None,
    ) -> None:
        super().__init__()
        self.job_group_id = job_group_id
        self.outboundbot_conn_id = outboundbot_conn_id
        self.rocketmq_conn_id = rocketmq_conn_id
        self.instance_id = instance_id
        self.expected_jobs = expected_jobs
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self.abandoned_after = abandoned_after
        self._reported_trouble = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_group_id": self.job_group_id,
                "outboundbot_conn_id": self.outboundbot_conn_id,
                "rocketmq_conn_id": self.rocketmq_conn_id,
                "instance_id": self.instance_id,
                "expected_jobs": self.expected_jobs,
                "deadline": self.deadline,
                "cancel_on_kill": self.cancel_on_kill,
                "abandoned_after": self.abandoned_after,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            event = await self._wait()
        except OutboundBotError as error:
            event = {"status": "error", "kind": type(error).__name__, "message": str(error)}
        except Exception as error:  # noqa: BLE001 - the task gets every error in one line
            from airflow_provider_outbound.core.collect.outages import describe_exception

            # Not the error's own text, which may contain private data.
            where = describe_exception(error)
            log.error("Waiting for job group %s failed: %s", self.job_group_id, where)  # noqa: TRY400
            message = f"waiting for job group {self.job_group_id} failed: {where}"
            event = {"status": "error", "kind": type(error).__name__, "message": message}
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        async with lookup_limiter.passed():
            settings = await settings_reader.run(config.load)

        async def load() -> tuple[ClientSettings, WatchSettings]:
            hook = await OutboundBotHook(self.outboundbot_conn_id).aload()
            return hook.settings.client, await load_watch(self.rocketmq_conn_id, settings)

        connections = Connections(
            f"Job group {self.job_group_id}",
            (self.outboundbot_conn_id, self.rocketmq_conn_id if settings.collector == "embedded" else None),
            load,
            settings.reconcile_interval,
            MISSING_SECONDS,
        )
        await connections.settings()
        async with shared_resources(settings) as shared:
            while (event := await self._wait_with(connections, shared, settings)) is None:
                pass
        return event

    async def _wait_with(
        self,
        connections: Connections[tuple[ClientSettings, WatchSettings]],
        shared: SharedResources,
        settings: config.Settings,
    ) -> dict[str, Any] | None:
        """
        Wait with the current connections; return ``None`` once one was corrected.

        The old client belongs to the waits that use it and is closed with the last of them. The old subscription
        belongs to the watch: its collector ends soon after its last waiter has left. It stores and acknowledges the
        messages it holds; those not stored are not acknowledged and go to the group's next collector.
        """
        from airflow_provider_outbound.core.collect.watch import subscribe

        client, watch = await connections.settings()
        # Subscribe first and read afterwards, so that no change in between is missed.
        async with subscribe(watch, self.job_group_id) as waiter:
            completion = await self._opened(shared, client, settings)
            pause = 0.0
            while True:
                left = self._left()
                await self._wait_for_change(waiter, max(0.0, min(left, pause)), completion, shared)
                self._report_trouble(waiter.trouble, settings)
                # Before the check, so that its request uses the corrected connection.
                if await connections.corrected():
                    return None
                try:
                    summary, rest = await shared.run(lambda: shared.timed(completion.check))
                except OutboundBotError:
                    # If the cause was corrected meanwhile, for example by replacing a key, the wait continues.
                    if await connections.corrected(at_once=True):
                        return None
                    raise
                if summary is not None:
                    return {"status": "complete", "summary": summary}
                if left <= 0:
                    return {
                        "status": "timeout",
                        "summary": await shared.run(lambda: completion.summary(timed_out=True)),
                    }
                await asyncio.sleep(max(0.0, min(left, rest)))
                pause = min(completion.next_check_in(), connections.due_in())

    async def _wait_for_change(
        self, waiter: Waiter, seconds: float, completion: Completion, shared: SharedResources
    ) -> None:
        """Wait for a change, at most for some seconds, and log the progress meanwhile."""
        until = time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            pause = completion.progress.due_in()
            has_news = await waiter.changed(min(left, pause))
            if completion.progress.is_due(waiter.changes):
                # In a thread, because it may read the ledger. The record goes to the task's own log.
                await shared.run(lambda: self._log_progress(completion, waiter, shared))
            if has_news or left <= pause:
                return

    def _log_progress(self, completion: Completion, waiter: Waiter, shared: SharedResources) -> None:
        completion.progress.log(waiter.changes)
        if self.task_instance is not None:
            set_collecting(shared.ledger(), self.task_instance.dag_id)

    def _report_trouble(self, trouble: str, settings: config.Settings) -> None:
        """Log once why no messages come. Records logged here, in the loop, go to the task's own log."""
        if trouble and trouble != self._reported_trouble:
            log.warning(
                "Job group %s: no messages come: %s. Meanwhile the API is asked every %g s",
                self.job_group_id,
                trouble,
                settings.reconcile_interval,
            )
        elif self._reported_trouble and not trouble:
            log.info("Job group %s: messages can come again", self.job_group_id)
        self._reported_trouble = trouble

    def _left(self) -> float:
        """Return the time until the deadline (seconds)."""
        return float("inf") if self.deadline is None else (self.deadline - datetime.now(UTC)).total_seconds()

    async def _opened(self, shared: SharedResources, client: ClientSettings, settings: config.Settings) -> Completion:
        """Open the ledger; wait while it is unavailable."""
        is_logged = False
        while True:
            try:
                return await shared.run(lambda: self._completion(shared, client, settings))
            except LedgerUnavailableError as error:
                if self._left() <= 0:
                    raise
                if not is_logged:
                    log.warning("Job group %s: %s; will try again", self.job_group_id, error)
                    is_logged = True
            await asyncio.sleep(max(0.0, min(LEDGER_SECONDS, self._left())))

    def _completion(self, shared: SharedResources, client: ClientSettings, settings: config.Settings) -> Completion:
        from airflow_provider_outbound.core.complete import ABANDONED_AFTER, Completion

        return Completion(
            shared.ledger(),
            shared.client(client),
            self.job_group_id,
            instance_id=self.instance_id,
            expected_jobs=self.expected_jobs,
            reconcile_interval=settings.reconcile_interval,
            messages=self.rocketmq_conn_id is not None,
            abandoned_after=ABANDONED_AFTER if self.abandoned_after is None else self.abandoned_after,
        )

    async def on_kill(self) -> None:
        """
        Cancel the group's jobs, if the author asked for that and a person has ended the task.

        Airflow also calls this when a trigger moves from a stalled triggerer to another, and when its task was cleared.
        Such a task still waits or has continued, so nothing is cancelled. After the deadline the task ends by itself,
        according to ``on_timeout``.
        """
        if not self.cancel_on_kill:
            return
        # In a task of its own, which continues if this call is cancelled: Airflow 3.3 cancels the trigger again about a
        # second after the call, and gives up waiting for it after [triggerer] on_kill_timeout. It reports neither.
        cancellation = asyncio.create_task(self._cancel_jobs())
        _cancellations.add(cancellation)
        cancellation.add_done_callback(_cancellations.discard)
        await asyncio.shield(cancellation)

    async def _cancel_jobs(self) -> None:
        """Cancel the jobs; try for some minutes, and log what is left to do if that fails."""
        until = time.monotonic() + CANCEL_SECONDS
        try:
            while True:
                try:
                    return await self._cancel_if_ended()
                except OutboundBotError as error:
                    if not error.is_transient or time.monotonic() > until:
                        raise
                    log.warning("Job group %s: not cancelled yet: %s; will try again", self.job_group_id, error)
                await asyncio.sleep(CANCEL_PAUSE)
        except asyncio.CancelledError:
            log.error(explain_uncertainty(self.job_group_id, "the triggerer stops"))  # noqa: TRY400 - no error of ours
            raise
        except Exception as error:  # noqa: BLE001 - nobody else reports it
            log.error(explain_uncertainty(self.job_group_id, error))  # noqa: TRY400 - its text may contain private data

    async def _cancel_if_ended(self) -> None:
        state = await self._task_state()
        if state not in ENDED or (self.deadline is not None and self.deadline <= datetime.now(UTC)):
            log.info("Job group %s: not cancelled, because no person ended the task (%s)", self.job_group_id, state)
            return
        hook = OutboundBotHook(self.outboundbot_conn_id)
        hook.may_call = False
        await hook.aload()
        # Not with the resources that waits share: their threads may all be waiting, and their ledger needs every key.
        await asyncio.to_thread(cancel_unless_ended, hook, self.job_group_id, self.instance_id)

    async def _task_state(self) -> str | None:
        """Return the state of the waiting task; ``None`` if it was cleared or does not exist."""
        task = self.task_instance
        return None if task is None else await asyncio.to_thread(task_state, task)
