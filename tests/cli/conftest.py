"""Job groups in a simulator, as tasks would create them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_outbound.core.assign import AssignOptions, GroupSpec, Request, assign, create_group
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def cloud(simulator_factory: Callable[..., Simulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A simulator in which no call ends, its connection, and a ledger of the test's own."""
    simulator = simulator_factory(concurrency=1, clock_speed=0)
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    return simulator


@pytest.fixture
def campaign(cloud: Simulator) -> Callable[..., str]:
    """Makes a job group with some jobs, as a task would."""

    def make(name: str, jobs: int = 3, *, conn_id: str | None = None, cloud: Simulator = cloud) -> str:
        hook = OutboundBotHook(conn_id or "outboundbot_default")
        key = TaskKey(name, f"run-of-{name}", "create")
        with hook.ledger as ledger:
            spec = GroupSpec(name=name, script_id=cloud.script_id, description="")
            group = create_group(
                hook.client, ledger, key, lambda: spec, instance_id=cloud.instance_id, settle_seconds=0.2
            )
            assign(
                hook.client,
                ledger,
                key,
                from_items([f"138{index:08d}" for index in range(jobs)]),
                request=Request(job_group_id=group.job_group_id),
                options=AssignOptions(),
                guard=lambda _: None,
            )
            if conn_id is not None:
                ledger.groups.note_connection(group.job_group_id, conn_id)
        return group.job_group_id

    return make
