"""When a job may be dialled: reads the service's StrategyJson as its documentation describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs

#: The service's time zone; working times have none.
ZONE = ZoneInfo("Asia/Shanghai")
#: How many days ahead a working window is searched; a monthly strategy repeats within them.
_HORIZON_DAYS = 70


class StrategyError(ValueError):
    """A strategy that cannot be read; the message names the field."""


@attrs.frozen(kw_only=True)
class Strategy:
    """
    When and how often a job may be dialled.

    Without start, end and working time: at once, one attempt. How the real service ends a job whose attempts for the
    day are used up is not documented; here it ends at once, unless ``repeatBy`` (Day, Week, Month) allows another day
    before the end.
    """

    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    #: Unix seconds.
    start: float | None = None
    end: float | None = None
    #: Times of day in :data:`ZONE`; empty: any.
    windows: tuple[tuple[time, time], ...] = ()
    max_attempts_per_day: int = 1
    #: Seconds between two attempts.
    min_attempt_interval: float = 0.0
    repeat_by: str = "once"
    repeat_days: frozenset[int] = frozenset()

    def opens_at(self, instant: float) -> float | None:
        """The earliest allowed instant (Unix seconds) at or after ``instant``; ``None``: none before the end."""
        instant = max(instant, self.start or instant)
        if not self._ends_after(instant):
            return None
        if not self.windows and not self.repeat_days:
            return instant
        moment = datetime.fromtimestamp(instant, ZONE)
        for offset in range(_HORIZON_DAYS):
            day = moment.date() + timedelta(days=offset)
            if not self._repeats_on(day):
                continue
            for begin, finish in self.windows or ((time.min, time.max),):
                opening = datetime.combine(day, begin, ZONE).timestamp()
                candidate = max(opening, instant)
                if candidate < datetime.combine(day, finish, ZONE).timestamp():
                    return candidate if self._ends_after(candidate) else None
        return None

    def next_day_after(self, instant: float) -> float | None:
        """The earliest allowed instant on a later day; ``None`` unless the strategy repeats."""
        if self.repeat_by == "once":
            return None
        tomorrow = datetime.fromtimestamp(instant, ZONE).date() + timedelta(days=1)
        return self.opens_at(datetime.combine(tomorrow, time.min, ZONE).timestamp())

    def _ends_after(self, instant: float) -> bool:
        return self.end is None or instant < self.end

    def _repeats_on(self, day: date) -> bool:
        if not self.repeat_days or self.repeat_by not in {"week", "month"}:
            return True
        # The service counts week days from Sunday = 0.
        number = day.isoweekday() % 7 if self.repeat_by == "week" else day.day
        return number in self.repeat_days


def day_of(instant: float) -> date:
    """The service's calendar day of an instant (Unix seconds)."""
    return datetime.fromtimestamp(instant, ZONE).date()


def parse_strategy(text: str) -> Strategy:
    """
    Read a StrategyJson.

    :raises StrategyError: it is not a JSON object, or a field cannot be read.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise StrategyError("StrategyJson is not JSON") from error
    if not isinstance(raw, dict):
        raise StrategyError("StrategyJson is not a JSON object")
    windows = raw.get("workingTime") or []
    if not isinstance(windows, list):
        raise StrategyError("StrategyJson.workingTime is not a list")
    return Strategy(
        raw=raw,
        start=_seconds(raw, "startTime"),
        end=_seconds(raw, "endTime"),
        windows=tuple(sorted(_window(window) for window in windows)),
        max_attempts_per_day=int(_number(raw, "maxAttemptsPerDay", 1)),
        min_attempt_interval=_number(raw, "minAttemptInterval", 0) * 60,
        repeat_by=str(raw.get("repeatBy") or "once").lower(),
        repeat_days=frozenset(int(day) for day in raw.get("repeatDays") or []),
    )


def _number(raw: Mapping[str, Any], name: str, default: float) -> float:
    value = raw.get(name)
    try:
        return default if value in (None, "") else float(value)  # samples send "3" and 3
    except (TypeError, ValueError) as error:
        raise StrategyError(f"StrategyJson.{name} is not a number") from error


def _seconds(raw: Mapping[str, Any], name: str) -> float | None:
    milliseconds = _number(raw, name, 0)
    return milliseconds / 1000 if milliseconds else None


def _window(raw: Any) -> tuple[time, time]:
    try:
        begin, end = time.fromisoformat(raw["beginTime"]), time.fromisoformat(raw["endTime"])
    except (KeyError, TypeError, ValueError) as error:
        raise StrategyError("StrategyJson.workingTime needs beginTime and endTime as HH:MM:SS") from error
    if begin >= end:
        raise StrategyError("StrategyJson.workingTime has a window that does not end after it begins")
    return begin, end
