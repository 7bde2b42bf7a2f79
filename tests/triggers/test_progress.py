"""While a group is waited for, its progress is in the task's log, and costs next to nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from support.messages import call
from support.processes import eventually
from support.waiting import WaitingCampaign, first_event

from airflow_provider_outbound.core import progress
from airflow_provider_outbound.core.control import Action, JobCommand
from airflow_provider_outbound.triggers.shared_resources import MAX_REST


@contextmanager
def counted_rows() -> Iterator[list[str]]:
    """The statements that count the jobs of a group."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM jobs" in statement and "count(*)" in statement:
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _report_one(campaign: WaitingCampaign) -> None:
    """Store the message that one job has succeeded, as a collector does."""
    campaign.tell(campaign.jobs()[0], status="Succeeded", tasks=[call("t")])


def _nobody_counts() -> bool:
    """Whether several intervals pass without a count, more than the longest pause after a check of the group."""
    with counted_rows() as counts:
        time.sleep(MAX_REST + 3.0)
    return not counts


def test_progress_is_logged_while_deferred(
    campaign: WaitingCampaign, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "BUSY_SECONDS", 0.5)
    campaign.freeze()
    campaign.assign(4)

    def lines() -> list[str]:
        return [message for message in caplog.messages if "of 4 jobs complete" in message]

    async def scenario() -> None:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        await eventually(lines, "the first line")
        await asyncio.to_thread(_report_one, campaign)
        await eventually(lambda: "1 of 4" in lines()[-1], "the line about the change")
        before = len(lines())
        # The collector that has just started may cause a few more changes; after that, nobody counts.
        await eventually(_nobody_counts, "a time without a count")
        assert len(lines()) == before
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        asyncio.run(scenario())

    assert lines()[0].startswith(f"Job group {campaign.job_group_id}: 0 of 4 jobs complete, 0 answered")
    assert lines()[-1].startswith(f"Job group {campaign.job_group_id}: 1 of 4 jobs complete, 1 answered")
    assert not [message for message in caplog.messages if "138" in message]


def test_a_suspended_group_is_named_while_deferred(campaign: WaitingCampaign, caplog: pytest.LogCaptureFixture) -> None:
    campaign.freeze()
    # More than the service has lines, so that some wait.
    campaign.assign(60)
    campaign.client.suspend_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    line = f"Job group {campaign.job_group_id}: suspended; resume it with: outbound resume {campaign.job_group_id}"

    async def scenario() -> None:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        await eventually(lambda: line in caplog.messages, "the line about the suspension")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        asyncio.run(scenario())

    assert caplog.messages.count(line) == 1


def test_a_suspension_is_named_long_before_the_next_request_to_the_api(
    campaign: WaitingCampaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.freeze()
    campaign.assign(60)
    line = f"Job group {campaign.job_group_id}: suspended; resume it with: outbound resume {campaign.job_group_id}"
    suspend = JobCommand(action=Action.SUSPEND, job_group_id=campaign.job_group_id, all_jobs=True)

    async def scenario() -> None:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        await eventually(lambda: "next request to the API" in caplog.text, "the first check")
        # The watch that has just started wakes everybody once.
        await asyncio.sleep(2)
        await asyncio.to_thread(suspend.send, campaign.client, lambda: campaign.ledger)
        await eventually(lambda: line in caplog.messages, "the line about the suspension")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        asyncio.run(scenario())

    assert caplog.messages.count(line) == 1
