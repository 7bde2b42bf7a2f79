"""Bounded parallel work: blocking calls run in a few threads, and end with the task that started them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import Generic, Self, TypeVar

from airflow_provider_outbound.exceptions import OutboundBotConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")


class BoundedMap(Generic[Item, Result]):
    """
    Applies a function to items in threads of its own, at most ``limit`` at a time.

    The thread that creates the map owns it: only that thread starts items, takes results, and closes the map. A thread
    of the map serves items while any wait, then ends, so an idle map has no threads. All are daemons: a function that
    never returns blocks neither the next item (see :meth:`give_up`) nor the exit of the process.

    How it ends:

    * The owner raises the first error when it takes its result. :meth:`map` starts nothing after it.
    * SIGTERM raises in the main thread, wherever the owner waits. Use the map in a ``with`` block, which closes it.
    * :meth:`close` sets ``stop``, drops waiting items, and returns at once. Call :meth:`drain` before it to get the
      results of items in progress.

    :param function: Called with an item in a thread. A long one checks ``stop`` and raises once it is set.
    :param limit: Maximum number of items processed at a time; see :func:`check_limit`.
    :param ahead: The number of further items that may wait, so that no thread idles while the owner handles a result.
    :param stop: Set when the map closes.
    :param name: Name of the threads.
    """

    def __init__(
        self, function: Callable[[Item], Result], *, limit: int, stop: threading.Event, name: str, ahead: int = 0
    ) -> None:
        self._function = function
        self._limit, self._ahead = limit, ahead
        self._stop, self._name = stop, name
        #: Items whose results the owner has not taken yet. No other thread uses this.
        self._started: dict[Future[Result], Item] = {}
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Result], Item]] = deque()
        self._given_up: set[Future[Result]] = set()
        #: Threads whose item was not given up.
        self._threads = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        """The number of items that may be started now."""
        return self._limit + self._ahead - len(self._started)

    @property
    def is_idle(self) -> bool:
        """Whether no result is outstanding."""
        return not self._started

    @property
    def started(self) -> list[Item]:
        """Items whose results are outstanding."""
        return list(self._started.values())

    def start(self, item: Item) -> None:
        """Process an item, now or as soon as a thread is free."""
        future: Future[Result] = Future()
        with self._lock:
            self._waiting.append((future, item))
        # Only after queueing it: if a signal raises in between, the result is lost, but nothing waits for it.
        self._started[future] = item
        self._begin_thread()

    def finished(self, seconds: float | None = None) -> Iterator[tuple[Item, Future[Result]]]:
        """Wait up to ``seconds`` for a result, and yield all that are available."""
        for future in wait(self._started, timeout=seconds, return_when=FIRST_COMPLETED).done:
            yield self._started.pop(future), future

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """
        Start items as threads become free, and yield the results in the order in which they arrive.

        :raises BaseException: the first error of the function, or of ``items``.
        """
        source = iter(items)
        while True:
            for item in islice(source, self.free):
                self.start(item)
            if self.is_idle:
                return
            for _, future in self.finished():
                yield future.result()

    def give_up(self, item: Item) -> None:
        """Forget an item that was started: its place becomes free, and its result, if one arrives, is dropped."""
        for future in [future for future, started in self._started.items() if started is item]:
            del self._started[future]
            with self._lock:
                if (future, item) in self._waiting:
                    self._waiting.remove((future, item))
                elif not future.done():
                    self._given_up.add(future)
                    self._threads -= 1
            self._begin_thread()

    def drain(self, seconds: float | None = None) -> Iterator[tuple[Item, Future[Result]]]:
        """
        Start nothing more, and yield the results that arrive in time.

        :param seconds: How long to wait; default: until all items in progress have ended.
        """
        self.close()
        wait(self._started, timeout=seconds)
        for future in [future for future in self._started if future.done()]:
            yield self._started.pop(future), future

    def close(self) -> None:
        """Make the threads end, and drop waiting items. Closing again changes nothing."""
        self._stop.set()
        with self._lock:
            dropped = [future for future, _ in self._waiting]
            self._waiting.clear()
        for future in dropped:
            self._started.pop(future, None)

    def _begin_thread(self) -> None:
        with self._lock:
            if not self._waiting or self._threads >= self._limit:
                return
            self._threads += 1
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()

    def _serve(self) -> None:
        future = None
        while (task := self._next(future)) is not None:
            future, item = task
            try:
                result = self._function(item)
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                future.set_exception(error)
            else:
                future.set_result(result)

    def _next(self, last: Future[Result] | None) -> tuple[Future[Result], Item] | None:
        """The next item for a thread that has served ``last``; ``None`` ends the thread."""
        with self._lock:
            if last in self._given_up:
                # Another thread has taken the place of this one.
                self._given_up.discard(last)
                return None
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None


def check_limit(limit: object) -> None:
    """
    Check ``max_parallel_requests``, the limit of a map.

    :raises OutboundBotConfigError: it is not a whole number of 1 or more.
    """
    problem = None
    if isinstance(limit, bool) or not isinstance(limit, int):
        problem = "is not a whole number"
    elif limit < 1:
        problem = "is not a whole number of 1 or more"
    if problem is not None:
        raise OutboundBotConfigError(f"max_parallel_requests: {limit!r} {problem}; give one such as 8")
