"""Bounded parallel work: what blocks runs in threads, a few at a time, and ends with the task that wanted it."""

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

    The thread that makes the map owns it: that thread alone starts items, takes results, and closes the map. A thread
    of the map serves items as long as some wait, then ends, so an idle map has none. All are daemons: a function that
    never returns keeps neither the next item, see :meth:`give_up`, nor the end of the process.

    Ends:

    * The first error is raised where its result is taken, in the owner. :meth:`map` starts nothing after it.
    * SIGTERM raises in the main thread, wherever the owner waits. Leave the map by ``with``, which closes it.
    * :meth:`close` sets ``stop``, drops what waits, and waits for nothing. Call :meth:`drain` before it for the results
      of what is still under way.

    :param function: Called with an item in a thread. A long one checks ``stop`` and raises once it is set.
    :param limit: Most items that are acted on at a time; see :func:`check_limit`.
    :param ahead: How many more may wait for a thread, so that none idles while the owner is busy with a result.
    :param stop: Set when the map closes.
    :param name: What the threads are called.
    """

    def __init__(
        self, function: Callable[[Item], Result], *, limit: int, stop: threading.Event, name: str, ahead: int = 0
    ) -> None:
        self._function = function
        self._limit, self._ahead = limit, ahead
        self._stop, self._name = stop, name
        #: What the owner has started and taken no result of. No other thread looks at it.
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
        """Act on an item, now or as soon as a thread is free."""
        future: Future[Result] = Future()
        with self._lock:
            self._waiting.append((future, item))
        # After it waits: if a signal's exception comes in between, its result is lost, but nobody waits for it.
        self._started[future] = item
        self._begin_thread()

    def finished(self, seconds: float | None = None) -> Iterator[tuple[Item, Future[Result]]]:
        """Wait until a result is there, but no longer than ``seconds``, and take all that are."""
        for future in wait(self._started, timeout=seconds, return_when=FIRST_COMPLETED).done:
            yield self._started.pop(future), future

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """
        Take items as there is room, and give their results in the order in which these come.

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
        """Forget an item that was started: its place is free, and its result, if one comes, is dropped."""
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
        Start nothing more, and take the results that come within some time.

        :param seconds: How long to wait; default: until all that is under way has ended.
        """
        self.close()
        wait(self._started, timeout=seconds)
        for future in [future for future in self._started if future.done()]:
            yield self._started.pop(future), future

    def close(self) -> None:
        """Tell the threads to end; what waits is dropped. Closing again changes nothing."""
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
        """The next item for a thread that has served ``last``; ``None``: the thread ends."""
        with self._lock:
            if last in self._given_up:
                # The place of this thread has been given away.
                self._given_up.discard(last)
                return None
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None


def check_limit(limit: object) -> None:
    """
    Check ``max_parallel_requests``, the limit of a map.

    :raises OutboundBotConfigError: it is not a whole number from 1.
    """
    problem = None
    if isinstance(limit, bool) or not isinstance(limit, int):
        problem = "is not a whole number"
    elif limit < 1:
        problem = "is not 1 or more"
    if problem is not None:
        raise OutboundBotConfigError(f"max_parallel_requests: {limit!r} {problem}; give one such as 8")
