"""The hours a connection allows, and the rules about late and backfilled runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

import attrs

from airflow_provider_outbound.core.models.strategy import ResolvedStrategy, Window, parse_windows, parse_zone
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError


@attrs.frozen(kw_only=True)
class CallingHours:
    """
    When anybody may be called by a connection at all.

    :param windows: Times of day, in ``timezone``.
    :param holidays: Days without calls, in ``timezone``.
    """

    windows: tuple[Window, ...]
    timezone: ZoneInfo
    holidays: frozenset[date] = frozenset()

    @classmethod
    def parse(cls, value: Any) -> Self:
        """
        Read the connection's extra field ``calling_hours``.

        :param value: ``{"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]], "holidays": ["2026-10-01"]}``.
        :raises OutboundBotConfigError: it is not of that form.
        """
        if not isinstance(value, Mapping) or "windows" not in value:
            raise OutboundBotConfigError(
                'calling_hours: not of the form {"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]], '
                '"holidays": ["2026-10-01"]}'
            )
        unknown = set(value) - {"timezone", "windows", "holidays"}
        if unknown:
            raise OutboundBotConfigError(f"calling_hours: unknown field {min(unknown)!r}")
        try:
            holidays = frozenset(date.fromisoformat(str(day)) for day in value.get("holidays") or ())
        except ValueError:
            raise OutboundBotConfigError('calling_hours: holidays must be dates such as "2026-10-01"') from None
        try:
            windows, zone = parse_windows(value["windows"]), parse_zone(value.get("timezone", "Asia/Shanghai"))
        except OutboundBotConfigError as error:
            raise OutboundBotConfigError(f"calling_hours: {error}") from None
        return cls(windows=windows, timezone=zone, holidays=holidays)

    def check(self, strategy: ResolvedStrategy) -> None:
        """
        Refuse a strategy that could dial outside these hours.

        :raises OutboundBotWrongTimeError: a window leaves these hours, or a day it covers is a holiday.
        """
        day = strategy.starts_at.astimezone(self.timezone).date()
        last = strategy.ends_at.astimezone(self.timezone).date()
        while day <= last:
            for begin, end in self._dialling(strategy, day):
                self._check_span(begin, end)
            day += timedelta(days=1)

    def check_now(self, now: datetime) -> None:
        """
        Refuse dialling at once outside these hours.

        :raises OutboundBotWrongTimeError: ``now`` is outside.
        """
        self._check_span(now, now + timedelta(seconds=1))

    def _dialling(self, strategy: ResolvedStrategy, day: date) -> list[tuple[datetime, datetime]]:
        spans = []
        for window in strategy.windows:
            begin = max(datetime.combine(day, window.begin, strategy.zone), strategy.starts_at)
            end = min(datetime.combine(day, window.end, strategy.zone), strategy.ends_at)
            if begin < end:
                spans.append((begin, end))
        return spans

    def _check_span(self, begin: datetime, end: datetime) -> None:
        begin, end = begin.astimezone(self.timezone), end.astimezone(self.timezone)
        if begin.date() in self.holidays or end.date() in self.holidays:
            raise OutboundBotWrongTimeError(
                f"nobody is called on {begin:%Y-%m-%d}: a holiday of the connection's calling_hours"
            )
        inside = begin.date() == end.date() and any(
            window.begin <= begin.time() and end.time() <= window.end for window in self.windows
        )
        if not inside:
            raise OutboundBotWrongTimeError(
                f"dialling from {begin:%Y-%m-%d %H:%M} to {end:%H:%M} ({self.timezone.key}) leaves the connection's "
                f"calling_hours {', '.join(map(str, self.windows))}; nobody was called"
            )


def refuse_late_run(
    *,
    run_at: datetime | None,
    now: datetime,
    max_run_age: timedelta,
    is_backfill: bool,
    allow_backfill: bool,
    what: str = "this run was due",
) -> None:
    """
    Refuse to dial from a run that stands for another time than now.

    :param run_at: Moment the DAG run was due, aware; ``None`` if it stands for no moment.
    :param max_run_age: How long after that moment dialling is still meant.
    :param what: What happened at that moment, for the error.
    :raises OutboundBotWrongTimeError: the run is a backfill, or late, and the author did not allow it.
    """
    if is_backfill and not allow_backfill:
        raise OutboundBotWrongTimeError("a backfill calls nobody; pass allow_backfill=True if it should")
    if run_at is not None and not (is_backfill and allow_backfill) and now - run_at > max_run_age:
        raise OutboundBotWrongTimeError(
            f"{what} at {run_at.isoformat(timespec='minutes')}, longer ago than max_run_age={max_run_age}; "
            "nobody was called"
        )
