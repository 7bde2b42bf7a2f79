"""A campaign in the simulator, and sensors that wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from support.waiting import RunSensor, WaitingCampaign, waiting_campaign

from airflow_provider_outbound.sensors import killed
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def campaign(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingCampaign]:
    with waiting_campaign(simulator, f"sqlite:///{tmp_path}/ledger.db", 1, monkeypatch) as campaign:
        yield campaign


@pytest.fixture
def ended_by_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Airflow answers about a task that a person marked as failed; only a running task can ask."""
    monkeypatch.setattr(killed, "own_state", lambda: "failed")


@pytest.fixture
def run_sensor(campaign: WaitingCampaign, run_dag: Callable[..., Any]) -> RunSensor:
    """Runs a sensor in a DAG of its own; its state and what it returned."""

    def run(**arguments: Any) -> tuple[str, Any]:
        with DAG(f"sensor_{campaign.job_group_id.replace('-', '_')}_{time.monotonic_ns()}") as dag:
            OutboundBotJobCompleteSensor(
                task_id="wait", **{"job_group_id": campaign.job_group_id, "poke_interval": 0.5, **arguments}
            )
        run = run_dag(dag)
        task = run.get_task_instance("wait")
        return str(task.state), task.xcom_pull(task_ids="wait", key="return_value")

    return run
