"""A strategy dials at the instants that its author meant, in any zone, or is refused before anyone is called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.models.strategy import Strategy, resolve_strategy
from airflow_provider_outbound.core.models.windows import Window
from airflow_provider_outbound.core.rules import CallingHours
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError
from airflow_provider_outbound.simulator.strategy import parse_strategy

DAY, STEP = timedelta(days=1), timedelta(minutes=15)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: Clocks that change in every way: at midnight, by half an hour, on the southern half, or never.
CURIOUS = [
    "America/New_York",
    "Europe/Berlin",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Asia/Shanghai",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
]
ZONES = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("posix", "right", "Etc")))
zones = st.one_of(st.sampled_from(CURIOUS), st.sampled_from(ZONES))

# An independent reading: what a clock on the wall shows, a quarter of an hour at a time.

Windows = Sequence[tuple[str, str]]


def offset(moment: datetime, zone: str) -> timedelta | None:
    return moment.astimezone(ZoneInfo(zone)).utcoffset()


def steps(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += STEP


def is_open(moment: datetime, zone: str, windows: Windows, dials_on: Callable[[date], bool] = lambda _: True) -> bool:
    wall = moment.astimezone(ZoneInfo(zone))
    return dials_on(wall.date()) and any(begin <= f"{wall:%H:%M}" < end for begin, end in windows)


def changes_clocks(zone: str, start: datetime, end: datetime) -> bool:
    return len({offset(moment, zone) for moment in steps(start - 2 * DAY, end + 2 * DAY)}) > 1


@st.composite
def quarters(draw: st.DrawFn) -> Windows:
    """Windows of a day, on whole quarters of an hour; some end with the day."""
    edges = sorted(draw(st.sets(st.integers(0, 96), min_size=2, max_size=6)))
    texts = [f"{edge // 4:02}:{edge % 4 * 15:02}" for edge in edges]
    return list(zip(texts[::2], texts[1::2], strict=False))


@st.composite
def beginnings(draw: st.DrawFn, zone: str) -> datetime:
    """Whole quarters of an hour, half of them near a change of the zone's clocks."""
    start = EPOCH + draw(st.integers(0, 4 * 24 * 700)) * STEP
    if draw(st.booleans()):
        for day in range(370):
            if offset(start + day * DAY, zone) != offset(start + (day + 1) * DAY, zone):
                return start + day * DAY - draw(st.integers(0, 4 * 24 * 4)) * STEP
    return start


@attrs.frozen(kw_only=True)
class Plan:
    """A strategy's arguments, and what they mean."""

    zone: str
    windows: Windows
    start: datetime
    end: datetime
    repeat_by: str | None
    repeat_days: Sequence[int]

    def dials_on(self, day: date) -> bool:
        if self.repeat_by == "Week":
            return int(f"{day:%w}") in self.repeat_days
        return day.day in self.repeat_days if self.repeat_by == "Month" else True

    def is_meant(self, moment: datetime) -> bool:
        return self.start <= moment < self.end and is_open(moment, self.zone, self.windows, self.dials_on)

    def strategy(self) -> Strategy:
        return Strategy(
            working_time=self.windows,
            timezone=self.zone,
            start=self.start.astimezone(ZoneInfo(self.zone)),
            end=self.end,
            repeat_by=self.repeat_by,
            repeat_days=self.repeat_days,
        )


@st.composite
def plans(draw: st.DrawFn, longest: int = 4 * 24 * 10) -> Plan:
    zone = draw(zones)
    start = draw(beginnings(zone))
    repeat_by = draw(st.sampled_from([None, "Once", "Day", "Week", "Month"]))
    days = {"Week": st.integers(0, 6), "Month": st.sampled_from([1, 2, 15, 28, 29, 30, 31])}.get(repeat_by or "")
    return Plan(
        zone=zone,
        windows=draw(quarters()),
        start=start,
        end=start + draw(st.integers(1, longest)) * STEP,
        repeat_by=repeat_by,
        repeat_days=[] if days is None else sorted(draw(st.sets(days, min_size=1))),
    )


@settings(max_examples=examples(120), deadline=None)
@given(plan=plans())
def test_the_service_dials_at_every_instant_that_is_meant_and_at_no_other(plan: Plan) -> None:
    try:
        resolved = plan.strategy().resolve(run_at=plan.start, now=plan.start)
    except OutboundBotConfigError as error:
        refusal = str(error)
        if "no window of" in refusal:
            assert [moment for moment in steps(plan.start, plan.end) if plan.is_meant(moment)] == []
            return
        # Where clocks do not change, nothing but days that shift cannot be said.
        assert changes_clocks(plan.zone, plan.start, plan.end) or plan.repeat_days, refusal
        return

    service = parse_strategy(resolved.json)
    for moment in steps(plan.start - DAY, plan.end + DAY):
        instant = moment.timestamp()
        assert (service.opens_at(instant) == instant) == plan.is_meant(moment), moment


@settings(max_examples=examples(120), deadline=None)
@given(plan=plans(longest=4 * 24 * 4), data=st.data(), zone=zones, windows=quarters())
def test_calling_hours_of_any_zone_hold_at_every_instant(plan: Plan, data: Any, zone: str, windows: Windows) -> None:
    first = plan.start.astimezone(ZoneInfo(zone)).date()
    holidays = {first + index * DAY for index in data.draw(st.sets(st.integers(-1, 5), max_size=2))}
    if data.draw(st.booleans()):
        windows = [("00:00", "24:00")]
    hours = CallingHours.parse({"timezone": zone, "windows": windows, "holidays": [str(day) for day in holidays]})
    try:
        resolved = plan.strategy().resolve(run_at=plan.start, now=plan.start)
    except OutboundBotConfigError:
        return

    broken = [
        moment
        for moment in steps(plan.start, plan.end)
        if plan.is_meant(moment) and not is_open(moment, zone, windows, lambda day: day not in holidays)
    ]

    try:
        hours.check(resolved.schedule)
    except OutboundBotWrongTimeError:
        # Of hours that begin or end while clocks change, the narrower reading holds.
        assert broken or changes_clocks(zone, plan.start, plan.end)
    else:
        assert not broken


@settings(max_examples=examples(300), deadline=None)
@given(text=st.one_of(st.text("0123456789:T.,+-Z ", max_size=10), st.from_regex(r"[0-2]?\d[:.]?\d{2}", fullmatch=True)))
def test_a_time_of_day_is_read_as_it_is_written_or_refused(text: str) -> None:
    try:
        window = Window.parse((text, "24:00"), "working_time")
    except OutboundBotConfigError:
        return

    digits = re.fullmatch(r"T?(\d\d)(?::?(\d\d))?(?::?(\d\d)(?:[.,]0+)?)?", text.strip())
    assert digits is not None
    assert f"{window.begin:%H%M%S}" == "".join(part or "00" for part in digits.groups())


NEW_YORK = "America/New_York"
MONDAY_IN_NEW_YORK = datetime(2026, 11, 9, tzinfo=ZoneInfo(NEW_YORK))


def resolve(strategy: Strategy | dict[str, Any], at: str) -> Any:
    moment = datetime.fromisoformat(at)
    return resolve_strategy(strategy, run_at=moment, now=moment)


def test_weekdays_move_with_the_times() -> None:
    strategy = Strategy(
        working_time=[("12:00", "13:00")],
        timezone=NEW_YORK,
        start=MONDAY_IN_NEW_YORK,
        end=MONDAY_IN_NEW_YORK + timedelta(days=28),
        repeat_by="Week",
        repeat_days=[1, 2, 3, 4, 5],
    )

    wire = resolve(strategy, "2026-11-09T00:00-05:00").wire

    assert wire["workingTime"] == [{"beginTime": "01:00:00", "endTime": "02:00:00"}]
    assert wire["repeatDays"] == ["2", "3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("arguments", "at", "words"),
    [
        pytest.param(
            {
                "timezone": NEW_YORK,
                "working_time": [("08:00", "21:00")],
                "repeat_by": "Week",
                "repeat_days": [1, 2, 3, 4, 5],
                "start": MONDAY_IN_NEW_YORK,
                "end": MONDAY_IN_NEW_YORK + timedelta(days=28),
            },
            "2026-11-09T00:00-05:00",
            "would dial from 2026-11-14 21:00 to .* as well, which is 2026-11-14 08:00 in America/New_York",
            id="part-of-a-window-on-the-next-day",
        ),
        pytest.param(
            {
                "timezone": NEW_YORK,
                "working_time": [("12:00", "13:00")],
                "repeat_by": "Month",
                "repeat_days": [31],
                "start": datetime(2026, 12, 30, tzinfo=UTC),
                "end": datetime(2027, 3, 10, tzinfo=UTC),
            },
            "2026-12-30T00:00+00:00",
            "would dial from 2027-03-01 01:00",
            id="the-31st-becomes-the-1st",
        ),
        pytest.param(
            {
                "timezone": NEW_YORK,
                "working_time": [("08:00", "21:00")],
                "end": datetime(2026, 11, 2, 21, tzinfo=ZoneInfo(NEW_YORK)),
            },
            "2026-10-31T07:00-04:00",
            "changes its clocks between 2026-10-31 and 2026-11-01, so that 08:00 is 20:00 in Asia/Shanghai before and "
            "21:00 after",
            id="new-york-in-autumn",
        ),
        pytest.param(
            {
                "timezone": "Europe/Berlin",
                "working_time": [("09:00", "18:00")],
                "end": datetime(2026, 10, 26, 18, tzinfo=ZoneInfo("Europe/Berlin")),
            },
            "2026-10-24T08:00+02:00",
            "changes its clocks between 2026-10-24 and 2026-10-25, so that 09:00 is 15:00 .* before and 16:00 after",
            id="berlin-in-autumn",
        ),
        pytest.param(
            {"timezone": NEW_YORK, "working_time": [("02:10", "02:50")]},
            "2026-03-08T00:00-05:00",
            "02:10 does not exist on 2026-03-08 in America/New_York",
            id="within-the-gap",
        ),
        pytest.param(
            {"timezone": NEW_YORK, "working_time": [("02:30", "03:30")]},
            "2026-03-08T00:00-05:00",
            "02:30 does not exist",
            id="begins-in-the-gap",
        ),
        pytest.param(
            {"timezone": NEW_YORK, "working_time": [("01:00", "02:30")]},
            "2026-03-08T00:00-05:00",
            "02:30 does not exist",
            id="ends-in-the-gap",
        ),
        pytest.param(
            {"timezone": NEW_YORK, "working_time": [("01:30", "03:30")]},
            "2026-11-01T00:00-04:00",
            "01:30 occurs twice on 2026-11-01",
            id="hour-that-comes-twice",
        ),
        pytest.param(
            {
                "timezone": NEW_YORK,
                "working_time": [("02:10", "02:50")],
                "start": datetime(2026, 3, 6, tzinfo=UTC),
                "end": datetime(2026, 3, 10, tzinfo=UTC),
            },
            "2026-03-06T00:00+00:00",
            "02:10 does not exist on 2026-03-08",
            id="gap-in-the-middle",
        ),
        pytest.param(
            {
                "working_time": [("09:00", "10:00")],
                "repeat_by": "Week",
                "repeat_days": [0],
                "start": MONDAY_IN_NEW_YORK,
                "end": MONDAY_IN_NEW_YORK + timedelta(days=4),
            },
            "2026-11-09T00:00-05:00",
            "no window of .* on days .0. of the Week lies between",
            id="none-of-its-days",
        ),
        pytest.param(
            {"working_time": [("09:00", "10:00")], "end": datetime(2126, 1, 1, tzinfo=UTC)},
            "2026-11-09T00:00-05:00",
            "more than ten years",
            id="endless",
        ),
        pytest.param(
            {"working_time": [("23:59:59", "24:00")]}, "2026-11-09T00:00+08:00", "longer than a second", id="a-second"
        ),
    ],
)
def test_what_the_service_cannot_be_told_is_refused_when_the_group_is_created(
    arguments: dict[str, Any], at: str, words: str
) -> None:
    with pytest.raises(OutboundBotConfigError, match=words) as caught:
        resolve(Strategy(**arguments), at)

    assert "\n" not in str(caught.value)
    assert "Nobody was called" in str(caught.value)


def test_a_day_ends_at_its_last_second_and_joins_the_next() -> None:
    strategy = Strategy(working_time=[("20:00", "24:00"), ("00:00", "02:00")], end=datetime(2026, 11, 12, tzinfo=UTC))

    resolved = resolve(strategy, "2026-11-09T12:00+08:00")

    assert json.loads(resolved.json)["workingTime"] == [
        {"beginTime": "00:00:00", "endTime": "02:00:00"},
        {"beginTime": "20:00:00", "endTime": "23:59:59"},
    ]
    hours = [("09:00", "24:00"), ("00:00", "02:00")]
    CallingHours.parse({"windows": hours}).check(resolved.schedule)


def test_a_campaign_of_one_day_on_which_clocks_change_keeps_the_offset_of_its_hours() -> None:
    strategy = Strategy(working_time=[("08:00", "12:00")], timezone=NEW_YORK)

    resolved = resolve(strategy, "2026-11-01T00:00-04:00")

    assert (resolved.starts_at, resolved.ends_at) == (
        datetime(2026, 11, 1, 13, tzinfo=UTC),
        datetime(2026, 11, 1, 17, tzinfo=UTC),
    )


WEEKLY = {
    "startTime": 1_762_700_000_000,
    "endTime": 1_765_000_000_000,
    "repeatBy": "Week",
    "repeatDays": ["1", 5],
    "workingTime": [{"beginTime": "09:00", "endTime": "24:00:00"}],
}


def test_the_apis_own_form_is_read_with_its_days() -> None:
    resolved = resolve(dict(WEEKLY), "2025-11-10T00:00+08:00")

    assert resolved.wire == {**WEEKLY, "workingTime": [{"beginTime": "09:00:00", "endTime": "23:59:59"}]}
    assert {begin.strftime("%a") for begin, _ in resolved.schedule.spans()} == {"Mon", "Fri"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"repeatBy": "Fortnight"}, "repeatBy: 'Fortnight' is not one of Once", id="repeat-by"),
        pytest.param({"repeatDays": []}, "repeatDays: .* is not a list of days from 0 to 6", id="no-days"),
        pytest.param({"repeatDays": ["7"]}, "repeatDays: .* is not a list of days", id="no-such-day"),
        pytest.param({"repeatDays": [True]}, "repeatDays: .* is not a list of days", id="bool"),
        pytest.param({"repeatBy": "Month", "repeatDays": "31"}, "repeatDays: .* from 1 to 31", id="text"),
        pytest.param({"workingTime": [{"beginTime": 900, "endTime": 1200}]}, "not a time of day", id="numbers"),
        pytest.param({"endTime": 253_402_300_799_000}, "endTime: .* is not a time in epoch", id="the-year-9999"),
        pytest.param({"endTime": 2_200_000_000_000}, "more than ten years", id="the-year-2039"),
    ],
)
def test_a_dictionary_that_cannot_be_understood_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(OutboundBotConfigError, match=words):
        resolve({**WEEKLY, **change}, "2025-11-10T00:00+08:00")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"working_time": [(900, 1200)]}, "900 is not a time of day", id="numbers"),
        pytest.param({"working_time": [("24:00", "24:00")]}, "'24:00' is not a time of day", id="begins-at-24"),
        pytest.param({"working_time": [("09:00", "00:00")]}, "write the end of a day as 24:00", id="ends-at-0"),
        pytest.param({"working_time": [("09:00:00.5", "10:00")]}, "fraction of a second", id="fraction"),
        pytest.param({"working_time": [("09:00", "24:00"), ("20:00", "21:00")]}, "overlap", id="overlap"),
        pytest.param({"repeat_days": "1"}, "repeat_days: '1' is not a list", id="text"),
        pytest.param({"repeat_days": ["1"]}, "repeat_days: '1' is not a plain whole number", id="text-in-a-list"),
        pytest.param({"repeat_days": [True]}, "repeat_days: True is not a plain whole number", id="bool"),
        pytest.param({"repeat_days": [1.0]}, "repeat_days: 1.0 is not a plain whole number", id="float"),
        pytest.param({"repeat_days": None}, "repeat_days: None is not a list", id="nothing"),
        pytest.param({"repeat_days": [7]}, "numbers from 0 to 6", id="seven"),
        pytest.param(
            {"start": datetime(2026, 3, 8, 2, 30, tzinfo=ZoneInfo(NEW_YORK))}, "start: .* does not exist", id="gap"
        ),
        pytest.param({"end": datetime(9999, 12, 31, tzinfo=UTC)}, "end: .* too far away", id="the-year-9999"),
    ],
)
def test_an_argument_that_could_mean_something_else_is_refused(arguments: dict[str, Any], words: str) -> None:
    weekly = {"repeat_by": "Week", "repeat_days": [1], "end": MONDAY_IN_NEW_YORK}

    with pytest.raises(OutboundBotConfigError, match=words):
        Strategy(**{"working_time": [("09:00", "10:00")], **weekly, **arguments})


def test_times_are_compared_as_instants_where_an_hour_comes_twice() -> None:
    first = datetime(2026, 11, 1, 1, 45, tzinfo=ZoneInfo(NEW_YORK))
    later = datetime(2026, 11, 1, 1, 15, fold=1, tzinfo=ZoneInfo(NEW_YORK))

    strategy = Strategy(working_time=[("00:00", "24:00")], start=first, end=later)

    assert resolve(strategy, "2026-11-01T00:00-04:00").starts_at == first.astimezone(UTC)


@pytest.mark.parametrize(
    ("hours", "at"),
    [
        pytest.param({"timezone": "Pacific/Auckland", "windows": [["09:00", "20:00"]]}, "20:17+08:00", id="at-night"),
        pytest.param(
            {"timezone": "Pacific/Auckland", "windows": [["00:00", "24:00"]], "holidays": ["2026-11-27"]},
            "20:17+08:00",
            id="a-holiday-there",
        ),
        pytest.param(
            {"timezone": NEW_YORK, "windows": [["00:00", "24:00"]], "holidays": ["2026-11-25"]},
            "09:00+08:00",
            id="still-yesterday-there",
        ),
    ],
)
def test_the_first_and_the_last_day_of_the_other_zone_count(hours: dict[str, Any], at: str) -> None:
    resolved = resolve(Strategy(working_time=[("09:00", "22:00")]), f"2026-11-26T{at}")

    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
        CallingHours.parse(hours).check(resolved.schedule)


def test_only_the_days_on_which_is_dialled_are_judged() -> None:
    resolved = resolve(dict(WEEKLY), "2025-11-10T00:00+08:00")

    CallingHours.parse({"windows": [["09:00", "24:00"]], "holidays": ["2025-11-11", "2025-11-20"]}).check(
        resolved.schedule
    )
    with pytest.raises(OutboundBotWrongTimeError, match=r"2025-11-14 .*holiday"):
        CallingHours.parse({"windows": [["09:00", "24:00"]], "holidays": ["2025-11-14"]}).check(resolved.schedule)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param({"holidays": "2026-10-01"}, "holidays must be a list", id="holidays-text"),
        pytest.param({"holidays": 20261001}, "holidays must be a list", id="holidays-number"),
        pytest.param({"holidays": ["2026-10-01T00:00:00"]}, "holidays must be a list of dates", id="holidays-times"),
        pytest.param({"timezone": None}, "calling_hours: timezone: None is not the name", id="zone"),
        pytest.param({"windows": [["22:00", "06:00"]]}, "calling_hours: windows: .* write a window across", id="night"),
    ],
)
def test_hours_that_cannot_be_read_say_which_field(value: dict[str, Any], words: str) -> None:
    with pytest.raises(OutboundBotConfigError, match=words):
        CallingHours.parse({"windows": [["09:00", "20:00"]], **value})


def test_what_is_left_of_the_day_ends_with_the_hours() -> None:
    hours = CallingHours.parse({"timezone": "Asia/Tokyo", "windows": [["09:00", "12:00"], ["14:00", "20:00"]]})
    now = datetime.fromisoformat("2026-11-26T11:59:56+09:00")

    rest = hours.rest_of_day(now)

    service = parse_strategy(rest.json)
    assert service.opens_at(now.timestamp()) == now.timestamp()
    assert service.opens_at(now.timestamp() + 5) == datetime.fromisoformat("2026-11-26T14:00+09:00").timestamp()
    assert rest.ends_at == datetime.fromisoformat("2026-11-26T20:00+09:00")
    assert service.opens_at(rest.ends_at.timestamp()) is None
    with pytest.raises(OutboundBotWrongTimeError):
        hours.rest_of_day(now + timedelta(minutes=1))
