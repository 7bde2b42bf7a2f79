"""Batches that are journalled and not sent yet: one thread adds them, several take them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

from airflow_provider_outbound.core.ledger import Candidate

Batch = Sequence[Candidate]


class WorkQueue:
    """
    What waits between the thread that journals and those that send.

    Whoever takes a batch gives it back or says that it is done: only then is known whether there is more to do.
    """

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._taken = 0
        self._is_complete = False
        self._is_stopped = False
        self._changed = threading.Condition()

    def add(self, batches: Iterable[Batch]) -> None:
        """Put batches at the end."""
        with self._changed:
            self._batches.extend(batches)
            self._changed.notify_all()

    def wait_for_room(self, most: int) -> bool:
        """
        Wait until no more than so many batches wait.

        :return: Whether to go on; not if all was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or len(self._batches) <= most)
            return not self._is_stopped

    def finish(self) -> None:
        """Say that no more will be added, and wait until all are done, or stopped."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_stopped or not (self._batches or self._taken))

    def take(self) -> Batch | None:
        """
        Wait for a batch.

        :return: ``None`` if there will be no more.
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
        """What was taken has an outcome."""
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def give_back(self, batch: Batch) -> None:
        """What was taken was not acted on, and waits for its next turn."""
        with self._changed:
            self._taken -= 1
            self._batches.append(batch)
            self._changed.notify_all()

    def stop(self) -> None:
        """Let nobody take or add any more; what waits now was never sent."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def unsent(self) -> list[Candidate]:
        """What waits."""
        with self._changed:
            return [candidate for batch in self._batches for candidate in batch]
