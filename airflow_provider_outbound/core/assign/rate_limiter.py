"""Limit the number and the rate of requests: both grow while requests succeed, and shrink when the API throttles."""

from __future__ import annotations

import random
import threading
import time
from collections import deque

#: Seconds to wait after the second refusal in a row, and the maximum.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 20.0
#: After a refusal, the new rate as a fraction of the rate that the service has just accepted.
_CUT = 0.95
#: Minimum rate, in requests per second.
_LOWEST_RATE = 0.5
#: Relative growth of the rate per second, for each second since the last cut: slow near the refused rate, and faster
#: the longer no request is refused. The rate is back at the old one after six seconds, and four times it after thirty.
_GROWTH = 0.003
#: Minimum growth per second, in requests per second: a refusal may be due to others' requests, or to chance.
_LEAST_GROWTH = 0.4
#: Seconds, and requests, over which the accepted rate is measured.
_SPAN, _COUNT = 10.0, 3.0


class AdaptiveRateLimiter:
    """
    Limits the number of requests in flight and, once the API has throttled one, their rate.

    Both limits grow additively and are cut multiplicatively. The rate is derived from what the API accepts per second,
    so it stays a little below the API's limit, whatever that is and however many clients share it.

    :param limit: Maximum number of requests in flight.
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
        Wait until a request may be sent, and count it as in flight.

        :return: The time of entry, for :meth:`throttled`; ``None`` once the limiter is closed.
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
        """Let no further request enter."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def pace(self) -> int:
        """The number of requests to expect within the next second."""
        with self._changed:
            return max(1, int(min(self._limit, self._limit if self._rate is None else self._rate)))

    def leave(self) -> None:
        """Count a request as finished."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def succeeded(self) -> None:
        """Count a request that the API accepted."""
        with self._changed:
            now = time.monotonic()
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._pause = 0.0
            self._taken.append(now)
            self._forget(now)
            if self._rate is not None:
                # These increments add up to the growth of one second.
                self._rate += max(_GROWTH * (now - self._cut_at), _LEAST_GROWTH / self._rate)
            self._changed.notify_all()

    def failed(self) -> None:
        """The API gave no usable answer: halve the number of requests in flight."""
        with self._changed:
            self._limit = max(1.0, self._limit / 2)

    def throttled(self, begun: float) -> None:
        """
        Cut the rate, because the API throttled a request.

        :param begun: When the request entered. Requests that were in flight at the last cut do not cause another.
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
        """The rate that the API has just accepted, in requests per second."""
        if self._rate is None:
            span = min(1.0, max(0.1, now - self._begun_at))
        else:
            span = min(_SPAN, max(1.0, _COUNT / self._rate))
        borne = sum(taken > now - span for taken in self._taken) / span
        if self._rate is None:
            return borne
        # A count of whole requests is imprecise: unless it is far below the set rate, the set rate is more accurate.
        return self._rate if borne > 0.6 * self._rate else max(borne, self._rate / 2)

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0] < now - _SPAN:
            self._taken.popleft()
