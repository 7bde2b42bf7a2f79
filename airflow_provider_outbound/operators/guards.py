"""
Nobody is called at the wrong time.

Imported when a task runs: parsing a DAG does not need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import attrs

from airflow_provider_outbound.core.models.calling_hours import CallingHours, refuse_late_run
from airflow_provider_outbound.core.models.strategy import SERVICE_ZONE, ResolvedStrategy, Window
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.models.job import JobGroup

_ANY_TIME = (Window(begin=time(0), end=time(23, 59, 59)),)


@attrs.frozen(kw_only=True)
class RunGuard:
    """
    The time rules of one task.

    :param run_at: When the DAG run was due, aware.
    :param max_run_age: How long after that dialling is still meant.
    :param event_at: When the oldest asset event was recorded that the contacts come from; it may have queued for long.
    :param hours: The connection's; ``None`` for any time.
    """

    run_at: datetime
    max_run_age: timedelta
    is_backfill: bool
    allow_backfill: bool
    hours: CallingHours | None
    event_at: datetime | None = None

    def check(self, strategy: ResolvedStrategy | None) -> None:
        """
        Refuse to dial.

        :param strategy: When will be dialled; ``None``: at once.
        :raises OutboundBotWrongTimeError: the run is late or a backfill, or the time is outside the calling hours.
        """
        if not isinstance(self.max_run_age, timedelta):
            raise OutboundBotConfigError(
                f"max_run_age: {self.max_run_age!r} is no timedelta; pass for example timedelta(hours=12)"
            )
        now = datetime.now(UTC)
        for moment, what in ((self.run_at, "this run was due"), (self.event_at, "its asset event was recorded")):
            refuse_late_run(
                run_at=moment,
                now=now,
                max_run_age=self.max_run_age,
                is_backfill=self.is_backfill,
                allow_backfill=self.allow_backfill,
                what=what,
            )
        check_hours(self.hours, strategy, now)


def check_hours(hours: CallingHours | None, strategy: ResolvedStrategy | None, now: datetime) -> None:
    """Refuse dialling outside the connection's hours; see :meth:`RunGuard.check`."""
    if hours is None:
        return
    if strategy is None:
        hours.check_now(now)
    else:
        hours.check(attrs.evolve(strategy, windows=strategy.windows or _ANY_TIME))


def window_of(group: JobGroup) -> ResolvedStrategy | None:
    """
    When a group dials, as the API tells it.

    :return: ``None`` if it dials at once.
    """
    if group.starts_at is None or group.ends_at is None:
        return None
    strategy = group.raw.get("Strategy")
    items = strategy.get("WorkingTime") if isinstance(strategy, Mapping) else None
    windows = tuple(
        Window.parse((item.get("BeginTime"), item.get("EndTime")), "working_time")
        for item in items or ()
        if isinstance(item, Mapping)
    )
    return ResolvedStrategy(
        wire={},
        starts_at=max(group.starts_at, datetime.now(UTC)),
        ends_at=group.ends_at,
        windows=windows or _ANY_TIME,
        zone=SERVICE_ZONE,
    )


def check_group_window(group: JobGroup, *, is_own: bool) -> ResolvedStrategy | None:
    """
    Refuse to add contacts to a group whose window nobody chose, or is over.

    :param is_own: Whether a task of this ledger created it, and so its author chose.
    :raises OutboundBotWrongTimeError: as said; names the group and the mend.
    """
    window = window_of(group)
    if window is None and not is_own:
        raise OutboundBotWrongTimeError(
            f"job group {group.job_group_id} has no window and would dial at once; pass strategy, or create it with "
            "OutboundBotCreateJobGroupOperator(start_immediately=True). Nobody was called"
        )
    if window is not None and window.ends_at <= datetime.now(UTC):
        raise OutboundBotWrongTimeError(
            f"job group {group.job_group_id}: its window was over at {window.ends_at.isoformat(timespec='minutes')}; "
            "nobody was called. Create a new group, or pass a strategy"
        )
    return window
