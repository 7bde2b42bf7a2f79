"""
The state of a job from its facts, whatever their order or number.

A fact is a message or an entry of a listing. Calls are a union. A final status beats a running one. Of two final
statuses the later message wins, then the greater hash. The API only fills gaps. A listing has no time of its own: of
two final statuses from the API the alphabetically last wins (Succeeded, then Failed, then Cancelled), and of two others
the last one read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import attrs

from airflow_provider_outbound.core.models.enums import CallStatus
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.core.models.job import Call, Job, last_call
from airflow_provider_outbound.core.models.wire import to_milliseconds

#: Task id of the one call that a listing reports without an id.
LATEST = "latest"
_SAME_CALL = timedelta(seconds=60)
_SAME_MOMENT = timedelta(seconds=1)


@attrs.define(kw_only=True)
class JobFacts:
    """The columns of ``jobs`` that facts change."""

    job_group_id: str
    reference_id: str
    phone_key: str | None
    unique_phone: bool
    assignment_id: str | None = None
    state: str
    job_id: str | None = None
    status: str | None = None
    terminal: bool = False
    failure_reason: str | None = None
    call_status: str | None = None
    answered: bool = False
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    status_time: int = 0
    status_hash: str = ""
    source: str | None = None
    completions: list[str] | None = None
    contact: bytes | None = attrs.field(default=None, repr=False)

    def apply_event(self, event: Event) -> None:
        """Apply what a message reports about the job itself."""
        time = 0 if event.occurred_at is None else to_milliseconds(event.occurred_at)
        later = (time, event.hash) > (self.status_time, self.status_hash)
        if event.completes_job:
            self.completions = sorted({*(self.completions or ()), event.completion})
            if self.terminal and self.source == "message" and not later:
                return
            self.terminal = True
        elif self.terminal or event.status is None or not later:
            return
        self.status, self.failure_reason = event.status, event.failure_reason
        self.status_time, self.status_hash, self.source = time, event.hash, "message"

    def apply_job(self, job: Job) -> None:
        """Apply what the API reports, unless a message has reported more."""
        if job.status is None or (self.source == "message" and (self.terminal or not job.status.is_terminal)):
            return
        if self.terminal and (
            not job.status.is_terminal
            or (job.status, job.failure_reason or "") < (self.status, self.failure_reason or "")
        ):
            # An older listing that is stored later.
            return
        self.status, self.failure_reason = job.status, job.failure_reason
        self.terminal = job.status.is_terminal
        self.status_time, self.status_hash, self.source = 0, "", "api"

    def apply_calls(self, calls: Iterable[Call]) -> None:
        """Apply all known calls of the job."""
        counted = distinct_calls(calls)
        latest = last_call(tuple(counted))
        self.attempts = len(counted)
        self.call_status = latest.status if latest else None
        self.answered = any(call.status is not None and call.status.is_answered for call in counted)
        self.started_at = min((call.started_at for call in counted if call.started_at), default=None)
        self.ended_at = max((call.ended_at for call in counted if call.ended_at), default=None)


def distinct_calls(calls: Iterable[Call]) -> list[Call]:
    """Return each call once: the one of the listing completes a named call, or is a call of its own."""
    known = tuple(calls)
    listed = next((call for call in known if call.task_id == LATEST), None)
    named = tuple(_closed(call, listed) for call in known if call.task_id != LATEST)
    return [*named, *([] if listed is None or _is_among(listed, named) else [listed])]


def _closed(call: Call, listed: Call | None) -> Call:
    """Complete a call from the listing if no message has reported its end."""
    if listed is None or call.status not in (None, CallStatus.EXECUTING):
        return call
    begun = call.started_at, listed.started_at
    same = begun[0] is None or begun[1] is None or abs(begun[0] - begun[1]) < _SAME_CALL
    if not same:
        return call
    return attrs.evolve(
        call, status=listed.status, started_at=call.started_at or listed.started_at, ended_at=listed.ended_at
    )


def _is_among(unnamed: Call, named: tuple[Call, ...]) -> bool:
    """Whether a call without a task id is one of the named calls, or older than the last of them."""
    if unnamed.started_at is None:
        return bool(named)
    for call in named:
        if call.started_at is None:
            continue
        # The listing may report a slightly different time, so a call at about that time with that status is the same.
        near = abs(call.started_at - unnamed.started_at) < _SAME_CALL and call.status == unnamed.status
        # A call that had ended before the other began is an earlier one, however close they are.
        is_earlier = call.ended_at is not None and call.ended_at <= unnamed.started_at
        if near or (not is_earlier and call.started_at > unnamed.started_at - _SAME_MOMENT):
            return True
    return False


def better(one: Call, other: Call) -> Call:
    """The more informative of two reports of one call: an ended call, then the later end."""

    def order(call: Call) -> tuple[Any, ...]:
        times = (call.ended_at, call.started_at, call.planned_at)
        ended, started, planned = (moment.timestamp() if moment else 0.0 for moment in times)
        return call.status not in (None, CallStatus.EXECUTING), ended, started, str(call.status), planned

    return max(one, other, key=order)


def named_calls(job: Job) -> list[Call]:
    """A listing's calls; a call without an id gets :data:`LATEST`."""
    return [call if call.task_id is not None else attrs.evolve(call, task_id=LATEST) for call in job.calls]
