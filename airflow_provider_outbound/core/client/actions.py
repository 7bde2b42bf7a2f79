"""Any action of the API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from airflow_provider_outbound.core.client.answers import parsed
from airflow_provider_outbound.core.client.base import ClientActions
from airflow_provider_outbound.core.client.errors import texts_in
from airflow_provider_outbound.core.client.guard import reads
from airflow_provider_outbound.core.client.requests import build_request, parameters_of
from airflow_provider_outbound.core.models.job import JobGroup


class AnyAction(ClientActions):
    """Every action of the API, by its name."""

    def call(self, action: str, /, *, allow_dialling: bool = False, **parameters: Any) -> dict[str, Any]:
        """
        Perform any action of the SDK.

        An action that only reads is repeated while the API throttles or fails; any other is sent once.

        :param action: Its name, e.g. ``ListIntents``.
        :param allow_dialling: Whether an action may be sent that may dial people, or change whom, when or from which
            number the service calls. The ledger does not know whom it calls. The connection's calling hours apply.
        :param parameters: By name on the wire, e.g. ``ScriptId``. A boolean and an integer are sent as text, and a list
            as numbered items. The settings' instance is sent if the action takes an ``InstanceId`` and none is given.
        :return: The complete answer, with whatever numbers, names and URLs it contains.
        :raises OutboundBotConfigError: the API has no such action, or the action no such parameter or value; it may
            dial people and that is not allowed; or the connection refuses it. It was not sent.
        :raises OutboundBotWrongTimeError: it would dial outside the connection's calling hours. It was not sent.
        """
        self._guard.check(action, allow_dialling=allow_dialling)
        if self.settings.instance_id and "InstanceId" in parameters_of(action):
            parameters = {"InstanceId": self.settings.instance_id, **parameters}
        build = partial(build_request, action, parameters)
        # What cannot be sent whole is refused before the API is asked for the window of a group.
        build()
        described = cache(partial(self._described, parameters))

        def check_time() -> None:
            self._guard.check_time(action, parameters, described, datetime.now(UTC))

        check_time()
        private = frozenset(_private(parameters))
        # Checked again right before sending, because the request may have waited long for its turn.
        return self._sender.send_built(action, build, private, check_time, repeat=reads(action))

    def _described(self, parameters: Mapping[str, Any], job_group_id: str) -> JobGroup:
        instance_id = self._instance(parameters.get("InstanceId"))
        answer = self._sender.repeatable("DescribeJobGroup", InstanceId=instance_id, JobGroupId=job_group_id)
        return parsed("DescribeJobGroup", answer.get("JobGroup"), JobGroup.from_api)


def _private(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a request that a message of the API may repeat."""
    for text in texts_in(_plain(parameters)):
        yield text
        if text[:1] in ("[", "{"):
            try:
                yield from texts_in(json.loads(text))
            except (ValueError, RecursionError):
                continue


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
