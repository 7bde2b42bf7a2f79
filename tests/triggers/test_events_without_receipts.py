"""Where Airflow does not say what it has stored, as before 3.3, the cursor follows after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.processes import PATIENCE
from support.waiting import MakeTrigger

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.triggers import events
from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger


def fired(trigger: OutboundBotCallEventTrigger, count: int) -> list[str]:
    """Jobs of the first batches of a trigger that is ended after them."""

    async def run() -> list[str]:
        running: Any = trigger.run()
        async with asyncio.timeout(PATIENCE):
            batches = [(await anext(running)).payload for _ in range(count)]
        await running.aclose()
        return [event["job_id"] for batch in batches for event in batch["events"]]

    return asyncio.run(run())


def test_a_batch_that_was_just_handed_over_when_the_triggerer_died_is_given_again(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger
) -> None:
    begin = ledger.events.open_cursor("tests")
    happen(1, 2)

    assert fired(call_events(), 1) == ["job-1", "job-2"]
    assert ledger.events.open_cursor("tests") == begin
    assert fired(call_events(), 1) == ["job-1", "job-2"]


def test_the_cursor_moves_before_the_next_batch(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STORED_SECONDS", 0.0)
    begin = ledger.events.open_cursor("tests")
    happen(1, 2)

    assert fired(call_events(batch_size=1), 2) == ["job-1", "job-2"]

    assert ledger.events.open_cursor("tests") == begin + 1
    assert fired(call_events(), 1) == ["job-2"]
