"""The API's actions about a bot instance: what a campaign needs before it may begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from airflow_provider_outbound.core.client.answers import Page, paginate, parsed, read_page
from airflow_provider_outbound.core.client.base import ClientActions


class InstanceActions(ClientActions):
    """Reads of a bot instance."""

    def max_concurrent_calls(self, *, instance_id: str | None = None) -> int | None:
        """
        Return the maximum number of simultaneous calls of a bot instance.

        :return: ``None`` if the API does not name it.

        Source: ``DescribeInstance`` (2019-12-26), MaxConcurrentConversation.
        """
        answer = self._sender.repeatable("DescribeInstance", InstanceId=self._instance(instance_id))
        instance = answer.get("Instance")
        value = instance.get("MaxConcurrentConversation") if isinstance(instance, Mapping) else None
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    def iter_calling_numbers(self, *, instance_id: str | None = None) -> Iterator[str]:
        """
        Iterate over the numbers that a bot instance may call from.

        Source: ``ListOutboundCallNumbers`` (2019-12-26).
        """
        return paginate(partial(self._calling_numbers, instance_id=instance_id))

    def _calling_numbers(self, *, page_number: int, instance_id: str | None) -> Page[str]:
        action, page_size = "ListOutboundCallNumbers", 100
        answer = self._sender.repeatable(
            action, InstanceId=self._instance(instance_id), PageNumber=page_number, PageSize=page_size
        )
        raw = answer.get("OutboundCallNumbers")
        return read_page(action, raw, "TotalCount", lambda row: str(row["Number"]), page_number, page_size)

    def count_publications(self, *, script_id: str, instance_id: str | None = None) -> int:
        """
        Return how often a script was published.

        Source: ``ListScriptPublishHistories`` (2019-12-26).
        """
        action = "ListScriptPublishHistories"
        answer = self._sender.repeatable(
            action, InstanceId=self._instance(instance_id), ScriptId=script_id, PageNumber=1, PageSize=1
        )
        return parsed(action, answer.get("ScriptPublishHistories"), lambda raw: int(raw["TotalCount"]))
