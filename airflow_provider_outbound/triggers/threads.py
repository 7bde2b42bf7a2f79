"""Threads that start on demand and end when idle, for blocking work of a triggerer's waits."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """
    Runs blocking functions outside a loop, in a few threads that end when idle.

    :param limit: The maximum number of threads.
    :param name: Prefix of the threads' names.
    :param linger: How long a thread waits for more work (seconds).
    :param on_idle: Called in the last thread before it ends; new ones may have started by then.
    """

    def __init__(
        self, limit: int, name: str, *, linger: float = 3.0, on_idle: Callable[[], None] = lambda: None
    ) -> None:
        self._limit, self._name, self._linger, self._on_idle = limit, name, linger, on_idle
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._closed = False

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in one of the threads, in the caller's context: a triggerer routes log records by that."""
        future: Future[T] = Future()
        context = contextvars.copy_context()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self._name}: closed")
            self._work.append((future, lambda: context.run(function)))
            if self._idle < len(self._work) and len(self._threads) < self._limit:
                # A daemon, so that the end of the interpreter does not wait for idle threads.
                thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.add(thread)
                thread.start()
            self._changed.notify()
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Finish running and waiting work, then end every thread. Blocks; do not call it in one of the threads."""
        with self._changed:
            self._closed = True
            threads = list(self._threads)
            self._changed.notify_all()
        for thread in threads:
            thread.join()

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            future, function = task
            if future.set_running_or_notify_cancel():
                try:
                    result = function()
                except BaseException as error:  # noqa: BLE001 - passed to the awaiting caller
                    future.set_exception(error)
                else:
                    future.set_result(result)
            # Otherwise this frame would keep the result alive while it waits for more work.
            task = future = function = result = None  # type: ignore[assignment]

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._work or self._closed, self._linger)
            self._idle -= 1
            if self._work:
                return self._work.popleft()
            self._threads.discard(threading.current_thread())
            was_last = not self._threads
        # Without the lock, because a loop might have to wait for it.
        if was_last:
            self._on_idle()
        return None
