"""The columns of a result row, their order and their types. The package's docstring describes their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.models.phone import holds_number, redact

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult


class Kind(StrEnum):
    """The type of a column. All columns except those of the key may be ``None``."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    #: Aware datetime, UTC.
    TIMESTAMP = "timestamp"
    #: Dictionary of strings.
    OBJECT = "object"


#: The columns that identify a row.
KEY = ("job_group_id", "reference_id")
KINDS: Mapping[str, Kind] = {
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
COLUMNS = tuple(name for name in KINDS if name not in PERSONAL_COLUMNS)

_DETAILS = ("call_seconds", "ringing_seconds", "talk_seconds", "hang_up_side", "conversation_end")


def to_row(result: JobResult, *, include_phone_number: bool) -> dict[str, Any]:
    """Return a result as a row. Unless phone numbers are included, anything that could be one is masked."""
    details = result.details
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
        "started_at": _milliseconds(result.started_at),
        "ended_at": _milliseconds(result.ended_at),
        "revision": result.revision,
        "source": result.source,
        "extras": dict(result.extras),
        "tags": None if details is None else dict(details.tags),
        **{name: None if details is None else getattr(details, name) for name in _DETAILS},
    }
    if include_phone_number:
        return row | {"phone_number": result.phone_number, "name": result.name}
    # Our reference ids are checked when they are assigned, those of other programs when they are stored. Older rows of
    # the latter were not checked.
    if result.is_foreign and result.job_id is not None and holds_number(result.reference_id):
        row["reference_id"] = result.job_id
    for name in ("extras", "tags"):
        row[name] = None if row[name] is None else {redact(key): redact(value) for key, value in row[name].items()}
    return row


def _text(value: StrEnum | None) -> str | None:
    return None if value is None else str(value)


def _milliseconds(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(microsecond=moment.microsecond // 1000 * 1000)
