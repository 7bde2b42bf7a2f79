"""Suspending, resuming and cancelling a campaign of the simulated service, and what is logged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.seeding import seed, task
from support.simulated import statuses

from airflow_provider_outbound.core.ledger import Ledger

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]


def test_a_campaign_is_suspended_resumed_and_cancelled(
    group: str, service: Any, ask: Callable[..., Any], ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask("user", f"campaigns/{group}").json()["actions"] == ["suspend", "cancel"]
    assert ask("user", f"campaigns/{group}/actions/suspend").json() == {"affected": 4, "warning": None}

    suspended = ask("user", f"campaigns/{group}/suspend", {})
    assert suspended.json()["campaign"]["state"] == "suspended"
    assert statuses(service).count("Paused") == 2
    assert ask("user", f"campaigns/{group}").json()["actions"] == ["resume", "cancel"]

    resumed = ask("user", f"campaigns/{group}/resume", {})
    assert resumed.json()["campaign"]["state"] == "running"
    assert "Paused" not in statuses(service)

    cancelled = ask("user", f"campaigns/{group}/cancel", {})
    assert cancelled.json()["campaign"]["state"] == "cancelled"
    assert statuses(service).count("Cancelled") == 2
    assert ledger.groups.state(group).reconcile_state.cancelled
    for action in ("suspend", "resume", "cancel"):
        assert f"user: {action} of job group {group} was sent for 4 people" in caplog.text


def test_a_cancelled_campaign_is_not_resumed(group: str, ask: Callable[..., Any]) -> None:
    """By a page that was opened before."""
    ask("user", f"campaigns/{group}/cancel", {})
    answer = ask("user", f"campaigns/{group}/resume", {})
    assert answer.status_code == 409
    assert "cancelled jobs cannot be resumed" in answer.json()["error"]
    assert "a new DAG run calls its whole list" in answer.json()["fix"]


def test_nothing_is_sent_for_who_may_only_read(group: str, service: Any, ask: Callable[..., Any]) -> None:
    before = statuses(service)
    assert ask("viewer", f"campaigns/{group}/cancel", {}).status_code == 403
    assert statuses(service) == before


def test_a_connection_for_dry_runs_sends_nothing(
    group: str, service: Any, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = json.loads(service.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"]["dry_run"] = True
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))
    answer = ask("user", f"campaigns/{group}/cancel", {})
    assert answer.status_code == 409
    assert "dry_run" in answer.json()["error"]
    assert "Cancelled" not in statuses(service)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"calling_hours": {"windows": [["00:00", "00:01"]], "timezone": "Asia/Shanghai"}}, id="hours"),
        pytest.param({"allowed_phone_numbers": ["13999999999"]}, id="numbers"),
    ],
)
def test_calls_are_not_resumed_against_a_rule_of_the_connection(
    group: str, service: Any, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any]
) -> None:
    ask("user", f"campaigns/{group}/suspend", {})
    value = json.loads(service.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"] |= rule
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))
    answer = ask("user", f"campaigns/{group}/resume", {})
    assert answer.status_code == 409
    assert next(iter(rule)) in answer.json()["error"]
    assert statuses(service).count("Paused") == 2


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
