"""What connects a collector with the process that started it: the settings, the lines it writes, and its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
import threading
from typing import Any

#: Written when something new is stored.
CHANGED = b"changed\n"


class LineHandler(logging.Handler):
    """Writes one line per record to a pipe; drops it if the pipe is full, because logging must not block the work."""

    def emit(self, record: logging.LogRecord) -> None:
        words = " ".join(record.getMessage().split())
        with contextlib.suppress(OSError):
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{record.levelname} {words}\n".encode())


def report_change() -> None:
    """Report that something new is stored."""
    # A full pipe already reports a change.
    with contextlib.suppress(OSError):
        os.write(1, CHANGED)


def watch_parent(parent: int, stop: threading.Event) -> None:
    """Stop when standard input closes, or when the parent is gone but another process inherited its end of the pipe."""
    while not stop.is_set() and os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], 1.0)
        if readable and not os.read(0, 4096):
            break
    stop.set()


def read_settings() -> dict[str, Any]:
    """Read the first line of standard input, not through ``sys.stdin``, whose lock a waiting reader would hold."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            break
        line += piece
    values: dict[str, Any] = json.loads(line)
    return values
