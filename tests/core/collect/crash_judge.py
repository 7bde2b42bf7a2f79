"""The judge of a random round: the simulated service's own account against what waits and ledgers say."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.core.models.event import Event


def group(
    ledger: Ledger,
    job_group_id: str,
    payloads: Sequence[dict[str, Any]],
    jobs: Sequence[dict[str, Any]],
    *,
    complete: bool,
) -> None:
    """
    Judge one group on one ledger.

    :param payloads: Events of every trigger that waited for it.
    :param jobs: Its jobs as the service tells them.
    :param complete: Whether every message about it came to this ledger.
    """
    for payload in payloads:
        _event(payload, jobs)
    assert len({_counts(payload["summary"]) for payload in payloads}) == 1, "two events of one wait differ"
    _results(ledger, job_group_id, jobs, complete=complete)


def _event(payload: dict[str, Any], jobs: Sequence[dict[str, Any]]) -> None:
    assert payload["status"] == "complete", payload
    summary = payload["summary"]
    assert summary["total"] == summary["completed"] == len(jobs), "it was woken early"
    assert summary["by_status"] == dict(sorted(Counter(job["status"] for job in jobs).items()))
    assert summary["unresolved"] == 0
    assert not summary["mismatch"] | summary["timed_out"] | summary["group_cancelled"]


def _counts(summary: dict[str, Any]) -> str:
    """What two events of one wait must agree on; calls whose messages come late may be known to the second only."""
    return json.dumps({name: summary[name] for name in ("total", "completed", "succeeded", "failed", "by_status")})


def _results(ledger: Ledger, job_group_id: str, jobs: Sequence[dict[str, Any]], *, complete: bool) -> None:
    results = list(ledger.results.iter_results(job_group_id))
    assert Counter(result.job_id for result in results) == Counter(job["job_id"] for job in jobs)
    found = {result.job_id: result for result in results}
    statement = text("SELECT job_id, task_id, status FROM calls WHERE job_group_id = :job_group_id")
    with ledger.read() as connection:
        rows = connection.execute(statement, {"job_group_id": job_group_id})
        calls = {(row.job_id, row.task_id): row.status for row in rows}
    for job in jobs:
        result = found[job["job_id"]]
        assert (result.status, result.failure_reason) == (job["status"], job["failure_reason"]), job
        assert result.reference_id in (job["reference_id"], job["job_id"])
        assert result.answered == any(call["status"].startswith("Succeeded") for call in job["calls"]), job
        assert result.revision == 1, job
        assert result.attempts <= len(job["calls"]), job
        if complete:
            assert result.attempts == len(job["calls"]), job
            for call in job["calls"]:
                assert calls.get((job["job_id"], call["task_id"])) == call["status"], job
    known = {(job["job_id"], call["task_id"]) for job in jobs for call in job["calls"]}
    assert {key for key in calls if key[1] != "latest"} <= known


def messages(ledgers: Iterable[Ledger], bodies: Iterable[bytes], poisons: Iterable[tuple[bytes, bool]]) -> None:
    """
    Judge that every body the broker ever had is in a ledger: as an event, or in quarantine.

    :param poisons: Those of them that nobody should have sent, and whether each is an event nevertheless.
    """
    events: set[str] = set()
    quarantine: set[str] = set()
    for ledger in ledgers:
        with ledger.read() as connection:
            events |= set(connection.exec_driver_sql("SELECT hash FROM events").scalars())
            quarantine |= set(connection.exec_driver_sql("SELECT hash FROM quarantine").scalars())
    unreadable = {body for body, readable in poisons if not readable}
    for body in bodies:
        kept = hashlib.sha256(body).hexdigest() in quarantine
        if body not in unreadable:
            kept = kept or Event.from_message(body).hash in events
        assert kept, f"lost: {body[:200]!r}"


def logs(said: str, numbers: Iterable[str], *, apart: bool) -> None:
    """Judge what the triggerers said: no number, and a warning where two ledgers share one consumer group."""
    assert not [number for number in numbers if number in said], "a number in a log"
    if apart:
        assert "came from the API" in said
