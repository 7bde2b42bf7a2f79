"""
Call events as one of Airflow's message queues.

Needs ``apache-airflow-providers-common-messaging`` (extra ``messaging``); without it Airflow skips this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger


class OutboundBotMessageQueueProvider(BaseMessageQueueProvider):
    """
    Maps ``MessageQueueTrigger(scheme="outboundbot", subscription="crm")`` to :class:`OutboundBotCallEventTrigger`.

    All arguments except ``scheme`` are those of the trigger.
    """

    scheme = "outboundbot"

    def trigger_class(self) -> type[BaseEventTrigger]:
        """Return the trigger that reads the queue."""
        from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger

        return OutboundBotCallEventTrigger
