"""Jobs, their calls and their groups, as the API and its messages describe them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobGroupStatus, JobStatus
from airflow_provider_outbound.core.models.wire import (
    milliseconds,
    own_extras,
    parse_count,
    parse_instant,
    storable,
    text,
)


@attrs.frozen(kw_only=True)
class Call:
    """One call of a job (the API's Task)."""

    #: ``None`` if the API does not report it (QueryJobsWithResult).
    task_id: str | None
    status: CallStatus | None
    call_id: str | None = None
    planned_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    calling_number: str | None = attrs.field(default=None, repr=False)
    called_number: str | None = attrs.field(default=None, repr=False)
    end_reason: str | None = None
    hang_up_direction: str | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Call:
        """Read an item of Tasks. Source: ``DescribeJob``, ``ListJobs`` (2019-12-26)."""
        return cls(
            task_id=storable(raw.get("TaskId"), 128),
            status=CallStatus.parse(raw.get("Status")),
            call_id=text(raw.get("CallId")),
            planned_at=milliseconds(raw.get("PlanedTime")),
            started_at=milliseconds(raw.get("ActualTime")),
            ended_at=milliseconds(raw.get("EndTime")),
            calling_number=text(raw.get("CallingNumber")),
            called_number=text(raw.get("CalledNumber")),
            end_reason=text(raw.get("EndReason")),
            hang_up_direction=text(raw.get("HangUpDirection")),
            raw=raw,
        )

    @classmethod
    def from_message(cls, raw: Mapping[str, Any]) -> Call:
        """Read an item of ``tasks``. Source: guide, message body, which spells "planedTime" so."""
        return cls(
            task_id=storable(raw.get("id"), 128),
            status=CallStatus.parse(raw.get("status")),
            call_id=text(raw.get("callId")),
            planned_at=milliseconds(raw.get("planedTime")),
            started_at=milliseconds(raw.get("actualTime")),
            ended_at=milliseconds(raw.get("endTime")),
            calling_number=text(raw.get("callingNumber")),
            called_number=text(raw.get("calledNumber")),
            raw=raw,
        )


@attrs.frozen(kw_only=True)
class Job:
    """One job: one contact to be called by one group."""

    job_id: str
    job_group_id: str | None
    status: JobStatus | None
    failure_reason: FailureReason | None = None
    #: Not shown in reprs: another program may have put a number there.
    reference_id: str | None = attrs.field(default=None, repr=False)
    phone_number: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    honorific: str | None = attrs.field(default=None, repr=False)
    extras: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    calls: tuple[Call, ...] = ()
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @property
    def last_call(self) -> Call | None:
        """The call that decides the outcome."""
        return last_call(self.calls)

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Job:
        """
        Read a job. Source: ``ListJobsByGroup``, ``ListJobs``, ``DescribeJob`` (2019-12-26).

        :raises ValueError: it has no JobId.
        """
        contact = _first(raw.get("Contacts"))
        return cls(
            job_id=_required(raw, "JobId"),
            job_group_id=text(raw.get("JobGroupId")),
            status=JobStatus.parse(raw.get("Status")),
            failure_reason=FailureReason.parse(raw.get("FailureReason")),
            reference_id=storable(contact.get("ReferenceId"), 256) or storable(raw.get("ReferenceId"), 256),
            phone_number=text(contact.get("PhoneNumber")),
            name=text(contact.get("ContactName")),
            honorific=text(contact.get("Honorific")),
            extras=own_extras(raw.get("Extras")),
            calls=tuple(Call.from_api(task) for task in raw.get("Tasks") or () if isinstance(task, Mapping)),
            raw=raw,
        )

    @classmethod
    def from_query(cls, raw: Mapping[str, Any], job_group_id: str) -> Job:
        """
        Read a job with the outcome of its latest call, which has no task id in this answer.

        Source: ``QueryJobsWithResult`` (2019-12-26).

        :raises ValueError: it has no Id.
        """
        task = raw.get("LatestTask")
        task = task if isinstance(task, Mapping) else {}
        contact = task.get("Contact")
        contact = contact if isinstance(contact, Mapping) else {}
        status = CallStatus.parse(task.get("Status"))
        call = Call(
            task_id=None,
            status=status,
            started_at=milliseconds(task.get("CallTime")),
            end_reason=text(task.get("TaskEndReason")),
            hang_up_direction=text(task.get("HangUpDirection")),
            raw=task,
        )
        return cls(
            job_id=_required(raw, "Id"),
            job_group_id=job_group_id,
            status=JobStatus.parse(raw.get("Status")),
            failure_reason=FailureReason.parse(raw.get("JobFailureReason")),
            reference_id=storable(contact.get("ReferenceId"), 256),
            phone_number=text(contact.get("PhoneNumber")),
            name=text(contact.get("Name")),
            honorific=text(contact.get("Honorific")),
            # LatestTask.Extras are tags of the conversation, not columns of the contact.
            calls=(call,) if status is not None else (),
            raw=raw,
        )


def last_call(calls: tuple[Call, ...]) -> Call | None:
    """Return the call that began last; one that never began is sorted by its planned time."""

    def order(call: Call) -> tuple[float, float, str]:
        return _seconds(call.started_at or call.planned_at), _seconds(call.ended_at), call.task_id or ""

    return max(calls, key=order, default=None)


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


@attrs.frozen(kw_only=True)
class Progress:
    """Progress of a job group, in jobs. The API's documents do not say which statuses count as completed."""

    total: int = 0
    completed: int = 0
    scheduling: int = 0
    executing: int = 0
    failed: int = 0
    paused: int = 0
    cancelled: int = 0

    @property
    def unfinished(self) -> int:
        """The number of jobs for which the service may still dial."""
        return self.scheduling + self.executing + self.paused

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Progress:
        """
        Read Progress; DescribeJobGroup and ListJobGroups name four counts differently.

        :raises ValueError: one is not a count.
        """
        return cls(
            total=parse_count(raw.get("TotalJobs")),
            completed=parse_count(raw.get("TotalCompleted")),
            scheduling=parse_count(raw.get("Scheduling")),
            executing=parse_count(raw.get("Executing", raw.get("ExecutingNum"))),
            failed=parse_count(raw.get("Failed", raw.get("FailedNum"))),
            paused=parse_count(raw.get("Paused", raw.get("PausedNum"))),
            cancelled=parse_count(raw.get("Cancelled", raw.get("CancelledNum"))),
        )


@attrs.frozen(kw_only=True)
class JobGroup:
    """A job group. Source: ``CreateJobGroup``, ``DescribeJobGroup``, ``ListJobGroups`` (2019-12-26)."""

    job_group_id: str
    name: str = ""
    description: str = ""
    status: JobGroupStatus | None = None
    script_id: str | None = None
    created_at: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    progress: Progress | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> JobGroup:
        """
        Read a group.

        :raises ValueError: it has no JobGroupId, or a count or a time of its strategy is invalid.
        """
        strategy = raw.get("Strategy")
        strategy = strategy if isinstance(strategy, Mapping) else {}
        progress = raw.get("Progress")
        return cls(
            job_group_id=_required(raw, "JobGroupId"),
            name=text(raw.get("JobGroupName")) or "",
            description=text(raw.get("JobGroupDescription")) or "",
            status=JobGroupStatus.parse(raw.get("Status")),
            script_id=text(raw.get("ScriptId")),
            created_at=milliseconds(raw.get("CreationTime")),
            starts_at=parse_instant(strategy.get("StartTime")),
            ends_at=parse_instant(strategy.get("EndTime")),
            progress=Progress.from_api(progress) if isinstance(progress, Mapping) else None,
            raw=raw,
        )


def _required(raw: Mapping[str, Any], key: str) -> str:
    value = storable(raw.get(key), 128)
    if value is None:
        raise ValueError(f"{key} is missing, or is not an identifier")
    return value


def _first(items: Any) -> Mapping[str, Any]:
    return items[0] if isinstance(items, list) and items and isinstance(items[0], Mapping) else {}
