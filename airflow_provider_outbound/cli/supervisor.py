"""
A small process that starts other processes and ensures that none outlives the process that requested them.

It reads commands from standard input, one JSON object per line: ``{"start": NAME, "command": [...], "environment":
{...}, "log": PATH}`` or ``{"keep": true}``. It reports ``{"started": NAME, "pid": N}`` and ``{"ended": NAME, "code":
N}`` on standard output. It ends everything when standard input closes, for whatever reason: the kernel closes the pipe
of a killed process as reliably as Python closes that of one which returned.

It ends everything in this order:

1. every started process receives SIGTERM, and has :data:`GRACE_SECONDS` to end its own children;
2. all remaining descendants are killed, repeatedly until none is left. On Linux this process is the subreaper of its
   descendants: one whose parent died becomes a child of this process, even if it has a session of its own, so none can
   leave the tree. Elsewhere the descendants are recorded every second while their parents live;
3. the folder given with ``--folder`` is removed, unless ``keep`` was requested.

It has a session of its own, so that Ctrl-C in a terminal reaches only the process that started it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

#: How long the started processes have to end by themselves, seconds.
GRACE_SECONDS = 5.0
_TICK_SECONDS = 0.2
_NOTE_SECONDS = 1.0
_PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    """Starts processes on request and ends them all."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: set[psutil.Process] = set()
        self._adopts = _adopt_orphans()
        self._noted_at = 0.0
        self._stop = False
        self.keep_folder = False

    def stop(self, *_: object) -> None:
        """End after this tick; also a signal handler."""
        self._stop = True

    def serve(self) -> None:
        """Execute commands until standard input closes."""
        buffer = b""
        while not self._stop:
            readable, _, _ = select.select([0], [], [], _TICK_SECONDS)
            if readable:
                chunk = os.read(0, 65536)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._carry_out(json.loads(line))
            self._report_ends()
            self._note_descendants()

    def end_all(self) -> None:
        """End every started process and all descendants."""
        left = self._descendants()
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < until and any(process.poll() is None for process in self._processes.values()):
            left |= self._descendants()
            time.sleep(0.05)
        while left := {process for process in left | self._descendants() if _is_alive(process)}:
            for descendant in left:
                with suppress(psutil.NoSuchProcess):
                    descendant.kill()
            self._reap()
            time.sleep(0.02)

    def _carry_out(self, order: dict[str, Any]) -> None:
        if "keep" in order:
            self.keep_folder = bool(order["keep"])
            return
        with Path(order["log"]).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # it comes from our own program
                order["command"], env=order["environment"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes[order["start"]] = process
        _answer(started=order["start"], pid=process.pid)

    def _report_ends(self) -> None:
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                del self._processes[name]
                _answer(ended=name, code=process.returncode)
        self._reap()

    def _reap(self) -> None:
        """Reap orphans that have ended; Popen reaps the started processes."""
        own = {process.pid for process in self._processes.values()}
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess, ChildProcessError):
                if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)

    def _descendants(self) -> set[psutil.Process]:
        return set(psutil.Process().children(recursive=True)) | self._seen

    def _note_descendants(self) -> None:
        if not self._adopts and time.monotonic() - self._noted_at > _NOTE_SECONDS:
            self._seen = {process for process in self._descendants() if _is_alive(process)}
            self._noted_at = time.monotonic()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _adopt_orphans() -> bool:
    """Become the subreaper of all descendants; only Linux supports this."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def _answer(**values: object) -> None:
    with suppress(OSError):  # the reader may be gone; then standard input closes too
        os.write(1, json.dumps(values).encode() + b"\n")


def main() -> int:
    """Serve, then end everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", help="folder to remove at the end")
    folder = parser.parse_args().folder
    supervisor = Supervisor()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, supervisor.stop)
    try:
        supervisor.serve()
    finally:
        supervisor.end_all()
        if folder and not supervisor.keep_folder:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
