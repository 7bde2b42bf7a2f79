"""The columns of a row for a job, their order and their types. The package's docstring describes their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.models.enums import CallStatus
from airflow_provider_outbound.core.models.phone import holds_number, redact
from airflow_provider_outbound.core.models.wire import to_milliseconds

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult
    from airflow_provider_outbound.core.models.job_details import CallDetails, JobDetails


class Kind(StrEnum):
    """The type of a column. All columns except those of the key may be ``None``."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    #: Aware datetime, UTC.
    TIMESTAMP = "timestamp"
    #: Dictionary of strings, or the list of a conversation's turns.
    OBJECT = "object"


#: The columns that identify a row of a job, and of a call.
KEY = ("job_group_id", "reference_id")
CALL_KEY = (*KEY, "attempt")
_JOB_KINDS: Mapping[str, Kind] = {
    "job_group_id": Kind.TEXT,
    "reference_id": Kind.TEXT,
    "job_id": Kind.TEXT,
    "outcome": Kind.TEXT,
    "status": Kind.TEXT,
    "failure_reason": Kind.TEXT,
    "call_status": Kind.TEXT,
    "answered": Kind.BOOLEAN,
    "attempts": Kind.INTEGER,
    "started_at": Kind.TIMESTAMP,
    "ended_at": Kind.TIMESTAMP,
    "revision": Kind.INTEGER,
    "source": Kind.TEXT,
    "extras": Kind.OBJECT,
    "tags": Kind.OBJECT,
    "call_seconds": Kind.NUMBER,
    "ringing_seconds": Kind.NUMBER,
    "talk_seconds": Kind.NUMBER,
    "hang_up_side": Kind.TEXT,
    "conversation_end": Kind.TEXT,
    "phone_number": Kind.TEXT,
    "name": Kind.TEXT,
}
PERSONAL_COLUMNS = ("phone_number", "name")
COLUMNS = tuple(name for name in _JOB_KINDS if name not in PERSONAL_COLUMNS)
CONVERSATION = "conversation"
_CALL_KINDS: Mapping[str, Kind] = {
    "job_group_id": Kind.TEXT,
    "reference_id": Kind.TEXT,
    "job_id": Kind.TEXT,
    "attempt": Kind.INTEGER,
    "task_id": Kind.TEXT,
    "status": Kind.TEXT,
    "answered": Kind.BOOLEAN,
    "planned_at": Kind.TIMESTAMP,
    "started_at": Kind.TIMESTAMP,
    "answered_at": Kind.TIMESTAMP,
    "ended_at": Kind.TIMESTAMP,
    "ringing_seconds": Kind.NUMBER,
    "talk_seconds": Kind.NUMBER,
    "hang_up_side": Kind.TEXT,
    "end_reason": Kind.TEXT,
    "sip_code": Kind.TEXT,
    "calling_number": Kind.TEXT,
}
CALL_COLUMNS = tuple(_CALL_KINDS)
#: The type of each column, whichever rows have it.
KINDS: Mapping[str, Kind] = {**_JOB_KINDS, **_CALL_KINDS, CONVERSATION: Kind.OBJECT}

_DETAILS = ("call_seconds", "ringing_seconds", "talk_seconds", "hang_up_side", "conversation_end")


def to_row(result: JobResult, *, include_phone_number: bool) -> dict[str, Any]:
    """Return a result as a row. Unless phone numbers are included, anything that could be one is masked."""
    # Unanswered jobs have details only of their calls.
    details = result.details if result.answered else None
    row: dict[str, Any] = {
        "job_group_id": result.job_group_id,
        "reference_id": result.reference_id,
        "job_id": result.job_id,
        "outcome": str(result.outcome) if result.has_ended else None,
        "status": _text(result.status),
        "failure_reason": _text(result.failure_reason),
        "call_status": _text(result.call_status),
        "answered": result.answered,
        "attempts": result.attempts,
        "started_at": milliseconds_of(result.started_at),
        "ended_at": milliseconds_of(result.ended_at),
        "revision": result.revision,
        "source": result.source,
        "extras": dict(result.extras),
        "tags": None if details is None else dict(details.tags),
        **{name: None if details is None else getattr(details, name) for name in _DETAILS},
    }
    row[CONVERSATION] = None if details is None else conversation_of(details, include_phone_number=include_phone_number)
    if include_phone_number:
        return row | {"phone_number": result.phone_number, "name": result.name}
    row["reference_id"] = shown_reference(result)
    for name in ("extras", "tags"):
        row[name] = None if row[name] is None else {redact(key): redact(value) for key, value in row[name].items()}
    return row


def shown_reference(result: JobResult) -> str:
    """
    Return a reference id without a phone number.

    Our reference ids are checked when they are assigned, those of other programs when they are stored. Older rows of
    the latter were not checked.
    """
    if result.is_foreign and result.job_id is not None and holds_number(result.reference_id):
        return result.job_id
    return result.reference_id


def conversation_of(details: JobDetails, *, include_phone_number: bool) -> list[dict[str, Any]] | None:
    """Return what was said in the answered call that began last; ``None`` if that was not fetched."""
    calls = [call for call in details.calls if call.status is not None and CallStatus(call.status).is_answered]
    last = max(calls, key=lambda call: to_milliseconds(call.started_at) if call.started_at else 0, default=None)
    return None if last is None else turns_of(last, include_phone_number=include_phone_number)


def turns_of(call: CallDetails, *, include_phone_number: bool) -> list[dict[str, Any]] | None:
    """Return the turns of a call, in order, as they are written; ``None`` if they were not fetched."""
    if call.conversation is None:
        return None
    return [
        {
            "speaker": turn.speaker,
            "text": turn.text if include_phone_number else redact(turn.text),
            "at": None if turn.at is None else turn.at.isoformat(timespec="milliseconds"),
        }
        for turn in call.conversation
    ]


def _text(value: StrEnum | None) -> str | None:
    return None if value is None else str(value)


def milliseconds_of(moment: datetime | None) -> datetime | None:
    """Return a time without what is beyond milliseconds."""
    return None if moment is None else moment.replace(microsecond=moment.microsecond // 1000 * 1000)
