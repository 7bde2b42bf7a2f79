"""Read details of jobs from the answers of ``DescribeJob``, and from rows of ``QueryJobsWithResult``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_outbound.core.models.job import Call, Job, last_call
from airflow_provider_outbound.core.models.job_details import CallDetails, Depth, JobDetails, Turn
from airflow_provider_outbound.core.models.wire import MAX_COUNT, milliseconds, pairs, text, written

#: EndReason of DescribeJob, a number as text. Source: documentation of the newer SDK.
_END_REASONS = {
    "1": "FINISHED",
    "2": "CHATBOT_HANGUP_AFTER_NOANSWER",
    "3": "CHATBOT_HANGUP_AFTER_SILENCE",
    "4": "CLIENT_HANGUP_AFTER_NOANSWER",
    "5": "CLIENT_HANGUP",
    "6": "TRANSFER_BY_INTENT",
    "7": "TRANSFER_AFTER_NOANSWER",
    "8": "INO_INTERACTION",
    "9": "ERROR",
}


def details_of(job: Job, *, conversations: bool = False) -> JobDetails:
    """
    Read the details of a job from the answer of ``DescribeJob``.

    :param conversations: Whether to keep what was said.
    """
    depth = Depth.CONVERSATIONS if conversations else Depth.CALLS
    calls = tuple(_call_details(call, conversations=conversations) for call in job.calls)
    tags = _tags(job.raw.get("Summary"))
    call = last_call(tuple(call for call in job.calls if call.status is not None and call.status.is_answered))
    if call is None:
        return JobDetails(tags=tags, calls=calls, depth=depth)
    whole = _between(call.started_at, call.ended_at)
    ringing = _part(call.raw.get("RealRingingDuration"), whole)
    return JobDetails(
        tags=tags,
        call_seconds=whole,
        ringing_seconds=ringing,
        talk_seconds=_rest(whole, ringing),
        hang_up_side=call.hang_up_direction,
        conversation_end=_end_reason(call),
        calls=calls,
        depth=depth,
    )


def details_of_row(row: Job, ended_at: datetime | None) -> JobDetails | None:
    """
    Read the details of a job from a row of ``QueryJobsWithResult``.

    The row has neither the end of the call nor the unit of its duration, so without ``ended_at`` no durations are read.

    :param row: The row, whose only call was answered.
    :param ended_at: When that call ended, as a message reported it.
    :return: ``None`` if its tags cannot be understood.
    """
    (call,) = row.calls
    tags = _row_tags(call.raw)
    if tags is None:
        return None
    whole = _between(call.started_at, ended_at)
    talk = _part(call.raw.get("CallDuration"), whole)
    return JobDetails(
        tags=tags,
        call_seconds=None if talk is None else whole,
        ringing_seconds=_rest(whole, talk),
        talk_seconds=talk,
        hang_up_side=call.hang_up_direction,
        conversation_end=_end_reason(call),
        depth=Depth.TAGS if talk is None else Depth.DURATIONS,
    )


def _row_tags(task: Mapping[str, Any]) -> dict[str, str] | None:
    """Read tags: scripts of the older canvas report them in TagHits, others in Extras."""
    hits, extras = task.get("TagHits") or [], task.get("Extras") or []
    named = pairs(extras)
    if not isinstance(hits, list) or not isinstance(extras, list) or len(named) != len(extras):
        return None
    found: dict[str, str] = {}
    for hit in hits:
        name = text(hit.get("TagGroup")) if isinstance(hit, Mapping) else None
        if name is None or name in found:
            # One group hit twice has no single value.
            return None
        found[name] = written(hit.get("TagName"))
    if found and named and found != named:
        return None
    return named or found


def _call_details(call: Call, *, conversations: bool) -> CallDetails:
    whole = _between(call.started_at, call.ended_at)
    answered = call.status is not None and call.status.is_answered
    ringing = _part(call.raw.get("RealRingingDuration"), whole)
    return CallDetails(
        task_id=call.task_id,
        status=None if call.status is None else str(call.status),
        planned_at=call.planned_at,
        started_at=call.started_at,
        ended_at=call.ended_at,
        calling_number=call.calling_number,
        ringing_seconds=ringing,
        talk_seconds=_rest(whole, ringing) if answered else None,
        hang_up_side=call.hang_up_direction,
        end_reason=_end_reason(call),
        sip_code=text(call.raw.get("SipCode")),
        conversation=tuple(_turns(call.raw.get("Conversation"))) if conversations and answered else None,
    )


def _turns(items: Any) -> Iterator[Turn]:
    for item in items if isinstance(items, list) else ():
        # Entries without a text are actions of the robot, such as a transfer.
        if isinstance(item, Mapping) and (said := text(item.get("Script"))) is not None:
            yield Turn(speaker=text(item.get("Speaker")), text=said, at=milliseconds(item.get("Timestamp")))


def _tags(summary: Any) -> dict[str, str]:
    return {
        name: written(item.get("Content"))
        for item in (summary if isinstance(summary, list) else ())
        if isinstance(item, Mapping) and (name := text(item.get("SummaryName"))) is not None
    }


def _end_reason(call: Call) -> str | None:
    return _END_REASONS.get(call.end_reason or "", call.end_reason)


def _between(started_at: datetime | None, ended_at: datetime | None) -> float | None:
    if started_at is None or ended_at is None:
        return None
    return round(max(0.0, (ended_at - started_at).total_seconds()), 3)


def _rest(whole: float | None, part: float | None) -> float | None:
    return None if whole is None or part is None else round(max(0.0, whole - part), 3)


def _part(value: Any, most: float | None) -> float | None:
    """Read the duration of a part of a call. The API names no unit: if it exceeds the call's, it is milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or most is None or not 0 <= value <= MAX_COUNT:
        return None
    return round(value if value <= most else min(value / 1000, most), 3)
