"""A consumer whose messages are in this process already is read while a lot is kept, unless the ledger is away."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.processes import until

from airflow_provider_outbound.core.collect import worker
from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.collect.worker import Collector
from airflow_provider_outbound.core.ledger import Ledger, sqlite
from airflow_provider_outbound.core.rocketmq.base import Consumer, Message


class Prefetching(Consumer):
    """Gives one message at a time, for ever."""

    prefetches = True

    def __init__(self, make: Callable[[str], bytes]) -> None:
        self._make = make
        self.received = 0
        self.acknowledged: list[str] = []
        self._interrupted = threading.Event()

    def receive(self, max_messages: int, wait_seconds: float) -> list[Message]:  # noqa: ARG002 - what others heed
        if self._interrupted.wait(0.01):
            return []
        self.received += 1
        return [Message(body=self._make(f"g{self.received}"), message_id=str(self.received), topic="t")]

    def acknowledge(self, messages: Sequence[Message]) -> int:
        self.acknowledged += [message.message_id for message in messages]
        return 0

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        self.interrupt()


@pytest.fixture
def consumer(completed: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> Prefetching:
    """What the collector opens: a broker would have to be a real one, with a native library."""
    consumer = Prefetching(completed)
    monkeypatch.setattr(worker, "open_consumer", lambda _settings: consumer)
    return consumer


@pytest.fixture
def lock(settings: WorkerSettings, ledger: Ledger) -> Iterator[sqlite3.Connection]:
    """Somebody else's hold of the ledger, until it is rolled back."""
    del ledger  # made before it is locked
    connection = sqlite3.connect(settings.ledger_url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_more_is_taken_while_a_lot_is_kept(
    consumer: Prefetching, lock: sqlite3.Connection, settings: WorkerSettings, ledger: Ledger
) -> None:
    stop = threading.Event()
    collecting = threading.Thread(target=Collector(settings, stop=stop).run)
    collecting.start()

    until(lambda: consumer.received > 20, "more than a lot")
    assert consumer.acknowledged == []
    lock.execute("ROLLBACK")
    until(lambda: len(consumer.acknowledged) > 20, "all acknowledged")
    stop.set()
    collecting.join()

    assert consumer.acknowledged == [str(number) for number in range(1, consumer.received + 1)]
    assert len(ledger.groups.changed_since(0)[1]) == consumer.received


def test_nothing_is_taken_while_the_ledger_is_away(
    consumer: Prefetching,
    lock: sqlite3.Connection,
    settings: WorkerSettings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.2)
    stop = threading.Event()
    collecting = threading.Thread(target=Collector(settings, stop=stop).run)
    with caplog.at_level(logging.INFO, "airflow_provider_outbound.collect"):
        collecting.start()
        until(lambda: "locked" in caplog.text, "the ledger is away")

    taken = consumer.received
    time.sleep(0.5)
    assert consumer.received <= taken + 1
    lock.execute("ROLLBACK")
    until(lambda: len(consumer.acknowledged) > taken, "collecting goes on")
    stop.set()
    collecting.join()
