"""What the groups of actions share: settings, sender and the check of required parameters."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_outbound.core.client.guard import ActionGuard
from airflow_provider_outbound.core.client.sender import RequestSender
from airflow_provider_outbound.core.client.settings import ClientSettings

#: Maximum number of jobs in one AssignJobs, and of job ids in one ListJobs. Source: the newer SDK's documentation.
MAX_JOBS_PER_REQUEST = 99


class ClientActions:
    """Base of the groups of actions; :class:`~airflow_provider_outbound.core.client.OutboundBotClient` has them all."""

    def __init__(
        self,
        settings: ClientSettings,
        take_slots: Callable[[int, float], float] | None = None,
        *,
        guard: ActionGuard | None = None,
    ) -> None:
        self.settings = settings
        self._guard = ActionGuard() if guard is None else guard
        self._sender = RequestSender(settings, take_slots)

    def take_throttled(self) -> int:
        """Return the number of requests that the API throttled since the last call."""
        return self._sender.take_throttled()

    def _instance(self, instance_id: str | None) -> str:
        return self._need(
            "instance_id",
            instance_id or self.settings.instance_id,
            "put the bot instance's id into the connection's extra, or pass instance_id",
        )

    def _need(self, name: str, value: str | None, hint: str = "pass it") -> str:
        if not value or not isinstance(value, str):
            raise self.settings.wrong(name, "is missing", hint)
        return value
