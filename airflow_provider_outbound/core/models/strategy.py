"""When the robot may dial: a strategy as the author writes it, resolved when the task runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from airflow_provider_outbound.core.models.enums import OpenEnum
from airflow_provider_outbound.core.models.schedule import REPEAT_DAYS, RepeatBy, Schedule
from airflow_provider_outbound.core.models.windows import (
    MIDNIGHT,
    SERVICE_ZONE,
    Window,
    parse_windows,
    parse_zone,
    refuse_past,
)
from airflow_provider_outbound.core.models.wire import to_milliseconds
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError

#: How to fix a strategy that is over.
LATER_END = "run the DAG before that, or give a later end"


class Routing(OpenEnum):
    """Which caller number is preferred. Source: ``CreateJobGroup``, StrategyJson, routingStrategy."""

    NONE = "None"
    LOCAL_FIRST = "LocalFirst"
    LOCAL_PROVINCE_FIRST = "LocalProvinceFirst"


@attrs.frozen(kw_only=True)
class ResolvedStrategy:
    """A strategy with its days filled in, ready to be sent."""

    #: StrategyJson as it is sent.
    wire: Mapping[str, Any]
    starts_at: datetime
    ends_at: datetime
    #: When it dials, as the service reads it.
    schedule: Schedule

    @property
    def json(self) -> str:
        """Compact JSON for the request."""
        return json.dumps(self.wire, ensure_ascii=False, separators=(",", ":"))


#: First and last year of a time. Closer to the limits of ``datetime``, a conversion to another zone may overflow.
_CALENDAR = (1970, 9000)


def _aware(_: Any, attribute: attrs.Attribute[Any], value: datetime | None) -> None:
    if value is None:
        return
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not an aware datetime; give one with a zone")
    if not _CALENDAR[0] <= value.year <= _CALENDAR[1]:
        raise OutboundBotConfigError(f"{attribute.name}: {value.isoformat()} is too far away; give a nearer time")
    if _utc(value).astimezone(value.tzinfo).replace(tzinfo=None) != value.replace(tzinfo=None):
        raise OutboundBotConfigError(
            f"{attribute.name}: {value.isoformat()} does not exist, because the clocks of {value.tzinfo} skip it; "
            "choose a time outside that hour"
        )


def _utc(moment: datetime) -> datetime:
    # Python compares two times of one zone as local times, even if the clocks were set back between them.
    return moment.astimezone(UTC)


def _at_least_one(_: Any, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not a whole number of 1 or more")


def _whole_minutes(_: Any, attribute: attrs.Attribute[Any], value: timedelta | None) -> None:
    if value is not None and (
        not isinstance(value, timedelta) or value < timedelta(minutes=1) or value % timedelta(minutes=1)
    ):
        raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not a timedelta of whole minutes, 1 or more")


def _repeat_by(value: Any) -> RepeatBy | None:
    return RepeatBy.parse(value)


def _repeat_days(value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise OutboundBotConfigError(f"repeat_days: {value!r} is not a list of numbers such as [1, 2, 3, 4, 5]")
    days = tuple(value)
    for day in days:
        # bool and calendar.Day are integers too, but a bool is a mistake, and calendar.Day counts from Monday.
        if type(day) is not int:
            raise OutboundBotConfigError(f"repeat_days: {day!r} is not a plain whole number; 0 is Sunday, 1 Monday")
    return days


def _routing(value: Any) -> Routing | None:
    # A list would be ignored: the API's words are texts.
    return Routing.parse(value if value is None else str(value)[:40])


@attrs.frozen(kw_only=True)
class Strategy:
    """
    When, how often and from which number the robot may dial.

    The service reads times of day, weekdays and days of the month in Asia/Shanghai. A strategy in another zone is
    converted for every date that it covers. It is refused if no strategy of the service dials at the same instants,
    because the zone changes its clocks or because part of a window falls on another day there.

    Source: ``CreateJobGroup`` and ``AssignJobs`` (2019-12-26), StrategyJson; guide, "创建任务组".

    :param working_time: Windows of each day in ``timezone``: ``[("09:00", "12:00")]``. ``24:00`` is the end of a day;
        the service stops at 23:59:59 of its own day. A time that a clock change skips or repeats is refused.
    :param timezone: Name of the zone of those times, of ``repeat_days`` and of "the run's day".
    :param start: First moment; default: the first window of the run's day.
    :param end: Last moment, within ten years; default: the end of the last window of the run's day.
    :param max_attempts_per_day: Calls per day to one number. The service's day is that of Asia/Shanghai.
    :param min_attempt_interval: Time between two calls to one number, in whole minutes.
    :param repeat_by: :class:`RepeatBy` or its text. Without it, and with ``Once`` and ``Day``, every day from start to
        end; the service's documents do not say whether ``Once`` means only the first of these days.
    :param repeat_days: With ``Week`` 0 (Sunday) to 6, with ``Month`` 1 to 31.
    :param routing: :class:`Routing` or its text.
    :raises OutboundBotConfigError: a value is out of range, or a window is invalid.
    """

    working_time: tuple[Window, ...] = attrs.field(converter=parse_windows)
    timezone: ZoneInfo = attrs.field(converter=parse_zone, default=SERVICE_ZONE)
    start: datetime | None = attrs.field(default=None, validator=_aware)
    end: datetime | None = attrs.field(default=None, validator=_aware)
    max_attempts_per_day: int | None = attrs.field(default=None, validator=_at_least_one)
    min_attempt_interval: timedelta | None = attrs.field(default=None, validator=_whole_minutes)
    repeat_by: RepeatBy | None = attrs.field(default=None, converter=_repeat_by)
    repeat_days: tuple[int, ...] = attrs.field(default=(), converter=_repeat_days)
    routing: Routing | None = attrs.field(default=None, converter=_routing)

    def __attrs_post_init__(self) -> None:
        allowed = REPEAT_DAYS.get(self.repeat_by) if self.repeat_by is not None else None
        if self.repeat_by is not None and not self.repeat_by.is_known:
            raise OutboundBotConfigError(
                f"repeat_by: {str(self.repeat_by)!r} is not one of {', '.join(member.value for member in RepeatBy)}"
            )
        if self.routing is not None and not self.routing.is_known:
            raise OutboundBotConfigError(
                f"routing: {str(self.routing)!r} is not one of {', '.join(member.value for member in Routing)}"
            )
        if self.repeat_days and allowed is None:
            raise OutboundBotConfigError('repeat_days: allowed only with repeat_by="Week" or "Month"')
        if allowed is not None and (not self.repeat_days or any(day not in allowed for day in self.repeat_days)):
            raise OutboundBotConfigError(
                f"repeat_days: {list(self.repeat_days)} must hold numbers from {allowed[0]} to {allowed[-1]}"
            )
        if self.start is not None and self.end is not None and _utc(self.start) >= _utc(self.end):
            raise OutboundBotConfigError(f"end: {self.end.isoformat()} is not after start {self.start.isoformat()}")
        if self.repeat_by not in (None, RepeatBy.ONCE) and self.end is None:
            raise OutboundBotConfigError("end: a strategy that repeats needs an end")

    def resolve(self, *, run_at: datetime, now: datetime) -> ResolvedStrategy:
        """
        Fill in the run's day.

        :param run_at: Moment the DAG run stands for, aware; its day in :attr:`timezone` is the run's day.
        :param now: Aware.
        :raises OutboundBotWrongTimeError: no window is left before the end.
        :raises OutboundBotConfigError: no single strategy of the service dials at these times.
        """
        schedule = self._schedule(run_at, now)
        there = schedule.in_service_zone()
        wire: dict[str, Any] = {
            "name": f"airflow {run_at.astimezone(self.timezone).date().isoformat()}",
            "startTime": to_milliseconds(there.starts_at),
            "endTime": to_milliseconds(there.ends_at),
            "repeatBy": str(self.repeat_by or RepeatBy.ONCE),
            "workingTime": _wire_windows(there.windows),
        }
        if self.max_attempts_per_day is not None:
            wire["maxAttemptsPerDay"] = self.max_attempts_per_day
        if self.min_attempt_interval is not None:
            wire["minAttemptInterval"] = int(self.min_attempt_interval.total_seconds() // 60)
        if there.repeat_days:
            wire["repeatDays"] = [str(day) for day in sorted(there.repeat_days)]
        if self.routing is not None:
            wire["routingStrategy"] = str(self.routing)
        return ResolvedStrategy(wire=wire, starts_at=there.starts_at, ends_at=there.ends_at, schedule=there)

    def _schedule(self, run_at: datetime, now: datetime) -> Schedule:
        """Return when to dial from now on."""
        day = run_at.astimezone(self.timezone).date()
        first, last = self.working_time[0], self.working_time[-1]
        if self.start is None:
            first.check_edges(day, self.timezone, "working_time")
        if self.end is None:
            last.check_edges(day, self.timezone, "working_time")
        starts_at = first.span(day, self.timezone)[0] if self.start is None else _utc(self.start)
        ends_at = last.span(day, self.timezone)[1] if self.end is None else _utc(self.end)
        if starts_at >= ends_at:
            begin, end = (moment.astimezone(self.timezone).isoformat() for moment in (starts_at, ends_at))
            raise OutboundBotConfigError(f"end: {end} is not after the start {begin}")
        refuse_past(ends_at.astimezone(self.timezone), now, "the strategy's", LATER_END)
        schedule = Schedule(
            windows=self.working_time,
            zone=self.timezone,
            starts_at=max(starts_at, _utc(now)),
            ends_at=ends_at,
            repeat_by=self.repeat_by,
            repeat_days=frozenset(self.repeat_days),
        )
        _refuse_idle(schedule)
        return schedule


@attrs.frozen(kw_only=True)
class RecallStrategy:
    """
    Which unreachable numbers are not redialled. Source: ``CreateJobGroup`` (2019-12-26), RecallStrategyJson.

    :param empty_number_ignore: Numbers that do not exist.
    :param in_arrears_ignore: Numbers whose bill is unpaid.
    :param out_of_service_ignore: Numbers out of service.
    """

    empty_number_ignore: bool = False
    in_arrears_ignore: bool = False
    out_of_service_ignore: bool = False

    @property
    def json(self) -> str:
        """Compact JSON for the request."""
        wire = {
            "emptyNumberIgnore": self.empty_number_ignore,
            "inArrearsIgnore": self.in_arrears_ignore,
            "outOfServiceIgnore": self.out_of_service_ignore,
        }
        return json.dumps(wire, separators=(",", ":"))


def _refuse_idle(schedule: Schedule) -> None:
    if next(schedule.spans(), None) is not None:
        return
    begin, end = (moment.astimezone(schedule.zone) for moment in (schedule.starts_at, schedule.ends_at))
    days = f" on days {sorted(schedule.repeat_days)} of the {schedule.repeat_by}" if schedule.repeat_days else ""
    raise OutboundBotWrongTimeError(
        f"working_time: no window of {', '.join(map(str, schedule.windows))} ({schedule.zone.key}){days} lies "
        f"between {begin:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M}. Nobody was called"
    )


def _wire_windows(windows: Iterable[Window]) -> list[dict[str, str]]:
    """
    Write windows in the service's zone.

    The service's documents do not say whether it reads 24:00:00, so a day ends at its last second.
    """
    # A window of only that second would be empty.
    items = [{"beginTime": f"{window.begin:%H:%M:%S}", "endTime": _wire_end(window)} for window in windows]
    found = [item for item in items if item["beginTime"] != item["endTime"]]
    if not found:
        raise OutboundBotConfigError("working_time: no window is longer than a second. Nobody was called")
    return found


def _wire_end(window: Window) -> str:
    return "23:59:59" if window.end == MIDNIGHT else f"{window.end:%H:%M:%S}"


def resolve_strategy(strategy: Strategy | Mapping[str, Any], *, run_at: datetime, now: datetime) -> ResolvedStrategy:
    """
    Fill in a strategy's days, or check one in the API's own form.

    A dictionary is passed on after its window is checked; only its times of day are written in the service's form.

    :param strategy: :class:`Strategy`, or a dictionary with ``workingTime``, ``startTime``, ``endTime`` (ms) …
    :param run_at: Moment the DAG run stands for, aware.
    :param now: Aware.
    :raises OutboundBotWrongTimeError: the window is over, or none is left before the end.
    :raises OutboundBotConfigError: it has no window, or cannot be read.
    """
    if isinstance(strategy, Strategy):
        return strategy.resolve(run_at=run_at, now=now)
    if not isinstance(strategy, Mapping):
        raise OutboundBotConfigError(
            f"strategy: {type(strategy).__name__} is neither a Strategy nor a dictionary in the API's form"
        )
    _refuse_misspelt(strategy)
    working_time = strategy.get("workingTime")
    if not isinstance(working_time, list) or not working_time:
        raise OutboundBotConfigError("strategy: workingTime is missing; nobody is called without a window")
    windows = parse_windows([_api_window(item) for item in working_time], "strategy: workingTime")
    starts_at, ends_at = (_api_moment(strategy, key) for key in ("startTime", "endTime"))
    if starts_at >= ends_at:
        raise OutboundBotConfigError("strategy: endTime is not after startTime")
    refuse_past(ends_at, now, "the strategy's", LATER_END)
    repeat_by, repeat_days = _api_repeats(strategy)
    schedule = Schedule(
        windows=windows,
        zone=SERVICE_ZONE,
        starts_at=max(starts_at, _utc(now)),
        ends_at=ends_at,
        repeat_by=repeat_by,
        repeat_days=repeat_days,
    )
    _refuse_idle(schedule)
    wire = {"repeatBy": str(RepeatBy.ONCE), **strategy, "workingTime": _wire_windows(windows)}
    return ResolvedStrategy(wire=wire, starts_at=starts_at, ends_at=ends_at, schedule=schedule)


#: Fields of StrategyJson.
_API_FIELDS = (
    *("workingTime", "startTime", "endTime", "repeatBy", "repeatDays", "repeatable"),
    *("maxAttemptsPerDay", "minAttemptInterval", "routingStrategy", "name", "id"),
)


def _refuse_misspelt(strategy: Mapping[str, Any]) -> None:
    """
    Refuse fields that the service would ignore: misspelt ones, and arguments of :class:`Strategy`.

    Other fields pass: the service may have fields that this package does not know.
    """
    known = {_plain(name): name for name in (*(field.name for field in attrs.fields(Strategy)), *_API_FIELDS)}
    for key in map(str, strategy):
        if key in _API_FIELDS:
            continue
        meant = get_close_matches(_plain(key), known, n=1, cutoff=0.8)
        if meant:
            raise OutboundBotConfigError(
                f"strategy: {key!r} is not a field of the API, which would ignore it; a dictionary needs the API's"
                f" form, with {', '.join(_API_FIELDS)}, and times of day in {SERVICE_ZONE.key}"
            )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _api_window(item: Any) -> tuple[str, str]:
    if not isinstance(item, Mapping) or set(item) != {"beginTime", "endTime"}:
        raise OutboundBotConfigError(
            f'strategy: workingTime: {item!r} does not look like {{"beginTime": "09:00:00", "endTime": "12:00:00"}}'
        )
    return item["beginTime"], item["endTime"]


def _api_moment(strategy: Mapping[str, Any], key: str) -> datetime:
    value = strategy.get(key)
    try:
        if isinstance(value, bool) or not isinstance(value, int) or value < 10**11:
            raise ValueError
        moment = datetime.fromtimestamp(value / 1000, UTC)
        if moment.year > _CALENDAR[1]:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise OutboundBotConfigError(f"strategy: {key}: {value!r} is not a time in epoch milliseconds") from None
    return moment


def _api_repeats(strategy: Mapping[str, Any]) -> tuple[RepeatBy, frozenset[int]]:
    """Read ``repeatBy`` and ``repeatDays``; the service's documents also write the words in lower case."""
    given = strategy.get("repeatBy", RepeatBy.ONCE)
    repeat_by = RepeatBy.parse(str(given).capitalize()) if isinstance(given, str) else None
    if repeat_by is None or not repeat_by.is_known:
        raise OutboundBotConfigError(
            f"strategy: repeatBy: {given!r} is not one of {', '.join(member.value for member in RepeatBy)}"
        )
    if repeat_by not in REPEAT_DAYS:
        return repeat_by, frozenset()
    days = parse_repeat_days(strategy.get("repeatDays"), repeat_by)
    if not days:
        allowed = REPEAT_DAYS[repeat_by]
        raise OutboundBotConfigError(
            f"strategy: repeatDays: {strategy.get('repeatDays')!r} is not a list of days from {allowed[0]} to "
            f"{allowed[-1]}, which repeatBy {repeat_by!s} needs"
        )
    return repeat_by, days


def parse_repeat_days(value: Any, repeat_by: RepeatBy) -> frozenset[int]:
    """
    Read ``repeatDays`` in the API's form, numbers or text.

    :return: The days; none if one of them is not a day of ``repeat_by``.
    """
    items = value if isinstance(value, list | tuple) else ()
    days = {_day_number(item) for item in items}
    return frozenset(days) if days <= set(REPEAT_DAYS.get(repeat_by, ())) else frozenset()


def _day_number(item: Any) -> int:
    if isinstance(item, str) and item.isascii() and item.isdecimal():
        return int(item)
    return item if type(item) is int else -1
