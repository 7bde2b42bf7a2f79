"""Reference ids of jobs that others assigned: the ledger holds no number in clear that they hold."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from support.messages import incoming, job_complete

from airflow_provider_outbound.core.ledger import Candidate, Incoming, Ledger, TaskKey
from airflow_provider_outbound.core.ledger.schema import metadata
from airflow_provider_outbound.core.models.enums import JobStatus
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.core.results.columns import to_row

NUMBER = "13877665546"
HOLD_A_NUMBER = [NUMBER, f"u{NUMBER}", f"+86{NUMBER}", "x-138-7766-5546", f"2026-{NUMBER}", "u01065529988"]


def message(reference: str, job_id: str = "job-1", status: str = "Succeeded") -> Incoming:
    return incoming(job_complete("g1", job_id, NUMBER, reference, at=1_588_850_490_334, status=status))


def listed(reference: str, job_id: str = "job-1", number: str | None = NUMBER) -> Job:
    return Job(
        job_id=job_id,
        job_group_id="g1",
        status=JobStatus.SUCCEEDED,
        reference_id=reference,
        phone_number=number,
    )


def in_clear(ledger: Ledger, text: str) -> list[str]:
    """Columns of the database in which the text stands."""
    with ledger.write() as connection:
        return [
            f"{table.name}.{column}"
            for table in metadata.sorted_tables
            for row in connection.execute(table.select()).mappings()
            for column, value in row.items()
            if text in (value.decode("latin-1") if isinstance(value, bytes) else str(value))
        ]


@pytest.mark.parametrize("reference", HOLD_A_NUMBER)
@pytest.mark.parametrize("source", ["message", "listing"])
def test_one_that_holds_a_number_is_kept_as_a_digest(ledger: Ledger, reference: str, source: str) -> None:
    for _ in range(2):
        if source == "message":
            ledger.inbox.record([message(reference)])
        else:
            ledger.results.record_listing("g1", [listed(reference)])

    (result,) = ledger.results.iter_results("g1")
    assert result.is_foreign
    assert result.phone_number == NUMBER
    assert in_clear(ledger, reference) == []
    assert in_clear(ledger, NUMBER[-7:]) == []
    assert reference not in str(to_row(result, include_phone_number=False))


@pytest.mark.parametrize(
    "reference",
    [
        "customer-10086",
        "ORD-2026112600012345",
        "20261126093000",
        "123e4567-e89b-12d3-a456-426614174000",
        "5f4dcc3b5aa765d61d8327deb882cf99",
    ],
)
def test_any_other_is_kept_as_it_is(ledger: Ledger, reference: str) -> None:
    ledger.inbox.record([message(reference)])

    (result,) = ledger.results.iter_results("g1")
    assert result.reference_id == reference


def test_two_jobs_of_one_reference_and_later_facts_of_each_keep_their_rows(ledger: Ledger) -> None:
    ledger.results.record_listing("g1", [listed(NUMBER, "job-1"), listed(NUMBER, "job-2")])
    ledger.inbox.record([message(NUMBER, "job-2", "Failed"), message(NUMBER, "job-1")])
    ledger.results.record_listing("g1", [listed(NUMBER, "job-2"), listed(NUMBER, "job-1")])

    assert {(row.job_id, row.status) for row in ledger.results.iter_results("g1")} == {
        ("job-1", "Succeeded"),
        ("job-2", "Failed"),
    }
    assert in_clear(ledger, NUMBER) == []


def test_our_own_of_an_older_ledger_is_found_by_it(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    (candidate,) = candidates(1)
    candidate = attrs.evolve(candidate, reference_id=f"u{NUMBER}")
    assignment = ledger.assignments.open(
        TaskKey("dag", "run", "assign"), "g1", owner="me", lease_seconds=60, settle_seconds=0
    )
    ledger.journal.begin(assignment, [candidate], dedupe_by="phone")

    assert ledger.results.record_listing("g1", [listed(f"u{NUMBER}", number=None)]).matched == 1
    assert ledger.journal.in_doubt(assignment) == []


def test_neither_a_job_nor_an_event_shows_it() -> None:
    assert NUMBER not in repr(listed(NUMBER))
    assert NUMBER not in repr(Event.from_message(message(NUMBER).body))


def test_a_row_of_an_older_ledger_is_exported_without_it(ledger: Ledger) -> None:
    ledger.inbox.record([message("theirs")])
    (result,) = ledger.results.iter_results("g1")
    older = attrs.evolve(result, reference_id=f"u{NUMBER}", extras={f"or {NUMBER}": f"or {NUMBER[:3]}–{NUMBER[3:]}"})

    assert NUMBER[3:] not in str(to_row(older, include_phone_number=False))
