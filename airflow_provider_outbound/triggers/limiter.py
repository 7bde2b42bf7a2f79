"""Limits how many tasks run a section at once, so that a thousand tasks that start together do not block their loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CapacityLimiter:
    """
    Limits the number of concurrent tasks in a section, first come, first served, separately for each event loop.

    :param limit: The maximum number of tasks.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: By loop: the semaphore, and the number of tasks that wait for it or hold it.
        self._gates: dict[asyncio.AbstractEventLoop, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait for a free slot and hold it within the block."""
        loop = asyncio.get_running_loop()
        semaphore, users = self._gates.get(loop, (asyncio.Semaphore(self._limit), 0))
        self._gates[loop] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._gates.pop(loop)
            if users > 1:
                # Without users the entry stays removed, so that ended loops leave nothing behind.
                self._gates[loop] = semaphore, users - 1
