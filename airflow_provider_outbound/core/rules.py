"""
Time rules: calling hours, the age of a run, backfills, and the window of a group.

Times are compared as instants, whatever their zones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

import attrs

from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.schedule import RepeatBy, Schedule
from airflow_provider_outbound.core.models.strategy import (
    LATER_END,
    ResolvedStrategy,
    Strategy,
    parse_repeat_days,
    resolve_strategy,
)
from airflow_provider_outbound.core.models.windows import (
    MIDNIGHT,
    SERVICE_ZONE,
    Span,
    Window,
    first_uncovered,
    merge,
    parse_windows,
    parse_zone,
    refuse_past,
)
from airflow_provider_outbound.core.models.wire import to_milliseconds
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError, before_changing

_ALL_DAY = (Window(begin=MIDNIGHT, end=MIDNIGHT),)
_DAY = timedelta(days=1)
#: How far ahead a group without an end is checked: a year has every holiday and every clock change.
_FORESEEN = timedelta(days=366)
#: The clock of the browser that triggered a run may be fast.
_CLOCKS_DIFFER = timedelta(minutes=15)
_MODIFY = "give it one with OutboundBotModifyJobGroupOperator(strategy=…)"


@attrs.frozen(kw_only=True)
class CallingHours:
    """
    The hours outside which a connection calls nobody.

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
            A window that ends at ``24:00`` or ``23:59:59`` ends with the day.
        :raises OutboundBotConfigError: it is not of that form.
        """
        if not isinstance(value, Mapping) or "windows" not in value:
            raise OutboundBotConfigError(
                'calling_hours: not of the form {"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]], '
                '"holidays": ["2026-10-01"]}'
            )
        unknown = set(value) - {"timezone", "windows", "holidays"}
        if unknown:
            raise OutboundBotConfigError(f"calling_hours: {min(unknown)!r} is not one of timezone, windows, holidays")
        windows = parse_windows(value["windows"], "calling_hours: windows")
        return cls(
            windows=tuple(_to_end_of_day(window) for window in windows),
            timezone=parse_zone(value.get("timezone", SERVICE_ZONE.key), "calling_hours: timezone"),
            holidays=_holidays(value.get("holidays")),
        )

    def spans(self, since: datetime, until: datetime) -> Iterator[Span]:
        """When people may be called, in order; at a clock change, only what every reading of the window covers."""
        return merge(span for day in self._days(since, until) for span in self._spans_of(day))

    def check(self, schedule: Schedule) -> None:
        """
        Refuse to dial outside these hours.

        :raises OutboundBotWrongTimeError: part of the schedule is outside, or on a holiday.
        """
        spans = self.spans(schedule.starts_at, schedule.ends_at)
        outside = first_uncovered(schedule.spans(), spans)
        if outside is None:
            return
        begin, end = (moment.astimezone(self.timezone) for moment in outside)
        if begin.date() in self.holidays:
            raise OutboundBotWrongTimeError(
                f"nobody is called on {begin:%Y-%m-%d} ({self.timezone.key}), a holiday of the connection's "
                "calling_hours; choose another day. Nobody was called"
            )
        raise OutboundBotWrongTimeError(
            f"dialling from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} ({self.timezone.key}) is outside the "
            f"connection's calling_hours {', '.join(map(str, self.windows))}; stay within them. Nobody was called"
        )

    def check_now(self, now: datetime) -> None:
        """
        Refuse to dial at this moment.

        :raises OutboundBotWrongTimeError: ``now`` is outside.
        """
        self.check(_at_any_time(now, now + timedelta(seconds=1)))

    def rest_of_day(self, now: datetime) -> ResolvedStrategy:
        """
        The rest of today's hours as a strategy, so that the service stops when they end.

        :raises OutboundBotWrongTimeError: ``now`` is outside.
        """
        self.check_now(now)
        strategy = Strategy(working_time=self.windows, timezone=self.timezone, start=now).resolve(run_at=now, now=now)
        self.check(strategy.schedule)
        return strategy

    def _days(self, since: datetime, until: datetime) -> Iterator[date]:
        # One more day on each side, for clocks that are set back across midnight.
        day = since.astimezone(self.timezone).date() - _DAY
        last = until.astimezone(self.timezone).date() + _DAY
        while day <= last:
            yield day
            day += _DAY

    def _spans_of(self, day: date) -> Iterator[Span]:
        if day not in self.holidays:
            for window in self.windows:
                yield window.certain_span(day, self.timezone)


def _to_end_of_day(window: Window) -> Window:
    return attrs.evolve(window, end=MIDNIGHT) if window.end == time(23, 59, 59) else window


def _holidays(value: Any) -> frozenset[date]:
    days = () if value is None else value
    try:
        if not isinstance(days, list | tuple):
            raise ValueError  # noqa: TRY004 - the same message
        return frozenset(date.fromisoformat(str(day)) for day in days)
    except ValueError:
        raise OutboundBotConfigError('calling_hours: holidays must be a list of dates such as "2026-10-01"') from None


def _at_any_time(since: datetime, until: datetime) -> Schedule:
    return Schedule(windows=_ALL_DAY, zone=SERVICE_ZONE, starts_at=since.astimezone(UTC), ends_at=until.astimezone(UTC))


@attrs.frozen(kw_only=True)
class RunGuard:
    """
    The time rules of one task.

    :param run_at: The moment that the DAG run stands for, aware.
    :param max_run_age: How long after that moment the run may still dial.
    :param event_at: When the oldest asset event of the contacts was recorded; it may have been queued for a long time.
    :param hours: The connection's calling hours; ``None`` for any time.
    """

    run_at: datetime
    max_run_age: timedelta
    is_backfill: bool
    allow_backfill: bool
    hours: CallingHours | None
    event_at: datetime | None = None
    #: Schedules found to be within the hours. What remains of one later is within them too.
    _within_hours: set[Schedule] = attrs.field(factory=set, init=False, eq=False, repr=False)

    def check(self, strategy: ResolvedStrategy | None) -> None:
        """
        Refuse to dial against a time rule.

        :param strategy: When the group dials; ``None``: at once.
        :raises OutboundBotWrongTimeError: the run is late, early or a backfill, its window is over, or the time is
            outside the calling hours.
        """
        now = datetime.now(UTC)
        self.check_run(now)
        if strategy is None:
            refuse_early_run(self.run_at, now)
        else:
            refuse_past(strategy.ends_at, now, "the strategy's", LATER_END)
        self._check_hours(strategy, now)

    def _check_hours(self, strategy: ResolvedStrategy | None, now: datetime) -> None:
        # Called before each request, and a strategy may last for years.
        key = None if strategy is None else attrs.evolve(strategy.schedule, starts_at=strategy.schedule.ends_at)
        if key in self._within_hours:
            return
        check_hours(self.hours, strategy, now)
        if key is not None:
            self._within_hours.add(key)

    def check_run(self, now: datetime) -> None:
        """
        Refuse to dial from a run that stands for an earlier time.

        :raises OutboundBotWrongTimeError: the run is late or a backfill, and the author did not allow it.
        """
        if not isinstance(self.max_run_age, timedelta):
            raise OutboundBotConfigError(
                f"max_run_age: {self.max_run_age!r} is not a timedelta; give one such as timedelta(hours=12)"
            )
        for moment, what in ((self.run_at, "this run was due"), (self.event_at, "the asset event was recorded")):
            refuse_late_run(
                run_at=moment,
                now=now,
                max_run_age=self.max_run_age,
                is_backfill=self.is_backfill,
                allow_backfill=self.allow_backfill,
                what=what,
            )

    def at_once(self) -> ResolvedStrategy | None:
        """
        The strategy of a group that dials at once: the rest of today's calling hours, so that it ends with them.

        :return: ``None`` if the connection has no calling hours.
        :raises OutboundBotWrongTimeError: the run is late, early or a backfill, or the time is outside the hours.
        """
        now = datetime.now(UTC)
        self.check_run(now)
        refuse_early_run(self.run_at, now)
        return None if self.hours is None else self.hours.rest_of_day(now)


@attrs.frozen(kw_only=True)
class GroupGuard:
    """
    The time rules of one task's contacts in one job group.

    :param rules: The rules of the task.
    :param strategy: When these contacts are dialled; ``None``: as the group says.
    :param is_own: Whether a task of this ledger created the group; see :func:`check_group_window`.
    """

    rules: RunGuard
    strategy: ResolvedStrategy | None
    is_own: bool

    def check(self, group: JobGroup) -> None:
        """
        Refuse to send contacts to a group against a time rule.

        :param group: The group as the API reports it.
        :raises OutboundBotWrongTimeError: as :meth:`RunGuard.check` and :func:`check_group_window`.
        """
        self.rules.check(self.strategy or check_group_window(group, is_own=self.is_own))


def check_hours(
    hours: CallingHours | None, strategy: ResolvedStrategy | None, now: datetime, *, fix: str = "pass strategy"
) -> None:
    """
    Refuse to dial outside the connection's hours.

    :param strategy: When the group dials; ``None``: from now on, without an end.
    :param fix: How to give the group a window, for the error.
    :raises OutboundBotWrongTimeError: as :meth:`CallingHours.check`.
    """
    if hours is None:
        return
    if strategy is None:
        hours.check_now(now)
    schedule = _at_any_time(now, now + _FORESEEN) if strategy is None else strategy.schedule
    # The part that is over does not matter.
    schedule = attrs.evolve(schedule, starts_at=max(schedule.starts_at, now.astimezone(UTC)))
    try:
        hours.check(schedule)
    except OutboundBotWrongTimeError as error:
        if strategy is not None:
            raise
        raise OutboundBotWrongTimeError(
            f"the job group has no window, so it would continue outside calling_hours; {fix}: {error}"
        ) from None


@before_changing()
def check_resume(hours: CallingHours | None, group: JobGroup, strategies: Iterable[str], now: datetime) -> None:
    """
    Refuse to resume jobs that would then be dialled outside the connection's hours.

    :param strategies: StrategyJson of jobs that have their own, which overrides the group's window.
    :raises OutboundBotWrongTimeError: as :func:`check_hours`.
    """
    if hours is None:
        return
    check_hours(hours, window_of(group, fix=_MODIFY), now, fix=_MODIFY)
    for text in strategies:
        strategy = json.loads(text)
        if strategy["endTime"] > to_milliseconds(now):
            check_hours(hours, resolve_strategy(strategy, run_at=now, now=now), now)


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
    Refuse to dial from a run that stands for an earlier time.

    :param run_at: Moment the DAG run stands for, aware; ``None`` if it stands for no moment.
    :param max_run_age: How long after that moment the run may still dial.
    :param what: What happened at that moment, for the error.
    :raises OutboundBotWrongTimeError: the run is a backfill, or late, and the author did not allow it.
    """
    if is_backfill and not allow_backfill:
        raise OutboundBotWrongTimeError(
            "this run is a backfill, or an asset event of one triggered it; pass allow_backfill=True only if every run"
            " of the backfill shall call its people. Nobody was called"
        )
    if run_at is not None and not is_backfill and now.astimezone(UTC) - run_at.astimezone(UTC) > max_run_age:
        raise OutboundBotWrongTimeError(
            f"{what} at {run_at.isoformat(timespec='minutes')}, longer ago than max_run_age={max_run_age}; to call"
            " people nevertheless, pass a longer max_run_age. Nobody was called"
        )


def refuse_early_run(run_at: datetime, now: datetime) -> None:
    """
    Refuse to dial at once from a run that stands for a future time.

    :raises OutboundBotWrongTimeError: ``run_at`` is in the future.
    """
    if run_at.astimezone(UTC) - now.astimezone(UTC) > _CLOCKS_DIFFER:
        raise OutboundBotWrongTimeError(
            f"this run stands for {run_at.isoformat(timespec='minutes')}, which is in the future, but would dial at "
            "once; trigger it without a logical date, or pass strategy. Nobody was called"
        )


def window_of(group: JobGroup, *, fix: str = "pass strategy") -> ResolvedStrategy | None:
    """
    When a group dials, as the API reports it. If the API does not report the days, or they cannot be read, every day
    counts.

    :param fix: How to give the group a window, for the error.
    :return: ``None`` if it dials at once.
    :raises OutboundBotWrongTimeError: its window cannot be read.
    """
    if group.starts_at is None or group.ends_at is None:
        return None
    strategy = group.raw.get("Strategy")
    strategy = strategy if isinstance(strategy, Mapping) else {}
    try:
        windows = [
            Window.parse((item.get("BeginTime"), item.get("EndTime")), "WorkingTime")
            for item in strategy.get("WorkingTime") or ()
        ]
    except (OutboundBotConfigError, AttributeError, TypeError) as error:
        raise OutboundBotWrongTimeError(
            f"job group {group.job_group_id}: its window cannot be read ({error}); {fix}. Nobody was called"
        ) from None
    # The API answers in lower case.
    repeat_by = RepeatBy.parse(str(strategy.get("RepeatBy") or "").capitalize())
    schedule = Schedule(
        windows=tuple(sorted(windows, key=lambda window: window.begin)) or _ALL_DAY,
        zone=SERVICE_ZONE,
        starts_at=max(group.starts_at, datetime.now(UTC)),
        ends_at=group.ends_at,
        repeat_by=repeat_by,
        repeat_days=frozenset() if repeat_by is None else parse_repeat_days(strategy.get("RepeatDays"), repeat_by),
    )
    return ResolvedStrategy(wire={}, starts_at=group.starts_at, ends_at=group.ends_at, schedule=schedule)


def check_group_window(group: JobGroup, *, is_own: bool) -> ResolvedStrategy | None:
    """
    Refuse to add contacts to a group whose window is over, or that has none although its author did not choose so.

    :param is_own: Whether a task of this ledger created the group, so that its author chose the window.
    :raises OutboundBotWrongTimeError: in both cases; names the group and the fix.
    """
    window = window_of(group)
    if window is None and not is_own:
        raise OutboundBotWrongTimeError(
            f"job group {group.job_group_id} has no window and would dial at once; pass strategy, or create one with "
            "OutboundBotCreateJobGroupOperator(start_immediately=True). Nobody was called"
        )
    if window is not None:
        refuse_past(window.ends_at, datetime.now(UTC), f"job group {group.job_group_id}: its", "pass strategy")
    return window
