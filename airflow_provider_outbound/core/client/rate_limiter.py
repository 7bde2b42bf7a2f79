"""When the next request may go out, where the connection sets a limit."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from airflow_provider_outbound.exceptions import LedgerUnavailableError

#: Takes so many turns, of so many a second, from those that all processes share; seconds until the first of them.
TakeSlots = Callable[[int, float], float]

#: Turns of so many seconds are taken at a time. Those of a process that has nothing to send in this time are lost.
_SPAN = 0.25


class RateLimiter:
    """
    Spaces out the requests of all threads of this process, and of all others with which it shares turns.

    :param per_second: Most requests a second; ``None`` for no limit.
    :param take_turns: Where turns come from; ``None``: this process is alone. While there are none to be had, because
        the ledger cannot be reached, it goes on as if it were: a campaign must be stoppable then too.
    """

    def __init__(self, per_second: float | None, take_slots: TakeSlots | None = None) -> None:
        self._per_second = per_second
        self._take_turns = take_slots
        self._lock = threading.Lock()
        self._turns: deque[float] = deque()
        self._next = 0.0

    def wait(self) -> None:
        """Wait for this thread's turn."""
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
