"""
Downloads in threads that are given up in time.

A server that sends a byte now and then keeps whoever reads from it, and no timeout of a socket notices. So each
download has a thread of its own, of the kind that no process waits for: neither the next download nor the end of the
task does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Downloads(Generic[Item]):
    """
    Downloads that are under way.

    :param act: Downloads an item until a moment on the monotonic clock; returns its size in bytes.
    :param most: At a time.
    :param seconds: For each.
    """

    def __init__(self, act: Callable[[Item, float], int], *, most: int, seconds: float) -> None:
        self._act = act
        self._most = most
        self._seconds = seconds
        self._running: dict[Future[int], tuple[Item, float]] = {}

    @property
    def free(self) -> int:
        """How many may be started now."""
        return self._most - len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether none is under way."""
        return not self._running

    def start(self, item: Item, deadline: float) -> None:
        """
        Begin one.

        :param deadline: When all are over, on the monotonic clock.
        """
        until = min(deadline, time.monotonic() + self._seconds)
        future: Future[int] = Future()
        self._running[future] = item, until
        threading.Thread(target=self._run, args=(future, item, until), name="outbound-download", daemon=True).start()

    def finished(self, seconds: float) -> Iterator[tuple[Item, Future[int]]]:
        """Those that end within some seconds, as soon as one does."""
        for future in wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED).done:
            item, _ = self._running.pop(future)
            yield item, future

    def overdue(self) -> Iterator[Item]:
        """Those that have had their time; they are given up."""
        now = time.monotonic()
        for future, (item, until) in list(self._running.items()):
            if until <= now:
                del self._running[future]
                yield item

    def _run(self, future: Future[int], item: Item, until: float) -> None:
        try:
            size = self._act(item, until)
        except BaseException as error:  # noqa: BLE001 - whoever takes the result gets it
            future.set_exception(error)
        else:
            future.set_result(size)
