"""What all triggers of a process share: one ledger, a few threads, one client for each connection."""

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

#: Looks at ledger and API at a time, however many triggers wait; each takes milliseconds, or one answer of the API.
THREADS = 8
#: Shortest and longest rest between two looks of one trigger (seconds), how it grows with each other that waits, and
#: with what a look took: a thousand busy campaigns must leave the triggerer room for others, and still end promptly.
MIN_REST, MAX_REST, REST_EACH, REST_TIMES = 0.05, 2.0, 0.002, 10

#: Reads the configuration, which may run a command, outside the loop.
settings_reader = Threads(1, "outbound-settings")
#: Where triggers look up their connections and settings. Airflow looks up one connection at a time, so nobody is held
#: up; but what a thousand lookups bring at once would keep the loop to themselves.
lookup_limiter = CapacityLimiter(8)


async def load_watch(rocketmq_conn_id: str | None, settings: config.Settings) -> WatchSettings:
    """
    Look up what a trigger watches; to be called inside :data:`lookup_limiter`.

    :param rocketmq_conn_id: Connection to the messages; ``None`` if none are expected.
    :param settings: This installation's settings.
    :return: Its ledger, with the messages to collect, if triggers collect them.
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
    What all waits of this process share: one engine, a few threads, one client for each connection.

    Everything is opened in its threads, so that no loop waits for a disk or a library's import; threads and connections
    go while nothing happens.
    """

    #: Open desks by ledger.
    open: ClassVar[dict[tuple[str, tuple[str, ...]], SharedResources]] = {}
    registry_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, settings: config.Settings) -> None:
        self.users = 0
        self._settings = settings
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        # Owned by the waits that use them: when the last has gone, or has taken up a corrected connection, a client
        # goes and closes its connections. A wait changes it between two requests, so no answer is lost.
        self._clients: weakref.WeakValueDictionary[ClientSettings, OutboundBotClient] = weakref.WeakValueDictionary()
        self._threads = Threads(THREADS, "outbound-wait", on_idle=self._let_go)

    async def run(self, function: Callable[[], T]) -> T:
        """Run something that blocks, in one of the threads."""
        return await self._threads.run(function)

    def timed(self, look: Callable[[], T]) -> tuple[T, float]:
        """Look, and say for how long to rest after it (seconds)."""
        begun = time.monotonic()
        result = look()
        taken = time.monotonic() - begun
        return result, min(MAX_REST, max(MIN_REST, self.users * REST_EACH, taken * REST_TIMES))

    def ledger(self) -> Ledger:
        """The ledger, opened by the first who asks."""
        from airflow_provider_outbound.core.ledger import open_ledger

        with self._lock:
            if self._ledger is None:
                self._ledger = open_ledger(self._settings.ledger_url, self._settings.ledger_keys)
            return self._ledger

    def client(self, settings: ClientSettings) -> OutboundBotClient:
        """The client of a connection."""
        from airflow_provider_outbound.core.client import OutboundBotClient

        with self._lock:
            client = self._clients.get(settings)
            if client is None:
                client = self._clients[settings] = OutboundBotClient(
                    settings, lambda *turns: self.ledger().turns.take(settings.origin, *turns)
                )
            return client

    def close(self) -> None:
        """Let go of everything, without making the loop wait for the looks under way."""
        threading.Thread(target=self._close, name="outbound-wait-end").start()

    def _close(self) -> None:
        # The ledger after the threads' last look: that one's connection would be left behind otherwise.
        self._threads.close()
        self._let_go()

    def _let_go(self) -> None:
        """Give the connections back; the next look opens one again."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()


@asynccontextmanager
async def shared_resources(settings: config.Settings) -> AsyncIterator[SharedResources]:
    """The desk of a ledger: made for the first who comes, closed after the last has gone."""
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
