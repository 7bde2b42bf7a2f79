"""How many requests at a time, and how soon the next: more while all is well, fewer when the service is throttled."""

from __future__ import annotations

import random
import threading
import time
from collections import deque

#: Seconds to wait after the second refusal in a row, and at most.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 20.0
#: What is left of the rate that the service has just borne, once it refuses.
_CUT = 0.95
#: Requests a second at least.
_LOWEST_RATE = 0.5
#: By what part the rate grows in a second, for each second since it was cut: slowly near the rate that was refused,
#: ever faster if that has become possible. It is back there after six seconds, and fourfold after thirty.
_GROWTH = 0.003
#: By how many requests a second it grows in a second at least: refusals may be for others' requests, or by chance.
_LEAST_GROWTH = 0.4
#: Seconds, and requests, over which is counted what the service bears.
_SPAN, _COUNT = 10.0, 3.0


class AdaptiveRateLimiter:
    """
    Holds requests back: by their number in flight, and once the service has throttled us, by a rate.

    Both grow additively and are cut multiplicatively. The rate is learned from what the service takes in a second, so
    that it settles a little below the service's limit, whatever that is and however many share it.

    :param limit: Most requests in flight.
    """

    def __init__(self, limit: int) -> None:
        self._most = limit
        self._limit = float(limit)
        self._in_flight = 0
        self._is_closed = False
        self._rate: float | None = None
        self._next = 0.0
        self._begun_at = time.monotonic()
        self._cut_at = 0.0
        self._pause = 0.0
        self._taken: deque[float] = deque()
        self._changed = threading.Condition()

    def enter(self) -> float | None:
        """
        Wait for a place in flight and take it.

        :return: When that was, for :meth:`throttled`; ``None`` once the gate is closed.
        """
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                wait = self._next - now
                if self._in_flight < max(1, int(self._limit)) and wait <= 0:
                    self._in_flight += 1
                    if self._rate is not None:
                        self._next = max(self._next, now - 1 / self._rate) + 1 / self._rate
                    return now
                self._changed.wait(wait if wait > 0 else None)
            return None

    def close(self) -> None:
        """Let nobody in any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def pace(self) -> int:
        """Requests that the next second, or a shorter time, will see."""
        with self._changed:
            return max(1, int(min(self._limit, self._limit if self._rate is None else self._rate)))

    def leave(self) -> None:
        """Give the place back."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def succeeded(self) -> None:
        """A request was taken."""
        with self._changed:
            now = time.monotonic()
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._pause = 0.0
            self._taken.append(now)
            self._forget(now)
            if self._rate is not None:
                # As many of these as a second has requests make the growth of a second.
                self._rate += max(_GROWTH * (now - self._cut_at), _LEAST_GROWTH / self._rate)
            self._changed.notify_all()

    def failed(self) -> None:
        """The service had no good answer: half as many at a time."""
        with self._changed:
            self._limit = max(1.0, self._limit / 2)

    def throttled(self, begun: float) -> None:
        """
        The service wants fewer requests.

        :param begun: When the request entered; those that were under way at the last cut are no reason for another.
        """
        with self._changed:
            now = time.monotonic()
            if begun < self._cut_at:
                return
            self._forget(now)
            self._rate = max(_LOWEST_RATE, _CUT * self._borne(now))
            self._cut_at = now
            if self._pause:
                self._next = max(self._next, now + self._pause * random.uniform(0.75, 1.25))
            else:
                self._next = max(self._next, now + 1 / self._rate)
            self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))

    def _borne(self, now: float) -> float:
        """Requests a second that the service has just taken."""
        if self._rate is None:
            span = min(1.0, max(0.1, now - self._begun_at))
        else:
            span = min(_SPAN, max(1.0, _COUNT / self._rate))
        borne = sum(taken > now - span for taken in self._taken) / span
        if self._rate is None:
            return borne
        # Counted in whole requests, it is not exact: unless it is far below the rate, the rate says it better.
        return self._rate if borne > 0.6 * self._rate else max(borne, self._rate / 2)

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0] < now - _SPAN:
            self._taken.popleft()
