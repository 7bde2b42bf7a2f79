"""One row for each call of a job, from the ledger's calls and, where they were fetched, the API's details of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from airflow_provider_outbound.core.models.enums import CallStatus, EventType
from airflow_provider_outbound.core.models.job import Call
from airflow_provider_outbound.core.models.job_details import CallDetails
from airflow_provider_outbound.core.models.phone import mask
from airflow_provider_outbound.core.models.wire import milliseconds, to_milliseconds
from airflow_provider_outbound.core.results.columns import CONVERSATION, milliseconds_of, shown_reference, turns_of

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

#: Task id of a call that only a listing has reported.
_LATEST = "latest"
#: Jobs and messages read at a time.
_JOBS, _EVENTS = 200, 5000
#: A message may give the time of an answer slightly outside its call.
_SLACK = timedelta(seconds=1)


def iter_call_rows(
    ledger: Ledger, job_group_id: str, results: Iterator[JobResult], *, include_phone_number: bool
) -> Iterator[tuple[JobResult, dict[str, Any]]]:
    """
    Yield a row for each call of each job, in the order of the jobs and of their calls, in constant memory.

    Jobs without a call have no row.

    :param results: Jobs of the group.
    :param include_phone_number: Yield phone numbers and names too; otherwise anything that could be one is masked.
    """
    with _AnswerTimes(ledger, job_group_id) as answers:
        while part := list(islice(results, _JOBS)):
            job_ids = [result.job_id for result in part if result.job_id is not None]
            known = ledger.calls.of_jobs(job_ids, with_numbers=True)
            for result in part:
                calls = _merged(known.get(result.job_id or "", ()), result)
                times = answers.of_job(result.job_id) if calls else []
                for attempt, call in enumerate(calls, start=1):
                    answered_at = _answered_at(call, times)
                    yield result, _row(result, attempt, call, answered_at, include_phone_number=include_phone_number)


def _merged(known: Sequence[Call], result: JobResult) -> list[CallDetails]:
    """
    Combine what messages and the API report about a job's calls, in the order in which they began.

    Details that were fetched are complete: a call of a listing, which has no id, is one of them.
    """
    described = {call.task_id: call for call in (result.details.calls if result.details else ()) if call.task_id}
    calls: dict[str | None, CallDetails] = {**described}
    for call in known:
        task_id = call.task_id if call.task_id != _LATEST else None
        if task_id is None and described:
            continue
        of_ledger = CallDetails(
            task_id=task_id,
            status=None if call.status is None else str(call.status),
            planned_at=call.planned_at,
            started_at=call.started_at,
            ended_at=call.ended_at,
            calling_number=call.calling_number,
        )
        of_api = described.get(task_id) if task_id else None
        calls[task_id] = of_ledger if of_api is None else _completed(of_api, of_ledger)
    return sorted(calls.values(), key=_order)


def _completed(call: CallDetails, by: CallDetails) -> CallDetails:
    """Fill what one report of a call lacks from another."""
    return attrs.evolve(
        call,
        **{
            field.name: getattr(by, field.name)
            for field in attrs.fields(CallDetails)
            if getattr(call, field.name) is None
        },
    )


def _order(call: CallDetails) -> tuple[int, int, str]:
    began, ended = call.started_at or call.planned_at, call.ended_at
    return (
        0 if began is None else to_milliseconds(began),
        0 if ended is None else to_milliseconds(ended),
        call.task_id or "",
    )


def _answered_at(call: CallDetails, times: Sequence[datetime]) -> datetime | None:
    """When a call was answered: from its ringing, otherwise the first message within the call."""
    if call.status is None or not CallStatus(call.status).is_answered or call.started_at is None:
        return None
    if call.ringing_seconds is not None:
        return call.started_at + timedelta(seconds=call.ringing_seconds)
    if call.ended_at is None:
        return None
    return next((time for time in times if call.started_at - _SLACK <= time <= call.ended_at + _SLACK), None)


def _row(
    result: JobResult, attempt: int, call: CallDetails, answered_at: datetime | None, *, include_phone_number: bool
) -> dict[str, Any]:
    number = call.calling_number
    row: dict[str, Any] = {
        "job_group_id": result.job_group_id,
        "reference_id": result.reference_id if include_phone_number else shown_reference(result),
        "job_id": result.job_id,
        "attempt": attempt,
        "task_id": call.task_id,
        "status": call.status,
        "answered": call.status is not None and CallStatus(call.status).is_answered,
        "planned_at": milliseconds_of(call.planned_at),
        "started_at": milliseconds_of(call.started_at),
        "answered_at": milliseconds_of(answered_at),
        "ended_at": milliseconds_of(call.ended_at),
        "ringing_seconds": _seconds(call.ringing_seconds, call.started_at, answered_at),
        "talk_seconds": _seconds(call.talk_seconds, answered_at, call.ended_at),
        "hang_up_side": call.hang_up_side,
        "end_reason": call.end_reason,
        "sip_code": call.sip_code,
        "calling_number": number if number is None or include_phone_number else mask(number),
        CONVERSATION: turns_of(call, include_phone_number=include_phone_number),
    }
    if include_phone_number:
        row |= {"phone_number": result.phone_number, "name": result.name}
    return row


def _seconds(known: float | None, begin: datetime | None, end: datetime | None) -> float | None:
    if known is not None or begin is None or end is None:
        return known
    return round(max(0.0, (end - begin).total_seconds()), 3)


class _AnswerTimes:
    """
    When calls of a group were answered, as messages reported it, in a private temporary database.

    The event log has no index by job, so it is read once. SQLite moves the database to a file when it grows.
    """

    def __init__(self, ledger: Ledger, job_group_id: str) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("CREATE TABLE answers (job_id TEXT, at INTEGER, PRIMARY KEY (job_id, at)) WITHOUT ROWID")
        self._db.execute("BEGIN")
        after, is_full = 0, True
        while is_full:
            page = ledger.events.read(after, _EVENTS, event_types=[EventType.CALL_ANSWERED], job_group_id=job_group_id)
            self._db.executemany(
                "INSERT OR IGNORE INTO answers VALUES (?, ?)",
                ((event.job_id, to_milliseconds(event.occurred_at)) for event in page.events if event.occurred_at),
            )
            after, is_full = page.upto, page.is_full

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._db.close()

    def of_job(self, job_id: str | None) -> list[datetime]:
        """Return when calls of a job were answered, in order."""
        rows = self._db.execute("SELECT at FROM answers WHERE job_id = ? ORDER BY at", (job_id,))
        return [moment for (at,) in rows if (moment := milliseconds(at)) is not None]
