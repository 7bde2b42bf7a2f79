"""The page inside Airflow's application with FAB's auth manager, in this process, and a user for each kind of role."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from page.conftest import add_dags

#: What each role of the tests may do, beside FAB's own roles. ``Half`` may edit its DAG and only read its runs.
_OWN = [("can_read", "Website"), ("can_read", "DAG:campaign"), ("can_read", "DAG Runs")]
OWN_ROLES = {
    "Owner": [*_OWN, ("can_edit", "DAG:campaign"), ("can_edit", "DAG Runs")],
    "Watcher": _OWN,
    "Half": [*_OWN, ("can_edit", "DAG:campaign")],
    "Nobody": [("can_read", "Website")],
}
FAB_ROLES = ("Viewer", "User", "Op", "Admin")
_SETTINGS = {
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    # FAB keeps a user and their rights for half a minute, and the tests change rights.
    "AIRFLOW__FAB__CACHE_TTL": "0",
    # Of the tests alone: they protect nothing.
    "AIRFLOW__API__SECRET_KEY": "only-for-tests-0123456789abcdef0123456789abcdef",
    "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-0123456789abcdef0123456789abcdef0123456789abcdef",
}


@pytest.fixture(scope="package")
def airflow_app(airflow_home: Path) -> Iterator[Any]:
    """Airflow's application with the plugin, FAB's roles and users, and two DAGs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _application() as client:
            yield client


@contextmanager
def _application() -> Iterator[Any]:
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from airflow.providers.fab.auth_manager.models.db import FABDBManager
    from airflow.utils.session import create_session
    from fastapi.testclient import TestClient

    os.environ |= _SETTINGS
    with create_session() as session:
        FABDBManager(session).initdb()
    add_dags("campaign", "foreign")
    purge_cached_app()
    _add_users()
    with TestClient(create_app("core"), base_url="http://airflow", raise_server_exceptions=False) as client:
        yield client
    purge_cached_app()
    for name in _SETTINGS:
        del os.environ[name]


def _add_users() -> None:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        for name, permissions in OWN_ROLES.items():
            role = manager.add_role(name)
            for action, resource in permissions:
                manager.add_permission_to_role(role, manager.create_permission(action, resource))
        for name in (*FAB_ROLES, *OWN_ROLES):
            role = manager.find_role(name)
            made = manager.add_user(name, name, "Test", f"{name}@example.com", role, password=name)
            assert made, name


@pytest.fixture(scope="package")
def tokens(airflow_app: Any) -> dict[str, str]:
    """A token for each role's user."""
    found = {}
    for name in (*FAB_ROLES, *OWN_ROLES):
        answer = airflow_app.post("/auth/token", json={"username": name, "password": name})
        assert answer.status_code == 201, answer.text
        found[name] = answer.json()["access_token"]
    return found
