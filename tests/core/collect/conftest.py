"""A ledger of the test's own, messages as the service sends them, and collectors as real processes."""

from __future__ import annotations

import itertools
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.core.collect.worker import WorkerSettings
from airflow_provider_outbound.core.ledger import Ledger, open_ledger
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.simulator.testing import Simulator

#: Long enough for a slow machine; nothing is measured by it.
PATIENCE = 60.0
MODULE = "airflow_provider_outbound.core.collect.worker"


def collectors_of(pid: int) -> list[int]:
    """Collector processes whose parent is ``pid``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes()
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            if parent == pid and MODULE.encode() in command:
                found.append(int(folder.name))
    return found


def until(condition: Callable[[], Any], what: str, *, patience: float = PATIENCE) -> Any:
    """Wait for something to become true."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        time.sleep(0.05)
    return result


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def poisons(rng: random.Random) -> list[tuple[bytes, bool]]:
    """Messages that nobody should have sent, and whether each is nevertheless an event that can be read."""
    known = {"eventType": "JobComplete", "eventTime": 1, "groupId": "poisoned", "status": "Succeeded", "tasks": []}
    contact = {"phoneNumber": "13800000000", "referenceId": "r"}

    def event(**changes: Any) -> bytes:
        return json.dumps(known | {"id": f"job-{rng.getrandbits(64):x}"} | changes).encode()

    return [
        (b"", False),
        (b"\x00", False),
        (rng.randbytes(4 * 2**20 - 1024), False),
        (event(extras=[{"key": "k", "value": "x" * (4 * 2**20 - 2048)}]), True),
        (event(contacts=[contact | {"name": "a\0b", "referenceId": "r\0"}]), True),
        (event(status="Suc\0ceeded", failureReason="\0"), True),
        (event(groupId="g\0"), False),
        (event(id="x" * 200), False),
        ('{"eventType": "JobComplete", "id": "任务"}'.encode("gb18030"), False),
        (event().decode().encode("utf-16"), False),
        (b"[1, 2, 3]", False),
        (b"null", False),
        (b"42", False),
        (b'{"eventType": {}, "groupId": [], "id": 7}', False),
        (event(tasks="none", contacts=[None, 3], extras={"a": []}, eventTime="soon"), True),
        (event(eventTime=10**30, tasks=[{"id": "t", "actualTime": -(10**40), "status": ["x"]}]), True),
        (b'{"messageType": "sms_report", "PhoneNumber": "13800000000", "BizId": "1^0", "Success": true}', False),
        (b"[" * 100_000, False),
        (b'{"a": ' + b"9" * 5000 + b"}", False),
    ]


class Tools:
    """What the tests of this folder share."""

    collectors_of = staticmethod(collectors_of)
    until = staticmethod(until)
    is_running = staticmethod(is_running)
    poisons = staticmethod(poisons)


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def settings(simulator: Simulator, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(
        ledger_url=f"sqlite:///{tmp_path}/ledger.db",
        ledger_keys=(Fernet.generate_key().decode(),),
        rocketmq=RocketMQSettings(
            endpoints=(simulator.broker,),
            topic=simulator.topic,
            consumer_group=simulator.consumer_group,
            tls=False,
            lease_seconds=10,
        ),
    )


@pytest.fixture
def ledger(settings: WorkerSettings) -> Iterator[Ledger]:
    with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
        yield ledger


@pytest.fixture
def completed() -> Callable[..., bytes]:
    """Makes the message that a job is complete; each is of a job of its own."""
    numbers = itertools.count(1)

    def completed(group: str = "group-1") -> bytes:
        number = next(numbers)
        event = {
            "eventType": "JobComplete",
            "eventTime": 1_700_000_000_000 + number,
            "instanceId": "instance-1",
            "groupId": group,
            "id": f"job-{number}",
            "status": "Succeeded",
            "contacts": [{"id": "c", "name": "", "phoneNumber": f"1380000{number:04}", "referenceId": f"r-{number}"}],
            "extras": [],
            "tasks": [],
        }
        return json.dumps(event).encode()

    return completed


class Worker:
    """A collector process, as a triggerer starts it."""

    def __init__(self, settings: WorkerSettings, *, busy_timeout: float | None = None) -> None:
        command = [sys.executable, "-m", MODULE]
        if busy_timeout is not None:
            program = (
                "from airflow_provider_outbound.core.ledger import database\n"
                f"database.BUSY_TIMEOUT = {busy_timeout}\n"
                "from airflow_provider_outbound.core.collect import worker\n"
                "worker.leave(worker.main())"
            )
            command = [sys.executable, "-c", program]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
            | {"HOME": "/nonexistent"},
            start_new_session=True,
        )
        self.calls: queue.Queue[str] = queue.Queue()
        self.lines: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.calls.put)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.lines.append)),
        ]
        for reader in self._readers:
            reader.start()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(settings.to_dict()).encode() + b"\n")
        self.process.stdin.flush()

    def _read(self, pipe: IO[bytes], take: Callable[[str], None]) -> None:
        for line in pipe:
            take(line.decode().rstrip("\n"))

    def said(self, words: str) -> int:
        """How many lines hold these words."""
        return sum(words in line for line in list(self.lines))

    def wait_for(self, words: str) -> None:
        """Wait until a line holds these words."""
        until(lambda: self.said(words) or self.process.poll() is not None, f"{words!r} in {self.lines}")
        assert self.said(words), self.lines

    def end(self, signum: int = signal.SIGKILL) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(signum)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code


@pytest.fixture
def start(settings: WorkerSettings) -> Iterator[Callable[..., Worker]]:
    """Starts collectors; all are ended with the test."""
    started: list[Worker] = []

    def start(settings: WorkerSettings = settings, **options: Any) -> Worker:
        worker = Worker(settings, **options)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.end()
