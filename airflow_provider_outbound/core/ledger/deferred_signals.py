"""Transactions that no signal interrupts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any, Self

#: Signals whose handlers raise: Airflow's ``execution_timeout``, and Ctrl-C. SIGTERM only calls ``on_kill`` in a task,
#: and a collector must end although its database does not answer.
_SIGNALS = (signal.SIGALRM, signal.SIGINT)
#: How long the signal of a timer may be deferred (seconds). It ends a wait for a server that does not answer.
PATIENCE = 30.0


class DeferredSignals:
    """
    Within the ``with`` block, signals wait; their handlers are called at its end.

    Python calls a handler between any two steps of the main thread, also where a library has taken a lock and not yet
    noted that. If the handler raises there, the lock is held until the process ends. SQLite's write lock is one: a
    connection that is closed while an exception's traceback refers to its cursor keeps its transaction open.

    The second signal with the same number is not deferred.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._deferred: list[int] = []
        self._is_active = False

    def __enter__(self) -> Self:
        # Other threads are not interrupted, and may not set handlers.
        if threading.current_thread() is not threading.main_thread():
            return self
        self._is_active = True
        try:
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not self._is_active:
            return
        self._restore()
        with ExitStack() as handlers:  # calls each, even if another one raises
            for number in self._deferred:
                handlers.callback(self._handlers[number], number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._is_active and number not in self._deferred:
            self._deferred.append(number)
            if number == signal.SIGALRM:
                signal.setitimer(signal.ITIMER_REAL, PATIENCE)
            return
        # The second one, or the block has ended, and a signal kept this method from being replaced.
        self._deferred = [other for other in self._deferred if other != number]
        self._handlers[number](number, frame)

    def _restore(self) -> None:
        self._is_active = False
        if signal.SIGALRM in self._deferred:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
