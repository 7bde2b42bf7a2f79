"""With ``[core] multi_team``, a campaign belongs to the team of its DAG's bundle, or of its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.seeding import WAITING, seed, task

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.page import views

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]

#: Users of two teams, with the right to edit DAGs, and with the right to connections too.
USERS = {"red": ("user", "red"), "blue": ("user", "blue"), "red-op": ("op", "red"), "blue-op": ("op", "blue")}


@pytest.fixture(scope="module")
def users(airflow_app: Any, tokens: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The users, with tokens beside those of users without a team; the team ``red`` has a DAG and a connection."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models import Connection, DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team
    from airflow.utils.session import create_session

    with create_session() as session:
        team, bundle = Team(name="red"), DagBundleModel(name="red-bundle")
        team.dag_bundles.append(bundle)
        session.add_all([team, Team(name="blue"), bundle])
        session.flush()
        untyped: Any = DagModel
        session.add(untyped(dag_id="red-dag", bundle_name="red-bundle", fileloc="red.py"))
        session.add(Connection(conn_id="red_connection", conn_type="outboundbot", team_name="red"))
    made = {name: SimpleAuthManagerUser(username=name, role=role, teams=[team]) for name, (role, team) in USERS.items()}
    tokens.update({name: get_auth_manager().generate_jwt(user) for name, user in made.items()})
    yield made
    for name in made:
        del tokens[name]


@pytest.mark.parametrize(
    ("group", "dag_id", "conn_id", "seen_by"),
    [
        pytest.param("of-team", "red-dag", "red_connection", {"red", "red-op", "admin"}, id="dag-of-a-team"),
        pytest.param("no-dag", None, "red_connection", {"red-op", "admin"}, id="connection-of-a-team"),
        pytest.param("free", "campaign", "other", {*USERS, "user", "op", "admin"}, id="no-team"),
    ],
)
def test_a_campaign_is_for_its_own_team(
    group: str,
    dag_id: str | None,
    conn_id: str,
    seen_by: Any,
    ask: Callable[..., Any],
    users: dict[str, Any],
    ledger: Ledger,
) -> None:
    seed(ledger, group, [WAITING], task=None if dag_id is None else task(dag_id), conn_id=conn_id)
    for name in (*USERS, "user", "op", "admin"):
        sees = name in seen_by
        assert ask(name, f"campaigns/{group}").status_code == (200 if sees else 404), name
        assert [one["id"] for one in ask(name, "campaigns").json()["campaigns"]] == ([group] if sees else []), name
        # The connection cannot be used here, so whoever may act is told so.
        assert ask(name, f"campaigns/{group}/cancel", {}).status_code == (409 if sees else 404), name


def test_the_right_to_act_is_asked_for_with_the_team(users: dict[str, Any], ledger: Ledger) -> None:
    """The rights to read hide a team's campaigns from others already, so the right to act is asked for directly."""
    from airflow_provider_outbound.page.ledger import shared
    from airflow_provider_outbound.page.rights import Reader

    seed(ledger, "of-team", [WAITING], task=task("red-dag"))
    shared.cache.clear()
    campaign = views.find("of-team")
    assert campaign is not None
    assert Reader(user=users["red"]).can_edit(campaign)
    assert not Reader(user=users["blue-op"]).can_edit(campaign)
