"""Who may see and control which campaign with FAB's roles, and with roles that name one DAG."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from page.fab.conftest import FAB_ROLES, OWN_ROLES
from support.seeding import ANSWERED, WAITING, seed, task

from airflow_provider_outbound.core.ledger import Ledger

_IS_INSTALLED = find_spec("flask_appbuilder") is not None
pytestmark = [
    pytest.mark.fab,
    pytest.mark.xdist_group("fab"),
    pytest.mark.skipif(not _IS_INSTALLED, reason="apache-airflow-providers-fab is not installed"),
    pytest.mark.filterwarnings("ignore"),
]

EVERYBODY = {*FAB_ROLES, *OWN_ROLES}
#: Who sees each campaign, and who may control it. Those without a DAG that Airflow has need the right to connections.
SEEN_BY = {
    "own": EVERYBODY - {"Nobody"},
    "foreign": {*FAB_ROLES},
    "shared": {*FAB_ROLES},
    "deleted": {"Op", "Admin"},
    "nameless": {"Op", "Admin"},
}
EDITED_BY = {
    "own": {"User", "Op", "Admin", "Owner"},
    "foreign": {"User", "Op", "Admin"},
    "shared": {"User", "Op", "Admin"},
    "deleted": {"Op", "Admin"},
    "nameless": {"Op", "Admin"},
}


@pytest.fixture
def groups(ledger: Ledger) -> dict[str, list[str]]:
    """Reference ids by campaign: of the own DAG, another, both, one that Airflow does not have, and none."""
    made = {
        "own": seed(ledger, "own", [ANSWERED, WAITING], task=task()),
        "foreign": seed(ledger, "foreign", [WAITING], task=task("foreign"), first_number=13700000000),
        "shared": seed(ledger, "shared", [WAITING], task=task(run_id="2"), first_number=13500000000),
        "deleted": seed(ledger, "deleted", [WAITING], task=task("no-longer"), first_number=13400000000),
        "nameless": seed(ledger, "nameless", [WAITING], first_number=13600000000),
    }
    other = ledger.assignments.open(task("foreign"), "shared", owner="test", lease_seconds=60, settle_seconds=1)
    ledger.assignments.close(other, 0)
    return made


@pytest.mark.parametrize("role", sorted(EVERYBODY))
def test_each_role_sees_its_campaigns_and_the_actions_that_it_may_take(
    role: str, ask: Callable[..., Any], groups: dict[str, list[str]]
) -> None:
    listed = {one["id"]: one for one in ask(role, "campaigns").json()["campaigns"]}
    assert set(listed) == {group for group, seen_by in SEEN_BY.items() if role in seen_by}
    for group, references in groups.items():
        sees, edits = role in SEEN_BY[group], role in EDITED_BY[group]
        for path in ("", "/jobs", f"/jobs/{references[0]}", "/actions/cancel"):
            assert ask(role, f"campaigns/{group}{path}").status_code == (200 if sees else 404), (group, path)
        found = ask(role, f"campaigns/{group}/jobs/search", {"text": references[0]})
        assert found.status_code == (200 if sees else 404)
        if sees:
            assert listed[group]["can_edit"] is edits, group
            assert ask(role, f"campaigns/{group}").json()["campaign"]["can_edit"] is edits, group
        # The connection does not exist here, so whoever may act is told so.
        expected = 409 if edits else 403 if sees else 404
        for action in ("suspend", "resume", "cancel"):
            assert ask(role, f"campaigns/{group}/{action}", {}).status_code == expected, (group, action)


@pytest.mark.parametrize("role", sorted(EVERYBODY))
def test_health_and_quarantine_need_the_right_to_connections(
    role: str, ask: Callable[..., Any], ledger: Ledger
) -> None:
    may = role in ("Op", "Admin")
    assert ask(role, "me").json()["can_see_health"] is may
    for path in ("health", "quarantine"):
        assert ask(role, path).status_code == (200 if may else 404)
    assert ask(role, f"quarantine/{'0' * 64}/drop", {}).status_code == 404


def test_nobody_reads_without_logging_in(ask: Callable[..., Any], ledger: Ledger) -> None:
    for path in ("campaigns", "health", "me"):
        assert ask(None, path).status_code == 401


def _sees_plugins(airflow_app: Any, tokens: dict[str, str], role: str) -> bool:
    answer = airflow_app.get("/api/v2/plugins", headers={"Authorization": f"Bearer {tokens[role]}"})
    assert answer.status_code in (200, 403)
    return bool(answer.status_code == 200)


def test_airflow_shows_the_page_to_who_may_read_plugins(airflow_app: Any, tokens: dict[str, str]) -> None:
    """As the documentation says, and as ``outbound doctor`` does."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    from airflow_provider_outbound.cli.page_roles import check_roles

    assert [role for role in FAB_ROLES if _sees_plugins(airflow_app, tokens, role)] == ["Op", "Admin"]
    (finding,) = check_roles()
    assert finding.state == "warning"
    assert "airflow roles add-perms Half Owner User Viewer Watcher -a can_read -r Plugins" in finding.text

    # What the command does.
    blind = ("Half", "Owner", "User", "Viewer", "Watcher")
    with get_application_builder() as builder:
        for name in blind:
            pair = builder.sm.create_permission("can_read", "Plugins")
            builder.sm.add_permission_to_role(builder.sm.find_role(name), pair)

    assert all(_sees_plugins(airflow_app, tokens, role) for role in (*FAB_ROLES, *blind))
    (finding,) = check_roles()
    assert finding.state == "good"
