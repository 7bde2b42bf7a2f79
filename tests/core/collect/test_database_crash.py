"""PostgreSQL killed and started again while a collector writes; the server is the test's own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from airflow_provider_outbound.core.collect.worker import WorkerSettings
from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.simulator.testing import Simulator

pytestmark = pytest.mark.postgresql

MESSAGES = 300


class Server:
    """A PostgreSQL server on a port of its own. It refuses to run as root, so root starts it as user postgres."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", str(self._folder / "log"), "-o", options, "start"
        )

    def kill(self) -> None:
        """kill -9 of the server and of all that serves its connections."""
        master = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        for pid in [master, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Where nobody buries them the dead still look alive to the next one, which looks here.
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop", check=False)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._programs / program), *arguments]
        if self._user:
            # By another program: a fork that changes its user trips over the threads of gRPC.
            command = ["runuser", "-u", self._user, "--", *command]
        # To a file: the server inherits it, and a pipe would never end.
        with (self._folder.parent / f"{self._folder.name}.out").open("ab") as out:
            subprocess.run(command, cwd="/", stdout=out, stderr=out, check=check)


@pytest.fixture
def server() -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server is installed (/usr/lib/postgresql)")
    # Not in tmp_path, whose parents another user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="outbound-postgresql-"))
    try:
        server = Server(found[-1].parent, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.out").unlink(missing_ok=True)


def test_a_killed_database_loses_nothing_that_was_acknowledged(
    server: Server,
    simulator: Simulator,
    settings: WorkerSettings,
    start: Callable[..., Any],
    completed: Callable[..., bytes],
    tools: Any,
) -> None:
    settings = attrs.evolve(settings, ledger_url=server.url)
    open_ledger(settings.ledger_url, settings.ledger_keys).close()
    worker = start(settings)
    worker.wait_for("collecting")

    def acknowledged() -> int:
        topic = simulator.broker_control()["topics"][simulator.topic]
        return sum(group["delivered"] - group["unacknowledged"] for group in topic["groups"].values())

    for number in range(3):
        told = worker.said("WARNING ledger")
        for _ in range(MESSAGES):
            simulator.publish(completed("group-1"))
        tools.until(lambda: acknowledged() > number * (MESSAGES + 1), "it stores")  # noqa: B023
        server.kill()
        simulator.publish(completed("group-1"))
        tools.until(lambda: worker.said("WARNING ledger") > told, "it says so")  # noqa: B023
        server.start()
        tools.until(lambda: acknowledged() == (number + 1) * (MESSAGES + 1), "all stored")  # noqa: B023

    with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
        counts = ledger.jobs.counts("group-1")
    assert counts.total == counts.terminal == 3 * (MESSAGES + 1)
    assert worker.process.poll() is None
    assert worker.said("INFO the ledger answers again") == 3
