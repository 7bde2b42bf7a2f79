"""When a strategy dials: in its own zone, as instants, and in the service's zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NoReturn
from zoneinfo import ZoneInfo

import attrs

from airflow_provider_outbound.core.models.enums import OpenEnum
from airflow_provider_outbound.core.models.windows import (
    MIDNIGHT,
    SERVICE_ZONE,
    Span,
    Window,
    first_uncovered,
    merge,
)
from airflow_provider_outbound.exceptions import OutboundBotConfigError

#: Maximum length of a schedule, because each of its days is checked.
LONGEST = timedelta(days=3660)
_DAY = timedelta(days=1)


class RepeatBy(OpenEnum):
    """How often the windows of a strategy recur. Source: ``CreateJobGroup``, StrategyJson."""

    ONCE = "Once"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


#: What ``repeat_days`` may hold: the service counts the days of a week from Sunday.
REPEAT_DAYS = {RepeatBy.WEEK: range(7), RepeatBy.MONTH: range(1, 32)}


@attrs.frozen(kw_only=True)
class Schedule:
    """
    Windows of days, in one zone, between two instants.

    The service's documents do not say what ``Once`` means if start and end are days apart. This class assumes that the
    service dials on each of these days. If it dials only on the first, it dials at fewer of the checked instants.

    :param windows: In order.
    :param repeat_days: Only with ``Week`` and ``Month``; empty: every day.
    :param starts_at: UTC.
    :param ends_at: UTC.
    """

    windows: tuple[Window, ...]
    zone: ZoneInfo
    starts_at: datetime
    ends_at: datetime
    repeat_by: RepeatBy | None = None
    repeat_days: frozenset[int] = frozenset()

    def dials_on(self, day: date) -> bool:
        """Whether a day, in :attr:`zone`, has windows."""
        if self.repeat_by == RepeatBy.WEEK and self.repeat_days:
            return day.isoweekday() % 7 in self.repeat_days
        if self.repeat_by == RepeatBy.MONTH and self.repeat_days:
            return day.day in self.repeat_days
        return True

    def spans(self) -> Iterator[Span]:
        """
        Yield when the robot may dial, in order, in as few spans as possible.

        :raises OutboundBotConfigError: a window begins or ends at a time that a clock change skips or repeats, or the
            schedule is longer than :data:`LONGEST`.
        """
        opened = (window.span(day, self.zone) for day, window in self._open())
        return merge((max(begin, self.starts_at), min(end, self.ends_at)) for begin, end in opened)

    def in_service_zone(self) -> Schedule:
        """
        Return the schedule in the service's zone that dials at the same instants.

        Times and days are converted together. The result is compared with this schedule over its full length.

        :raises OutboundBotConfigError: there is none, because the zone changes its clocks in between, or because
            part of a window falls on another day there.
        """
        if self.zone.key == SERVICE_ZONE.key:
            return self
        opened = (window.span(day, self.zone) for day, window in self._open())
        pieces = [piece for span in opened for piece in _cut_at_midnight(span) if self._touches(piece)]
        found = attrs.evolve(self, zone=SERVICE_ZONE, windows=_times_of_day(pieces), repeat_days=self._days_of(pieces))
        # It covers every part of every window, but it may also dial at other instants.
        extra = first_uncovered(found.spans(), self.spans())
        if extra is not None:
            self._refuse(extra)
        return found

    def _touches(self, span: Span) -> bool:
        return max(span[0], self.starts_at) < min(span[1], self.ends_at)

    def _open(self) -> Iterator[tuple[date, Window]]:
        """Yield each day's windows that overlap the time of this schedule."""
        if self.ends_at - self.starts_at > LONGEST:
            raise OutboundBotConfigError(
                f"end: {self.ends_at:%Y-%m-%d} is more than ten years after the start; give an earlier end. "
                "Nobody was called"
            )
        # One more day on each side, for clocks that are set back across midnight.
        day = self.starts_at.astimezone(self.zone).date() - _DAY
        last = self.ends_at.astimezone(self.zone).date() + _DAY
        while day <= last:
            if self.dials_on(day):
                for window in self.windows:
                    if self._touches(window.possible_span(day, self.zone)):
                        window.check_edges(day, self.zone, "working_time")
                        yield day, window
            day += _DAY

    def _days_of(self, spans: list[Span]) -> frozenset[int]:
        """Return ``repeat_days`` for the days on which spans lie, as the service counts them."""
        days = {begin.astimezone(SERVICE_ZONE).date() for begin, _ in spans}
        if self.repeat_by == RepeatBy.WEEK:
            return frozenset(day.isoweekday() % 7 for day in days)
        return frozenset(day.day for day in days) if self.repeat_by == RepeatBy.MONTH else frozenset()

    def _refuse(self, extra: Span) -> NoReturn:
        windows = ", ".join(map(str, self.windows))
        begin, end = (moment.astimezone(SERVICE_ZONE) for moment in extra)
        reason = self._change_of_clocks() or (
            f"the nearest one would dial from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} as well, which is "
            f"{begin.astimezone(self.zone):%Y-%m-%d %H:%M} in {self.zone.key}; give the windows and days in "
            f"{SERVICE_ZONE.key}, or give one strategy for each part"
        )
        raise OutboundBotConfigError(
            f"working_time: the service reads times and days in {SERVICE_ZONE.key}, where no single strategy dials at "
            f"{windows} {self.zone.key}: {reason}. Nobody was called"
        )

    def _change_of_clocks(self) -> str | None:
        """Describe the first day on which a window changes its time in the service's zone; ``None`` if none does."""
        before: dict[Window, tuple[date, datetime]] = {}
        for day, window in self._open():
            there = window.span(day, self.zone)[0].astimezone(SERVICE_ZONE)
            known_day, known = before.get(window, (day, there))
            if known.time() != there.time():
                return (
                    f"{self.zone.key} changes its clocks between {known_day} and {day}, so that "
                    f"{window.begin:%H:%M} is {known:%H:%M} in {SERVICE_ZONE.key} before and {there:%H:%M} after; give "
                    "one strategy for each side of the change, by start and end"
                )
            before[window] = day, there
        return None


def _cut_at_midnight(span: Span) -> Iterator[Span]:
    """Split a span into parts that each lie within one day of the service."""
    begin, end = (moment.astimezone(SERVICE_ZONE) for moment in span)
    while begin < end:
        midnight = datetime.combine(begin.date() + _DAY, MIDNIGHT, SERVICE_ZONE)
        part = min(end, midnight)
        yield begin.astimezone(UTC), part.astimezone(UTC)
        begin = part


def _times_of_day(spans: list[Span]) -> tuple[Window, ...]:
    """Return windows in the service's zone that cover spans, each within one day; overlapping windows are joined."""
    # Any day will do, because the service's zone does not change its clocks.
    any_day = date(2020, 1, 1)
    there = sorted(
        Window.between(begin.astimezone(SERVICE_ZONE), end.astimezone(SERVICE_ZONE)).span(any_day, SERVICE_ZONE)
        for begin, end in spans
    )
    return tuple(
        Window.between(begin.astimezone(SERVICE_ZONE), end.astimezone(SERVICE_ZONE)) for begin, end in merge(there)
    )
