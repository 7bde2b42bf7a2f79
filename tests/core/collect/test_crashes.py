"""Blows too large for a random round: a waiter that sleeps through a flood, a full disk, a clock that was wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from support.ledgers import count
from support.processes import collectors, until
from support.workers import StartWorker, delivered, is_drained, poisons, unacknowledged

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.ledger import Ledger, open_ledger
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.simulator.testing import Simulator

#: What a triggerer may miss while it is stopped; ``OUTBOUND_TEST_CHANGES=100000`` for all that is promised.
CHANGES = int(os.environ.get("OUTBOUND_TEST_CHANGES") or 2_000)


class Waiting:
    """A process that waits for a group as a triggerer does, and says each time it is woken how many jobs it sees."""

    PROGRAM = """
import asyncio, json, sys
from airflow_provider_outbound.core.collect.watch import WatchSettings, end_all, subscribe
from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
values = json.loads(sys.stdin.readline())
settings = WatchSettings(ledger_url=values['ledger_url'], ledger_keys=tuple(values['ledger_keys']),
    rocketmq=RocketMQSettings.from_dict(values['rocketmq']))
async def wait():
    with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
        async with subscribe(settings, 'group-1') as waiter:
            while (seen := ledger.results.counts('group-1').total) < values['jobs']:
                print(seen, flush=True)
                await waiter.changed(600)
            print(seen, flush=True)
asyncio.run(wait())
end_all()
"""

    def __init__(self, settings: WorkerSettings, jobs: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(settings.to_dict() | {"jobs": jobs}) + "\n")
        self.process.stdin.flush()

    def line(self) -> int:
        """The next number it says."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def waiting(settings: WorkerSettings) -> Iterator[Callable[[int], Waiting]]:
    started: list[Waiting] = []

    def start(jobs: int) -> Waiting:
        started.append(Waiting(settings, jobs))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_a_stopped_triggerer_misses_nothing_and_stops_nothing(
    simulator: Simulator,
    ledger: Ledger,
    waiting: Callable[[int], Waiting],
    completed: Callable[..., bytes],
) -> None:
    triggerer = waiting(CHANGES)
    assert triggerer.line() == 0
    until(lambda: collectors(triggerer.process.pid), "a collector")
    until(lambda: simulator.broker_control()["clients"], "it collects")
    triggerer.process.send_signal(signal.SIGSTOP)

    for _ in range(CHANGES):
        simulator.publish(completed("group-1"))
    until(lambda: is_drained(simulator), "all stored while it sleeps", patience=60 + CHANGES / 100)
    triggerer.process.send_signal(signal.SIGCONT)

    said = [triggerer.line()]
    while said[-1] < CHANGES:
        said.append(triggerer.line())
    # It looks at the present, and not once for each change.
    assert len(said) <= 4
    assert triggerer.process.wait(60) == 0
    assert count(ledger, "jobs") == CHANGES


def test_whatever_comes_is_kept_and_the_next_message_is_stored(
    simulator: Simulator, ledger: Ledger, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    from airflow_provider_outbound.core.ledger import schema

    seed = random.randrange(2**32)
    print(f"seed {seed}")
    sent = poisons(random.Random(seed))
    worker = start()
    for body, _ in sent:
        simulator.publish(body)
        simulator.publish(completed("group-1"))

    until(lambda: is_drained(simulator), "all acknowledged")

    assert ledger.results.counts("group-1").terminal == len(sent)
    with ledger.read() as connection:
        events = set(connection.exec_driver_sql("SELECT hash FROM events").scalars())
        kept = {row.hash: ledger.cipher.decrypt(row.body) for row in connection.execute(schema.quarantine.select())}
    for body, readable in sent:
        is_event = readable and Event.from_message(body).hash in events
        assert is_event or kept[hashlib.sha256(body).hexdigest()] == body, body[:200]
    assert worker.process.poll() is None
    assert [line for line in worker.lines if "1380000" in line] == []


@attrs.define
class Disk:
    """The disk that a ledger is on."""

    folder: Path
    #: Leaves no room for what a process writes from now on.
    fill: Callable[[int], None]
    #: Makes room again.
    free: Callable[[int], None]


@pytest.fixture(params=["limit", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A file system that is full, and a limit on the size of files, which anybody may set for his own processes."""
    if request.param == "limit":
        unlimited = resource.RLIM_INFINITY

        def limit(pid: int, size: int) -> None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, unlimited))

        yield Disk(tmp_path, lambda pid: limit(pid, 4096), lambda pid: limit(pid, unlimited))
        return
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("no right to mount a small file system")

    def fill(_: int) -> None:
        with (folder / "other").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    try:
        yield Disk(folder, fill, lambda _: (folder / "other").unlink())
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing(
    simulator: Simulator, settings: WorkerSettings, disk: Disk, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    settings = attrs.evolve(settings, ledger_url=f"sqlite:///{disk.folder}/ledger.db")
    with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
        worker = start(settings)
        worker.wait_for("collecting")
        for _ in range(10):
            simulator.publish(completed())
        until(lambda: is_drained(simulator) and count(ledger, "events") == 10, "ten stored")

        disk.fill(worker.process.pid)
        published = 10
        while not worker.said("WARNING ledger"):
            simulator.publish(completed() + b" " * 2**16)
            published += 1
            until(lambda: worker.said("WARNING ledger") or is_drained(simulator), "a batch is stored or it is not")

        # What is acknowledged is stored, whatever else is.
        assert delivered(simulator) - unacknowledged(simulator) <= count(ledger, "events") < published
        disk.free(worker.process.pid)
        until(lambda: is_drained(simulator), "the rest stored")
        assert count(ledger, "events") == published
        worker.wait_for("INFO the ledger answers again")
    assert worker.said("free some space") == 1
    assert sum(line.startswith("WARNING") for line in worker.lines) == 1
