"""Actions that change or delete a job group, and that count the tags of its conversations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from airflow_provider_outbound.core.client.answers import parsed
from airflow_provider_outbound.core.client.base import ClientActions
from airflow_provider_outbound.core.client.errors import unusable
from airflow_provider_outbound.core.models.wire import parse_count, text


@attrs.frozen(kw_only=True)
class TagHits:
    """
    How often the conversations of a job group were given a tag.

    :param group: The tag's group, e.g. ``intent``; empty for none.
    :param name: The tag.
    :param count: The number of times.
    """

    group: str
    name: str
    count: int

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> TagHits:
        """
        Read an item of TagHitsList. Source: ``DescribeTagHitsSummary`` (2019-12-26).

        :raises ValueError: it names no tag, or its HitCount is not a count.
        """
        name = text(raw.get("TagName"))
        if name is None:
            raise ValueError("TagName is missing")
        return cls(group=text(raw.get("TagGroup")) or "", name=name, count=parse_count(raw.get("HitCount")))


class GroupActions(ClientActions):
    """Actions that change or delete a job group, and that count its tags."""

    def modify_job_group(
        self,
        *,
        job_group_id: str,
        job_group_name: str,
        description: str | None = None,
        script_id: str | None = None,
        strategy_json: str | None = None,
        recall_strategy_json: str | None = None,
        calling_numbers: Sequence[str] = (),
        recall_calling_numbers: Sequence[str] = (),
        priority: str | None = None,
        ringing_duration: int | None = None,
        min_concurrency: int | None = None,
        flash_sms_extras: str | None = None,
        instance_id: str | None = None,
        before_request: Callable[[], None] | None = None,
    ) -> None:
        """
        Change the settings of a job group. Safe to repeat.

        The API's documentation does not say whether a setting that is left out stays, so pass all of them.

        :param job_group_name: Its name, which the API requires.
        :param strategy_json: When to call, with the ``id`` of the group's strategy.
        :param flash_sms_extras: Its text messages, in the API's form.
        :param before_request: Called right before each attempt; if it raises, nothing is sent.
        :raises OutboundBotNotFoundError: there is no such group in the instance.

        Source: ``ModifyJobGroup`` (2019-12-26).
        """
        self._sender.repeatable(
            "ModifyJobGroup",
            before_request=before_request,
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            Name=self._need("job_group_name", job_group_name),
            Description=description,
            ScriptId=script_id,
            # The parameter of earlier versions; the documentation recommends the same value.
            ScenarioId=script_id,
            StrategyJson=strategy_json,
            RecallStrategyJson=recall_strategy_json,
            CallingNumber=calling_numbers,
            RecallCallingNumber=recall_calling_numbers,
            Priority=priority,
            RingingDuration=ringing_duration,
            MinConcurrency=min_concurrency,
            FlashSmsExtras=flash_sms_extras,
        )

    def delete_job_group(self, *, job_group_id: str, instance_id: str | None = None) -> None:
        """
        Delete a job group with all its jobs and results. Safe to repeat.

        :raises OutboundBotNotFoundError: there is no such group in the instance, or no such instance.

        Source: ``DeleteJobGroup`` (2019-12-26).
        """
        self._sender.repeatable(
            "DeleteJobGroup",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
        )

    def describe_tag_hits_summary(self, *, job_group_id: str, instance_id: str | None = None) -> tuple[TagHits, ...]:
        """
        Count the tags of a group's conversations.

        :raises OutboundBotNotFoundError: there is no such group in the instance.

        Source: ``DescribeTagHitsSummary`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "DescribeTagHitsSummary",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
        )
        items = answer.get("TagHitsList")
        if not isinstance(items, list):
            raise unusable("DescribeTagHitsSummary", "TagHitsList is not a list")
        return tuple(parsed("DescribeTagHitsSummary", item, TagHits.from_api) for item in items)
