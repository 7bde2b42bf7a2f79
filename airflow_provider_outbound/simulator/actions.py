"""The API's actions: parameters in, payload out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_outbound.simulator import answers
from airflow_provider_outbound.simulator.block_list import (
    delete_contact_block_list,
    get_contact_block_list,
    save_contact_block_list,
)
from airflow_provider_outbound.simulator.cloud import Cloud, Refusal
from airflow_provider_outbound.simulator.empty_answers import empty_answer, has_empty_answer
from airflow_provider_outbound.simulator.group_actions import (
    delete_job_group,
    describe_tag_hits_summary,
    modify_job_group,
)
from airflow_provider_outbound.simulator.messages import milliseconds
from airflow_provider_outbound.simulator.parameters import Parameters
from airflow_provider_outbound.simulator.records import ENDED, Group, Job

Payload = dict[str, Any]


def _as_shown(cloud: Cloud, rows: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    """Rows with the numbers as an active fault changes them: masked, or without the plus sign."""
    if cloud.faults.strikes("numbers_masked", action=action):
        return [answers.change_numbers(row, answers.masked) for row in rows]
    if cloud.faults.strikes("plus_dropped", action=action):
        return [answers.change_numbers(row, lambda number: number.removeprefix("+")) for row in rows]
    return rows


def _completed(cloud: Cloud, group: Group, action: str) -> int:
    if cloud.faults.strikes("completed_counts_ended", action=action):
        return sum(group.counts[status] for status in ENDED)
    return group.counts["Succeeded"]


def create_job_group(cloud: Cloud, parameters: Parameters) -> Payload:
    """CreateJobGroup"""
    group = cloud.create_group(
        name=parameters.require("JobGroupName"),
        script_id=parameters.require("ScriptId"),
        description=parameters.get("JobGroupDescription") or "",
        strategy_json=parameters.get("StrategyJson"),
        recall_strategy=json.loads(parameters.get("RecallStrategyJson") or "{}"),
        calling_numbers=parameters.listed("CallingNumber"),
        recall_calling_numbers=parameters.listed("RecallCallingNumber"),
        priority=parameters.get("Priority") or "Daily",
        ringing_duration=parameters.integer("RingingDuration", 25),
        min_concurrency=parameters.integer("MinConcurrency"),
    )
    return {"JobGroup": answers.group_answer(group)}


def assign_jobs(cloud: Cloud, parameters: Parameters) -> Payload:
    """AssignJobs"""
    group = cloud.group(parameters.require("JobGroupId"))
    parameters.require("JobsJson.1")
    jobs = cloud.read_jobs(parameters.listed("JobsJson"))
    partial = cloud.faults.strikes("partial_batch", action="AssignJobs")
    if partial:
        rng = cloud.faults.rng
        jobs = rng.sample(jobs, rng.randrange(len(jobs)))
    ids = cloud.assign(
        group,
        jobs,
        strategy_json=parameters.get("StrategyJson"),
        calling_numbers=parameters.listed("CallingNumber"),
    )
    if partial:
        raise Refusal(500, "InternalError", "An error occurred while processing your request. Please try again later.")
    if cloud.faults.strikes("ids_shuffled", action="AssignJobs"):
        cloud.faults.rng.shuffle(ids)
    return {"JobGroupId": group.group_id, "JobsId": ids}


def describe_job_group(cloud: Cloud, parameters: Parameters) -> Payload:
    """DescribeJobGroup"""
    group = cloud.group(parameters.require("JobGroupId"))
    total = len(cloud.visible_jobs(group, "DescribeJobGroup"))
    completed = _completed(cloud, group, "DescribeJobGroup")
    return {"JobGroup": answers.group_answer(group, completed=completed, total=total)}


def list_job_groups(cloud: Cloud, parameters: Parameters) -> Payload:
    """ListJobGroups, newest first"""
    number, size = parameters.page()
    text = parameters.get("SearchText") or ""
    statuses = parameters.names("JobGroupStatusFilter")
    start, end = parameters.integer("StartTime"), parameters.integer("EndTime")
    groups = [
        group
        for group in reversed(cloud.groups.values())
        if text in group.name
        and (not statuses or group.status in statuses)
        and (not start or milliseconds(group.created_at) >= start)
        and (not end or milliseconds(group.created_at) <= end)
    ]
    rows = [
        answers.group_row(
            group,
            completed=_completed(cloud, group, "ListJobGroups"),
            total=len(cloud.visible_jobs(group, "ListJobGroups")),
        )
        for group in answers.page(groups, number, size)
    ]
    return {"JobGroups": {"List": rows, "PageNumber": number, "PageSize": size, "TotalCount": len(groups)}}


def list_jobs_by_group(cloud: Cloud, parameters: Parameters) -> Payload:
    """ListJobsByGroup"""
    number, size = parameters.page()
    jobs = cloud.visible_jobs(cloud.group(parameters.require("JobGroupId")), "ListJobsByGroup")
    if status := parameters.get("JobStatus"):
        jobs = [job for job in jobs if job.status == status]
    if reason := parameters.get("JobFailureReason"):
        jobs = [job for job in jobs if job.failure_reason == reason]
    rows = [
        answers.job_answer(job, instance_id=cloud.options.instance_id, with_calls=False)
        for job in answers.page(jobs, number, size)
    ]
    rows = _as_shown(cloud, rows, "ListJobsByGroup")
    return {"Jobs": {"List": rows, "PageNumber": number, "PageSize": size, "TotalCount": len(jobs)}}


def query_jobs_with_result(cloud: Cloud, parameters: Parameters) -> Payload:
    """QueryJobsWithResult"""
    number, size = parameters.page()
    jobs = cloud.visible_jobs(cloud.group(parameters.require("JobGroupId")), "QueryJobsWithResult")
    if statuses := parameters.names("JobStatusFilter"):
        jobs = [job for job in jobs if job.status in statuses]
    if reasons := parameters.names("JobFailureReasonsFilter"):
        jobs = [job for job in jobs if job.failure_reason in reasons]
    if calls := parameters.names("TaskStatusFilter"):
        jobs = [job for job in jobs if job.calls and job.calls[-1].status in calls]
    if text := parameters.get("QueryText"):
        jobs = [job for job in jobs if text in job.phone_number]
    if start := parameters.integer("StartActualTimeFilter"):
        jobs = [job for job in jobs if job.calls and milliseconds(job.calls[-1].started_at) >= start]
    if end := parameters.integer("EndActualTimeFilter"):
        jobs = [job for job in jobs if job.calls and milliseconds(job.calls[-1].started_at) <= end]
    for name, applies in answers.RESULT_FLAGS.items():
        wanted = parameters.flag(name)
        if wanted is not None:
            jobs = [job for job in jobs if (bool(job.calls) and applies(job.calls[-1].status)) is wanted]
    renamed = cloud.faults.strikes("tags_renamed") is not None
    rows = [answers.result_row(job, renamed_tags=renamed) for job in answers.page(jobs, number, size)]
    if cloud.faults.strikes("latest_task_missing"):
        for row in rows:
            if "Status" not in row["LatestTask"]:
                del row["LatestTask"]
    return {
        "Jobs": {
            "List": _as_shown(cloud, rows, "QueryJobsWithResult"),
            "PageNumber": number,
            "PageSize": size,
            "PageCount": -(-len(jobs) // size),
            "RowCount": len(jobs),
        },
        "Labels": [],
        "VariableNames": [],
    }


def list_jobs(cloud: Cloud, parameters: Parameters) -> Payload:
    """ListJobs; unknown ids are left out"""
    parameters.require("JobId.1")
    ids = parameters.listed("JobId")
    if len(ids) > 99:  # the documented limit
        raise Refusal(400, "InvalidParameter", f"JobId holds {len(ids)} ids; at most 99 are allowed.")
    jobs = [cloud.jobs[job_id] for job_id in ids if job_id in cloud.jobs]
    if cloud.faults.strikes("job_left_out"):
        jobs = jobs[1:]
    return {"Jobs": _as_shown(cloud, [_job_with_calls(cloud, job) for job in jobs], "ListJobs")}


def describe_job(cloud: Cloud, parameters: Parameters) -> Payload:
    """DescribeJob"""
    (shown,) = _as_shown(cloud, [_job_with_calls(cloud, cloud.job(parameters.require("JobId")))], "DescribeJob")
    return {"Job": shown}


def _job_with_calls(cloud: Cloud, job: Job) -> dict[str, Any]:
    return answers.job_answer(job, instance_id=cloud.options.instance_id, with_calls=True)


def _steer(cloud: Cloud, parameters: Parameters) -> list[Job]:
    parameters.require("All")
    return cloud.select_jobs(
        parameters.get("JobGroupId"),
        everything=bool(parameters.flag("All")),
        job_ids=parameters.listed("JobId"),
        reference_ids=parameters.listed("JobReferenceId"),
    )


def suspend_jobs(cloud: Cloud, parameters: Parameters) -> Payload:
    """SuspendJobs"""
    cloud.suspend(_steer(cloud, parameters))
    return {}


def resume_jobs(cloud: Cloud, parameters: Parameters) -> Payload:
    """ResumeJobs"""
    cloud.resume(_steer(cloud, parameters))
    return {}


def cancel_jobs(cloud: Cloud, parameters: Parameters) -> Payload:
    """CancelJobs"""
    cloud.cancel(_steer(cloud, parameters))
    return {}


def download_recording(cloud: Cloud, parameters: Parameters) -> Payload:
    """DownloadRecording"""
    call = cloud.recorded_call(parameters.require("TaskId"))
    name = str(call.recording)
    return {"DownloadParams": {"SignatureUrl": cloud.recording_url(name), "FileName": name}}


def describe_instance(cloud: Cloud, _: Parameters) -> Payload:
    """DescribeInstance"""
    lines: Payload = {"MaxConcurrentConversation": cloud.options.concurrency}
    if cloud.faults.strikes("concurrency_missing", action="DescribeInstance"):
        lines = {}
    return {"Instance": {"InstanceId": cloud.options.instance_id, "InstanceName": cloud.options.instance_id, **lines}}


def list_outbound_call_numbers(cloud: Cloud, parameters: Parameters) -> Payload:
    """ListOutboundCallNumbers"""
    number, size = parameters.page()
    rows = [{"Number": cloud.options.calling_number, "OutboundCallNumberId": "simulator-number"}]
    return {
        "OutboundCallNumbers": {
            "List": answers.page(rows, number, size),
            "PageNumber": number,
            "PageSize": size,
            "TotalCount": len(rows),
        }
    }


def list_script_publish_histories(cloud: Cloud, parameters: Parameters) -> Payload:
    """ListScriptPublishHistories"""
    script_id = parameters.require("ScriptId")
    cloud.check_script(script_id)
    number, size = parameters.page()
    unpublished = cloud.faults.strikes("script_unpublished", action="ListScriptPublishHistories")
    rows = [] if unpublished else [{"ScriptId": script_id, "ScriptVersion": "1"}]
    return {
        "ScriptPublishHistories": {
            "List": answers.page(rows, number, size),
            "PageNumber": number,
            "PageSize": size,
            "TotalCount": len(rows),
        }
    }


def _script(cloud: Cloud, script_id: str, action: str) -> Payload:
    unpublished = cloud.faults.strikes("script_unpublished", action=action)
    return {"ScriptId": script_id, "ScriptName": script_id, "Status": "DRAFTED" if unpublished else "PUBLISHED"}


def describe_script(cloud: Cloud, parameters: Parameters) -> Payload:
    """DescribeScript"""
    script_id = parameters.require("ScriptId")
    cloud.check_script(script_id)
    return {"Script": _script(cloud, script_id, "DescribeScript")}


def list_scripts(cloud: Cloud, parameters: Parameters) -> Payload:
    """ListScripts"""
    number, size = parameters.page()
    rows = [_script(cloud, script, "ListScripts") for script in cloud.options.script_ids]
    return {
        "Scripts": {
            "List": answers.page(rows, number, size),
            "PageNumber": number,
            "PageSize": size,
            "TotalCount": len(rows),
        }
    }


def assume_role(cloud: Cloud, parameters: Parameters) -> Payload:
    """AssumeRole of the token service (2015-04-01); returns the same access key, with the security token"""
    parameters.require("RoleArn")
    parameters.require("RoleSessionName")
    expires = datetime.now(UTC) + timedelta(seconds=parameters.integer("DurationSeconds", 3600))
    return {
        "Credentials": {
            "AccessKeyId": cloud.options.access_key_id,
            "AccessKeySecret": cloud.options.access_key_secret,
            "SecurityToken": cloud.options.security_token,
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    }


Action = Callable[[Cloud, Parameters], Payload]

#: Actions without an InstanceId.
WITHOUT_INSTANCE = frozenset({"AssumeRole"})
ACTIONS: Mapping[str, Action] = {
    "CreateJobGroup": create_job_group,
    "AssignJobs": assign_jobs,
    "DescribeJobGroup": describe_job_group,
    "ListJobGroups": list_job_groups,
    "ListJobsByGroup": list_jobs_by_group,
    "QueryJobsWithResult": query_jobs_with_result,
    "ListJobs": list_jobs,
    "DescribeJob": describe_job,
    "SuspendJobs": suspend_jobs,
    "ResumeJobs": resume_jobs,
    "CancelJobs": cancel_jobs,
    "DownloadRecording": download_recording,
    "SaveContactBlockList": save_contact_block_list,
    "GetContactBlockList": get_contact_block_list,
    "DeleteContactBlockList": delete_contact_block_list,
    "ModifyJobGroup": modify_job_group,
    "DeleteJobGroup": delete_job_group,
    "DescribeTagHitsSummary": describe_tag_hits_summary,
    "DescribeInstance": describe_instance,
    "ListOutboundCallNumbers": list_outbound_call_numbers,
    "DescribeScript": describe_script,
    "ListScriptPublishHistories": list_script_publish_histories,
    "ListScripts": list_scripts,
    "AssumeRole": assume_role,
}


def act(cloud: Cloud, action: str, values: Mapping[str, str]) -> Payload:
    """
    Perform an action.

    :raises Refusal: the service refuses it.
    """
    function = ACTIONS.get(action)
    if function is None and has_empty_answer(action):
        if instance_id := values.get("InstanceId"):
            cloud.check_instance(instance_id)
        return empty_answer(action)
    if function is None:
        raise Refusal(404, "InvalidApi.NotFound", f"Specified api is not found: the simulator does not offer {action}.")
    parameters = Parameters(values)
    if action not in WITHOUT_INSTANCE:
        cloud.check_instance(parameters.require("InstanceId"))
    try:
        return function(cloud, parameters)
    except json.JSONDecodeError:
        raise Refusal(400, "InvalidParameter", "A parameter is not JSON.") from None
