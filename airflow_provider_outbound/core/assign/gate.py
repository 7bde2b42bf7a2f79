"""How many requests at a time, and how soon the next: more while all is well, fewer when the service is throttled."""

from __future__ import annotations

import random
import threading
import time

#: Seconds to wait after the first throttled request, and at most.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 20.0


class Gate:
    """
    Additive increase, multiplicative decrease of the number of requests in flight.

    :param limit: Most requests in flight.
    """

    def __init__(self, limit: int) -> None:
        self._most = limit
        self._limit = float(limit)
        self._in_flight = 0
        self._pause = 0.0
        self._closed_until = 0.0
        self._changed = threading.Condition()

    def enter(self) -> None:
        """Wait for a place in flight and take it."""
        with self._changed:
            while True:
                wait = self._closed_until - time.monotonic()
                if self._in_flight < max(1, int(self._limit)) and wait <= 0:
                    self._in_flight += 1
                    return
                self._changed.wait(wait if wait > 0 else None)

    def leave(self) -> None:
        """Give the place back."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until nothing is in flight."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight == 0)

    def succeeded(self) -> None:
        """A request was taken: one more at a time, once as many as now were taken."""
        with self._changed:
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._pause = 0.0
            self._changed.notify_all()

    def failed(self) -> None:
        """The service had no good answer: half as many at a time."""
        with self._changed:
            self._limit = max(1.0, self._limit / 2)

    def throttled(self) -> None:
        """The service wants fewer requests: half as many, after a pause that grows until one is taken."""
        with self._changed:
            self._limit = max(1.0, self._limit / 2)
            if time.monotonic() >= self._closed_until:
                # Several refusals of one moment are one.
                self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
                self._closed_until = time.monotonic() + self._pause * random.uniform(0.75, 1.25)
