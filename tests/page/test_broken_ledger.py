"""A ledger that cannot be read is reported, and the api-server and the other pages go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text
from support.seeding import ANSWERED, seed, task

from airflow_provider_outbound.core.ledger import Incoming, Ledger
from airflow_provider_outbound.page.ledger import shared

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]
PATHS = ("campaigns/any", "campaigns/any/jobs", "health", "quarantine")


@pytest.fixture
def set_option(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> Callable[..., Any]:
    """Changes an option of ``[outbound]`` for the page."""

    def change(name: str, value: str) -> None:
        monkeypatch.setenv(f"AIRFLOW__OUTBOUND__{name.upper()}", value)
        shared.close()

    return change


def _assert_unavailable(ask: Callable[..., Any], airflow_app: Any, words: str) -> None:
    for path in (*PATHS, "campaigns"):
        answer = ask("admin", path)
        assert answer.status_code == 503, path
        assert words in f"{answer.json()['error']}; {answer.json()['fix']}"
    assert ask("admin", "campaigns/any/cancel", {}).status_code == 503
    assert ask("admin", "me").status_code == 200
    assert airflow_app.get("/api/v2/version").status_code == 200


def test_a_missing_file_is_not_created(
    ask: Callable[..., Any], airflow_app: Any, set_option: Callable[..., None], tmp_path: Path
) -> None:
    missing = tmp_path / "other" / "ledger.db"
    set_option("ledger_url", f"sqlite:///{missing}")
    assert ask("admin", "campaigns").json()["empty"] == "no_ledger"
    for path in PATHS:
        assert ask("admin", path).status_code == 503
    assert not missing.parent.exists()


def test_a_file_that_is_deleted_later_is_not_created_again(ask: Callable[..., Any], ledger: Ledger) -> None:
    seed(ledger, "group", [ANSWERED], task=task())
    assert ask("user", "campaigns/group").status_code == 200
    path = Path(str(ledger.engine.url.database))
    ledger.close()
    shared.close()
    for file in path.parent.glob("ledger.db*"):
        file.unlink()
    assert ask("user", "campaigns/group").status_code == 503
    assert not path.exists()


def test_an_older_schema_is_left_as_it_is(ask: Callable[..., Any], airflow_app: Any, ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(text("UPDATE outbound_version SET version_num = '0009'"))
    _assert_unavailable(ask, airflow_app, "run: outbound ledger migrate")
    with ledger.read() as connection:
        assert connection.execute(text("SELECT version_num FROM outbound_version")).scalar() == "0009"


def test_a_newer_schema_names_the_fix(ask: Callable[..., Any], airflow_app: Any, ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(text("UPDATE outbound_version SET version_num = '9999'"))
    _assert_unavailable(ask, airflow_app, "install the newer airflow-provider-outbound")


def test_a_wrong_key_is_reported(ask: Callable[..., Any], airflow_app: Any, set_option: Callable[..., None]) -> None:
    set_option("ledger_key", Fernet.generate_key().decode())
    _assert_unavailable(ask, airflow_app, "ledger_key: none of the keys given")


def test_a_file_that_is_no_ledger_is_reported(
    ask: Callable[..., Any], airflow_app: Any, set_option: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("this is not a database, but a text that is long enough" * 100)
    set_option("ledger_url", f"sqlite:///{tmp_path}/text.db")
    _assert_unavailable(ask, airflow_app, "not a database")


def test_a_server_without_an_answer_is_reported(
    ask: Callable[..., Any], airflow_app: Any, set_option: Callable[..., None]
) -> None:
    set_option("ledger_url", "postgresql+psycopg://user:secret@127.0.0.1:1/ledger")
    _assert_unavailable(ask, airflow_app, "postgresql+psycopg://user:***@127.0.0.1:1/ledger")


def test_a_wrong_setting_is_reported(
    ask: Callable[..., Any], airflow_app: Any, set_option: Callable[..., None]
) -> None:
    set_option("ledger_url", "sqlite:///relative.db")
    _assert_unavailable(ask, airflow_app, "[outbound] ledger_url is a relative path")


def test_a_ledger_that_is_repaired_is_used(
    ask: Callable[..., Any], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger.write() as connection:
        connection.execute(text("UPDATE outbound_version SET version_num = '9999'"))
    assert ask("user", "campaigns").status_code == 503
    with ledger.write() as connection:
        connection.execute(text("UPDATE outbound_version SET version_num = '0010'"))
    # The page looks again some seconds later.
    shared.close()
    assert ask("user", "campaigns").status_code == 200


def test_health_and_quarantine_hide_numbers(
    ask: Callable[..., Any], ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"eventType": "JobComplete", "id": "j", "phone": "13812345678"}).encode()
    ledger.inbox.record([Incoming(body=body, message_id="1", topic="calls")])
    assert ask("admin", "health").json()["quarantine"] == 1
    (message,) = ask("op", "quarantine").json()["messages"]
    assert "13812345678" not in json.dumps(message)
    assert message["topic"] == "calls"

    assert ask("op", f"quarantine/{message['name']}/replay", {}).status_code == 409
    assert ask("op", f"quarantine/{message['name'][:8]}/drop", {}).status_code == 422
    assert ask("op", f"quarantine/{message['name']}/drop", {}).json() == {"ok": True}
    assert ask("op", f"quarantine/{message['name']}/drop", {}).status_code == 404
    assert ask("op", "quarantine").json()["messages"] == []
    assert f"op dropped quarantined message {message['name']}" in caplog.text
