"""The messages that the service publishes to RocketMQ, and the faults that affect them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow_provider_outbound.simulator.faults import Faults
from airflow_provider_outbound.simulator.records import Call, Job

#: Publishes one message body.
Publish = Callable[[bytes], None]

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def milliseconds(instant: float) -> int:
    """Unix seconds as Unix milliseconds, which the service sends."""
    return round(instant * 1000)


def job_event(event_type: str, job: Job, *, instance_id: str, at: float) -> dict[str, Any]:
    """A message of job or call level; ``at`` in Unix seconds."""
    event: dict[str, Any] = {
        "eventType": event_type,
        "eventTime": milliseconds(at),
        "instanceId": instance_id,
        "groupId": job.group.group_id,
        "id": job.job_id,
        "status": job.status,
    }
    if job.failure_reason is not None:
        event["failureReason"] = job.failure_reason
    event |= _about(job)
    event["tasks"] = [_task(call) for call in job.calls]
    return event


def recording_event(job: Job, call: Call, *, instance_id: str, at: float, url: str) -> dict[str, Any]:
    """A RecordingReady message; ``at`` in Unix seconds."""
    return {
        "eventType": "RecordingReady",
        "eventTime": milliseconds(at),
        "instanceId": instance_id,
        "groupId": job.group.group_id,
        "id": job.job_id,
        **_about(job),
        "recording": {
            "taskId": call.task_id,
            "callId": call.call_id,
            "duration": round(call.talked_seconds),
            "fileName": call.recording,
            "mkvUrl": url,
            "url": url,
        },
    }


def _about(job: Job) -> dict[str, Any]:
    contacts = [
        {
            "id": f"{job.job_id}-{index}",
            "honorific": contact.get("honorific", ""),
            "name": contact.get("name", ""),
            "phoneNumber": contact["phoneNumber"],
            "referenceId": contact["referenceId"],
        }
        for index, contact in enumerate(job.contacts)
    ]
    return {"extras": [dict(extra) for extra in job.extras], "contacts": contacts}


def _task(call: Call) -> dict[str, Any]:
    task: dict[str, Any] = {
        "id": call.task_id,
        "callId": call.call_id,
        # The service's own spelling.
        "planedTime": milliseconds(call.planned_at),
        "actualTime": milliseconds(call.started_at),
    }
    if call.ended_at is not None:
        task["endTime"] = milliseconds(call.ended_at)
    return task | {"callingNumber": call.calling_number, "calledNumber": call.called_number, "status": call.status}


class Post:
    """
    Sends messages to the broker, with the active faults.

    :param publish: publishes a message body; called in the event loop, must not block.
    """

    def __init__(self, publish: Publish, faults: Faults) -> None:
        self._publish = publish
        self._faults = faults
        self._delayed: set[asyncio.TimerHandle] = set()
        #: Messages handed to the broker, by event type; duplicates are counted.
        self.published: Counter[str] = Counter()
        #: Messages that a fault dropped, by event type.
        self.withheld: Counter[str] = Counter()

    def send(self, event: dict[str, Any]) -> None:
        """Send one message."""
        kind = event["eventType"]
        if self._faults.strikes("messages_withheld", event_type=kind):
            self.withheld[kind] += 1
            return
        self._deliver(event)
        if double := self._faults.strikes("messages_doubled", event_type=kind):
            if double.new_event_time:
                event = event | {"eventTime": event["eventTime"] + self._faults.rng.randint(1, 1000)}
            self._deliver(event)

    def _deliver(self, event: dict[str, Any]) -> None:
        kind = event["eventType"]
        delay = 0.0
        if late := self._faults.strikes("messages_late", event_type=kind):
            delay += late.seconds
        if reordered := self._faults.strikes("messages_reordered", event_type=kind):
            delay += self._faults.rng.uniform(0, reordered.seconds)
        body = _ENCODER.encode(event).encode()
        if not delay:
            self._hand_over(kind, body)
            return
        handle: asyncio.TimerHandle

        def hand_over_late() -> None:
            self._delayed.discard(handle)
            self._hand_over(kind, body)

        handle = asyncio.get_running_loop().call_later(delay, hand_over_late)
        self._delayed.add(handle)

    def _hand_over(self, kind: str, body: bytes) -> None:
        self.published[kind] += 1
        self._publish(body)

    def clear(self) -> None:
        """Drop delayed messages and reset all counts."""
        for handle in self._delayed:
            handle.cancel()
        self._delayed.clear()
        self.published.clear()
        self.withheld.clear()
