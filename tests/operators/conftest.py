"""Operators against the simulator: in a real DAG run, or by themselves with the least context they need."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture(autouse=True)
def installation(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of the simulator, and a ledger of the test's own."""
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")


@pytest.fixture
def connection(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes the connection: its fields by name, and those of its extra."""

    def change(extra: dict[str, Any] | None = None, **fields: Any) -> None:
        value = json.loads(simulator.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
        value |= fields
        value["extra"] |= extra or {}
        monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))

    return change


@pytest.fixture
def context() -> Callable[..., Any]:
    """Makes the part of a task's context that the operators read."""

    def make(
        task_id: str = "task",
        *,
        run_id: str = "run",
        run_after: datetime | None = None,
        run_type: str = "scheduled",
        logical_date: datetime | None = None,
        try_number: int = 1,
        max_tries: int = 0,
        map_index: int = -1,
    ) -> Any:
        ti = SimpleNamespace(
            dag_id="campaign",
            run_id=run_id,
            task_id=task_id,
            map_index=map_index,
            try_number=try_number,
            max_tries=max_tries,
        )
        run = SimpleNamespace(run_after=run_after or datetime.now(UTC), run_type=run_type, logical_date=logical_date)
        return {"ti": ti, "dag_run": run, "outlet_events": {}}

    return make


@pytest.fixture
def people() -> Callable[[int], list[dict[str, str]]]:
    return lambda count: [
        {"phone": f"138{index:08d}", "name": f"Person{index:03d}", "city": "Hangzhou"} for index in range(count)
    ]
