"""
The event log as a shared stream of Airflow, which says when it has stored what was made of a page.

Airflow 3.3 brought such streams: this module is imported by it alone.
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

#: Pages that may be on their way into Airflow's database: a long log must not fill the triggerer's memory.
MAX_UNSTORED = 8
#: How long a cursor rests before it moves (seconds). A triggerer that ends takes its triggers away, and Airflow counts
#: the page that one has in hand as stored; meanwhile the stream learns that it is over, and leaves the cursor alone.
END_SECONDS = 1.0


class EventStream(SharedStreamProducer):
    """
    Pages of the event log, and the cursor that moves behind them.

    :param pages: Reads the log from the cursor on.
    :param confirm: Moves the cursor behind a page.
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
        """Give pages, not too many ahead of what is stored."""
        try:
            async with aclosing(self._pages()) as pages:
                async for page in pages:
                    while self._unstored >= MAX_UNSTORED and not self._is_broken:
                        self._advanced.clear()
                        await self._advanced.wait()
                    if self._is_broken:
                        # Airflow starts trigger and stream anew, from the cursor.
                        raise OutboundBotError("a batch of events was not stored: all from there on are given again")
                    self._unstored += 1
                    yield page, page
        finally:
            self._is_over = True

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Move the cursor behind the pages that were stored, up to the first that was not."""
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
