"""A campaign that calls nobody although it could is shown as one that needs attention, and no other is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.seeding import ANSWERED, WAITING, seed, task

from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger
from airflow_provider_outbound.core.ledger.pages import Minute
from airflow_provider_outbound.core.rules import CallingHours
from airflow_provider_outbound.page.pace import RECENT, has_stalled, sustained_rate

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _calls(*minutes_ago: float) -> list[Minute]:
    return [Minute(at=NOW - ago * MINUTE, calls=1, ended=1, answered=0) for ago in minutes_ago]


def _hours(begin: str, end: str, holidays: tuple[str, ...] = ()) -> CallingHours:
    return CallingHours.parse({"timezone": "UTC", "windows": [[begin, end]], "holidays": list(holidays)})


@pytest.mark.parametrize(
    ("calls", "more", "stalled"),
    [
        pytest.param(_calls(60, 11), {}, True, id="eleven-minutes"),
        pytest.param(_calls(60, 9), {}, False, id="nine-minutes"),
        pytest.param(_calls(60, -3), {}, False, id="clock-of-the-service-is-ahead"),
        pytest.param([], {}, True, id="no-call-yet"),
        pytest.param([], {"created_at": NOW - 5 * MINUTE}, False, id="has-just-begun"),
        pytest.param(_calls(60), {"starts_at": NOW + MINUTE}, False, id="before-its-start"),
        pytest.param(_calls(60), {"starts_at": NOW - 5 * MINUTE}, False, id="begins-again"),
        pytest.param(_calls(60), {"ends_at": NOW + MINUTE}, True, id="before-its-end"),
        pytest.param(_calls(60), {"ends_at": NOW}, False, id="after-its-end"),
        pytest.param(_calls(60), {"hours": _hours("09:00", "20:00")}, True, id="within-hours"),
        pytest.param(_calls(60), {"hours": _hours("09:00", "11:59")}, False, id="hours-are-over"),
        pytest.param(_calls(60), {"hours": _hours("11:55", "20:00")}, False, id="hours-have-just-begun"),
        pytest.param(_calls(60), {"hours": _hours("09:00", "20:00", ("2026-03-04",))}, False, id="holiday"),
    ],
)
def test_ten_minutes_without_a_call_count_only_while_people_may_be_called(
    calls: Any, more: dict[str, Any], stalled: bool
) -> None:
    known = {"created_at": NOW - 60 * MINUTE, "starts_at": None, "ends_at": None, "hours": None}
    assert has_stalled(calls, NOW, **{**known, **more}) is stalled


@pytest.mark.parametrize(
    ("minutes", "rate"),
    [
        pytest.param([], None, id="no-call"),
        pytest.param([Minute(at=NOW - MINUTE, calls=50, ended=0, answered=0)], None, id="all-lines-busy-at-once"),
        pytest.param([Minute(at=NOW - 5 * MINUTE, calls=50, ended=20, answered=9)], 4.0, id="as-fast-as-calls-end"),
        pytest.param(_calls(40, 8, 4), 0.2, id="later-as-fast-as-calls-begin"),
    ],
)
def test_the_pace_at_the_beginning_is_that_of_ended_calls(minutes: Any, rate: Any) -> None:
    assert sustained_rate(minutes, NOW) == rate


@settings(max_examples=examples(100), deadline=None)
@given(last=st.integers(0, 300), begin=st.integers(0, 23), length=st.integers(1, 24), now=st.integers(0, 24 * 60))
def test_nobody_is_warned_of_a_pause_in_calling_hours(last: Any, begin: Any, length: Any, now: Any) -> None:
    moment = NOW.replace(hour=0) + now * MINUTE
    hours = _hours(f"{begin:02d}:00", f"{min(24, begin + length):02d}:00")
    calls = [Minute(at=moment - last * MINUTE, calls=1, ended=1, answered=0)]

    stalled = has_stalled(
        calls, moment, created_at=moment - timedelta(days=1), starts_at=None, ends_at=None, hours=hours
    )

    # Nobody had to be called at a time at which nobody may be.
    tenths = [moment - RECENT + index * MINUTE for index in range(11)]
    spans = list(hours.spans(moment - timedelta(days=1), moment + timedelta(days=1)))
    could_call = all(any(start <= one <= end for start, end in spans) for one in tenths)
    assert stalled == (last > 10 and could_call)


def _attention(ask: Callable[..., Any]) -> str | None:
    shown: dict[str, str | None] = ask("user", "campaigns/group").json()["campaign"]
    (listed,) = ask("user", "campaigns").json()["campaigns"]
    assert listed["attention"] == shown["attention"]
    return shown["attention"]


@pytest.fixture
def stalled(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A campaign whose last call began half an hour ago; ``window`` changes its window."""
    seed(ledger, "group", [ANSWERED, WAITING], task=task(), called_at=datetime.now(UTC) - 30 * MINUTE)

    def window(starts_in: timedelta, ends_in: timedelta) -> None:
        now = datetime.now(UTC)
        key = task()
        record = JobGroupRecord(
            job_group_id="group",
            run_key=key.run_key,
            task_key=key,
            instance_id="instance",
            starts_at=now + starts_in,
            ends_at=now + ends_in,
        )
        ledger.groups.record(record)

    return window


def test_a_campaign_that_stopped_calling_is_named(ask: Callable[..., Any], stalled: Any) -> None:
    assert _attention(ask) == "no_calls"
    stalled(-60 * MINUTE, 60 * MINUTE)
    assert _attention(ask) == "no_calls"


def test_a_window_that_has_not_begun_or_is_over_is_no_standstill(ask: Callable[..., Any], stalled: Any) -> None:
    stalled(10 * MINUTE, 60 * MINUTE)
    assert _attention(ask) is None


def test_people_left_after_the_end_of_the_window_are_named(ask: Callable[..., Any], stalled: Any) -> None:
    stalled(-60 * MINUTE, -20 * MINUTE)
    assert _attention(ask) == "window_over"


def test_a_suspended_campaign_is_expected_to_call_nobody(ask: Callable[..., Any], stalled: Any, ledger: Ledger) -> None:
    ledger.groups.note_suspended("group", suspended=True)
    assert _attention(ask) == "suspended"


def test_nobody_is_expected_to_be_called_on_a_holiday_of_the_connection(
    ask: Callable[..., Any], stalled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    hours = {
        "timezone": "UTC",
        "windows": [["00:00", "24:00"]],
        "holidays": [str(today + timedelta(days=day)) for day in (-1, 0, 1)],
    }
    connection = {
        "conn_type": "outboundbot",
        "login": "id",
        "password": "secret",
        "extra": {"instance_id": "instance", "calling_hours": hours},
    }
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))
    assert _attention(ask) is None


def test_a_campaign_that_is_done_needs_nobody(ask: Callable[..., Any], ledger: Ledger) -> None:
    seed(ledger, "group", [ANSWERED], task=task(), called_at=datetime.now(UTC) - 30 * MINUTE)
    assert _attention(ask) is None
