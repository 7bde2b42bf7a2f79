"""When the robot may dial: a strategy as an author writes it, resolved when the task runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Self
from zoneinfo import ZoneInfo

import attrs

from airflow_provider_outbound.core.models.enums import OpenEnum
from airflow_provider_outbound.core.models.wire import to_milliseconds
from airflow_provider_outbound.exceptions import OutboundBotConfigError

#: The service reads times of day in this zone; its documents name no other.
SERVICE_ZONE = ZoneInfo("Asia/Shanghai")


class RepeatBy(OpenEnum):
    """How often the window of a strategy returns. Source: ``CreateJobGroup``, StrategyJson."""

    ONCE = "Once"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


class Routing(OpenEnum):
    """Which caller number is preferred. Source: ``CreateJobGroup``, StrategyJson, routingStrategy."""

    NONE = "None"
    LOCAL_FIRST = "LocalFirst"
    LOCAL_PROVINCE_FIRST = "LocalProvinceFirst"


@attrs.frozen(kw_only=True)
class Window:
    """Times of day between which phones may ring, of one day: ``begin`` is before ``end``."""

    begin: time
    end: time

    @classmethod
    def parse(cls, value: Any, field: str) -> Self:
        """
        Read ``("09:00", "12:00")``; seconds are optional.

        :param field: Name of the argument, for the error.
        :raises OutboundBotConfigError: not two times of day, or they are not in order.
        """
        if isinstance(value, Window):
            return cls(begin=value.begin, end=value.end)
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
            raise OutboundBotConfigError(f'{field}: {value!r} is not a pair such as ("09:00", "12:00")')
        begin, end = (_time_of_day(part, field) for part in value)
        if begin >= end:
            raise OutboundBotConfigError(
                f"{field}: {begin:%H:%M:%S} is not before {end:%H:%M:%S}; write a window across midnight as two"
            )
        return cls(begin=begin, end=end)

    def contains(self, other: Window) -> bool:
        """Whether ``other`` lies within this window."""
        return self.begin <= other.begin and other.end <= self.end

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


def _time_of_day(value: Any, field: str) -> time:
    try:
        parsed = value if isinstance(value, time) else time.fromisoformat(str(value).strip())
    except ValueError:
        raise OutboundBotConfigError(f'{field}: {value!r} is not a time of day such as "09:00"') from None
    if parsed.tzinfo is not None:
        raise OutboundBotConfigError(f"{field}: {value!r} has a zone; say it once, as timezone=")
    return parsed.replace(microsecond=0)


@attrs.frozen(kw_only=True)
class ResolvedStrategy:
    """A strategy with its days filled in, ready to be sent."""

    #: StrategyJson, as sent.
    wire: Mapping[str, Any]
    starts_at: datetime
    ends_at: datetime
    #: Windows of each day, in the zone below; empty: any time of day.
    windows: tuple[Window, ...]
    zone: tzinfo

    @property
    def json(self) -> str:
        """Compact JSON for the request."""
        return json.dumps(self.wire, ensure_ascii=False, separators=(",", ":"))


def parse_windows(value: Any) -> tuple[Window, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise OutboundBotConfigError(
            f'working_time: {value!r} is not a list of windows such as [("09:00", "12:00")]; '
            "nobody is called without a window"
        )
    windows = tuple(sorted((Window.parse(item, "working_time") for item in value), key=lambda window: window.begin))
    for earlier, later in pairwise(windows):
        if later.begin < earlier.end:
            raise OutboundBotConfigError(f"working_time: {earlier} and {later} overlap; write them as one")
    return windows


def parse_zone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise OutboundBotConfigError(
            f'timezone: {value!r} is not the name of a time zone such as "Asia/Shanghai"'
        ) from None


def _aware(_: Any, attribute: attrs.Attribute[Any], value: datetime | None) -> None:
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise OutboundBotConfigError(f"{attribute.name}: {value!r} has no zone; give an aware datetime")


def _at_least_one(_: Any, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not a whole number of 1 or more")


def _whole_minutes(_: Any, attribute: attrs.Attribute[Any], value: timedelta | None) -> None:
    if value is not None and (not isinstance(value, timedelta) or value < timedelta(minutes=1) or value.seconds % 60):
        raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not a timedelta of whole minutes, 1 or more")


def _repeat_by(value: Any) -> RepeatBy | None:
    return RepeatBy.parse(value)


def _routing(value: Any) -> Routing | None:
    return Routing.parse(value)


@attrs.frozen(kw_only=True)
class Strategy:
    """
    When, how often and from which number the robot may dial.

    Source: ``CreateJobGroup`` and ``AssignJobs`` (2019-12-26), StrategyJson; guide, "创建任务组".

    :param working_time: Windows of each day, times of day in ``timezone``: ``[("09:00", "12:00")]``.
    :param timezone: Name of the zone of those times and of "the run's day".
    :param start: First moment; default: the first window of the run's day.
    :param end: Last moment; default: the end of the last window of the run's day.
    :param max_attempts_per_day: Calls a day for one number.
    :param min_attempt_interval: Time between two calls to one number, whole minutes.
    :param repeat_by: :class:`RepeatBy` or its text.
    :param repeat_days: With ``Week`` 0 (Sunday) to 6, with ``Month`` 1 to 31.
    :param routing: :class:`Routing` or its text.
    :raises OutboundBotConfigError: a value is out of range, or a window is none.
    """

    working_time: tuple[Window, ...] = attrs.field(converter=parse_windows)
    timezone: ZoneInfo = attrs.field(converter=parse_zone, default=SERVICE_ZONE)
    start: datetime | None = attrs.field(default=None, validator=_aware)
    end: datetime | None = attrs.field(default=None, validator=_aware)
    max_attempts_per_day: int | None = attrs.field(default=None, validator=_at_least_one)
    min_attempt_interval: timedelta | None = attrs.field(default=None, validator=_whole_minutes)
    repeat_by: RepeatBy | None = attrs.field(default=None, converter=_repeat_by)
    repeat_days: tuple[int, ...] = attrs.field(default=(), converter=tuple)
    routing: Routing | None = attrs.field(default=None, converter=_routing)

    def __attrs_post_init__(self) -> None:
        limits = {RepeatBy.WEEK: range(7), RepeatBy.MONTH: range(1, 32)}
        allowed = limits.get(self.repeat_by) if self.repeat_by is not None else None
        if self.repeat_by is not None and not self.repeat_by.is_known:
            raise OutboundBotConfigError(
                f"repeat_by: {str(self.repeat_by)!r} is none of {', '.join(member.value for member in RepeatBy)}"
            )
        if self.routing is not None and not self.routing.is_known:
            raise OutboundBotConfigError(
                f"routing: {str(self.routing)!r} is none of {', '.join(member.value for member in Routing)}"
            )
        if self.repeat_days and allowed is None:
            raise OutboundBotConfigError('repeat_days: only with repeat_by="Week" or "Month"')
        if allowed is not None and (not self.repeat_days or any(day not in allowed for day in self.repeat_days)):
            raise OutboundBotConfigError(
                f"repeat_days: {list(self.repeat_days)} must hold numbers from {allowed[0]} to {allowed[-1]}"
            )
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise OutboundBotConfigError(f"end: {self.end.isoformat()} is not after start {self.start.isoformat()}")
        if self.repeat_by not in (None, RepeatBy.ONCE) and self.end is None:
            raise OutboundBotConfigError("end: a strategy that repeats needs one")

    def resolve(self, *, run_at: datetime, now: datetime) -> ResolvedStrategy:
        """
        Fill in the run's day.

        :param run_at: Moment the DAG run stands for, aware; its day in :attr:`timezone` is the run's day.
        :param now: Aware.
        :raises OutboundBotConfigError: no window is left before the end.
        """
        day = run_at.astimezone(self.timezone).date()
        starts_at = self.start or self._at(day, self.working_time[0].begin)
        ends_at = self.end or self._at(day, self.working_time[-1].end)
        if starts_at >= ends_at:
            raise OutboundBotConfigError(f"end: {ends_at.isoformat()} is not after the start {starts_at.isoformat()}")
        _refuse_past(ends_at, now)
        starts_at = max(starts_at, now)
        if not self._has_window(starts_at, ends_at):
            begin, end = (moment.astimezone(self.timezone) for moment in (starts_at, ends_at))
            raise OutboundBotConfigError(
                f"working_time: no window of {', '.join(map(str, self.working_time))} ({self.timezone.key}) lies "
                f"between {begin:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M}"
            )
        wire: dict[str, Any] = {
            "name": f"airflow {day.isoformat()}",
            "startTime": to_milliseconds(starts_at),
            "endTime": to_milliseconds(ends_at),
            "repeatBy": str(self.repeat_by or RepeatBy.ONCE),
            "workingTime": [
                {"beginTime": f"{window.begin:%H:%M:%S}", "endTime": f"{window.end:%H:%M:%S}"}
                for window in self._service_windows(day)
            ],
        }
        if self.max_attempts_per_day is not None:
            wire["maxAttemptsPerDay"] = self.max_attempts_per_day
        if self.min_attempt_interval is not None:
            wire["minAttemptInterval"] = int(self.min_attempt_interval.total_seconds() // 60)
        if self.repeat_days:
            wire["repeatDays"] = [str(repeat_day) for repeat_day in self.repeat_days]
        if self.routing is not None:
            wire["routingStrategy"] = str(self.routing)
        return ResolvedStrategy(
            wire=wire, starts_at=starts_at, ends_at=ends_at, windows=self.working_time, zone=self.timezone
        )

    def _at(self, day: date, moment: time) -> datetime:
        return datetime.combine(day, moment, self.timezone)

    def _has_window(self, starts_at: datetime, ends_at: datetime) -> bool:
        day = starts_at.astimezone(self.timezone).date()
        # A week and a day cover every window once, whatever its weekday.
        for offset in range(8):
            for window in self.working_time:
                begin = self._at(day + timedelta(days=offset), window.begin)
                end = self._at(day + timedelta(days=offset), window.end)
                if max(begin, starts_at) < min(end, ends_at):
                    return True
        return False

    def _service_windows(self, day: date) -> tuple[Window, ...]:
        """Windows as the service reads times of day, cut at its midnight."""
        found: list[Window] = []
        for window in self.working_time:
            begin = self._at(day, window.begin).astimezone(SERVICE_ZONE)
            end = self._at(day, window.end).astimezone(SERVICE_ZONE)
            if begin.date() == end.date():
                found.append(Window(begin=begin.time(), end=end.time()))
                continue
            found.append(Window(begin=begin.time(), end=time(23, 59, 59)))
            if end.time() > time(0):
                found.append(Window(begin=time(0), end=end.time()))
        return tuple(sorted(found, key=lambda window: window.begin))


@attrs.frozen(kw_only=True)
class RecallStrategy:
    """
    Which dead lines are not dialled again. Source: ``CreateJobGroup`` (2019-12-26), RecallStrategyJson.

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


def _refuse_past(ends_at: datetime, now: datetime) -> None:
    if ends_at <= now:
        raise OutboundBotConfigError(
            f"end: the strategy's window was over at {ends_at.isoformat(timespec='minutes')}; "
            "nobody was called. Run the DAG before that, or give a later end"
        )


def resolve_strategy(strategy: Strategy | Mapping[str, Any], *, run_at: datetime, now: datetime) -> ResolvedStrategy:
    """
    Fill in a strategy's days, or check one in the API's own form.

    A dictionary passes through unchanged after its window was checked.

    :param strategy: :class:`Strategy`, or a dictionary with ``workingTime``, ``startTime``, ``endTime`` (ms) …
    :param run_at: Moment the DAG run stands for, aware.
    :param now: Aware.
    :raises OutboundBotConfigError: it has no window, or the window is over or none.
    """
    if isinstance(strategy, Strategy):
        return strategy.resolve(run_at=run_at, now=now)
    if not isinstance(strategy, Mapping):
        raise OutboundBotConfigError(
            f"strategy: {type(strategy).__name__} is neither a Strategy nor a dictionary in the API's form"
        )
    working_time = strategy.get("workingTime")
    if not isinstance(working_time, list) or not working_time:
        raise OutboundBotConfigError("strategy: workingTime is missing; nobody is called without a window")
    windows = parse_windows([_api_window(item) for item in working_time])
    moments: list[datetime] = []
    for key in ("startTime", "endTime"):
        value = strategy.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 10**11:
            raise OutboundBotConfigError(f"strategy: {key}: {value!r} is not a time in epoch milliseconds")
        moments.append(datetime.fromtimestamp(value / 1000, UTC))
    starts_at, ends_at = moments
    if starts_at >= ends_at:
        raise OutboundBotConfigError("strategy: endTime is not after startTime")
    _refuse_past(ends_at, now)
    wire = strategy if "repeatBy" in strategy else {**strategy, "repeatBy": str(RepeatBy.ONCE)}
    return ResolvedStrategy(wire=wire, starts_at=starts_at, ends_at=ends_at, windows=windows, zone=SERVICE_ZONE)


def _api_window(item: Any) -> tuple[str, str]:
    if not isinstance(item, Mapping) or "beginTime" not in item or "endTime" not in item:
        raise OutboundBotConfigError(
            f'strategy: workingTime: {item!r} is not {{"beginTime": "09:00:00", "endTime": "12:00:00"}}'
        )
    return str(item["beginTime"]), str(item["endTime"])
