"""
The event log as a shared stream of Airflow, which reports when it has stored the events of a page.

Shared streams exist since Airflow 3.3; only that version imports this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_outbound.exceptions import OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import EventPage

#: The maximum number of pages not yet stored in Airflow's database: a long log must not fill the triggerer's memory.
MAX_UNSTORED = 8
#: Delay before the cursor moves (seconds). When a triggerer stops, Airflow reports a page that a cancelled trigger was
#: handling as stored, although it may not be. The stream ends within the delay, and the cursor then stays.
END_SECONDS = 1.0


class EventStream(SharedStreamProducer):
    """
    Yields pages of the event log and moves the cursor past those that were stored.

    :param pages: Reads the log from the cursor on.
    :param confirm: Moves the cursor past a page.
    """

    def __init__(
        self, pages: Callable[[], AsyncGenerator[EventPage]], confirm: Callable[[EventPage], Awaitable[None]]
    ) -> None:
        self._pages = pages
        self._confirm = confirm
        self._unstored = 0
        self._is_broken = False
        self._is_over = False
        self._advanced = asyncio.Event()

    async def open_stream(self) -> AsyncIterator[tuple[EventPage, EventPage]]:
        """Yield pages, at most :data:`MAX_UNSTORED` ahead of those that were stored."""
        try:
            async with aclosing(self._pages()) as pages:
                async for page in pages:
                    while self._unstored >= MAX_UNSTORED and not self._is_broken:
                        self._advanced.clear()
                        await self._advanced.wait()
                    if self._is_broken:
                        # Airflow restarts trigger and stream, from the cursor.
                        raise OutboundBotError("a batch of events was not stored: it and all later ones are sent again")
                    self._unstored += 1
                    yield page, page
        finally:
            self._is_over = True

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Move the cursor past the pages that were stored, up to the first that was not."""
        self._unstored -= len(batch)
        stored: EventPage | None = None
        for item in batch:
            self._is_broken |= not item.outcome.is_clean
            if self._is_broken:
                break
            stored = item.broker_payload
        self._advanced.set()
        if stored is None:
            return
        await asyncio.sleep(END_SECONDS)
        if not self._is_over:
            await self._confirm(stored)
