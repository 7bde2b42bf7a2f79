"""The messages that a collector holds, between its threads that receive, store and acknowledge."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence

from airflow_provider_outbound.core.rocketmq.base import Message

#: Maximum number of received messages that are not stored yet. Those that wait are stored in one transaction.
IN_HAND = 512
#: The same in bytes, and the bytes stored in one transaction, give or take a message: a parsed body takes thirty times
#: the memory.
IN_HAND_BYTES, AT_ONCE_BYTES = 32 * 1024**2, 8 * 1024**2


class InFlight:
    """Messages received but not stored yet, and messages stored but not acknowledged yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._received: collections.deque[Message] = collections.deque()
        self._kept: list[Message] = []
        self._unkept = self._unkept_bytes = self._unacknowledged = 0
        self._received_all = self._kept_all = False

    def put(self, messages: Sequence[Message]) -> None:
        """Add received messages."""
        with self._changed:
            self._received.extend(messages)
            self._unkept += len(messages)
            self._unkept_bytes += sum(len(message.body) for message in messages)
            self._changed.notify_all()

    def wait_until_kept(self, most: int, stop: threading.Event) -> None:
        """Wait until at most ``most`` messages and :data:`IN_HAND_BYTES` are not stored yet, or until ``stop``."""
        with self._changed:
            while (self._unkept > most or self._unkept_bytes > IN_HAND_BYTES) and not stop.is_set():
                self._changed.wait(0.5)

    def take(self) -> list[Message]:
        """Return the messages to store in one transaction; waits for the first. Empty when receiving has ended."""
        with self._changed:
            while not self._received and not self._received_all:
                # With a timeout, because a signal that arrives just before the wait is handled only after it.
                self._changed.wait(0.5)
            taken: list[Message] = []
            size = 0
            while self._received and size < AT_ONCE_BYTES:
                taken.append(self._received.popleft())
                size += len(taken[-1].body)
            return taken

    def keep(self, taken: Sequence[Message], kept: Sequence[Message]) -> None:
        """Of the ``taken`` messages, ``kept`` are stored and may be acknowledged; the others will be redelivered."""
        with self._changed:
            self._kept.extend(kept)
            self._unkept -= len(taken)
            self._unkept_bytes -= sum(len(message.body) for message in taken)
            self._unacknowledged += len(kept)
            self._changed.notify_all()

    def take_kept(self) -> list[Message]:
        """Return all messages to acknowledge; waits for the first. Empty when storing has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self._kept_all)
            taken, self._kept = self._kept, []
            return taken

    def acknowledge(self, count: int) -> None:
        """Count ``count`` messages as acknowledged."""
        with self._changed:
            self._unacknowledged -= count
            self._changed.notify_all()

    def end_receiving(self) -> None:
        """Note that no more messages will be received."""
        with self._changed:
            self._received_all = True
            self._changed.notify_all()

    def end_keeping(self) -> None:
        """Note that no more messages will be stored."""
        with self._changed:
            self._kept_all = True
            self._changed.notify_all()

    def wait_until_done(self, seconds: float) -> None:
        """Wait until all messages are stored and acknowledged, ``seconds`` at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._unkept == self._unacknowledged == 0, seconds)
