"""Processes that end with the process that started them, for the demo and the acceptance tests."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from airflow_provider_outbound.exceptions import OutboundBotError

_TAIL_LINES = 15
_END_SECONDS = 60.0


class ServiceError(OutboundBotError):
    """A service did not start, ended too early or returned no usable answer."""


class Supervised:
    """
    Processes that end when this object is closed, or when this process ends or is killed.

    :mod:`airflow_provider_outbound.cli.supervisor` explains how.

    :param folder: Working folder of all processes; removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._pids: dict[str, int] = {}
        #: Exit codes of the processes that have ended.
        self._ended: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._supervisor = subprocess.Popen(  # noqa: S603 - this package, by this Python
            [sys.executable, "-m", "airflow_provider_outbound.cli.supervisor", "--folder", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=plain_environment(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; returns when none is left."""
        if self._supervisor is None:
            return
        supervisor, self._supervisor = self._supervisor, None
        assert supervisor.stdin is not None  # noqa: S101  # a pipe, see above
        assert supervisor.stdout is not None  # noqa: S101 - the same
        with suppress(BrokenPipeError):  # it has ended already
            supervisor.stdin.close()
        supervisor.wait(_END_SECONDS)
        supervisor.stdout.close()

    def start(self, name: str, command: Iterable[str], environment: Mapping[str, str]) -> int:
        """
        Start a process.

        :return: Its process id.
        """
        order = {"start": name, "command": [*command], "environment": {**environment}, "log": str(self.log(name))}
        self._ended.pop(name, None)
        self._pids.pop(name, None)
        self._order(order)
        wait_until(lambda: self._has_started(name), seconds=10, what=f"start of {name}")
        return self._pids[name]

    def keep_folder(self) -> None:
        """Keep the folder and its logs at the end."""
        self._order({"keep": True})

    def log(self, name: str) -> Path:
        """The file to which a process writes its output."""
        return self.folder / f"{name}.log"

    def pid(self, name: str) -> int:
        """Process id of the last process started under that name."""
        return self._pids[name]

    def ended(self, name: str) -> int | None:
        """Exit code, or ``None`` while it runs."""
        self._read()
        return self._ended.get(name)

    def check(self, names: Iterable[str]) -> None:
        """
        Check that services still run.

        :raises ServiceError: one ended; the message names it and its log.
        """
        for name in names:
            code = self.ended(name)
            if code is not None:
                last = self.tail(name).rpartition("\n")[2]
                raise ServiceError(f"{name} ended with code {code}: {last} (its log: {self.log(name)})")

    def tail(self, name: str) -> str:
        """The end of a process's log."""
        path = self.log(name)
        return "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]) if path.exists() else ""

    def _order(self, order: Mapping[str, Any]) -> None:
        if self._supervisor is None or self._supervisor.stdin is None:
            raise ServiceError("nothing is running: use this object in a with statement")
        self._supervisor.stdin.write(json.dumps(order).encode() + b"\n")
        self._supervisor.stdin.flush()

    def _has_started(self, name: str) -> bool:
        self._read()
        return name in self._pids

    def _read(self) -> None:
        if self._supervisor is None or self._supervisor.stdout is None:
            return
        while select.select([self._supervisor.stdout], [], [], 0)[0]:
            chunk = os.read(self._supervisor.stdout.fileno(), 65536)
            if not chunk:
                raise ServiceError("the supervisor of the services ended; start again")
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if "started" in answer:
                    self._pids[answer["started"]] = answer["pid"]
                else:
                    self._ended[answer["ended"]] = answer["code"]


def plain_environment() -> dict[str, str]:
    """
    This process's environment without Airflow settings, and without a proxy for this machine.

    Python imports nothing from the current folder, which may contain a folder named ``airflow``.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "OUTBOUND_"))}
    return {**kept, "PYTHONSAFEPATH": "1", "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def wait_until(condition: Callable[[], object], *, seconds: float, what: str, every: float = 0.1) -> None:
    """
    Wait until a condition is true.

    :raises ServiceError: it is not true in time.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise ServiceError(f"{what}: not done within {seconds:.0f} s")
        time.sleep(every)
