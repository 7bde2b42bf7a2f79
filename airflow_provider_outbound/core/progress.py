"""Log lines about the progress of what takes long: one format for all, at a bounded pace."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

log = logging.getLogger(__name__)

#: Shortest interval between two lines (seconds), and the longest while nothing changes.
BUSY_SECONDS, IDLE_SECONDS = 60.0, 600.0
#: The period over which the rate is measured, the shortest one that gives a rate, and the interval between two
#: measurements that are kept (seconds).
RATE_SECONDS, MIN_RATE_SECONDS, MARK_SECONDS = 600.0, 15.0, 5.0


class Rate:
    """
    How much is done per minute, over the last :data:`RATE_SECONDS`.

    :param from_zero: Whether it begins now, with nothing done.
    :param clock: Seconds that never go back.
    """

    def __init__(self, *, from_zero: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)] if from_zero else [])

    def mark(self, done: int) -> None:
        """Measure; most measurements are not kept."""
        now = self._clock()
        if not self._marks or now - self._marks[-1][0] >= MARK_SECONDS:
            self._marks.append((now, done))
        while len(self._marks) > 1 and now - self._marks[0][0] > RATE_SECONDS:
            self._marks.popleft()

    def per_minute(self, done: int) -> float | None:
        """The rate, once something was marked; ``None`` if it is too early to tell."""
        since, before = self._marks[0]
        seconds = self._clock() - since
        return None if seconds < MIN_RATE_SECONDS or done < before else (done - before) * 60 / seconds


class ProgressLog:
    """
    Logs how far something is. Every argument is a count or a time, so no line contains a phone number.

    :param label: What it is about, for example ``Job group G``.
    :param unit: What is counted, for example ``jobs complete``.
    :param from_zero: Whether it begins now, with nothing done. Its first line then comes after the interval, so that
        what takes little time logs none.
    :param clock: Seconds that never go back.
    """

    def __init__(
        self, label: str, unit: str, *, from_zero: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = label
        self._unit = unit
        self._from_zero = from_zero
        self._clock = clock
        self._logged_at = self._counted_at = clock()
        self._rate = Rate(from_zero=from_zero, clock=clock)
        self._logged: tuple[int, int | None, int | None, int, bool] | None = None
        self._ends_at: datetime | None = None

    def due_in(self) -> float:
        """Seconds until a line may be due: at most :data:`BUSY_SECONDS`."""
        return BUSY_SECONDS - (self._clock() - max(self._logged_at, self._counted_at)) % BUSY_SECONDS

    def is_due(self, *, has_changed: bool) -> bool:
        """Whether it is time for a line, or for counting again if something has changed."""
        if has_changed and self._clock() - self._counted_at < BUSY_SECONDS:
            return False
        return self._age() >= (BUSY_SECONDS if has_changed else IDLE_SECONDS)

    def offer(
        self,
        done: int,
        total: int | None = None,
        *,
        answered: int | None = None,
        not_dialled: int = 0,
        ends_at: datetime | None = None,
        is_suspended: bool = False,
    ) -> None:
        """
        Log a line if one is due: the first at once, unless it begins from zero. The arguments are those of :meth:`log`.

        Call it as often as you like: it takes no longer than a comparison unless it logs.
        """
        self._rate.mark(done - not_dialled)
        is_first = self._logged is None and not self._from_zero
        if is_first or self.is_due(has_changed=(done, total, answered, not_dialled, is_suspended) != self._logged):
            self.log(
                done, total, answered=answered, not_dialled=not_dialled, ends_at=ends_at, is_suspended=is_suspended
            )

    def log(
        self,
        done: int,
        total: int | None = None,
        *,
        answered: int | None = None,
        not_dialled: int = 0,
        ends_at: datetime | None = None,
        is_suspended: bool = False,
    ) -> None:
        """
        Log a line.

        :param done: How many are done.
        :param total: Of how many; ``None`` if unknown.
        :param answered: How many of them were answered; ``None`` if that does not apply.
        :param not_dialled: How many of those done took no call, so that they say nothing about the pace.
        :param ends_at: When the window ends, aware; ``None`` if it has no end or does not apply.
        :param is_suspended: Whether nothing goes on until somebody resumes it, so that no end can be expected.
        """
        self._rate.mark(done - not_dialled)
        self._logged, self._ends_at = (done, total, answered, not_dialled, is_suspended), ends_at
        self._logged_at = self._clock()
        rate = None if is_suspended else self._rate.per_minute(done - not_dialled)
        line = describe_progress(
            done, total, self._unit, answered=answered, per_minute=rate, ends_at=ends_at, is_suspended=is_suspended
        )
        log.info("%s: %s", self._label, line)

    def repeat(self) -> None:
        """Log the last counts again, with the time that is left by now."""
        if self._logged is not None:
            done, total, answered, not_dialled, is_suspended = self._logged
            self.log(
                done,
                total,
                answered=answered,
                not_dialled=not_dialled,
                ends_at=self._ends_at,
                is_suspended=is_suspended,
            )

    def forget_rate(self) -> None:
        """Measure the rate anew: what is done now was done over some unknown time."""
        self._rate = Rate(from_zero=False, clock=self._clock)

    def postpone(self) -> None:
        """Begin the next interval without a line: the counts are the same, or cannot be read."""
        self._counted_at = self._clock()

    def _age(self) -> float:
        return max(0.0, self._clock() - self._logged_at)


def describe_progress(
    done: int,
    total: int | None,
    unit: str,
    *,
    answered: int | None = None,
    per_minute: float | None = None,
    ends_at: datetime | None = None,
    is_suspended: bool = False,
    now: datetime | None = None,
) -> str:
    """
    Describe progress in one line; see :meth:`ProgressLog.log`.

    :param per_minute: The rate; ``None`` if unknown.
    :param now: The time; ``None`` for that of the clock.
    """
    now = now or datetime.now(UTC)
    parts = [f"{done} {unit}" if total is None else f"{done} of {total} {unit}"]
    if answered is not None:
        parts.append(f"{answered} answered")
    if is_suspended:
        parts.append("suspended")
    expected_at = None
    if per_minute is not None:
        parts.append(f"{per_minute:.1f} per minute")
        if total is not None and done < total and per_minute > 0:
            expected_at = _after(now, (total - done) / per_minute)
    if expected_at is not None:
        late = ", after its window" if ends_at is not None and expected_at > ends_at else ""
        parts.append(f"expected end {expected_at:%Y-%m-%d %H:%M} UTC{late}")
    if ends_at is not None and (total is None or done < total):
        left = (ends_at - now).total_seconds()
        # Not all of it is time for dialling: a window may not have begun, or have hours of each day.
        parts.append(f"its window ends in {_duration(left)}" if left > 0 else "its window has ended")
    return ", ".join(parts)


def _after(now: datetime, minutes: float) -> datetime | None:
    """The time in a number of minutes; ``None`` if no calendar has it."""
    try:
        return (now + timedelta(minutes=minutes)).astimezone(UTC)
    except OverflowError:
        return None


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{days} d" if days else "", f"{hours} h" if hours or days else "", f"{minutes} min"]
    return " ".join(part for part in parts if part)
