"""The rules about when a task may dial, asked again before each request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.strategy import Strategy, resolve_strategy
from airflow_provider_outbound.core.models.windows import SERVICE_ZONE
from airflow_provider_outbound.core.rules import CallingHours, RunGuard, check_group_window, check_hours, window_of
from airflow_provider_outbound.exceptions import OutboundBotWrongTimeError

#: A Monday.
START = datetime(2030, 7, 1, tzinfo=UTC)
ROUND_THE_CLOCK = CallingHours.parse({"windows": [["00:00", "23:59:59"]]})


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def group(**strategy: Any) -> JobGroup:
    window = {"StartTime": milliseconds(START), "EndTime": milliseconds(START + timedelta(days=14))}
    working_time = [{"BeginTime": "09:00:00", "EndTime": "18:00:00"}]
    return JobGroup.from_api({"JobGroupId": "g", "Strategy": {**window, "WorkingTime": working_time, **strategy}})


@pytest.mark.parametrize(
    ("strategy", "holiday", "is_allowed"),
    [
        pytest.param({"RepeatBy": "week", "RepeatDays": ["1"]}, "2030-07-02", True, id="not-on-a-tuesday"),
        pytest.param({"RepeatBy": "week", "RepeatDays": ["1"]}, "2030-07-08", False, id="on-a-monday"),
        pytest.param({"RepeatBy": "month", "RepeatDays": ["5"]}, "2030-07-08", True, id="not-on-the-8th"),
        pytest.param({"RepeatBy": "once"}, "2030-07-08", False, id="every-day"),
        pytest.param({"RepeatBy": "week"}, "2030-07-08", False, id="days-not-reported"),
        pytest.param({"RepeatBy": "fortnight", "RepeatDays": ["1"]}, "2030-07-02", False, id="unknown-repetition"),
        pytest.param({"RepeatBy": "week", "RepeatDays": ["Tue"]}, "2030-07-02", False, id="unreadable-days"),
        pytest.param({"WorkingTime": None}, "2030-07-08", False, id="no-working-time"),
    ],
)
def test_a_group_is_judged_on_the_days_that_the_api_reports(
    strategy: dict[str, Any], holiday: str, is_allowed: bool
) -> None:
    hours = CallingHours.parse({"windows": [["00:00", "24:00"]], "holidays": [holiday]})
    window = window_of(group(**strategy))

    if is_allowed:
        check_hours(hours, window, START)
    else:
        with pytest.raises(OutboundBotWrongTimeError, match="holiday"):
            check_hours(hours, window, START)


def test_a_window_that_cannot_be_read_is_refused_by_the_groups_name() -> None:
    with pytest.raises(OutboundBotWrongTimeError, match=r"job group g: its window cannot be read.*Nobody was called"):
        window_of(group(WorkingTime=[{"BeginTime": "18:00:00", "EndTime": "09:00:00"}]))


def test_a_group_without_a_window_needs_hours_round_the_clock() -> None:
    check_hours(ROUND_THE_CLOCK, None, START)
    with pytest.raises(OutboundBotWrongTimeError, match="has no window"):
        check_hours(CallingHours.parse({"windows": [["00:00", "23:00"]]}), None, START)
    with pytest.raises(OutboundBotWrongTimeError, match=r"has no window.*2030-10-01.*holiday"):
        check_hours(
            attrs.evolve(ROUND_THE_CLOCK, holidays=frozenset({(START + timedelta(days=92)).date()})), None, START
        )


def test_what_is_over_is_not_judged() -> None:
    hours = CallingHours.parse({"windows": [["00:00", "24:00"]], "holidays": ["2030-07-02"]})

    check_hours(hours, window_of(group()), START + timedelta(days=3))


def test_a_strategy_that_ended_while_contacts_were_assigned_takes_no_more_of_them() -> None:
    now = datetime.now(UTC)
    guard = RunGuard(
        run_at=now, max_run_age=timedelta(hours=1), is_backfill=False, allow_backfill=False, hours=ROUND_THE_CLOCK
    )
    strategy = Strategy(working_time=[("00:00", "24:00")], end=now + timedelta(days=1)).resolve(run_at=now, now=now)

    guard.check(strategy)
    with pytest.raises(OutboundBotWrongTimeError, match="window was over"):
        guard.check(attrs.evolve(strategy, ends_at=now))


PAST = START - timedelta(days=10000)
OVER = {
    "startTime": milliseconds(PAST),
    "endTime": milliseconds(PAST + timedelta(days=1)),
    "workingTime": [{"beginTime": "09:00:00", "endTime": "18:00:00"}],
}


@pytest.mark.parametrize(
    "dial",
    [
        pytest.param(
            lambda: resolve_strategy(Strategy(working_time=[("09:00", "12:00")]), run_at=PAST, now=START), id="strategy"
        ),
        pytest.param(lambda: resolve_strategy(OVER, run_at=PAST, now=START), id="dictionary"),
        pytest.param(
            lambda: check_group_window(
                group(StartTime=milliseconds(PAST), EndTime=milliseconds(PAST + timedelta(days=1))), is_own=True
            ),
            id="group",
        ),
    ],
)
def test_a_window_that_is_over_is_one_kind_of_error_whosever_it_is(dial: Any) -> None:
    with pytest.raises(OutboundBotWrongTimeError, match=r"window was over at .*; \w+ .*\. Nobody was called"):
        dial()


def test_hours_between_which_nothing_is_left_are_the_wrong_time() -> None:
    evening = datetime(2030, 7, 1, 20, tzinfo=SERVICE_ZONE)
    strategy = Strategy(working_time=[("09:00", "12:00")], end=evening + timedelta(hours=6))

    with pytest.raises(OutboundBotWrongTimeError, match="no window of 09:00-12:00"):
        resolve_strategy(strategy, run_at=evening, now=evening)
