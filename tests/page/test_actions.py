"""Suspending, resuming and cancelling a campaign of the simulated service, and what is logged."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from support.processes import until
from support.seeding import seed, task

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def service(simulator_factory: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two calls at a time, and the clock stands still: two jobs are on the line, the others wait."""
    simulator = simulator_factory(concurrency=2, clock_speed=0)
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    return simulator


@pytest.fixture
def group(service: Any, ledger: Ledger) -> str:
    """A campaign with four people, of a task with the rest of its context left out."""
    ti = SimpleNamespace(dag_id="campaign", run_id="run", task_id="task", map_index=-1, try_number=1, max_tries=0)
    run = SimpleNamespace(run_after=datetime.now(UTC), run_type="manual", logical_date=None)
    context: Any = {"ti": ti, "dag_run": run, "outlet_events": {}}
    made = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True).execute(context)
    contacts = [{"phone": f"138000{index}0000"} for index in range(4)]
    OutboundBotAssignJobsOperator(task_id="assign", job_group_id=made, contacts=contacts).execute(context)
    until(lambda: _statuses(service).count("Executing") == 2, "two calls")
    return str(made["job_group_id"])


def _statuses(service: Any) -> list[str]:
    (group,) = service.state()["groups"].values()
    return [job["status"] for job in group["jobs"]]


def test_a_campaign_is_suspended_resumed_and_cancelled(
    group: str, service: Any, ask: Callable[..., Any], ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask("user", f"campaigns/{group}").json()["actions"] == ["suspend", "cancel"]
    assert ask("user", f"campaigns/{group}/actions/suspend").json() == {"affected": 4, "warning": None}

    suspended = ask("user", f"campaigns/{group}/suspend", {})
    assert suspended.json()["campaign"]["state"] == "suspended"
    assert _statuses(service).count("Paused") == 2
    assert ask("user", f"campaigns/{group}").json()["actions"] == ["resume", "cancel"]

    resumed = ask("user", f"campaigns/{group}/resume", {})
    assert resumed.json()["campaign"]["state"] == "running"
    assert "Paused" not in _statuses(service)

    cancelled = ask("user", f"campaigns/{group}/cancel", {})
    assert cancelled.json()["campaign"]["state"] == "cancelled"
    assert _statuses(service).count("Cancelled") == 2
    assert ledger.groups.state(group).reconcile_state.cancelled
    for action in ("suspend", "resume", "cancel"):
        assert f"user: {action} of job group {group} was sent for 4 people" in caplog.text


def test_nothing_is_sent_for_who_may_only_read(group: str, service: Any, ask: Callable[..., Any]) -> None:
    before = _statuses(service)
    assert ask("viewer", f"campaigns/{group}/cancel", {}).status_code == 403
    assert _statuses(service) == before


def test_a_connection_for_dry_runs_sends_nothing(
    group: str, service: Any, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = json.loads(service.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"]["dry_run"] = True
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))
    answer = ask("user", f"campaigns/{group}/cancel", {})
    assert answer.status_code == 409
    assert "dry_run" in answer.json()["error"]
    assert "Cancelled" not in _statuses(service)


def test_calls_are_not_resumed_outside_the_connections_hours(
    group: str, service: Any, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("user", f"campaigns/{group}/suspend", {})
    value = json.loads(service.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"]["calling_hours"] = {"windows": [["00:00", "00:01"]], "timezone": "Asia/Shanghai"}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))
    answer = ask("user", f"campaigns/{group}/resume", {})
    assert answer.status_code == 409
    assert _statuses(service).count("Paused") == 2


def test_a_service_without_an_answer_is_reported(
    group: str, service: Any, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = json.loads(service.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value |= {"host": "http://127.0.0.1", "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))
    answer = ask("user", f"campaigns/{group}/resume", {})
    assert answer.status_code == 502
    assert "no answer" in answer.json()["error"]


def test_a_campaign_without_a_recorded_connection_names_the_command(ask: Callable[..., Any], ledger: Ledger) -> None:
    seed(ledger, "group", [], task=task(), conn_id=None)
    answer = ask("user", "campaigns/group/cancel", {})
    assert answer.status_code == 409
    assert "outbound cancel group --outboundbot-conn-id" in answer.json()["error"]
