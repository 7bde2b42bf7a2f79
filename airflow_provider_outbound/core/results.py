"""
Results of a job group: streamed, filtered, written.

One row a job, in this order of columns:

``reference_id``, ``job_id``
    Whose result it is.
``outcome``
    ``answered``, ``unanswered``, ``not_dialled`` or ``other``; empty while the job has not ended.
``status``, ``failure_reason``, ``call_status``
    The service's words for the job, why it failed, and its last call.
``answered``, ``attempts``
    Whether any call was answered; how many calls are known.
``started_at``, ``ended_at``
    Begin of the first and end of the last call, ISO 8601, UTC.
``revision``
    1, and one more for each time the job completed again.
``source``
    ``message`` or ``api``.
``extras``
    The contact's other columns: an object in JSON Lines, its text in CSV. What could be a phone number in them is
    masked, unless numbers are asked for.
``phone_number``, ``name``
    Only if asked for.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_outbound.core.contacts import PathLike
from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus, Outcome
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

log = logging.getLogger(__name__)

COLUMNS = (
    "reference_id",
    "job_id",
    "outcome",
    "status",
    "failure_reason",
    "call_status",
    "answered",
    "attempts",
    "started_at",
    "ended_at",
    "revision",
    "source",
    "extras",
)
PERSONAL_COLUMNS = ("phone_number", "name")
FORMATS = ("jsonl", "csv")

#: What a spreadsheet would take for a formula; a plain number, with or without a sign, is none.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def export(
    ledger: Ledger,
    job_group_id: str,
    path: PathLike,
    *,
    file_format: str | None = None,
    only: str | None = None,
    include_phone_number: bool = False,
) -> dict[str, Any]:
    """
    Write a group's results; the file appears when it is whole, and replaces an older one.

    :param path: Where to write. Missing folders are made.
    :param file_format: ``jsonl`` or ``csv``; ``None``: by the suffix of ``path``.
    :param only: See :func:`iter_results`.
    :param include_phone_number: Write numbers and names too.
    :return: ``path``, ``rows``, and ``counts`` of the rows by outcome.
    :raises OutboundBotConfigError: the format or ``only`` is unknown.
    """
    chosen = file_format or path.name.rpartition(".")[2].lower()
    if chosen not in FORMATS:
        raise OutboundBotConfigError(
            f"file_format of {path.name!r} is unknown: end the path in .jsonl or .csv, or set file_format to"
            f" {' or '.join(FORMATS)}"
        )
    results = iter_results(ledger, job_group_id, only)
    columns = (*COLUMNS, *PERSONAL_COLUMNS) if include_phone_number else COLUMNS
    counts: Counter[str] = Counter()
    unreadable = 0
    with _whole(path, encoding="utf-8-sig" if chosen == "csv" else "utf-8") as file:
        write = _csv_writer(file, columns) if chosen == "csv" else _json_writer(file, columns)
        for result in results:
            row = to_row(result)
            if not include_phone_number:
                row["extras"] = {key: redact(value) for key, value in row["extras"].items()}
            counts[row["outcome"] or "open"] += 1
            unreadable += not result.decrypted
            write(row)
    if unreadable:
        log.warning(
            "Job group %s: contacts of %d rows cannot be decrypted and are left empty; is a key missing in [outbound]"
            " ledger_key?",
            job_group_id,
            unreadable,
        )
    return {"path": str(path), "rows": counts.total(), "counts": dict(sorted(counts.items()))}


def iter_results(ledger: Ledger, job_group_id: str, only: str | None = None) -> Iterator[JobResult]:
    """
    Each job of a group once, ordered by reference id, in constant memory.

    :param only: ``answered``, ``unanswered``, ``not_dialled`` or ``other``: ended jobs with that outcome; ``failed``:
        the same as ``Failed``; a status, failure reason or call status of the service: jobs that have it.
    :raises OutboundBotConfigError: ``only`` is none of these; raised at once, before anything is read.
    """
    matches = _filter(only)
    return (result for result in ledger.jobs.iter_results(job_group_id) if matches(result))


def to_row(result: JobResult) -> dict[str, Any]:
    """A result under all column names, with values that JSON knows."""
    return {
        "reference_id": result.reference_id,
        "job_id": result.job_id,
        "outcome": str(result.outcome) if _has_ended(result) else None,
        "status": _text(result.status),
        "failure_reason": _text(result.failure_reason),
        "call_status": _text(result.call_status),
        "answered": result.answered,
        "attempts": result.attempts,
        "started_at": _iso(result.started_at),
        "ended_at": _iso(result.ended_at),
        "revision": result.revision,
        "source": result.source,
        "extras": dict(result.extras),
        "phone_number": result.phone_number,
        "name": result.name,
    }


def _has_ended(result: JobResult) -> bool:
    """Whether the outcome is final: who is going to be dialled again is not unanswered yet."""
    status = result.status
    return status is not None and (status.is_terminal or not status.is_known)


def _filter(only: str | None) -> Callable[[JobResult], bool]:
    if only is None:
        return lambda _: True
    if only in set(Outcome):
        return lambda result: result.outcome == only and _has_ended(result)
    if only == "failed":
        return lambda result: result.status is JobStatus.FAILED
    words: list[str] = [str(word) for kind in (JobStatus, FailureReason, CallStatus) for word in kind]
    if only not in words:
        known = sorted({*map(str, Outcome), "failed"}) + sorted(set(words))
        raise OutboundBotConfigError(f"only {only!r} is unknown: use one of {', '.join(known)}")
    return lambda result: only in (result.status, result.failure_reason, result.call_status)


def _json_writer(file: IO[str], columns: tuple[str, ...]) -> Callable[[dict[str, Any]], None]:
    def write(row: dict[str, Any]) -> None:
        file.write(json.dumps({name: row[name] for name in columns}, ensure_ascii=False) + "\n")

    return write


def _csv_writer(file: IO[str], columns: tuple[str, ...]) -> Callable[[dict[str, Any]], None]:
    writer = csv.writer(file)
    writer.writerow(columns)

    def write(row: dict[str, Any]) -> None:
        writer.writerow([_cell(row[name]) for name in columns])

    return write


def _cell(value: Any) -> Any:
    """A value as a spreadsheet shows it and does not run it."""
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


@contextmanager
def _whole(path: Any, *, encoding: str) -> Iterator[IO[str]]:
    """
    Write beside the file, and put it into place once it is whole.

    :raises OutboundBotConfigError: nothing can be written there.
    """
    part = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding=encoding, newline="") as file:
            yield file
            if isinstance(part, Path):
                file.flush()
                os.fsync(file.fileno())
        if isinstance(part, Path):
            part.replace(path)
        else:
            part.move(path)
    except OSError as error:
        _drop(part)
        raise OutboundBotConfigError(
            f"path {str(path)!r} cannot be written: {error.strerror or type(error).__name__}; give one that this"
            " machine may write"
        ) from None
    except BaseException:
        _drop(part)
        raise


def _drop(part: Any) -> None:
    # The error that led here is the one to tell; a part that cannot be removed is none of its own.
    with suppress(OSError):
        part.unlink(missing_ok=True)


def _text(value: StrEnum | None) -> str | None:
    return None if value is None else str(value)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
