"""A signal that interrupts a writer leaves no lock behind: the task's end may be far away."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import pytest

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.core.ledger import deferred_signals as module
from airflow_provider_outbound.core.ledger.deferred_signals import DeferredSignals

WRITER = Path(__file__).with_name("interrupted_writer.py")
SIGNALS = 120


def write_at_once(url: str) -> None:
    """Take the writers' lock in this process; raises if another one holds it."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        return
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT id FROM ledger FOR UPDATE NOWAIT")


def test_wherever_a_writer_is_interrupted_others_can_write_at_once(ledger: Ledger, url: str, key: str) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    command = [sys.executable, str(WRITER), url, str(seed), str(SIGNALS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        try:
            writer.stdin.write(f"{key}\n")
            for _ in range(SIGNALS):
                assert writer.stdout.readline() == "interrupted\n"
                write_at_once(url)
                writer.stdin.write("\n")
            assert writer.stdout.readline() == "done\n"
        finally:
            writer.kill()


class ArrivedError(Exception):
    """What a handler raises."""


@contextmanager
def handled(number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def raise_arrived(_number: int, _frame: FrameType | None) -> None:
    raise ArrivedError


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def timer_of_pytest() -> Iterator[None]:
    timer = signal.getitimer(signal.ITIMER_REAL)
    yield
    signal.setitimer(signal.ITIMER_REAL, *timer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])
def test_a_signal_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    steps = []

    def run() -> None:
        with DeferredSignals():
            send(number)
            steps.append("continued")

    with handled(number, raise_arrived):
        with pytest.raises(ArrivedError):
            run()
        assert signal.getsignal(number) is raise_arrived

    assert steps == ["continued"]


def test_a_collector_ends_although_its_database_does_not_answer() -> None:
    steps = []

    with handled(signal.SIGTERM, lambda *_: steps.append("told")), DeferredSignals():
        send(signal.SIGTERM)
        steps.append("waits for its database")

    assert steps == ["told", "waits for its database"]


def test_every_signal_that_waited_is_delivered() -> None:
    arrived: list[int] = []

    def note_and_raise(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        raise ArrivedError

    def run() -> None:
        with DeferredSignals():
            send(signal.SIGINT)
            send(signal.SIGALRM)

    with handled(signal.SIGINT, note_and_raise), handled(signal.SIGALRM, note_and_raise), pytest.raises(ArrivedError):
        run()

    assert sorted(arrived) == [signal.SIGINT, signal.SIGALRM]


def test_a_second_signal_is_delivered_at_once() -> None:
    steps = []

    def run() -> None:
        with DeferredSignals():
            send(signal.SIGINT)
            steps.append("after the first")
            send(signal.SIGINT)
            steps.append("after the second")

    with handled(signal.SIGINT, raise_arrived):
        with pytest.raises(ArrivedError):
            run()
        assert signal.getsignal(signal.SIGINT) is raise_arrived

    assert steps == ["after the first"]


def test_a_timer_does_not_wait_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a transaction whose server does not answer."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)

    def run() -> None:
        with DeferredSignals():
            send(signal.SIGALRM)
            time.sleep(60)

    with handled(signal.SIGALRM, raise_arrived), pytest.raises(ArrivedError):
        run()


def test_other_threads_defer_nothing() -> None:
    handlers = []

    def look() -> None:
        with DeferredSignals():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert handlers == [signal.getsignal(signal.SIGINT)]
