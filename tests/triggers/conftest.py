"""A campaign, and triggers run as a triggerer runs them: rebuilt from what was stored, in a loop of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.messages import T0, job_complete, store
from support.processes import until
from support.waiting import MakeTrigger, StartTriggerer, Triggerer, WaitingCampaign, restored, stored, waiting_campaign

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger, OutboundBotJobCompleteTrigger


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def campaign(simulator: Simulator, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingCampaign]:
    # Long: what ends soon ends by messages. Tests that go by the API shorten it.
    with waiting_campaign(simulator, ledger_url, 600, monkeypatch) as campaign:
        yield campaign
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("outbound-wait")], "threads end")


@pytest.fixture
def triggerer() -> Iterator[StartTriggerer]:
    started: list[Triggerer] = []

    def start(trigger: OutboundBotJobCompleteTrigger) -> Triggerer:
        started.append(Triggerer(trigger))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.kill()


@pytest.fixture
def ledger(campaign: WaitingCampaign) -> Ledger:
    """The ledger of the campaign."""
    return campaign.ledger


@pytest.fixture
def happen(ledger: Ledger) -> Callable[..., None]:
    """Records events, as a collector does."""

    def happen(*numbers: int, event: str = "JobComplete", group: str = "group-1") -> None:
        store(
            ledger,
            *(
                job_complete(
                    group,
                    f"job-{number}",
                    f"1380000{number:04}",
                    f"r-{number}",
                    at=T0 + number,
                    name="Zhang",
                    eventType=event,
                )
                for number in numbers
            ),
        )

    return happen


@pytest.fixture
def call_events() -> MakeTrigger:
    """Makes triggers of the subscription ``tests`` as another process does, from what Airflow stores."""

    def make(**arguments: Any) -> OutboundBotCallEventTrigger:
        made = OutboundBotCallEventTrigger(
            **{"subscription": "tests", "rocketmq_conn_id": None, "max_wait": 0.1, **arguments}
        )
        path, kwargs = made.serialize()
        assert path == "airflow_provider_outbound.triggers.events.OutboundBotCallEventTrigger"
        return OutboundBotCallEventTrigger(**restored(stored(kwargs)))

    return make
