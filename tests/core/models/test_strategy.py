from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_outbound.core.models.strategy import RecallStrategy, Strategy, resolve_strategy
from airflow_provider_outbound.core.rules import CallingHours, refuse_late_run
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError

#: 08:30 on a Monday in Shanghai.
MORNING = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
WINDOWS = [("09:00", "12:00"), ("14:00", "16:00")]


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_the_days_are_filled_in_when_the_task_runs() -> None:
    strategy = Strategy(
        working_time=WINDOWS, max_attempts_per_day=3, min_attempt_interval=timedelta(minutes=10), routing="LocalFirst"
    )

    resolved = strategy.resolve(run_at=MORNING, now=MORNING)

    assert json.loads(resolved.json) == {
        "name": "airflow 2026-11-23",
        "startTime": milliseconds("2026-11-23T09:00+08:00"),
        "endTime": milliseconds("2026-11-23T16:00+08:00"),
        "repeatBy": "Once",
        "workingTime": [
            {"beginTime": "09:00:00", "endTime": "12:00:00"},
            {"beginTime": "14:00:00", "endTime": "16:00:00"},
        ],
        "maxAttemptsPerDay": 3,
        "minAttemptInterval": 10,
        "routingStrategy": "LocalFirst",
    }


def test_times_of_another_zone_reach_the_service_as_its_own_cut_at_its_midnight() -> None:
    strategy = Strategy(working_time=[("00:30", "12:00")], timezone="Asia/Tokyo")

    wire = strategy.resolve(run_at=MORNING, now=MORNING - timedelta(hours=12)).wire

    assert wire["workingTime"] == [
        {"beginTime": "00:00:00", "endTime": "11:00:00"},
        {"beginTime": "23:30:00", "endTime": "23:59:59"},
    ]


def test_a_run_after_its_window_calls_nobody() -> None:
    with pytest.raises(OutboundBotConfigError, match="was over at 2026-11-23T16:00"):
        Strategy(working_time=WINDOWS).resolve(run_at=MORNING, now=MORNING + timedelta(hours=8))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"working_time": []}, "nobody is called without a window", id="none"),
        pytest.param({"working_time": "09:00-12:00"}, "not a list of windows", id="text"),
        pytest.param({"working_time": [("12:00", "09:00")]}, "write a window across midnight as two", id="midnight"),
        pytest.param({"working_time": [("9 o'clock", "12:00")]}, "not a time of day", id="no-time"),
        pytest.param({"working_time": [("09:00", "12:00"), ("11:00", "13:00")]}, "overlap", id="overlap"),
        pytest.param({"working_time": WINDOWS, "timezone": "Mars/Base"}, "timezone", id="zone"),
        pytest.param({"working_time": WINDOWS, "end": datetime(2026, 1, 1)}, "aware", id="naive"),  # noqa: DTZ001
        pytest.param({"working_time": WINDOWS, "max_attempts_per_day": 0}, "1 or more", id="attempts"),
        pytest.param(
            {"working_time": WINDOWS, "min_attempt_interval": timedelta(seconds=90)}, "minutes", id="interval"
        ),
        pytest.param({"working_time": WINDOWS, "repeat_by": "Yearly"}, "not one of Once", id="repeat"),
        pytest.param({"working_time": WINDOWS, "repeat_by": "Week", "end": MORNING}, "repeat_days", id="days"),
        pytest.param({"working_time": WINDOWS, "repeat_by": "Day"}, "needs an end", id="endless"),
        pytest.param({"working_time": WINDOWS, "routing": "Nearest"}, "routing", id="routing"),
        pytest.param({"working_time": WINDOWS, "start": MORNING, "end": MORNING}, "not after", id="no-time-at-all"),
    ],
)
def test_a_strategy_that_cannot_be_meant_is_refused_in_words(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(OutboundBotConfigError, match=words):
        Strategy(**arguments)


def test_a_span_without_any_window_is_refused() -> None:
    evening = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    strategy = Strategy(working_time=WINDOWS, start=evening, end=evening + timedelta(hours=2))

    with pytest.raises(OutboundBotConfigError, match="no window"):
        strategy.resolve(run_at=evening, now=evening)


def test_the_apis_own_form_passes_through_checked() -> None:
    wire = {
        "workingTime": [{"beginTime": "09:00:00", "endTime": "12:00:00"}],
        "startTime": milliseconds("2026-11-23T09:00+08:00"),
        "endTime": milliseconds("2026-11-23T12:00+08:00"),
        "repeatBy": "Once",
        "novel": "kept",
    }

    assert resolve_strategy(wire, run_at=MORNING, now=MORNING).wire == wire
    mistakes: list[dict[str, Any]] = [{"workingTime": []}, {"endTime": "tonight"}, {"endTime": wire["startTime"]}]
    for broken in mistakes:
        with pytest.raises(OutboundBotConfigError):
            resolve_strategy({**wire, **broken}, run_at=MORNING, now=MORNING)
    with pytest.raises(OutboundBotConfigError, match="over"):
        resolve_strategy(wire, run_at=MORNING, now=MORNING + timedelta(days=1))


def test_a_recall_strategy_has_the_wires_names() -> None:
    assert json.loads(RecallStrategy(empty_number_ignore=True).json) == {
        "emptyNumberIgnore": True,
        "inArrearsIgnore": False,
        "outOfServiceIgnore": False,
    }


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        pytest.param([("08:00", "10:00")], "is outside the connection's calling_hours", id="too-early"),
        pytest.param([("18:00", "21:00")], "is outside the connection's calling_hours", id="too-late"),
    ],
)
def test_a_window_outside_calling_hours_is_refused(windows: list[tuple[str, str]], words: str) -> None:
    hours = CallingHours.parse({"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]]})
    strategy = Strategy(working_time=windows)

    with pytest.raises(OutboundBotWrongTimeError, match=words):
        hours.check(strategy.resolve(run_at=MORNING, now=MORNING - timedelta(hours=2)).schedule)


def test_a_window_inside_calling_hours_passes_unless_the_day_is_a_holiday() -> None:
    allowed = {"windows": [["09:00", "20:00"]]}
    resolved = Strategy(working_time=WINDOWS).resolve(run_at=MORNING, now=MORNING)

    CallingHours.parse(allowed).check(resolved.schedule)
    with pytest.raises(OutboundBotWrongTimeError, match="holiday"):
        CallingHours.parse({**allowed, "holidays": ["2026-11-23"]}).check(resolved.schedule)
    with pytest.raises(OutboundBotWrongTimeError):
        CallingHours.parse(allowed).check_now(MORNING)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([], id="list"),
        pytest.param({"windows": [["09:00"]]}, id="half-window"),
        pytest.param({"windows": [["09:00", "10:00"]], "days": 1}, id="unknown-field"),
        pytest.param({"windows": [["09:00", "10:00"]], "holidays": ["tomorrow"]}, id="holiday"),
    ],
)
def test_bad_calling_hours_are_refused(value: Any) -> None:
    with pytest.raises(OutboundBotConfigError, match="calling_hours"):
        CallingHours.parse(value)


def test_late_runs_and_backfills_call_nobody_unless_the_author_says_so() -> None:
    def refuse(age_hours: float, *, is_backfill: bool = False, allow_backfill: bool = False) -> None:
        refuse_late_run(
            run_at=MORNING - timedelta(hours=age_hours),
            now=MORNING,
            max_run_age=timedelta(hours=12),
            is_backfill=is_backfill,
            allow_backfill=allow_backfill,
        )

    refuse(11)
    refuse(1000, is_backfill=True, allow_backfill=True)
    with pytest.raises(OutboundBotWrongTimeError, match="longer ago than max_run_age"):
        refuse(13)
    with pytest.raises(OutboundBotWrongTimeError, match="allow_backfill=True"):
        refuse(1, is_backfill=True)


@pytest.mark.parametrize("name", ["localtime", "Factory"])
def test_a_zone_that_each_machine_defines_for_itself_is_refused(name: str) -> None:
    with pytest.raises(OutboundBotConfigError, match=f"timezone: '{name}' is not the name of a time zone"):
        Strategy(working_time=[("09:00", "12:00")], timezone=name)


@pytest.mark.parametrize("value", ["2026-11-27", "2026-11-27T09:00:00+08:00", date(2026, 11, 27), 1795744800])
def test_a_start_that_is_no_datetime_is_called_that(value: Any) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"start: .* is not an aware datetime; give one with a zone"):
        Strategy(working_time=[("09:00", "12:00")], start=value)


@pytest.mark.parametrize("value", [["LocalFirst"], {"LocalFirst"}, 7, "x" * 100])
def test_a_routing_that_is_no_word_of_the_service_is_not_ignored(value: Any) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"routing: .* is not one of None, LocalFirst"):
        Strategy(working_time=[("09:00", "12:00")], routing=value)
