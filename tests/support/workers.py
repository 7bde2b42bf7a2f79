"""Collectors as real processes, and messages that they should survive."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import IO, Any

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.simulator.testing import Simulator
from support.processes import COLLECTOR, PATIENCE, until


def delivered(simulator: Simulator) -> int:
    """How many messages the broker has delivered."""
    return sum(group["delivered"] for group in _groups(simulator))


def unacknowledged(simulator: Simulator) -> int:
    """How many of them are not acknowledged."""
    return sum(group["unacknowledged"] for group in _groups(simulator))


def is_drained(simulator: Simulator) -> bool:
    """Whether every message is delivered and acknowledged."""
    messages = simulator.broker_control()["topics"][simulator.topic]["messages"]
    return bool(delivered(simulator) == messages and not unacknowledged(simulator))


def _groups(simulator: Simulator) -> Iterable[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = simulator.broker_control()["topics"][simulator.topic]["groups"]
    return groups.values()


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


class Worker:
    """A collector process, as a triggerer starts it."""

    def __init__(self, settings: WorkerSettings, *, busy_timeout: float | None = None) -> None:
        command = [sys.executable, "-m", COLLECTOR]
        if busy_timeout is not None:
            program = (
                "from airflow_provider_outbound.core.ledger import sqlite\n"
                f"sqlite.BUSY_TIMEOUT = {busy_timeout}\n"
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


StartWorker = Callable[..., Worker]
