"""While no message can come, the waiting task's own log says why, once, and says when it is over."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from support.ledgers import REPORT
from support.processes import eventually
from support.waiting import WaitingCampaign, first_event

from airflow_provider_outbound.core.collect import watch
from airflow_provider_outbound.core.ledger import CollectorReport
from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger

LOGGER = "airflow_provider_outbound.triggers.outboundbot"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What the trigger has logged with some words. Watches look at the collectors often."""
    monkeypatch.setattr(watch, "COLLECTORS_SECONDS", 0.3)
    caplog.set_level(logging.INFO, LOGGER)

    def said(words: str) -> list[str]:
        lines = [record.getMessage() for record in list(caplog.records) if record.name == LOGGER]
        return [line for line in lines if words in line]

    return said


def run_until(trigger: OutboundBotJobCompleteTrigger, *steps: Callable[[], Any]) -> None:
    """Run a trigger, and meanwhile go through some steps, each until it is true."""

    async def scenario() -> None:
        waiting = asyncio.create_task(first_event(trigger))
        for number, step in enumerate(steps):
            await eventually(step, f"step {number}")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("extra", "orders", "words"),
    [
        pytest.param({"topic": "no-such"}, {}, "has no topic 'no-such'", id="topic"),
        pytest.param({"consumer_group": "GID_no"}, {}, "consumer group 'GID_no'", id="group"),
        pytest.param({}, {"lock": True}, "refuses the credentials", id="credentials"),
    ],
)
def test_an_embedded_collector_that_gets_nothing(
    campaign: WaitingCampaign,
    said: Callable[[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    extra: dict[str, str],
    orders: dict[str, Any],
    words: str,
) -> None:
    campaign.freeze()
    campaign.assign(3)
    name = "AIRFLOW_CONN_ROCKETMQ_DEFAULT"
    connection = json.loads(campaign.simulator.connections[name])
    monkeypatch.setenv(name, json.dumps({**connection, "extra": {**connection["extra"], **extra}}))
    campaign.simulator.broker_control(**orders)

    run_until(campaign.trigger(), lambda: said(words))

    (line, *others) = said(words)
    assert line.startswith(f"Job group {campaign.job_group_id}: no messages come: RocketMQ broker at ")
    assert line.endswith("Meanwhile the API is asked every 600 s")
    assert "another program" not in line
    assert not others


def _reported(campaign: WaitingCampaign, report: CollectorReport) -> bool:
    campaign.ledger.collectors.report(report)
    return True


def test_no_collector_runs_until_one_does(
    campaign: WaitingCampaign, said: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__COLLECTOR", "external")
    monkeypatch.setattr(watch, "FIRST_REPORT_SECONDS", 0.5)
    campaign.freeze()
    campaign.assign(3)
    words = "no collector has reported to this ledger; start one: outbound collect --rocketmq-conn-id rocketmq_default"

    run_until(
        campaign.trigger(),
        lambda: said(words),
        lambda: _reported(campaign, attrs.evolve(REPORT, trouble="refused", trouble_ago=0.0)),
        lambda: _reported(campaign, REPORT) and said("messages can come again"),
    )

    assert len(said(words)) == len(said("messages can come again")) == 1


def test_nothing_is_said_where_no_messages_are_expected(
    campaign: WaitingCampaign, said: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "FIRST_REPORT_SECONDS", 0.0)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    campaign.assign(3)

    campaign.wait_deferred(rocketmq_conn_id=None)

    assert not said("no messages come")


def test_a_group_whose_messages_could_not_come_is_not_blamed_on_another_program(
    campaign: WaitingCampaign, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__COLLECTOR", "external")
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    campaign.assign(3)
    campaign.ledger.collectors.report(attrs.evolve(REPORT, trouble="the broker has no such group", trouble_ago=0.0))

    summary = campaign.wait_deferred()["summary"]

    assert summary["recovered"] == 3
    assert "no message brought any of its 3 results" in caplog.text
    assert "the broker has no such group (at " in caplog.text
    assert "another program" not in caplog.text
