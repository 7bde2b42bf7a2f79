"""The collector as a process: what it keeps, what it says, and how it ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from cryptography.fernet import Fernet
from support.ledgers import count
from support.processes import is_running, until
from support.workers import StartWorker, delivered, unacknowledged

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.simulator.testing import Simulator


def _file(settings: WorkerSettings) -> str:
    return settings.ledger_url.removeprefix("sqlite:///")


def test_a_message_is_stored_announced_and_acknowledged(
    simulator: Simulator, ledger: Ledger, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    simulator.publish(completed("before"))
    worker = start()
    assert worker.calls.get(timeout=60) == "changed"
    simulator.publish(completed("after"))
    simulator.publish(b"what is this?")

    worker.wait_for("1 message cannot be read: they are in the ledger's quarantine")
    until(lambda: delivered(simulator) == 3 and not unacknowledged(simulator), "all acknowledged")

    assert ledger.groups.changed_since(0)[1].keys() == {"before", "after"}
    assert [line for line in worker.lines if "1380000" in line] == []


def test_a_message_is_not_acknowledged_before_its_commit_and_outlives_a_kill(
    simulator: Simulator, settings: WorkerSettings, ledger: Ledger, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    """Somebody else holds the ledger's write lock, so the collector dies between receiving and committing."""
    with sqlite3.connect(_file(settings), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        worker = start()
        worker.wait_for("collecting")
        simulator.publish(completed())
        until(lambda: delivered(simulator) == 1, "delivered")

        worker.end(signal.SIGKILL)

        assert unacknowledged(simulator) == 1
        other.execute("ROLLBACK")
    other.close()
    assert count(ledger, "events") == 0
    start()
    until(lambda: count(ledger, "events") == 1 and not unacknowledged(simulator), "stored by the next collector")


def test_a_ledger_that_is_away_is_waited_for_with_nothing_acknowledged(
    simulator: Simulator, settings: WorkerSettings, ledger: Ledger, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    """The collector's patience with a locked file is cut short, lest the test wait for half a minute."""
    worker = start(busy_timeout=0.2)
    worker.wait_for("collecting")
    with sqlite3.connect(_file(settings), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        simulator.publish(completed())
        worker.wait_for("locked")
        simulator.publish(completed())

        assert delivered(simulator) == 1
        assert unacknowledged(simulator) == 1
        other.execute("ROLLBACK")
    other.close()
    worker.wait_for("INFO the ledger answers again")
    until(lambda: count(ledger, "events") == 2 and not unacknowledged(simulator), "both stored")
    assert worker.said("locked") == 1


def test_a_ledger_that_cannot_be_opened_yet_is_waited_for(
    simulator: Simulator, settings: WorkerSettings, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    Path(_file(settings)).mkdir()
    worker = start()
    worker.wait_for("WARNING ledger ")
    simulator.publish(completed())

    Path(_file(settings)).rmdir()

    assert worker.calls.get(timeout=60) == "changed"


def test_a_broker_in_trouble_is_said_once_and_then_that_it_is_over(
    simulator: Simulator, settings: WorkerSettings, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    simulator.broker_control(stop=True)
    worker = start()
    worker.wait_for("cannot be reached")

    time.sleep(6)  # time for some more attempts
    simulator.broker_control(start=True)
    simulator.publish(completed())

    assert worker.calls.get(timeout=60) == "changed"
    worker.wait_for("INFO RocketMQ broker answers again")
    assert worker.said("cannot be reached") == 1


def test_a_missing_group_is_said_in_words(simulator: Simulator, settings: WorkerSettings, start: StartWorker) -> None:
    worker = start(attrs.evolve(settings, rocketmq=attrs.evolve(settings.rocketmq, consumer_group="GID_none")))

    worker.wait_for("consumer group 'GID_none'")
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    ("how", "phase"),
    [
        pytest.param("stdin", "at-once", id="stdin-at-once"),
        pytest.param("stdin", "collecting", id="stdin"),
        pytest.param("SIGTERM", "collecting", id="sigterm"),
        pytest.param("SIGINT", "collecting", id="sigint"),
    ],
)
def test_it_ends_when_told(start: StartWorker, how: str, phase: str) -> None:
    worker = start()
    if phase == "collecting":
        worker.wait_for("collecting")

    if how == "stdin":
        assert worker.process.stdin is not None
        worker.process.stdin.close()
    else:
        worker.process.send_signal(signal.Signals[how])

    assert worker.ended() == 0
    assert worker.said("INFO stopped") == 1


def test_it_ends_when_told_while_the_broker_is_away_and_the_ledger_locked(
    simulator: Simulator, settings: WorkerSettings, ledger: Ledger, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    worker = start(busy_timeout=0.2)
    worker.wait_for("collecting")
    with sqlite3.connect(_file(settings), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        simulator.publish(completed())
        worker.wait_for("locked")
        simulator.broker_control(stop=True)

        assert worker.process.stdin is not None
        worker.process.stdin.close()

        assert worker.ended() == 0
        other.execute("ROLLBACK")
    other.close()


def test_it_ends_when_its_parent_is_killed_even_if_another_process_holds_its_input(settings: WorkerSettings) -> None:
    program = (
        "import json, os, subprocess, sys, time\n"
        "values = json.loads(sys.stdin.readline()) | {'parent_pid': os.getpid()}\n"
        "child = subprocess.Popen([sys.executable, '-m', 'airflow_provider_outbound.core.collect.worker'],\n"
        "    stdin=subprocess.PIPE, start_new_session=True, text=True)\n"
        "child.stdin.write(json.dumps(values) + chr(10)); child.stdin.flush()\n"
        "holder = subprocess.Popen(['sleep', '600'], pass_fds=[child.stdin.fileno()])\n"
        "print(child.pid, holder.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stderr is not None
    parent.stdin.write(json.dumps(settings.to_dict()) + "\n")
    parent.stdin.flush()
    child, holder = map(int, parent.stdout.readline().split())
    try:
        until(lambda: "collecting" in parent.stderr.readline(), "collecting")  # type: ignore[union-attr]

        parent.kill()

        until(lambda: not is_running(child), "ended with its parent")
    finally:
        os.kill(holder, signal.SIGKILL)
        parent.wait()
        for pipe in (parent.stdin, parent.stdout, parent.stderr):
            pipe.close()


def test_a_wrong_key_ends_it_in_one_line(settings: WorkerSettings, ledger: Ledger, start: StartWorker) -> None:
    worker = start(attrs.evolve(settings, ledger_keys=(Fernet.generate_key().decode(),)))

    assert worker.ended() == 1
    assert [line.partition(" ")[0] for line in worker.lines] == ["ERROR"]
    assert "ledger_key" in worker.lines[0]


def test_no_settings_end_it_in_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "airflow_provider_outbound.core.collect.worker"],
        input=b"",
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith(b"ERROR no settings on standard input")
    assert ended.stderr.count(b"\n") == 1


def test_a_full_pipe_does_not_stop_the_work(
    simulator: Simulator, settings: WorkerSettings, ledger: Ledger, completed: Callable[..., bytes]
) -> None:
    """Nobody reads what the collector writes, and its pipe is full before it starts."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    os.write(writing, b"x" * 4096)
    with pytest.raises(BlockingIOError):
        os.write(writing, b"x")
    os.set_blocking(writing, True)  # the collector inherits this end as it is
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_outbound.core.collect.worker"],
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=writing,
    )
    assert process.stdin
    process.stdin.write(json.dumps(settings.to_dict()).encode() + b"\n")
    process.stdin.flush()
    simulator.publish(completed())
    try:
        until(lambda: count(ledger, "events") == 1 and not unacknowledged(simulator), "stored and acknowledged")
    finally:
        process.stdin.close()
        process.wait(60)
        os.close(reading)
        os.close(writing)


def test_two_collectors_share_a_subscription_and_lose_nothing(
    simulator: Simulator, ledger: Ledger, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    workers = [start(), start()]
    for worker in workers:
        worker.wait_for("collecting")

    for _ in range(200):
        simulator.publish(completed())

    until(lambda: count(ledger, "events") == 200 and not unacknowledged(simulator), "all stored")
