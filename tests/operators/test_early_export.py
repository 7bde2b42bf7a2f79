"""An export of a group that has not ended says what it lacks."""

from __future__ import annotations

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


@pytest.fixture
def export(
    campaign: Campaign,
    context: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Exports, and returns the log: the operator's logger writes to either, by the version of Airflow."""

    def run(**arguments: Any) -> str:
        caplog.clear()
        capfd.readouterr()
        path = str(tmp_path / "results.csv")
        OutboundBotExportResultsOperator(
            task_id="export", job_group_id=campaign.job_group_id, path=path, **arguments
        ).execute(context())
        return caplog.text + "".join(capfd.readouterr())

    return run


def test_an_export_before_the_end_is_marked(campaign: Campaign, export: Callable[..., str]) -> None:
    assert f"3 of 3 {WARNING}" in export(only="answered")

    first, *others = campaign.jobs()
    campaign.tell(first, status="Succeeded", tasks=[call("t")])
    assert f"2 of 3 {WARNING}" in export()

    campaign.tell(*others, status="Failed", failureReason="NoAnswer")
    assert WARNING not in export()
