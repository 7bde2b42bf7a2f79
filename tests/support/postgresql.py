"""PostgreSQL servers for single tests, also behind PgBouncer."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


class PostgreSQLServer:
    """A PostgreSQL server on a port of its own. It refuses to run as root, so root starts it as user postgres."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", str(self._folder / "log"), "-o", options, "start"
        )

    def kill(self) -> None:
        """Send SIGKILL to the server and all its child processes."""
        master = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        for pid in [master, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Zombies that are not reaped look alive to the next server, which checks this file.
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop", check=False)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._programs / program), *arguments]
        if self._user:
            # With another program: a fork that changes its user fails because of gRPC's threads.
            command = ["runuser", "-u", self._user, "--", *command]
        # To a file: the server inherits it, and a pipe would never close.
        with (self._folder.parent / f"{self._folder.name}.out").open("ab") as out:
            subprocess.run(command, cwd="/", stdout=out, stderr=out, check=check)

    def execute(self, *statements: str) -> list[Any]:
        """Run statements as the superuser, each in its own transaction; returns the rows of the last one."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True, prepare_threshold=None) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse writes, as a server does during a failover or with a full disk."""
        self._set_read_only("on")
        try:
            yield
        finally:
            self._set_read_only("off")

    def _set_read_only(self, value: str) -> None:
        # A read-only transaction could not turn it off.
        self.execute(
            "SET default_transaction_read_only = off",
            f"ALTER SYSTEM SET default_transaction_read_only = {value}",
            "SELECT pg_reload_conf()",
        )
        deadline = time.monotonic() + 30
        while self.execute("SHOW default_transaction_read_only") != [(value,)]:
            assert time.monotonic() < deadline, "the server does not reload its configuration"
            time.sleep(0.1)

    def wait_for_refusal(self) -> None:
        """Wait until the read-only server has refused a write."""
        deadline = time.monotonic() + 90
        while b"read-only transaction" not in (self._folder / "log").read_bytes():
            assert time.monotonic() < deadline, "no write was attempted"
            time.sleep(0.1)

    def cut_connections(self) -> None:
        """End all other client connections."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )


@contextmanager
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """A server until the end of the ``with`` statement; skips the test if none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server is installed (/usr/lib/postgresql)")
    # Not in tmp_path, whose parents another user cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="outbound-postgresql-"))
    try:
        server = PostgreSQLServer(found[-1].parent, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.out").unlink(missing_ok=True)


@contextmanager
def pgbouncer(server: PostgreSQLServer) -> Iterator[str]:
    """
    PgBouncer in transaction mode in front of a server, with fewer server connections than clients.

    :return: URL of the database behind it.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with tempfile.TemporaryDirectory(prefix="outbound-pgbouncer-") as name, socket.socket() as free:
        folder = Path(name)
        folder.chmod(0o755)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        users = folder / "users.txt"
        users.write_text('"postgres" ""\n')
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
            f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = 2\n"
        )
        command = [program, "-q", str(settings)]
        if os.geteuid() == 0:
            # It refuses to run as root.
            command[1:1] = ["-u", "postgres"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                _wait_for(port, process, folder / "log")
                yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
            finally:
                process.terminate()
                process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "pgbouncer does not listen"
        time.sleep(0.1)
