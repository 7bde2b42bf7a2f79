"""Collectors as processes, and waiting for what other threads and processes do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: Long enough for a slow machine (seconds); nothing is measured by it.
PATIENCE = 90.0
COLLECTOR = "airflow_provider_outbound.core.collect.worker"


def until(condition: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Wait for something to become true; return it."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        time.sleep(0.05)
    return result


async def eventually(condition: Callable[[], T], what: str) -> T:
    """Wait as :func:`until` does, in a thread of its own."""
    return await asyncio.to_thread(until, condition, what)


def collectors(parent: int | None = None) -> list[int]:
    """Collector processes of a process; ``None``: of this one."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes()
                owner = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            if owner == (parent or os.getpid()) and COLLECTOR.encode() in command:
                found.append(int(folder.name))
    return found


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
