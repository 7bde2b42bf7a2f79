"""The actions that change or delete a job group, and that count its tags."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_outbound.simulator import answers
from airflow_provider_outbound.simulator.cloud import Cloud, Refusal, read_strategy
from airflow_provider_outbound.simulator.parameters import Parameters
from airflow_provider_outbound.simulator.records import Group


def modify_job_group(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """ModifyJobGroup; what a request leaves out stays as it was"""
    group = cloud.group(parameters.require("JobGroupId"))
    name = parameters.require("Name")
    strategy_json = parameters.get("StrategyJson")
    if strategy_json:
        strategy = read_strategy(strategy_json)
        if strategy.raw.get("id") != group.strategy_id:
            raise Refusal(400, "InvalidParameter", "StrategyJson.id is not the id of the group's strategy.")
    if script_id := parameters.get("ScriptId"):
        cloud.check_script(script_id)
    changed = {field: read(parameters) for field, parameter, read in _SETTINGS if _is_given(parameters, parameter)}
    if cloud.faults.strikes("change_ignored", action="ModifyJobGroup"):
        return {"JobGroup": answers.group_answer(group)}
    # Nothing can be refused from here on.
    group.name = name
    for field, value in changed.items():
        setattr(group, field, value)
    if strategy_json:
        for job in group.jobs:
            # Jobs that were assigned with a strategy of their own keep it.
            if job.strategy is group.strategy and not job.ended:
                job.strategy = strategy
                cloud.dialler.replan(job)
        group.strategy = strategy
    group.modified_at = cloud.clock.now()
    return {"JobGroup": answers.group_answer(group)}


def _is_given(parameters: Parameters, name: str) -> bool:
    return parameters.get(name) is not None or bool(parameters.listed(name))


#: Fields of a group, their parameters, and how those are read.
_SETTINGS: tuple[tuple[str, str, Callable[[Parameters], Any]], ...] = (
    ("description", "Description", lambda given: given.get("Description")),
    ("script_id", "ScriptId", lambda given: given.get("ScriptId")),
    ("recall_strategy", "RecallStrategyJson", lambda given: json.loads(given.get("RecallStrategyJson") or "{}")),
    ("calling_numbers", "CallingNumber", lambda given: given.listed("CallingNumber")),
    ("recall_calling_numbers", "RecallCallingNumber", lambda given: given.listed("RecallCallingNumber")),
    ("priority", "Priority", lambda given: given.get("Priority")),
    ("ringing_duration", "RingingDuration", lambda given: given.integer("RingingDuration")),
    ("min_concurrency", "MinConcurrency", lambda given: given.integer("MinConcurrency")),
)


def delete_job_group(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """DeleteJobGroup; jobs that have not ended are cancelled first"""
    group = cloud.group(parameters.require("JobGroupId"))
    cloud.cancel(group.jobs)
    for job in group.jobs:
        del cloud.jobs[job.job_id]
    del cloud.groups[group.group_id]
    return {}


def describe_tag_hits_summary(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """DescribeTagHitsSummary"""
    hits = _hits(cloud.group(parameters.require("JobGroupId")))
    group_names = dict.fromkeys(tag_group for tag_group, _ in hits)
    return {
        "TagGroups": [{"TagGroup": name, "TagGroupIndex": index} for index, name in enumerate(group_names)],
        "TagHitsList": [
            {"TagGroup": tag_group, "TagName": tag, "HitCount": count} for (tag_group, tag), count in hits.items()
        ],
    }


def _hits(group: Group) -> Mapping[tuple[str, str], int]:
    return Counter(tag for job in group.jobs for tag in answers.collected_tags(job).items())
