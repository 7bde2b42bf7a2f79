"""Why the service dials nobody in a job group at the moment, for the log of its wait."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

from airflow_provider_outbound.core import progress
from airflow_provider_outbound.core.models.enums import JobGroupStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress
from airflow_provider_outbound.core.models.schedule import Schedule
from airflow_provider_outbound.core.models.strategy import resolve_strategy
from airflow_provider_outbound.core.rules import window_of
from airflow_provider_outbound.exceptions import OutboundBotConfigError

log = logging.getLogger(__name__)


class DiallingLog:
    """
    Logs that a group is suspended, outside its window, or stands still: when it is first seen, and again at the pace of
    progress.

    :param job_group_id: The group.
    """

    def __init__(self, job_group_id: str) -> None:
        self._job_group_id = job_group_id
        self._is_first = True
        self._suspended_at: datetime | None = None
        self._is_cancelled = False
        #: The unfinished jobs at the last comparison, if no call was on the line then.
        self._idle: int | None = None
        self._logged = ""
        self._logged_at = 0.0

    def checked(self, suspended_at: datetime | None, *, is_cancelled: bool = False) -> None:
        """
        Log a cancellation once, and a suspension or resumption that the ledger has recorded since the last check.

        What the ledger knew at the first check is left to the first comparison with the API: the jobs may have been
        resumed elsewhere, and a rescheduled task begins anew with each poke.

        :param suspended_at: When this package suspended the group's jobs; ``None``: it did not, or resumed them.
        :param is_cancelled: Whether this package cancelled them.
        """
        if is_cancelled and not self._is_cancelled:
            words = "Job group %s: cancelled; nobody else is called. The wait ends once each call has its result"
            log.info(words, self._job_group_id)
        self._is_cancelled = is_cancelled
        has_changed = not self._is_first and suspended_at != self._suspended_at
        self._is_first, self._suspended_at = False, suspended_at
        if has_changed:
            self._log(self._suspended if suspended_at is not None else "")
            if suspended_at is None and not is_cancelled:
                log.info("Job group %s: resumed", self._job_group_id)

    def compared(self, group: JobGroup, strategies: Callable[[], Iterable[str]]) -> None:
        """
        Log what the API reports.

        :param group: The group as the API reports it.
        :param strategies: Reads StrategyJson of jobs that have their own, which overrides the group's window.
        """
        if group.progress is None or not group.progress.unfinished:
            self._log("")
        elif is_suspended(group.status, group.progress, by_us=self._suspended_at is not None):
            self._log(self._suspended)
        elif (until := outside_window_until(group, strategies)) is not None:
            self._log(f"outside its window until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
        else:
            self._log(self._standing_still(group.progress))
            return
        self._idle = None

    def _standing_still(self, found: Progress) -> str:
        """Return why nobody is called although the group may dial, if that was so at the last comparison too."""
        before, self._idle = self._idle, found.unfinished if found.scheduling and not found.executing else None
        if before is None or before != self._idle:
            return ""
        return (
            f"no call is on the line, and {found.scheduling} jobs wait: other groups may use all lines of the bot"
            " instance, or these contacts wait for their next attempt; see: outbound groups"
        )

    @property
    def _suspended(self) -> str:
        return f"suspended; resume it with: outbound resume {self._job_group_id}"

    def _log(self, reason: str) -> None:
        now = time.monotonic()
        if reason and (reason != self._logged or now - self._logged_at >= progress.IDLE_SECONDS):
            self._logged_at = now
            log.info("Job group %s: %s", self._job_group_id, reason)
        self._logged = reason


def is_suspended(status: JobGroupStatus | None, found: Progress, *, by_us: bool) -> bool:
    """
    Whether jobs are suspended and none waits to be dialled; calls may still be on the line.

    :param by_us: Whether this package suspended them. Those on the line count as paused only after their calls.
    """
    return status == JobGroupStatus.PAUSED or (not found.scheduling and (by_us or found.paused > 0))


def outside_window_until(group: JobGroup, strategies: Callable[[], Iterable[str]]) -> datetime | None:
    """
    When dialling begins or continues, if the service dials nobody now.

    :param strategies: As for :meth:`DiallingLog.compared`; only read outside the group's window.
    :return: ``None`` if it may dial now, if no window is left, or if the group's window cannot be read.
    """
    try:
        window = window_of(group)
        begins = [] if window is None else _next_begin(window.schedule)
    except OutboundBotConfigError:
        return None
    now = datetime.now(UTC)
    if window is None or any(begin <= now for begin in begins):
        return None
    for text in strategies():
        # One that is over, or that cannot be read, dials nobody as far as is known.
        with suppress(OutboundBotConfigError):
            begins += _next_begin(resolve_strategy(json.loads(text), run_at=now, now=now).schedule)
    begin = min(begins, default=now)
    return begin if begin > now else None


def _next_begin(schedule: Schedule) -> list[datetime]:
    return [begin for begin, _ in islice(schedule.spans(), 1)]
