"""The trigger that waits until jobs are suspended, resumed or cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.triggers.connections import MISSING_SECONDS, Connections

if TYPE_CHECKING:
    from airflow_provider_outbound.core.control import JobCommand

log = logging.getLogger(__name__)

#: Actions on jobs, the values of :class:`~airflow_provider_outbound.core.control.Action`.
_ACTIONS = ("suspend", "resume", "cancel")
#: The longest time until a corrected connection is used (seconds).
CORRECTION_SECONDS = 60.0


class OutboundBotJobsSteeredTrigger(BaseTrigger):
    """
    Wait until an action on jobs has taken effect.

    The event's ``status`` is ``done``, ``timeout`` (with ``remaining``, the number of jobs where the action has not
    taken effect; ``None`` if the API did not answer), or ``error`` (with ``message``, one line).

    :param action: ``suspend``, ``resume`` or ``cancel``.
    :param job_group_id: The group.
    :param job_ids: The jobs; ``None`` for all of the group.
    :param outboundbot_conn_id: Connection of type ``outboundbot``.
    :param instance_id: The group's bot instance; ``None`` for the connection's.
    :param poll_interval: Interval between two polls of the API (seconds).
    :param deadline: When to give up, aware.
    """

    def __init__(
        self,
        *,
        action: str,
        job_group_id: str,
        job_ids: list[str] | None,
        deadline: datetime,
        outboundbot_conn_id: str = OutboundBotHook.default_conn_name,
        instance_id: str | None = None,
        poll_interval: float = 5.0,
    ) -> None:
        super().__init__()
        if action not in _ACTIONS:
            raise OutboundBotConfigError(f"action: {action!r} is not one of {', '.join(_ACTIONS)}")
        self.action = action
        self.job_group_id = job_group_id
        self.job_ids = job_ids
        self.deadline = deadline
        self.outboundbot_conn_id = outboundbot_conn_id
        self.instance_id = instance_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "action": self.action,
                "job_group_id": self.job_group_id,
                "job_ids": self.job_ids,
                "deadline": self.deadline,
                "outboundbot_conn_id": self.outboundbot_conn_id,
                "instance_id": self.instance_id,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            event = await self._wait()
        except OutboundBotError as error:
            event = {"status": "error", "message": str(error)}
        except Exception as error:  # noqa: BLE001 - the task gets every error in one line
            from airflow_provider_outbound.core.collect.outages import describe_exception

            # Not the error's own text, which may contain private data.
            where = describe_exception(error)
            log.error("Waiting for job group %s failed: %s", self.job_group_id, where)  # noqa: TRY400
            event = {"status": "error", "message": f"waiting for job group {self.job_group_id} failed: {where}"}
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        async def load() -> OutboundBotHook:
            hook = OutboundBotHook(self.outboundbot_conn_id)
            # The action was sent before; the wait only reads.
            hook.may_call = False
            return await hook.aload()

        connections = Connections(
            f"Job group {self.job_group_id}", (self.outboundbot_conn_id,), load, CORRECTION_SECONDS, MISSING_SECONDS
        )
        command = await asyncio.to_thread(self._command)
        while True:
            # The old hook and its client are replaced between two requests, which only read.
            hook = await connections.settings()
            try:
                # In a thread: it loads the SDK, and waits for answers.
                remaining = await asyncio.to_thread(_remaining, command, hook)
            except OutboundBotError:
                if await connections.corrected(at_once=True):
                    continue
                raise
            if remaining == 0:
                return {"status": "done"}
            if datetime.now(UTC) >= self.deadline:
                return {"status": "timeout", "remaining": remaining}
            await asyncio.sleep(self.poll_interval)
            await connections.corrected()

    def _command(self) -> JobCommand:
        from airflow_provider_outbound.core.control import Action, JobCommand

        return JobCommand(
            action=Action(self.action),
            job_group_id=self.job_group_id,
            instance_id=self.instance_id,
            job_ids=tuple(self.job_ids or ()),
            all_jobs=self.job_ids is None,
        )


def _remaining(command: JobCommand, hook: OutboundBotHook) -> int | None:
    return command.remaining(hook.client)
