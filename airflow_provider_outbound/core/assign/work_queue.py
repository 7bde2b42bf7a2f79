"""A queue of batches that are journalled but not sent: one thread adds them, several take them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

from airflow_provider_outbound.core.ledger import Candidate

Batch = Sequence[Candidate]


class WorkQueue:
    """
    The queue between the thread that journals and the threads that send.

    A thread that takes a batch must give it back or report it done: until then there may be more work.
    """

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._taken = 0
        self._is_complete = False
        self._is_stopped = False
        self._changed = threading.Condition()

    def add(self, batches: Iterable[Batch]) -> None:
        """Add batches at the end."""
        with self._changed:
            self._batches.extend(batches)
            self._changed.notify_all()

    def wait_for_room(self, most: int) -> bool:
        """
        Wait until at most ``most`` batches are queued.

        :return: Whether to continue; ``False`` once the queue is stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or len(self._batches) <= most)
            return not self._is_stopped

    def finish(self) -> None:
        """Add no more batches, and wait until all are done or the queue is stopped."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_stopped or not (self._batches or self._taken))

    def take(self) -> Batch | None:
        """
        Wait for a batch.

        :return: ``None`` if there will be no further one.
        """
        with self._changed:
            while not self._is_stopped:
                if self._batches:
                    self._taken += 1
                    # There is room now.
                    self._changed.notify_all()
                    return self._batches.popleft()
                if self._is_complete and not self._taken:
                    break
                self._changed.wait()
            return None

    def done(self) -> None:
        """Report that a taken batch has an outcome."""
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def give_back(self, batch: Batch) -> None:
        """Return a taken batch to the queue: it was not sent, or had no effect."""
        with self._changed:
            self._taken -= 1
            self._batches.append(batch)
            self._changed.notify_all()

    def stop(self) -> None:
        """Let no thread take or add batches. Those in the queue were never sent."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def unsent(self) -> list[Candidate]:
        """The candidates in the queue."""
        with self._changed:
            return [candidate for batch in self._batches for candidate in batch]
