"""A clock that is set back, or corrected, holds up neither requests nor a task that takes over from a dead one."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, update
from support.examples import examples

from airflow_provider_outbound.core.ledger import Ledger, TaskKey, schema
from airflow_provider_outbound.exceptions import LeaseHeldError

KEY = TaskKey("dag", "run", "assign")
HOUR = timedelta(hours=1)


def set_clock_back(ledger: Ledger, table: Table, by: timedelta) -> None:
    """As seen from the ledger: whatever it has noted is that much later than it was."""
    names = [column.name for column in table.c if column.name.endswith(("_at", "_until"))]
    with ledger.write() as connection:
        for row in connection.execute(table.select()).mappings().all():
            here = [key == row[key.name] for key in table.primary_key.columns]
            moved = {name: row[name] + by for name in names if row[name] is not None}
            connection.execute(update(table).where(*here).values(**moved))


def test_requests_wait_one_turn_and_it_is_logged(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        ledger.turns.take("connection", 1, 0.1)
    set_clock_back(ledger, schema.request_turns, HOUR)

    with caplog.at_level(logging.WARNING):
        first = ledger.turns.take("connection", 1, 0.1)
    second = ledger.turns.take("connection", 1, 0.1)

    assert first <= 10
    assert first < second <= 20
    assert [record.message for record in caplog.records] == [
        "The clock was set back since the last request: requests continue at 0.1 per second"
    ]


@given(
    steps=st.lists(
        st.tuples(st.integers(min_value=1, max_value=5), st.integers(min_value=0, max_value=10**6)), max_size=8
    )
)
@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_turns_stay_apart_as_long_as_the_clock_goes_on_and_never_wait_longer_than_their_number(
    ledger: Ledger, steps: list[tuple[int, int]]
) -> None:
    """Judged by a count: a turn waits for those taken before it since the clock was last set back."""
    with ledger.write() as connection:
        connection.execute(schema.request_turns.delete())
    before = 0
    for count, seconds in steps:
        if seconds % 2:
            set_clock_back(ledger, schema.request_turns, timedelta(seconds=seconds))
            before = min(before, 1)

        wait = ledger.turns.take("connection", count, 0.01)

        assert wait <= before / 0.01
        # Little time passes in a test, and turns are a hundred seconds apart.
        assert wait > before / 0.01 - 60
        before += count


def test_a_dead_tasks_lease_ends_after_its_own_length(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ledger.assignments.open(KEY, "g", owner="dead", lease_seconds=30, settle_seconds=1)
    set_clock_back(ledger, schema.assignments, HOUR)

    with pytest.raises(LeaseHeldError) as held, caplog.at_level(logging.WARNING):
        ledger.assignments.open(KEY, "g", owner="next", lease_seconds=60, settle_seconds=1)
    with pytest.raises(LeaseHeldError) as again:
        ledger.assignments.open(KEY, "g", owner="next", lease_seconds=60, settle_seconds=1)

    assert held.value.until <= ledger.now() + timedelta(seconds=30)
    assert again.value.until == held.value.until
    assert "the clock was set back: the lease of an assignment" in caplog.text


def test_a_lease_that_is_held_stays_held(ledger: Ledger) -> None:
    """Its holder counts by clocks of its own: what is shortened is what nobody can count on."""
    assignment = ledger.assignments.open(KEY, "g", owner="holder", lease_seconds=120, settle_seconds=1)
    set_clock_back(ledger, schema.assignments, HOUR)
    with pytest.raises(LeaseHeldError) as held:
        ledger.assignments.open(KEY, "g", owner="next", lease_seconds=0.05, settle_seconds=1)

    assert held.value.until > ledger.now() + timedelta(seconds=60)
    ledger.assignments.renew(assignment, 120)
    with pytest.raises(LeaseHeldError):
        ledger.assignments.open(KEY, "g", owner="next", lease_seconds=0.05, settle_seconds=1)


def test_what_a_dead_task_left_is_settled_though_the_clock_was_set_back(ledger: Ledger) -> None:
    ledger.assignments.open(KEY, "g", owner="dead", lease_seconds=0.01, settle_seconds=0)
    set_clock_back(ledger, schema.assignments, HOUR)

    taken: list[object] = []
    for _ in range(1000):
        taken = list(ledger.takeovers.take_over("g", dead_for=0.0, lease_seconds=60))
        if taken:
            break

    assert len(taken) == 1
