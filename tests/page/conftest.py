"""The page inside Airflow's own application, in this process, with the users of Airflow's simple auth manager."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import KEY
from support.seeding import (
    ANSWERED,
    ANSWERED_LATE,
    BLOCKED,
    CALL_FAILED,
    ON_THE_LINE,
    ROLES,
    UNANSWERED,
    WAITING,
    seed,
    task,
)

from airflow_provider_outbound.core.ledger import Ledger, open_ledger

_POST = {"X-Outbound": "1"}


@pytest.fixture(scope="package")
def airflow_app(airflow_home: Path) -> Iterator[Any]:
    """Airflow's application with the plugin, and two DAGs."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    settings = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow_home / "passwords.json"),
    }
    (airflow_home / "passwords.json").write_text(json.dumps({role: role for role in ROLES}))
    os.environ |= settings
    add_dags("campaign", "foreign")
    purge_cached_app()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = create_app("core")
    with TestClient(app, base_url="http://airflow", raise_server_exceptions=False) as client:
        yield client
    purge_cached_app()
    for name in settings:
        del os.environ[name]


def add_dags(*dag_ids: str) -> None:
    """Enter DAGs into Airflow's database."""
    from airflow.models import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    untyped: Any = DagModel
    with create_session() as session:
        if session.get(DagBundleModel, "dags-folder") is None:
            session.add(DagBundleModel(name="dags-folder"))
            session.flush()
        for dag_id in dag_ids:
            session.merge(untyped(dag_id=dag_id, bundle_name="dags-folder", fileloc=f"{dag_id}.py"))


@pytest.fixture(scope="package")
def tokens(airflow_app: Any) -> dict[str, str]:
    """A token for each role."""
    found = {}
    for role in ROLES:
        answer = airflow_app.post("/auth/token", json={"username": role, "password": role})
        found[role] = answer.json()["access_token"]
    return found


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The installation's ledger, which the page reads."""
    from airflow_provider_outbound.page.ledger import shared

    ledger_url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", ledger_url)
    shared.close()
    with open_ledger(ledger_url, [KEY]) as opened:
        yield opened
    shared.close()


@pytest.fixture
def ask(airflow_app: Any, tokens: dict[str, str]) -> Callable[..., Any]:
    """Sends a request of a user to the page; ``look`` forgets what the page has kept."""
    from airflow_provider_outbound.page.ledger import shared

    def send(role: str | None, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        shared.cache.clear()
        own = {} if role is None else {"Authorization": f"Bearer {tokens[role]}"}
        if body is None:
            return airflow_app.get(f"/outbound/api/{path}", headers={**own, **(headers or {})})
        return airflow_app.post(
            f"/outbound/api/{path}", json=body, headers={**own, **(_POST if headers is None else headers)}
        )

    return send


@pytest.fixture
def campaigns(ledger: Ledger) -> dict[str, list[str]]:
    """Reference ids by group: running, ended, of a DAG that Airflow does not have, and without a DAG."""
    return {
        "running": seed(
            ledger,
            "running",
            [ANSWERED, UNANSWERED, BLOCKED, ANSWERED_LATE, CALL_FAILED, ON_THE_LINE, WAITING, WAITING],
            task=task(),
            name="Spring offers",
            unresolved=1,
        ),
        "ended": seed(ledger, "ended", [ANSWERED, UNANSWERED], task=task(run_id="earlier"), first_number=13900000000),
        "deleted": seed(ledger, "deleted", [ANSWERED], task=task("no-longer"), first_number=13700000000),
        "nameless": seed(ledger, "nameless", [ANSWERED], conn_id=None, first_number=13600000000),
    }
