"""A campaign in the simulator, and sensors that wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from airflow.sdk import DAG

from airflow_provider_outbound.core.assign import AssignOptions, Request, assign
from airflow_provider_outbound.core.collect.watch import end_all
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.sensors import killed
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="


@attrs.define(kw_only=True)
class Campaign:
    """One job group in the simulator."""

    simulator: Simulator
    hook: OutboundBotHook
    job_group_id: str

    def assign(self, count: int) -> None:
        """Assign ``count`` numbers."""
        assign(
            self.hook.client,
            self.hook.ledger,
            TaskKey("dag", self.job_group_id, "assign"),
            from_items([f"138{index:08d}" for index in range(count)]),
            request=Request(job_group_id=self.job_group_id),
            options=AssignOptions(settle_seconds=0.2),
            guard=lambda _: None,
        )

    def wait_for_service(self) -> None:
        """Wait until the service has ended."""
        while self.hook.client.describe_job_group(job_group_id=self.job_group_id).progress.unfinished:  # type: ignore[union-attr]
            time.sleep(0.05)

    def sensor(self, **arguments: Any) -> OutboundBotJobCompleteSensor:
        """A sensor that is run by hand, poking unless told otherwise."""
        return OutboundBotJobCompleteSensor(
            task_id="wait", **{"job_group_id": self.job_group_id, "poke_interval": 0.1, "mode": "poke", **arguments}
        )


@pytest.fixture
def campaign(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Campaign]:
    for name, value in {
        **simulator.connections,
        "AIRFLOW__OUTBOUND__LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "AIRFLOW__OUTBOUND__LEDGER_KEY": KEY,
        "AIRFLOW__OUTBOUND__RECONCILE_INTERVAL": "1",
    }.items():
        monkeypatch.setenv(name, value)
    hook = OutboundBotHook()
    group = hook.client.create_job_group(job_group_name="tests", script_id=simulator.script_id)
    yield Campaign(simulator=simulator, hook=hook, job_group_id=group.job_group_id)
    end_all()
    hook.ledger.close()


@pytest.fixture
def ended_by_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Airflow answers about a task that a person marked as failed; only a running task can ask."""
    monkeypatch.setattr(killed, "own_state", lambda: "failed")


@pytest.fixture
def run_sensor(campaign: Campaign, run_dag: Callable[..., Any]) -> Callable[..., tuple[str, Any]]:
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
