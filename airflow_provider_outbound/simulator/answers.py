"""The payloads of answers, with the field names of the newer SDK's response models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_outbound.simulator.messages import milliseconds
from airflow_provider_outbound.simulator.outcomes import NOT_DIALLED, conversation_of, is_answered, tags_of
from airflow_provider_outbound.simulator.records import Call, Group, Job

#: DescribeJob's EndReason, a number as text, by call status.
_END_REASONS = {
    "SucceededFinish": "1",
    "Succeeded": "1",
    "SucceededChatbotHangUpAfterNoAnswer": "2",
    "SucceededChatbotHangUpAfterSilence": "3",
    "SucceededClientHangUpAfterNoAnswer": "4",
    "SucceededClientHangUp": "5",
    "SucceededTransferByIntent": "6",
    "SucceededTransferAfterNoAnswer": "7",
    "SucceededInoInterAction": "8",
    "SucceededError": "9",
}

#: SIP status of calls that were not answered; others: 480, temporarily unavailable.
_SIP_CODES = {"Busy": "486", "NotExist": "404", "EmptyNumber": "404", "Terminated": "487"}


def group_answer(group: Group, *, completed: int | None = None, total: int | None = None) -> dict[str, Any]:
    """
    CreateJobGroup's and DescribeJobGroup's JobGroup.

    :param completed: TotalCompleted; ``None``: an answer without Progress.
    :param total: number of visible jobs, if a listing lags.
    """
    answer = _group_head(group) | {
        "CallingNumbers": list(group.calling_numbers),
        "RecallCallingNumbers": list(group.recall_calling_numbers),
        "Priority": group.priority,
        "RingingDuration": group.ringing_duration,
        "RecallStrategy": {
            "EmptyNumberIgnore": bool(group.recall_strategy.get("emptyNumberIgnore")),
            "InArrearsIgnore": bool(group.recall_strategy.get("inArrearsIgnore")),
            "OutOfServiceIgnore": bool(group.recall_strategy.get("outOfServiceIgnore")),
        },
        "Strategy": _strategy(group),
    }
    if completed is not None:
        counts = group.counts
        hidden = 0 if total is None else len(group.jobs) - total
        answer["Progress"] = {
            "TotalJobs": len(group.jobs) - hidden,
            "TotalCompleted": min(completed, len(group.jobs) - hidden),
            # Jobs that are not visible yet were assigned last, so they are waiting.
            "Scheduling": max(counts["Scheduling"] - hidden, 0),
            "Executing": counts["Executing"],
            "Failed": counts["Failed"],
            "Paused": counts["Paused"],
            "Cancelled": counts["Cancelled"],
            "Briefs": [],
            "Categories": [],
        }
    return answer


def group_row(group: Group, *, completed: int, total: int) -> dict[str, Any]:
    """A row of ListJobGroups."""
    counts = group.counts
    return _group_head(group) | {
        "Strategy": {
            key: _strategy(group)[key] for key in ("StartTime", "EndTime") if _strategy(group).get(key) is not None
        },
        "TotalCallNum": group.calls,
        "Progress": {
            "TotalJobs": total,
            "TotalCompleted": completed,
            "Scheduling": max(counts["Scheduling"] - len(group.jobs) + total, 0),
            "ExecutingNum": counts["Executing"],
            "FailedNum": counts["Failed"],
            "PausedNum": counts["Paused"],
            "CancelledNum": counts["Cancelled"],
        },
    }


def _group_head(group: Group) -> dict[str, Any]:
    return {
        "JobGroupId": group.group_id,
        "JobGroupName": group.name,
        "JobGroupDescription": group.description,
        "CreationTime": milliseconds(group.created_at),
        "ModifyTime": str(milliseconds(group.modified_at)),
        "MinConcurrency": group.min_concurrency,
        "ScriptId": group.script_id,
        "ScriptName": group.script_id,
        "ScriptVersion": "1",
        "Status": group.status,
    }


def _strategy(group: Group) -> dict[str, Any]:
    raw, strategy = group.strategy.raw, group.strategy
    answer = {
        "StrategyId": group.strategy_id,
        "StrategyName": raw.get("name"),
        "StartTime": raw.get("startTime"),
        "EndTime": raw.get("endTime"),
        # The default is a setting of the bot instance, and whether the service reports it here is not documented.
        "MaxAttemptsPerDay": strategy.max_attempts_per_day if "maxAttemptsPerDay" in raw else None,
        "MinAttemptInterval": round(strategy.min_attempt_interval / 60),
        "RepeatBy": strategy.repeat_by,
        "RepeatDays": [str(day) for day in sorted(strategy.repeat_days)],
        "RoutingStrategy": raw.get("routingStrategy"),
        "WorkingTime": [
            {"BeginTime": begin.strftime("%H:%M:%S"), "EndTime": end.strftime("%H:%M:%S")}
            for begin, end in strategy.windows
        ],
    }
    return {key: value for key, value in answer.items() if value is not None}


def job_answer(job: Job, *, instance_id: str, with_calls: bool) -> dict[str, Any]:
    """A job as ListJobsByGroup (without calls), ListJobs and DescribeJob show it."""
    contact = _contact(job)
    answer: dict[str, Any] = {
        "JobId": job.job_id,
        "JobGroupId": job.group.group_id,
        "InstanceId": instance_id,
        "ReferenceId": job.reference_id,
        "Status": job.status,
        "StrategyId": job.group.strategy_id,
        "CallingNumbers": list(job.calling_numbers),
        "Contacts": [contact],
        # The service mixes its own extras with the client's.
        "Extras": [
            *({"Key": str(extra["key"]), "Value": str(extra.get("value", ""))} for extra in job.extras),
            {"Key": "TenantId", "Value": "1"},
            {"Key": "ServiceId", "Value": instance_id},
        ],
        "Priority": 0,
        "SystemPriority": 0,
        "Summary": [],
    }
    if job.failure_reason is not None:
        answer["FailureReason"] = job.failure_reason
    if with_calls:
        answer["Summary"] = [{"SummaryName": name, "Content": value} for name, value in collected_tags(job).items()]
        answer["Tasks"] = [_task(job, call, contact) for call in job.calls]
        answer["CalledNumber"] = job.phone_number
        if job.next_at is not None:
            answer["NextExecutionTime"] = milliseconds(job.next_at)
    return answer


def collected_tags(job: Job) -> dict[str, str]:
    """The tags of a job's conversation; none if nobody answered."""
    return tags_of(job.phone_number) if any(is_answered(call.status) for call in job.calls) else {}


def _contact(job: Job) -> dict[str, Any]:
    contact = job.contacts[0]
    return {
        "ContactId": f"{job.job_id}-0",
        "ContactName": contact.get("name", ""),
        "Honorific": contact.get("honorific", ""),
        "PhoneNumber": contact["phoneNumber"],
        "ReferenceId": contact["referenceId"],
        "JobId": job.job_id,
    }


def _task(job: Job, call: Call, contact: Mapping[str, Any]) -> dict[str, Any]:
    task: dict[str, Any] = {
        "TaskId": call.task_id,
        "CallId": call.call_id,
        "JobId": job.job_id,
        "CalledNumber": call.called_number,
        "CallingNumber": call.calling_number,
        "Contact": contact,
        "PlanedTime": milliseconds(call.planned_at),
        "ActualTime": milliseconds(call.started_at),
        "Status": call.status,
        "Conversation": [],
        "SipCode": _SIP_CODES.get(call.status, "200" if is_answered(call.status) else "480"),
    }
    if call.ended_at is not None:
        task["EndTime"] = milliseconds(call.ended_at)
        task["TotalDuration"] = milliseconds(call.ended_at - call.started_at)
        task["RealRingingDuration"] = milliseconds((call.answered_at or call.ended_at) - call.started_at)
    if is_answered(call.status):
        task["EndReason"] = _END_REASONS.get(call.status, "1")
        task["HangUpDirection"] = "client" if "Client" in call.status else "ivr"
        task["Conversation"] = _conversation(call)
    return task


def _conversation(call: Call) -> list[dict[str, Any]]:
    turns = conversation_of(call.called_number)
    begun = call.started_at if call.answered_at is None else call.answered_at
    return [
        {
            "Speaker": speaker,
            "Script": text,
            "Timestamp": milliseconds(begun + call.talked_seconds * number / len(turns)),
            "SequenceId": f"{call.call_id}-{number}",
            "Action": "Broadcast" if speaker == "Robot" else "",
            "ActionParams": "",
        }
        for number, (speaker, text) in enumerate(turns)
    ]


def result_row(job: Job, *, renamed_tags: bool = False) -> dict[str, Any]:
    """
    A row of QueryJobsWithResult, whose field names differ from those of the other listings.

    :param renamed_tags: whether tags have other names than in DescribeJob.
    """
    tags = {f"tag.{name}" if renamed_tags else name: value for name, value in collected_tags(job).items()}
    answer: dict[str, Any] = {"Id": job.job_id, "Status": job.status, "StatusName": job.status}
    if job.failure_reason is not None:
        answer["JobFailureReason"] = job.failure_reason
    contact = job.contacts[0]
    latest: dict[str, Any] = {
        "Contact": {
            "Id": f"{job.job_id}-0",
            "JobUuid": job.job_id,
            "Name": contact.get("name", ""),
            "Honorific": contact.get("honorific", ""),
            "PhoneNumber": contact["phoneNumber"],
            "ReferenceId": contact["referenceId"],
            "Round": len(job.calls),
            "State": "Available",
        },
        # The collected tags; TagHits has those of scripts of the older canvas.
        "Extras": [{"Key": name, "Value": value} for name, value in tags.items()],
        "TagHits": [{"TagGroup": name, "TagName": value} for name, value in tags.items()],
        "DialExceptionCodes": [],
        "HasAnswered": False,
    }
    if job.calls:
        call = job.calls[-1]
        answered = is_answered(call.status)
        latest |= {
            "Status": call.status,
            "StatusName": call.status,
            "HasAnswered": answered,
            "HasReachedEndOfFlow": is_finished(call.status),
            "HasHangUpByRejection": is_rejected(call.status),
            "HasLastPlaybackCompleted": is_finished(call.status),
            "CallDuration": milliseconds(call.talked_seconds),
            "CallDurationDisplay": f"{round(call.talked_seconds)}s",
        }
        if call.status not in NOT_DIALLED:
            latest["CallTime"] = milliseconds(call.started_at)
        if answered:
            latest["TaskEndReason"] = _END_REASONS.get(call.status, "1")
            latest["HangUpDirection"] = "client" if "Client" in call.status else "ivr"
    answer["LatestTask"] = latest
    return answer


def is_finished(call_status: str) -> bool:
    """Whether the conversation reached the end of its flow."""
    return call_status == "SucceededFinish"


def is_rejected(call_status: str) -> bool:
    """Whether the person hung up after a refusal or an utterance that was not understood."""
    return call_status == "SucceededClientHangUpAfterNoAnswer"


#: QueryJobsWithResult's filters by the status of the latest call.
RESULT_FLAGS: Mapping[str, Callable[[str], bool]] = {
    "HasAnsweredFilter": is_answered,
    "HasHangUpByRejectionFilter": is_rejected,
    "HasReachedEndOfFlowFilter": is_finished,
}


def masked(number: str) -> str:
    """A masked number: ``138****8000``."""
    return f"{number[:3]}****{number[-4:]}"


def change_numbers(answer: Any, change: Callable[[str], str]) -> Any:
    """A copy of an answer in which every contact's number is changed."""
    if isinstance(answer, dict):
        return {
            key: change(value) if key in ("PhoneNumber", "CalledNumber") else change_numbers(value, change)
            for key, value in answer.items()
        }
    return [change_numbers(item, change) for item in answer] if isinstance(answer, list) else answer


def page(rows: Sequence[Any], number: int, size: int) -> Sequence[Any]:
    """The rows of page ``number``, counted from 1."""
    return rows[(number - 1) * size : number * size]
