"""The state of a collector, written to its row in the ledger, where waiting tasks on any machine can read it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import CollectorReport, Ledger

#: Interval between two writes of the row (seconds).
REPORT_SECONDS = 15.0
#: A problem that lasts for less than this (seconds) is not reported: a broker is briefly unavailable while it restarts.
LASTING_SECONDS = 10.0
#: How often to check whether there is something to report in the first row (seconds).
_TICK = 0.5


class Reporter:
    """
    Tracks the state of a collector and writes it to the ledger at a bounded rate, in its own thread.

    A failed write is tried again at the next interval. Collecting neither waits for it nor is affected by it.

    :param settings: The subscription.
    """

    def __init__(self, settings: RocketMQSettings) -> None:
        self._settings = settings
        self._collector_id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._started_at = self._well_until = time.monotonic()
        self._contact_at: float | None = None
        self._message_at: float | None = None
        self._trouble = ""
        self._trouble_at: float | None = None

    def note_contact(self, *, messages: bool) -> None:
        """Record that the broker answered."""
        with self._lock:
            self._contact_at = self._well_until = time.monotonic()
            if messages:
                self._message_at = self._contact_at

    def note_trouble(self, words: str, *, for_good: bool = False) -> None:
        """
        Record a problem that prevents messages from arriving.

        :param words: Description of the problem, without secrets.
        :param for_good: Whether the problem ends the collector.
        """
        with self._lock:
            now = time.monotonic()
            if for_good or now - self._well_until >= LASTING_SECONDS:
                self._trouble, self._trouble_at = words, now

    def start(self, ledger: Ledger, stop: threading.Event) -> threading.Thread:
        """
        Start the thread that writes the row.

        :param ledger: The ledger to write to.
        :param stop: Ends the thread when set.
        """
        thread = threading.Thread(target=self._run, args=(ledger, stop), name="collect-report", daemon=True)
        thread.start()
        return thread

    def write(self, ledger: Ledger) -> None:
        """Write the row now. Errors are ignored, because the messages matter more."""
        with contextlib.suppress(Exception):
            ledger.collectors.report(self.report())

    def _run(self, ledger: Ledger, stop: threading.Event) -> None:
        # Wait for something to report, so that the first row is not empty, but not longer than one interval.
        while not stop.wait(_TICK) and not self._has_news():
            pass
        while not stop.is_set():
            self.write(ledger)
            stop.wait(REPORT_SECONDS)

    def _has_news(self) -> bool:
        with self._lock:
            waited = time.monotonic() - self._started_at >= REPORT_SECONDS
            return waited or self._contact_at is not None or bool(self._trouble)

    def report(self) -> CollectorReport:
        """The state now, as it is written to the ledger."""
        from airflow_provider_outbound.core.ledger import CollectorReport

        settings = self._settings
        with self._lock:
            now = time.monotonic()

            def ago(moment: float | None) -> float | None:
                return None if moment is None else now - moment

            return CollectorReport(
                collector_id=self._collector_id,
                endpoints=f"{settings.transport}://{';'.join(settings.endpoints)}",
                topic=settings.topic,
                consumer_group=settings.consumer_group,
                host=socket.gethostname(),
                pid=os.getpid(),
                running_for=now - self._started_at,
                contact_ago=ago(self._contact_at),
                message_ago=ago(self._message_at),
                trouble=self._trouble,
                trouble_ago=ago(self._trouble_at),
            )
