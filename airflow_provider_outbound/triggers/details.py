"""The trigger that fetches details of jobs for an export."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.triggers.shared_resources import lookup_limiter
from airflow_provider_outbound.triggers.threads import Threads

log = logging.getLogger(__name__)

#: How many exports fetch at a time in one triggerer, and each one's requests in flight. Reading an answer and storing
#: it takes milliseconds of the processor, which the waits of the same triggerer need too.
EXPORTS, REQUESTS = 2, 4

_threads = Threads(EXPORTS, "outbound-details")


class OutboundBotJobDetailsTrigger(BaseTrigger):
    """
    Fetch details of a group's jobs from the API into the ledger.

    Each answer is in the ledger soon after it has arrived, so another triggerer, or a worker, continues where this one
    stopped. The event's ``status`` is ``done``, or ``error`` (with ``message``, one line).

    :param job_group_id: The group.
    :param only: Which jobs; see :func:`~airflow_provider_outbound.core.results.enrich`, also for the following two.
    :param level: ``job`` or ``call``.
    :param conversation: Whether to fetch what was said.
    :param outboundbot_conn_id: Connection of type ``outboundbot``.
    :param instance_id: The group's bot instance; ``None`` for the ledger's, or else the connection's.
    """

    def __init__(
        self,
        *,
        job_group_id: str,
        only: str | None = None,
        level: str = "job",
        conversation: bool = False,
        outboundbot_conn_id: str = OutboundBotHook.default_conn_name,
        instance_id: str | None = None,
    ) -> None:
        super().__init__()
        self.job_group_id = job_group_id
        self.only = only
        self.level = level
        self.conversation = conversation
        self.outboundbot_conn_id = outboundbot_conn_id
        self.instance_id = instance_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_group_id": self.job_group_id,
                "only": self.only,
                "level": self.level,
                "conversation": self.conversation,
                "outboundbot_conn_id": self.outboundbot_conn_id,
                "instance_id": self.instance_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        cancelled = threading.Event()
        try:
            async with lookup_limiter.passed():
                hook = await OutboundBotHook(self.outboundbot_conn_id).aload()
            await _threads.run(lambda: self._fetch(hook, cancelled))
            event = {"status": "done"}
        except OutboundBotError as error:
            event = {"status": "error", "message": str(error)}
        except Exception as error:  # noqa: BLE001 - the task gets every error in one line
            from airflow_provider_outbound.core.collect.outages import describe_exception

            # Not the error's own text, which may contain private data.
            where = describe_exception(error)
            log.error("Fetching details of job group %s failed: %s", self.job_group_id, where)  # noqa: TRY400
            event = {"status": "error", "message": f"fetching details of job group {self.job_group_id}: {where}"}
        finally:
            # If a person ended the task, or this triggerer stops, the thread asks for nothing more.
            cancelled.set()
        yield TriggerEvent(event)

    def _fetch(self, hook: OutboundBotHook, cancelled: threading.Event) -> None:
        from airflow_provider_outbound.core.results import enrich

        with hook:
            record = hook.ledger.groups.get(self.job_group_id)
            enrich(
                hook.ledger,
                hook.client,
                self.job_group_id,
                only=self.only,
                level=self.level,
                conversation=self.conversation,
                instance_id=self.instance_id or (record.instance_id if record else None),
                max_parallel_requests=REQUESTS,
                cancelled=cancelled,
            )
