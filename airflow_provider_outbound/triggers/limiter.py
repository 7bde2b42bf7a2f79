"""A narrow gate: a thousand tasks that begin at once pass it a few at a time, and their loop serves others too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CapacityLimiter:
    """
    Lets a few tasks in at a time, in the order in which they came; each loop has a gate of its own.

    :param limit: Most tasks inside.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: By loop: the gate, and how many are before it or inside.
        self._gates: dict[asyncio.AbstractEventLoop, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait for one's turn, and be inside."""
        loop = asyncio.get_running_loop()
        semaphore, users = self._gates.get(loop, (asyncio.Semaphore(self._limit), 0))
        self._gates[loop] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._gates.pop(loop)
            if users > 1:
                # Else nothing is left of a loop that has ended.
                self._gates[loop] = semaphore, users - 1
