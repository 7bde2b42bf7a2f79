"""The messages that OutboundBot publishes to RocketMQ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import attrs

from airflow_provider_outbound.core.models.enums import EventType, FailureReason, JobStatus
from airflow_provider_outbound.core.models.job import Call
from airflow_provider_outbound.core.models.wire import (
    milliseconds,
    own_extras,
    parse_seconds,
    read_json,
    storable,
    text,
)

#: Created once, because that takes longer than encoding a short value.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))


@attrs.frozen(kw_only=True)
class Recording:
    """A call's recording and its URL, which expires. Source: guide, "录音级别消息体"."""

    task_id: str
    file_name: str
    call_id: str | None = None
    #: Length in seconds, as the guide's sample suggests; the message does not name a unit.
    duration: float | None = None
    url: str | None = attrs.field(default=None, repr=False)
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @classmethod
    def from_message(cls, raw: Mapping[str, Any]) -> Recording | None:
        """Read ``recording``; ``None`` unless it names a task and a file."""
        task_id, file_name = storable(raw.get("taskId"), 128), storable(raw.get("fileName"), 512)
        if task_id is None or file_name is None:
            return None
        return cls(
            task_id=task_id,
            file_name=file_name,
            call_id=text(raw.get("callId")),
            duration=parse_seconds(raw.get("duration")),
            url=text(raw.get("url")),
            raw=raw,
        )


@attrs.frozen(kw_only=True, slots=False)
class Event:
    """One message: a job, a call or a recording changed. Unknown types, statuses and fields are kept."""

    event_type: EventType
    job_group_id: str
    job_id: str
    #: When it happened, UTC; the message holds epoch milliseconds.
    occurred_at: datetime | None
    instance_id: str | None = None
    status: JobStatus | None = None
    failure_reason: FailureReason | None = None
    #: Not shown in reprs: another program may have put a number there.
    reference_id: str | None = attrs.field(default=None, repr=False)
    phone_number: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    honorific: str | None = attrs.field(default=None, repr=False)
    extras: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    calls: tuple[Call, ...] = ()
    recording: Recording | None = None
    #: The complete payload, so that fields that are ignored today can be read later.
    raw: Mapping[str, Any] = attrs.field(repr=False, eq=False)

    @property
    def completes_job(self) -> bool:
        """
        Whether this message reports the final status of its job.

        A JobComplete with an unknown status does, because it says that the job is complete. One without a status, or
        with that of an unfinished job, does not: the job stays open until the API reports its status.
        """
        if self.event_type is not EventType.JOB_COMPLETE or self.status is None:
            return False
        return self.status.is_terminal or not self.status.is_known

    @cached_property
    def hash(self) -> str:
        """Identity of the body: the same for every redelivery and for a repeat by the producer."""
        return _digest(self.raw)

    @cached_property
    def completion(self) -> str:
        """
        Identity of what a JobComplete reports, without its time.

        A repeat by the producer with a new time is the same completion; a job that ran again has other calls.
        """
        calls = sorted((call.task_id or "", str(call.status)) for call in self.calls)
        return _digest([self.job_id, self.status, self.failure_reason, calls])[:16]

    @classmethod
    def from_message(cls, body: bytes) -> Event:
        """
        Read one message body. Source: guide, "消息类型".

        :param body: UTF-8 JSON.
        :raises ValueError: this is not such a message; the text says why and quotes nothing of the body.
        """
        raw = read_json(body)
        if not isinstance(raw, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - the text is wrong, not a type
        event_type = EventType.parse(raw.get("eventType")) if isinstance(raw.get("eventType"), str) else None
        group_id, job_id = _identifier(raw, "groupId"), _identifier(raw, "id")
        if event_type is None:
            raise ValueError("eventType is missing")
        contacts = raw.get("contacts")
        contact = contacts[0] if isinstance(contacts, list) and contacts and isinstance(contacts[0], dict) else {}
        tasks = raw.get("tasks")
        recording = raw.get("recording")
        return cls(
            event_type=event_type,
            job_group_id=group_id,
            job_id=job_id,
            occurred_at=milliseconds(raw.get("eventTime")),
            instance_id=storable(raw.get("instanceId"), 128),
            status=JobStatus.parse(raw.get("status")),
            failure_reason=FailureReason.parse(raw.get("failureReason")),
            reference_id=storable(contact.get("referenceId"), 256),
            phone_number=text(contact.get("phoneNumber")),
            name=text(contact.get("name")),
            honorific=text(contact.get("honorific")),
            extras=own_extras(raw.get("extras")),
            calls=tuple(Call.from_message(task) for task in tasks if isinstance(task, dict))
            if isinstance(tasks, list)
            else (),
            recording=Recording.from_message(recording) if isinstance(recording, dict) else None,
            raw=raw,
        )


def _identifier(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is missing")
    if len(value) > 128 or not value.isprintable():
        raise ValueError(f"{key} is not an identifier")
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()
