"""The settings of a job group as the API reports them, in the form in which they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.wire import parse_count, text, to_milliseconds
from airflow_provider_outbound.exceptions import OutboundBotError

#: Fields of DescribeJobGroup's answer.
_NUMBERS = {"ringing_duration": "RingingDuration", "min_concurrency": "MinConcurrency"}
_LISTS = {"calling_numbers": "CallingNumbers", "recall_calling_numbers": "RecallCallingNumbers"}
_STRATEGY = {
    "startTime": "StartTime",
    "endTime": "EndTime",
    "repeatBy": "RepeatBy",
    "repeatDays": "RepeatDays",
    "repeatable": "Repeatable",
    "maxAttemptsPerDay": "MaxAttemptsPerDay",
    "minAttemptInterval": "MinAttemptInterval",
    "routingStrategy": "RoutingStrategy",
    "name": "StrategyName",
    "id": "StrategyId",
}
_RECALL = {
    "emptyNumberIgnore": "EmptyNumberIgnore",
    "inArrearsIgnore": "InArrearsIgnore",
    "outOfServiceIgnore": "OutOfServiceIgnore",
}
#: What a strategy keeps if the one that replaces it does not say anything else.
_KEPT = ("id", "maxAttemptsPerDay", "minAttemptInterval", "routingStrategy")


def settings_of(group: JobGroup) -> dict[str, Any]:
    """
    Return the settings of a group, by the names of the operators' arguments.

    :return: Without those that the API does not report. ``strategy`` and ``recall_strategy`` have the form of
        ``StrategyJson`` and ``RecallStrategyJson``.
    :raises OutboundBotError: one of them cannot be read.
    """
    try:
        return _settings(group)
    except (ValueError, TypeError, LookupError) as error:
        raise OutboundBotError(
            f"job group {group.job_group_id}: the API reports settings that cannot be read ({type(error).__name__}), so"
            " it cannot be changed without losing them; change it in the console"
        ) from None


def _settings(group: JobGroup) -> dict[str, Any]:
    raw = group.raw
    found: dict[str, Any] = {}
    if (priority := text(raw.get("Priority"))) is not None:
        found["priority"] = priority
    for name, field in _NUMBERS.items():
        if raw.get(field) is not None:
            found[name] = parse_count(raw[field])
    for name, field in _LISTS.items():
        numbers = raw.get(field)
        if isinstance(numbers, list):
            found[name] = tuple(map(str, numbers))
    recall = raw.get("RecallStrategy")
    if isinstance(recall, Mapping):
        found["recall_strategy"] = {ours: recall.get(theirs) is True for ours, theirs in _RECALL.items()}
    if group.ends_at is not None or group.starts_at is not None:
        found["strategy"] = _strategy(raw)
    return found


def merged_strategy(group: JobGroup, strategy: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the strategy that replaces the group's.

    :param strategy: When to dial. Attempts, interval and routing stay if it does not name them.
    """
    before = _strategy(group.raw)
    kept = {name: before[name] for name in _KEPT if name in before}
    return kept | {name: value for name, value in strategy.items() if name != "id"}


def same_strategy(reported: Mapping[str, Any], wanted: Mapping[str, Any], now: datetime) -> bool:
    """
    Return whether a group dials as it is wanted to.

    Two beginnings in the past are the same. What the API does not report counts as equal, except for the end: without
    one, the service dials at any time.
    """
    if not is_same(reported.get("endTime"), wanted.get("endTime")):
        return False
    begins = [value for value in (reported.get("startTime"), wanted.get("startTime")) if value is not None]
    if len({_plain(value) for value in begins}) > 1 and any(int(value) > to_milliseconds(now) for value in begins):
        return False
    compared = wanted.keys() - {"id", "name", "startTime", "endTime"}
    return all(is_same(reported[name], wanted[name]) for name in compared if name in reported)


def is_same(reported: Any, wanted: Any) -> bool:
    """Return whether two values are the same setting: 3 and "3", or lists in another order."""
    return bool(_plain(reported) == _plain(wanted))


def _strategy(group: Mapping[str, Any]) -> dict[str, Any]:
    raw = group.get("Strategy")
    if not isinstance(raw, Mapping):
        return {}
    # Zero stands for a number that was not given.
    found = {ours: raw[theirs] for ours, theirs in _STRATEGY.items() if raw.get(theirs) not in (None, 0, "0")}
    if str(found.get("repeatBy", "")).lower() not in ("week", "month"):
        found.pop("repeatDays", None)
    if "repeatBy" in found:
        # The API answers in lower case.
        found["repeatBy"] = str(found["repeatBy"]).capitalize()
    windows = raw.get("WorkingTime")
    if isinstance(windows, list):
        found["workingTime"] = [{"beginTime": item["BeginTime"], "endTime": item["EndTime"]} for item in windows]
    return found


def _plain(value: Any) -> Any:
    """Return a value so that numbers equal their texts, and lists equal each other in any order."""
    if isinstance(value, Mapping):
        return tuple(sorted(((str(key), _plain(item)) for key, item in value.items()), key=repr))
    if isinstance(value, Iterable) and not isinstance(value, str):
        # Whatever the service answers can be put in order as text.
        return sorted(map(_plain, value), key=repr)
    return str(value).lower()
