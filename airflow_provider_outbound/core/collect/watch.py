"""
Waiting for job groups to change: one collector, one poll, many waiters.

For each subscription, a thread of this process keeps one collector (a child process) running. It reads from the ledger
which groups changed and which of these changes concern waits, whenever the collector reports something new, and every
few seconds regardless. Waiters run in asyncio loops and are woken there. The thread starts with the first waiter and
ends, with its child, soon after the last one.

It is a thread and not a task, so that the child and the database connection do not depend on a loop, and a cancelled
waiter leaves nothing half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from airflow_provider_outbound.core.collect.child import Child
from airflow_provider_outbound.core.collect.outages import describe_exception
from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings, check_transport
from airflow_provider_outbound.exceptions import LedgerUnavailableError, OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Collecting, Ledger

#: How long a collector outlives its last waiter (seconds), so that several short waits in a row share one.
LINGER_SECONDS = 5.0
#: Shortest interval between two polls of the ledger (seconds), however often the collector reports a change. The
#: interval is also at least this multiple of the duration of the last poll, so that polling never keeps the process
#: busy.
MIN_LOOK_INTERVAL, LOOK_INTERVAL_TIMES = 0.02, 10
#: Interval between two checks of the collectors' state (seconds), and how long a new watch waits for a collector's
#: first report, since the collector may have to be started first.
COLLECTORS_SECONDS, FIRST_REPORT_SECONDS = 10.0, 30.0
#: How many waiters to wake at once, and the pause before the next ones (seconds): a loop that runs a thousand waiters
#: in one iteration would block everything else.
WAKE_AT_ONCE, WAKE_PAUSE = 25, 0.005


logger = logging.getLogger("airflow_provider_outbound.collect")


@attrs.frozen(kw_only=True)
class WatchSettings:
    """
    What to watch.

    :param ledger_url: SQLAlchemy URL of the ledger.
    :param ledger_keys: Fernet keys of the ledger, newest first.
    :param rocketmq: Subscription to collect; ``None`` to read only the ledger, which other processes fill.
    :param external: Connection of the messages that a service collects; ``None`` if this process collects them, or if
        no messages are expected.
    :param poll_interval: Longest interval between two polls of the ledger (seconds).
    """

    ledger_url: str = attrs.field(repr=False)
    ledger_keys: tuple[str, ...] = attrs.field(repr=False)
    rocketmq: RocketMQSettings | None = None
    external: str | None = None
    poll_interval: float = attrs.field(default=5.0, eq=False)


class Waiter:
    """Waits for changes of one job group, or of any. Created by :func:`subscribe` and used in the same loop."""

    def __init__(self, job_group_id: str | None, *, every_change: bool) -> None:
        self.job_group_id = job_group_id
        #: Why no messages arrive; empty if no problem is known. A change of it wakes the waiter too.
        self.trouble = ""
        #: How often the group has changed; also counts changes that do not wake the waiter.
        self.changes = 0
        self._every_change = every_change
        self._loop = asyncio.get_running_loop()
        # Set, so that the waiter reads the ledger after it is registered: no change is missed in between.
        self._news = asyncio.Event()
        self._news.set()
        self._error: OutboundBotError | None = None

    async def changed(self, timeout: float) -> bool:  # noqa: ASYNC109 - a timeout is a result here, not an error
        """
        Wait for a relevant change since the last call; the first call returns at once.

        :param timeout: Longest wait (seconds).
        :return: Whether there was a change.
        :raises OutboundBotError: The ledger cannot be read with these settings, and waiting would not fix that.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        if self._error is not None:
            raise self._error
        return True

    def is_concerned(self, changed: Mapping[str, bool]) -> bool:
        """
        Return whether this waiter should be woken.

        :param changed: See :meth:`.Groups.changed_since`.
        """
        if self.job_group_id is not None:
            return changed.get(self.job_group_id, False) or (self._every_change and self.job_group_id in changed)
        return bool(changed) if self._every_change else any(changed.values())

    def tell(self, error: OutboundBotError | None = None) -> None:
        """Wake the waiter, from any thread."""

        def wake() -> None:
            self._error = error
            self._news.set()

        # The loop may have ended with its waiters.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(wake)


class _Watch:
    """The thread and its waiters."""

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings
        self._waiters: set[Waiter] = set()
        self._lock = threading.Lock()
        self._empty_since = time.monotonic()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="outbound-watch", daemon=True)
        self._ledger: Ledger | None = None
        self._sequence: int | None = None
        self._trouble = ""
        #: Why no messages arrive.
        self._no_messages = ""

    def add(self, waiter: Waiter) -> bool:
        """Add a waiter; return ``False`` if this watch has already ended."""
        with self._lock:
            if self._ended:
                return False
            self._waiters.add(waiter)
            waiter.trouble = self._no_messages
        return True

    def remove(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiters.discard(waiter)
            self._empty_since = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """End now, even if there are waiters."""
        with self._lock:
            self._ended = True
        self._thread.join()

    def _finished(self) -> bool:
        with self._lock:
            self._ended |= not self._waiters and time.monotonic() - self._empty_since >= LINGER_SECONDS
            return self._ended

    def _run(self) -> None:
        settings = self._settings
        child = None
        if settings.rocketmq is not None:
            child = Child(
                WorkerSettings(
                    ledger_url=settings.ledger_url, ledger_keys=settings.ledger_keys, rocketmq=settings.rocketmq
                )
            )
        looked_at, interval = -settings.poll_interval, MIN_LOOK_INTERVAL
        news = False
        begun_at = collectors_at = time.monotonic()
        try:
            while not self._finished():
                if child is not None:
                    child.keep_running()
                age = time.monotonic() - looked_at
                if age >= (interval if news else settings.poll_interval):
                    begun, news = time.monotonic(), False
                    self._look()
                    looked_at, age = time.monotonic(), 0.0
                    interval = min(
                        settings.poll_interval, max(MIN_LOOK_INTERVAL, LOOK_INTERVAL_TIMES * (looked_at - begun))
                    )
                if time.monotonic() - collectors_at >= COLLECTORS_SECONDS:
                    collectors_at = time.monotonic()
                    self._look_at_collectors(collectors_at - begun_at)
                # At most half a second, to check whether to end and whether the child is still running.
                pause = min(0.5, max(0.01, (interval if news else settings.poll_interval) - age))
                if child is not None:
                    news |= child.wait(pause)
                else:
                    time.sleep(pause)
        except Exception as error:  # noqa: BLE001 - a thread has no caller to raise to; its waiters get the error
            logger.error("watching the ledger failed: %s", describe_exception(error))  # noqa: TRY400
            self._tell_all(OutboundBotError("watching the ledger failed: see the log of the triggerer"))
        finally:
            with self._lock:
                self._ended = True
            _forget(self)
            if child is not None:
                child.end()
            if self._ledger is not None:
                self._ledger.close()

    def _look(self) -> None:
        from airflow_provider_outbound.core.ledger import open_ledger

        changed: Mapping[str, bool] | None
        try:
            if self._ledger is None:
                self._ledger = open_ledger(self._settings.ledger_url, self._settings.ledger_keys)
            if self._sequence is None:
                # Past changes are not needed: all present waiters are woken and read the current state.
                self._sequence, changed = self._ledger.groups.newest(), None
            else:
                self._sequence, changed = self._ledger.groups.changed_since(self._sequence)
        except LedgerUnavailableError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                logger.warning("%s", error)
            return
        except OutboundBotError as error:
            self._tell_all(error)
            return
        if self._trouble:
            logger.info("the ledger answers again")
            self._trouble = ""
        with self._lock:
            concerned = [waiter for waiter in self._waiters if changed is None or waiter.is_concerned(changed)]
            for waiter in self._waiters:
                waiter.changes += changed is None or waiter.job_group_id in changed
        self._wake(concerned)

    def _look_at_collectors(self, age: float) -> None:
        """
        Wake the waiters when the reason why no messages arrive has changed.

        :param age: How long this watch has been running (seconds).
        """
        if self._ledger is None or (self._settings.rocketmq is None and self._settings.external is None):
            return
        try:
            collecting = self._ledger.collectors.read()
        except OutboundBotError:
            # The poll of the ledger reports that it cannot be read.
            return
        words = self._why_nothing_comes(collecting, age)
        with self._lock:
            changed = words != self._no_messages
            self._no_messages = words
            waiters = list(self._waiters) if changed else []
        for waiter in waiters:
            waiter.trouble = words
        self._wake(waiters)

    def _why_nothing_comes(self, collecting: Collecting, age: float) -> str:
        ours = self._settings.rocketmq
        if ours is None:
            is_early = age < FIRST_REPORT_SECONDS and not collecting.running()
            return "" if is_early else collecting.why_nothing_comes(self._settings.external)
        subscription = ours.topic, ours.consumer_group
        if collecting.running(subscription) or age < FIRST_REPORT_SECONDS:
            return collecting.trouble(subscription)
        return "the collector of this triggerer does not report to the ledger: see the log of the triggerer"

    @staticmethod
    def _wake(waiters: Sequence[Waiter]) -> None:
        for number, waiter in enumerate(waiters):
            if number and number % WAKE_AT_ONCE == 0:
                time.sleep(WAKE_PAUSE)
            waiter.tell()

    def _tell_all(self, error: OutboundBotError) -> None:
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            waiter.tell(error)


#: Watches by process id (a fork inherits no thread) and settings.
_watches: dict[tuple[int, WatchSettings], _Watch] = {}
_registry_lock = threading.Lock()


def _join(settings: WatchSettings, waiter: Waiter) -> _Watch:
    key = (os.getpid(), settings)
    with _registry_lock:
        watch = _watches.get(key)
        if watch is None or not watch.add(waiter):
            watch = _watches[key] = _Watch(settings)
            watch.add(waiter)
            watch.start()
        return watch


def _forget(watch: _Watch) -> None:
    with _registry_lock:
        for key in [key for key, known in _watches.items() if known is watch]:
            del _watches[key]


@contextlib.asynccontextmanager
async def subscribe(
    settings: WatchSettings, job_group_id: str | None, *, every_change: bool = False
) -> AsyncIterator[Waiter]:
    """
    Wait until a job group, or any group, may be complete or was suspended, or for every change.

    Subscribe first, then read the ledger: the waiter's first ``changed`` returns at once.

    :param settings: Ledger and subscription; all waiters with equal settings share one collector and one poll.
    :param job_group_id: The group; ``None`` for all.
    :param every_change: Whether all other changes of a group with open jobs wake the waiter too.
    :raises RocketMQClientError: The client library of the subscription's transport is not installed.
    """
    if settings.rocketmq is not None:
        check_transport(settings.rocketmq)
    waiter = Waiter(job_group_id, every_change=every_change)
    watch = _join(settings, waiter)
    try:
        yield waiter
    finally:
        watch.remove(waiter)


def end_all() -> None:
    """End every watch and collector of this process and wait for them. Blocks: do not call it in an event loop."""
    with _registry_lock:
        watches = [watch for (pid, _), watch in _watches.items() if pid == os.getpid()]
        _watches.clear()
    for watch in watches:
        watch.end()
