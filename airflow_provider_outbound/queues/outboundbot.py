"""
Events of calls as one of Airflow's message queues.

Needs ``apache-airflow-providers-common-messaging`` (extra ``messaging``); without it Airflow passes over this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger


class OutboundBotMessageQueueProvider(BaseMessageQueueProvider):
    """
    Makes ``MessageQueueTrigger(scheme="outboundbot", subscription="crm")`` an :class:`OutboundBotCallEventTrigger`.

    All arguments but ``scheme`` are the trigger's.
    """

    scheme = "outboundbot"

    def trigger_class(self) -> type[BaseEventTrigger]:
        """The trigger that reads the queue."""
        from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger

        return OutboundBotCallEventTrigger
