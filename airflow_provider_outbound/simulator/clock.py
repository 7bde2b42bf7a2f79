"""The service's clock: real time, faster, or moved by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime


class Clock:
    """
    The clock of the simulated service.

    :param speed: seconds of the service per real second; 0: the clock stands still until :meth:`advance`.
    :param start_at: aware instant at which the clock starts; default: now.
    """

    def __init__(self, speed: float = 1.0, start_at: datetime | None = None) -> None:
        if speed < 0:
            raise ValueError(f"clock speed {speed} is negative; give 0 or more")
        if start_at is not None and start_at.tzinfo is None:
            raise ValueError(f"start_at {start_at.isoformat()} has no time zone; add one, e.g. +08:00")
        self._speed = speed
        self._base = time.time() if start_at is None else start_at.timestamp()
        self._started = time.monotonic()
        #: Called after the clock was moved, so that waiting tasks wake up.
        self.on_change: Callable[[], None] = lambda: None

    @property
    def speed(self) -> float:
        """Seconds of the service per real second."""
        return self._speed

    def now(self) -> float:
        """Unix seconds on the service's clock."""
        return self._base + (time.monotonic() - self._started) * self._speed

    def advance(self, seconds: float) -> None:
        """Move the clock forward by ``seconds``."""
        if seconds < 0:
            raise ValueError(f"cannot move the clock back by {-seconds} s")
        self._base += seconds
        self.on_change()

    def set(self, *, now: float | None = None, speed: float | None = None) -> None:
        """Set the instant (Unix seconds) or the speed."""
        current = self.now()
        self._base = current if now is None else now
        self._started = time.monotonic()
        self._speed = self._speed if speed is None else speed
        self.on_change()

    def real_seconds_until(self, instant: float) -> float | None:
        """Real seconds until ``instant``; ``None`` if the clock stands still."""
        remaining = instant - self.now()
        if remaining <= 0:
            return 0.0
        return remaining / self._speed if self._speed else None
