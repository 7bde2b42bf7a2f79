"""Limit the rate of requests, if the connection sets a limit."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from airflow_provider_outbound.exceptions import LedgerUnavailableError

#: Takes slots that all processes share: called with the number of slots and the rate per second, it returns the seconds
#: until the first of them.
TakeSlots = Callable[[int, float], float]

#: Seconds for which slots are taken at a time. Slots that the process does not use in this time are lost.
_SPAN = 0.25


class RateLimiter:
    """
    Spaces out the requests of all threads of this process, and of all processes that share its slots.

    :param per_second: Maximum number of requests per second; ``None`` for no limit.
    :param take_slots: Takes shared slots; ``None``: the limit holds for this process alone. This is also the case while
        the ledger cannot be reached, so that a campaign can still be stopped.
    """

    def __init__(self, per_second: float | None, take_slots: TakeSlots | None = None) -> None:
        self._per_second = per_second
        self._take_turns = take_slots
        self._lock = threading.Lock()
        self._turns: deque[float] = deque()
        self._next = 0.0

    def wait(self) -> None:
        """Wait until this thread may send a request."""
        if self._per_second is None:
            return
        with self._lock:
            while self._turns and self._turns[0] < time.monotonic() - _SPAN:
                self._turns.popleft()
            if not self._turns:
                self._turns.extend(self._more(self._per_second))
            turn = self._turns.popleft()
        time.sleep(max(0.0, turn - time.monotonic()))

    def _more(self, per_second: float) -> list[float]:
        count = max(1, int(_SPAN * per_second))
        first = max(time.monotonic(), self._next)
        if self._take_turns is not None:
            with suppress(LedgerUnavailableError):
                first = time.monotonic() + self._take_turns(count, per_second)
        self._next = first + count / per_second
        return [first + turn / per_second for turn in range(count)]
