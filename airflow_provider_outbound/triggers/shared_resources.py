"""Resources shared by all triggers of a process: one ledger, a few threads, one client per connection."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, TypeVar

from airflow_provider_outbound import config
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook
from airflow_provider_outbound.triggers.limiter import CapacityLimiter
from airflow_provider_outbound.triggers.threads import Threads

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
    from airflow_provider_outbound.core.collect.watch import WatchSettings
    from airflow_provider_outbound.core.ledger import Ledger

T = TypeVar("T")

#: Concurrent checks of ledger and API, however many triggers wait; each takes milliseconds, or one request to the API.
THREADS = 8
#: The pause between two checks of one trigger: the shortest and the longest (seconds), what each waiting trigger adds
#: (seconds), and how many times as long as the last check it is at least. A thousand busy campaigns must not block the
#: triggerer, and must still end promptly.
MIN_REST, MAX_REST, REST_EACH, REST_TIMES = 0.05, 2.0, 0.002, 10

#: Reads the configuration, which may run a command, outside the loop.
settings_reader = Threads(1, "outbound-settings")
#: Limits concurrent lookups of connections and settings. Airflow looks up one connection at a time, so this delays
#: nothing; but the results of a thousand lookups at once would block the loop.
lookup_limiter = CapacityLimiter(8)


async def load_watch(rocketmq_conn_id: str | None, settings: config.Settings) -> WatchSettings:
    """
    Look up what a trigger watches. Call it within :data:`lookup_limiter`.

    :param rocketmq_conn_id: Connection of type ``rocketmq``; ``None`` if no messages are expected.
    :param settings: Settings of this installation.
    :return: The ledger, and the subscription to collect if triggers run the collector.
    """
    from airflow_provider_outbound.core.collect.watch import WatchSettings
    from airflow_provider_outbound.core.rocketmq.base import check_transport

    rocketmq = external = None
    if rocketmq_conn_id is not None and settings.collector == "embedded":
        rocketmq = await RocketMQHook(rocketmq_conn_id).asettings()
        check_transport(rocketmq)
    elif rocketmq_conn_id is not None:
        external = rocketmq_conn_id
    return WatchSettings(
        ledger_url=settings.ledger_url, ledger_keys=settings.ledger_keys, rocketmq=rocketmq, external=external
    )


class SharedResources:
    """
    Resources shared by all waits of this process: one engine, a few threads, one client per connection.

    Everything is opened in its threads, so that no loop waits for a disk or the import of a library. Idle threads and
    connections are closed.
    """

    #: Open instances by ledger.
    open: ClassVar[dict[tuple[str, tuple[str, ...]], SharedResources]] = {}
    registry_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, settings: config.Settings) -> None:
        self.users = 0
        self._settings = settings
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        # Owned by the waits that use them: when the last of them has ended, or uses a corrected connection, a client is
        # freed and closes its connections. A wait changes its client between two requests, so no answer is lost.
        self._clients: weakref.WeakValueDictionary[ClientSettings, OutboundBotClient] = weakref.WeakValueDictionary()
        self._threads = Threads(THREADS, "outbound-wait", on_idle=self._let_go)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a blocking function in one of the threads."""
        return await self._threads.run(function)

    def timed(self, check: Callable[[], T]) -> tuple[T, float]:
        """Call ``check``; return its result and how long to pause after it (seconds)."""
        begun = time.monotonic()
        result = check()
        taken = time.monotonic() - begun
        return result, min(MAX_REST, max(MIN_REST, self.users * REST_EACH, taken * REST_TIMES))

    def ledger(self) -> Ledger:
        """Return the ledger, opened on first use."""
        from airflow_provider_outbound.core.ledger import open_ledger

        with self._lock:
            if self._ledger is None:
                self._ledger = open_ledger(self._settings.ledger_url, self._settings.ledger_keys)
            return self._ledger

    def client(self, settings: ClientSettings) -> OutboundBotClient:
        """Return the client of a connection."""
        from airflow_provider_outbound.core.client import OutboundBotClient

        with self._lock:
            client = self._clients.get(settings)
            if client is None:
                client = self._clients[settings] = OutboundBotClient(
                    settings, lambda *turns: self.ledger().turns.take(settings.origin, *turns)
                )
            return client

    def close(self) -> None:
        """Close everything, without making the loop wait for checks in progress."""
        threading.Thread(target=self._close, name="outbound-wait-end").start()

    def _close(self) -> None:
        # The ledger last: a check that still runs in a thread would open a connection again.
        self._threads.close()
        self._let_go()

    def _let_go(self) -> None:
        """Close the connections; the next check opens one again."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()


@asynccontextmanager
async def shared_resources(settings: config.Settings) -> AsyncIterator[SharedResources]:
    """Use the shared resources of a ledger, which are created for the first user and closed after the last."""
    key = (settings.ledger_url, settings.ledger_keys)
    with SharedResources.registry_lock:
        shared = SharedResources.open.get(key)
        if shared is None:
            shared = SharedResources.open[key] = SharedResources(settings)
        shared.users += 1
    try:
        yield shared
    finally:
        with SharedResources.registry_lock:
            shared.users -= 1
            if not shared.users:
                del SharedResources.open[key]
        if not shared.users:
            shared.close()
