"""Who may see and control which campaign, and that no other site's page can act for a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.seeding import ANSWERED, ROLES, WAITING, seed, task

from airflow_provider_outbound.core.ledger import Ledger

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]

#: The least role that sees each campaign: those without a DAG that Airflow has need the right to connections.
SEEN_BY = {"running": "viewer", "ended": "viewer", "deleted": "op", "nameless": "op"}
ACTIONS = ("suspend", "resume", "cancel")


def _has(role: str, least: str) -> bool:
    return ROLES.index(role) >= ROLES.index(least)


@pytest.mark.parametrize("role", ROLES)
def test_each_request_follows_the_rights_on_the_campaign(role: str, ask: Callable[..., Any], campaigns: Any) -> None:
    listed = {one["id"]: one for one in ask(role, "campaigns").json()["campaigns"]}
    assert set(listed) == {group for group, least in SEEN_BY.items() if _has(role, least)}
    assert all(one["can_edit"] == _has(role, "user") for one in listed.values())
    for group, least in SEEN_BY.items():
        for path in ("", "/jobs", f"/jobs/{campaigns[group][0]}", "/actions/cancel"):
            answer = ask(role, f"campaigns/{group}{path}")
            assert answer.status_code == (200 if _has(role, least) else 404), path
            if not _has(role, least):
                # Nobody can tell whether it exists.
                assert answer.content == ask(role, "campaigns/unknown").content
        found = ask(role, f"campaigns/{group}/jobs/search", {"text": campaigns[group][0]})
        assert found.status_code == (200 if _has(role, least) else 404)


@pytest.mark.parametrize("role", ROLES)
def test_actions_need_the_right_to_edit(role: str, ask: Callable[..., Any], campaigns: Any) -> None:
    for group, least in SEEN_BY.items():
        for action in ACTIONS:
            status = ask(role, f"campaigns/{group}/{action}", {}).status_code
            if not _has(role, least):
                assert status == 404
            else:
                # The connection does not exist here, so whoever may act is told so.
                assert status == (409 if _has(role, "user") else 403)


@pytest.mark.parametrize("role", ROLES)
def test_health_and_quarantine_need_the_right_to_connections(
    role: str, ask: Callable[..., Any], ledger: Ledger
) -> None:
    assert ask(role, "me").json()["can_see_health"] == _has(role, "op")
    for path in ("health", "quarantine"):
        assert ask(role, path).status_code == (200 if _has(role, "op") else 404)
    for action in ("replay", "drop"):
        assert ask(role, f"quarantine/{'0' * 64}/{action}", {}).status_code == 404


def test_a_campaign_of_several_dags_needs_the_right_to_each(ask: Callable[..., Any], ledger: Ledger) -> None:
    """Airflow does not have one of the DAGs, so that only connections' rights reach it."""
    seed(ledger, "shared", [ANSWERED], task=task())
    other = ledger.assignments.open(task("gone"), "shared", owner="test", lease_seconds=60, settle_seconds=1)
    ledger.assignments.close(other, 0)

    assert ask("user", "campaigns/shared").status_code == 404
    assert ask("user", "campaigns/shared/cancel", {}).status_code == 404
    assert ask("op", "campaigns/shared").status_code == 200


def test_the_dag_is_never_taken_from_the_request(ask: Callable[..., Any], campaigns: Any) -> None:
    for path in ("campaigns/deleted?dag_id=campaign", "campaigns/deleted/jobs?dag_id=campaign"):
        assert ask("user", path).status_code == 404
    assert ask("user", "campaigns/deleted/cancel?dag_id=campaign", {}).status_code == 404


@pytest.mark.parametrize(
    "path", ["campaigns", "campaigns/running", "campaigns/running/jobs", "health", "quarantine", "me"]
)
def test_nobody_reads_without_logging_in(path: str, ask: Callable[..., Any], ledger: Ledger) -> None:
    assert ask(None, path).status_code == 401
    assert ask(None, path, headers={"Authorization": "Bearer nonsense"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Outbound": "0"},
        {"X-Outbound": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Outbound": "1", "Sec-Fetch-Site": "same-site"},
        {"X-Outbound": "1", "Content-Type": "text/plain"},
        {"X-Outbound": "1", "Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_forged_requests_are_refused_before_anything_is_done(
    headers: dict[str, Any], ask: Callable[..., Any], campaigns: Any, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [f"campaigns/running/{action}" for action in ACTIONS]
    paths += ["campaigns/running/jobs/search", "person/search", f"quarantine/{'0' * 64}/drop"]
    for path in paths:
        assert ask("admin", path, {}, headers=headers).status_code == 403, path
    assert "asks to" not in caplog.text


def test_the_applications_description_is_not_public(airflow_app: Any) -> None:
    for path in ("docs", "redoc", "openapi.json"):
        assert airflow_app.get(f"/outbound/{path}").status_code == 404


@pytest.mark.parametrize("body", [{"job_ids": ["1"]}, {"all": True}])
def test_an_action_takes_no_options(body: dict[str, Any], ask: Callable[..., Any], ledger: Ledger) -> None:
    seed(ledger, "group", [WAITING], task=task())
    assert ask("admin", "campaigns/group/cancel", body).status_code == 422
