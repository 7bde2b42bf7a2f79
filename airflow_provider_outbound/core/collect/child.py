"""The collector as a child process: it is started, its output is read, and it is restarted when it dies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import subprocess
import sys
import time
from typing import IO

from airflow_provider_outbound.core.collect.settings import WorkerSettings

#: How long a child may take to end by itself, and then again after SIGTERM (seconds).
END_SECONDS = 5.0
FIRST_RESTART_SECONDS, LAST_RESTART_SECONDS = 0.5, 30.0
#: After a child has run for this long (seconds), the pause before its restart is the shortest again.
SETTLED_SECONDS = 60.0

#: Environment variables passed to a child. Others may hold secrets; proxies would intercept loopback addresses.
ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)  # fmt: skip

logger = logging.getLogger("airflow_provider_outbound.collect")


class Child:
    """The collector process. It is started, its output is read, and it is restarted when it dies."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._selector = selectors.DefaultSelector()
        self._partial = b""
        self._started_at = 0.0
        self._start_at = 0.0
        self._pause = FIRST_RESTART_SECONDS
        self._last_code: int | None = None

    def keep_running(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._reap(self._process.poll())
        if self._process is None and time.monotonic() >= self._start_at:
            self._start()

    def wait(self, seconds: float) -> bool:
        """Wait ``seconds`` at most; return whether the collector reported a change."""
        if self._process is None:
            time.sleep(min(seconds, max(0.0, self._start_at - time.monotonic()) + 0.01))
            return False
        changed = False
        for key, _ in self._selector.select(seconds):
            changed |= self._read(key.fileobj)  # type: ignore[arg-type]
        return changed

    def end(self) -> None:
        """Close its standard input, which ends it; otherwise terminate, then kill it."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            for insist in (process.terminate, process.kill, lambda: None):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_SECONDS)
                    break
                insist()
            self._close_pipes(process)
        self._selector.close()

    def _start(self) -> None:
        self._started_at = time.monotonic()
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_provider_outbound.core.collect.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            # Ctrl-C is sent to the whole process group of a terminal; this child is ended by its parent instead.
            start_new_session=True,
        )
        self._process, self._partial = process, b""
        line = json.dumps({**self._settings.to_dict(), "parent_pid": os.getpid()}).encode() + b"\n"
        with contextlib.suppress(OSError):  # it died at once: its exit code is checked next
            process.stdin.write(line)  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]
            self._selector.register(pipe, selectors.EVENT_READ)  # type: ignore[arg-type]

    def _read(self, pipe: IO[bytes]) -> bool:
        try:
            data = os.read(pipe.fileno(), 65536)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(pipe)
            return False
        if self._process is not None and pipe is self._process.stderr:
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                _forward(line.decode(errors="replace"))
            return False
        return True

    def _reap(self, code: int | None) -> None:
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stderr, process.stdout):
                if pipe in self._selector.get_map():
                    self._read(pipe)  # type: ignore[arg-type]
            self._close_pipes(process)
        if time.monotonic() - self._started_at >= SETTLED_SECONDS:
            self._pause, self._last_code = FIRST_RESTART_SECONDS, None
        if code != self._last_code:
            logger.warning("the collector ended (exit code %s): it will be restarted", code)
        self._last_code = code
        self._start_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LAST_RESTART_SECONDS)

    def _close_pipes(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(pipe)
                with contextlib.suppress(OSError):
                    pipe.close()


def _forward(line: str) -> None:
    level, _, words = line.partition(" ")
    if level in ("INFO", "WARNING", "ERROR") and words:
        logger.log(logging.getLevelNamesMapping()[level], "collector: %s", words)
