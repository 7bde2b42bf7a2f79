"""The ledger remembers whom a follow-up has reached, and who must not be reached."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.messages import T0, call, job_complete, store

from airflow_provider_outbound.core.ledger import JobResult, Ledger
from airflow_provider_outbound.core.ledger.follow_ups import BLOCK_LIST
from airflow_provider_outbound.exceptions import LedgerError


def complete(ledger: Ledger, number: int, end: str = "NoAnswer", *, group: str = "group-1", at: int = 0) -> None:
    job = job_complete(
        group,
        f"{group}-{number}",
        f"1380000{number:04}",
        f"r-{number}",
        call(f"{group}-{number}-{at}", end, T0 + at),
        at=T0 + at,
        status="Failed",
        failureReason=end,
    )
    store(ledger, job)


def results(ledger: Ledger, group: str = "group-1") -> list[JobResult]:
    return list(ledger.results.iter_results(group))


def names(rows: list[JobResult]) -> list[str]:
    return [row.reference_id for row in rows]


def test_what_is_marked_is_handled_under_that_name_and_in_that_group(ledger: Ledger) -> None:
    for number in range(900):
        complete(ledger, number)
    complete(ledger, 1, group="group-2")
    rows = results(ledger)

    ledger.follow_ups.mark("sms", rows[:800])
    ledger.follow_ups.mark("sms", rows[:801])

    assert names(ledger.follow_ups.unhandled("sms", "group-1", rows)) == names(rows[801:])
    assert len(ledger.follow_ups.unhandled("mail", "group-1", rows)) == 900
    assert len(ledger.follow_ups.unhandled("sms", "group-2", results(ledger, "group-2"))) == 1


def key_of(ledger: Ledger, number: int) -> str:
    return ledger.identity.phone_key(f"+861380000{number:04}")


def allowed(ledger: Ledger, group: str = "group-1") -> list[str]:
    return names(ledger.follow_ups.without_blocked(group, results(ledger, group)))


def test_a_refusal_holds_whichever_clock_told_it_and_whoever_called_later(ledger: Ledger) -> None:
    for number in (1, 2, 3, 4):
        complete(ledger, number)
    complete(ledger, 1, "ContactBlockList", group="later", at=60_000)
    complete(ledger, 2, "ContactBlockList", group="earlier", at=-60_000)
    complete(ledger, 3, "SucceededFinish", group="earlier", at=-60_000)
    # Put on the list by us, by a clock that is years before or behind the service's.
    ledger.follow_ups.mark(f"{BLOCK_LIST}i-1", [row for row in results(ledger, "earlier") if row.reference_id == "r-3"])
    ledger.follow_ups.mark("sms", results(ledger))

    assert allowed(ledger) == ["r-4"]


def test_a_refusal_that_is_taken_back_is_over_until_the_next_one(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        complete(ledger, number)
        complete(ledger, number, "ContactBlockList" if number == 1 else "SucceededFinish", group="earlier")
    ledger.follow_ups.mark(f"{BLOCK_LIST}i-1", results(ledger, "earlier")[1:])

    assert ledger.follow_ups.take_back([key_of(ledger, number) for number in (1, 2, 9)]) == 2
    assert allowed(ledger) == ["r-1", "r-2"]
    assert ledger.follow_ups.take_back([key_of(ledger, 1)]) == 0

    complete(ledger, 1, "ContactBlockList", group="third")
    ledger.follow_ups.mark(f"{BLOCK_LIST}i-2", results(ledger, "earlier")[1:2])
    assert allowed(ledger) == []
    assert ledger.follow_ups.take_back([key_of(ledger, number) for number in (1, 2)]) == 2
    # The very job that was taken back is refused once more.
    complete(ledger, 1, "ContactBlockList", group="earlier", at=1000)
    assert allowed(ledger) == ["r-2"]


def test_a_refusal_outlives_the_rows_that_told_it(ledger: Ledger) -> None:
    for number in range(1, 5):
        complete(ledger, number, group="earlier", end="ContactBlockList" if number in (1, 2) else "SucceededFinish")
        complete(ledger, number)
    ledger.follow_ups.mark(f"{BLOCK_LIST}i-1", results(ledger, "earlier")[2:3])
    ledger.follow_ups.take_back([key_of(ledger, 2)])

    assert ledger.retention.purge(timedelta(0), job_group_id="earlier").purged

    assert allowed(ledger) == ["r-2", "r-4"]
    assert ledger.follow_ups.take_back([key_of(ledger, number) for number in (1, 3)]) == 2
    assert allowed(ledger) == ["r-1", "r-2", "r-3", "r-4"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refused", "saved", "called", "taken back", "purged"]),
        st.integers(min_value=0, max_value=2),
        st.integers(min_value=-(10**9), max_value=10**9),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_happens_in_whatever_order_only_taking_back_allows(ledger: Ledger, steps: list[Any]) -> None:
    """Judged by a set: whoever was refused is in it until taken back."""
    run = uuid.uuid4().hex[:8]
    people = [int(run[:6], 16) % 3000 * 3 + person for person in range(3)]
    ledger.follow_ups.take_back([key_of(ledger, number) for number in people])
    for number in people:
        complete(ledger, number, group=run)
    refused: set[str] = set()
    for position, (what, person, at) in enumerate(steps):
        number, group = people[person], f"{run}-{position}"
        if what == "taken back":
            ledger.follow_ups.take_back([key_of(ledger, number)])
            refused.discard(f"r-{number}")
            continue
        if what == "purged":
            for earlier in range(position):
                with suppress(LedgerError):
                    ledger.retention.purge(timedelta(0), job_group_id=f"{run}-{earlier}")
            continue
        complete(ledger, number, "ContactBlockList" if what == "refused" else "SucceededFinish", group=group, at=at)
        if what == "saved":
            ledger.follow_ups.mark(f"{BLOCK_LIST}i-{position}", results(ledger, group))
        if what != "called":
            refused.add(f"r-{number}")

    assert set(allowed(ledger, run)) == {f"r-{number}" for number in people} - refused
