"""An export of a group that has not ended says what it lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import Campaign, MakeSimulator
from support.messages import call

from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import OutboundBotExportResultsOperator

WARNING = "jobs have not ended; their results are not in this export"


@pytest.fixture
def campaign(simulator_factory: MakeSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Campaign]:
    """Three people who are not called yet."""
    simulator = simulator_factory(clock_speed=0)
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    with OutboundBotHook() as hook:
        campaign = Campaign(simulator=simulator, client=hook.client, ledger=hook.ledger)
        campaign.assign(3)
        yield campaign


def warnings(
    campaign: Campaign, path: Path, context: Callable[..., Any], caplog: pytest.LogCaptureFixture, **arguments: Any
) -> list[str]:
    """What an export warns of."""
    caplog.clear()
    operator = OutboundBotExportResultsOperator(
        task_id="export", job_group_id=campaign.job_group_id, path=str(path), **arguments
    )
    operator.execute(context())
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_an_export_before_the_end_is_marked(
    campaign: Campaign, context: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answered.csv"

    (line,) = warnings(campaign, path, context, caplog, only="answered")
    assert f"3 of 3 {WARNING}" in line

    first, *others = campaign.jobs()
    campaign.tell(first, status="Succeeded", tasks=[call("t")])
    (line,) = warnings(campaign, path, context, caplog)
    assert f"2 of 3 {WARNING}" in line

    campaign.tell(*others, status="Failed", failureReason="NoAnswer")
    assert not warnings(campaign, path, context, caplog)
