"""The ``[outbound]`` section, as an author writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url
from support.examples import examples

from airflow_provider_outbound import config
from airflow_provider_outbound.exceptions import OutboundBotConfigError

KEY, OLD_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def option(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Sets options by environment variables, as Airflow reads them."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW__OUTBOUND__")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_without_a_section_there_are_defaults(option: pytest.MonkeyPatch) -> None:
    settings = config.load()

    assert settings.ledger_url == f"sqlite:///{os.environ['AIRFLOW_HOME']}/outbound_ledger.db"
    assert settings.ledger_url == config.default_ledger_url()
    assert settings.ledger_keys == (os.environ["AIRFLOW__CORE__FERNET_KEY"],)
    assert (settings.collector, settings.reconcile_interval, settings.retention_days) == ("embedded", 300.0, None)


def test_every_option_is_read(option: pytest.MonkeyPatch) -> None:
    option.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "postgresql+psycopg://me:word@db/outbound")
    option.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", f"{KEY}, {OLD_KEY}")
    option.setenv("AIRFLOW__OUTBOUND__COLLECTOR", "External")
    option.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "12.5")
    option.setenv("AIRFLOW__OUTBOUND__RETENTION_DAYS", "90")

    settings = config.load()

    assert settings == config.Settings(
        ledger_url="postgresql+psycopg://me:word@db/outbound",
        ledger_keys=(KEY, OLD_KEY),
        collector="external",
        reconcile_interval=12.5,
        retention_days=90,
    )
    assert "word" not in repr(settings)
    assert KEY not in repr(settings)


def test_a_command_may_give_the_secrets(option: pytest.MonkeyPatch) -> None:
    option.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY_CMD", f"echo {KEY}")
    option.setenv("AIRFLOW__OUTBOUND__LEDGER_URL_CMD", "echo sqlite:////tmp/l.db")

    settings = config.load()

    assert (settings.ledger_keys, settings.ledger_url) == ((KEY,), "sqlite:////tmp/l.db")


def test_no_days_of_retention_keep_all(option: pytest.MonkeyPatch) -> None:
    option.setenv("AIRFLOW__OUTBOUND__RETENTION_DAYS", "0")

    assert config.load().retention_days is None


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        pytest.param("LEDGER_URL", "mysql://me:s3cret@db/x", "ledger_url", id="other-database"),
        pytest.param("LEDGER_URL", "s3cret", "ledger_url", id="no-url"),
        pytest.param("LEDGER_URL", "sqlite://", "ledger_url", id="half-a-url"),
        pytest.param("LEDGER_URL", "postgresql://", "ledger_url", id="half-a-server"),
        pytest.param("LEDGER_URL", "sqlite:///ledger.db", r"relative.*sqlite:////.+/ledger\.db", id="relative"),
        pytest.param("LEDGER_URL", "sqlite://ledger.db", r"relative.*sqlite:////.+/ledger\.db", id="two-slashes"),
        pytest.param("LEDGER_URL", "sqlite:///./a/../l.db?timeout=9", r"relative.*sqlite:////", id="relative-dots"),
        pytest.param("LEDGER_URL", "sqlite+pysqlite:///l.db", r"relative.*sqlite\+pysqlite:////", id="relative-driver"),
        pytest.param("LEDGER_URL", "sqlite:///~/l.db", rf"relative.*sqlite:///{Path.home()}/l\.db", id="tilde"),
        pytest.param("LEDGER_URL", "sqlite:///file:l.db?uri=true", "relative", id="relative-uri"),
        pytest.param("LEDGER_URL", "sqlite:///file:/l?mode=memory&uri=true", "in memory", id="memory-uri"),
        pytest.param("LEDGER_URL", "sqlite:///", "in memory", id="memory"),
        pytest.param("LEDGER_URL", "sqlite:///:memory:", "in memory", id="memory-by-name"),
        pytest.param("LEDGER_KEY", "s3cret", "key 1 of 1 is not a Fernet key", id="no-key"),
        pytest.param("LEDGER_KEY", f"{KEY},s3cret", "key 2 of 2 is not a Fernet key", id="second-is-no-key"),
        pytest.param("COLLECTOR", "both", "collector: 'both' is not one of embedded, external", id="collector"),
        pytest.param("RECONCILE_INTERVAL", "soon", "reconcile_interval is 'soon'", id="interval-in-words"),
        pytest.param("RECONCILE_INTERVAL", "0", "reconcile_interval is '0'", id="no-interval"),
        pytest.param("RECONCILE_INTERVAL", "nan", "reconcile_interval is 'nan'", id="interval-nan"),
        pytest.param("RETENTION_DAYS", "-1", "retention_days is '-1'", id="negative-days"),
        pytest.param("RETENTION_DAYS", "99999999", "retention_days is '99999999'", id="ages"),
        pytest.param("RETENTION_DAYS", "1.5", "retention_days is '1.5'", id="half-days"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(
    option: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    option.setenv(f"AIRFLOW__OUTBOUND__{name}", value)

    with pytest.raises(OutboundBotConfigError, match=named) as caught:
        config.load()

    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_without_any_key_the_command_that_makes_one_is_given(option: pytest.MonkeyPatch) -> None:
    option.setenv("AIRFLOW__CORE__FERNET_KEY", "")

    with pytest.raises(OutboundBotConfigError, match=r"generate_key\(\)"):
        config.load()


@pytest.mark.parametrize(
    "executor",
    [
        "LocalExecutor",
        "airflow.executors.local_executor.LocalExecutor",
        "SequentialExecutor",
        "LocalExecutor, my_alias:airflow.executors.local_executor.LocalExecutor",
    ],
)
def test_the_default_ledger_serves_one_machine(option: pytest.MonkeyPatch, executor: str) -> None:
    option.setenv("AIRFLOW__CORE__EXECUTOR", executor)

    assert config.load().ledger_url == config.default_ledger_url()


@pytest.mark.parametrize(
    "executor",
    [
        "CeleryExecutor",
        "LocalExecutor,CeleryExecutor",
        "k8s:airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor",
        "LocalExecutor;team1=CeleryExecutor",
        "CeleryExecutor;team1=LocalExecutor",
    ],
)
@pytest.mark.parametrize("path", [None, "shared.db"], ids=["default", "explicit"])
def test_a_sqlite_ledger_is_refused_where_several_machines_run_tasks(
    option: pytest.MonkeyPatch, executor: str, path: str | None, tmp_path: Path
) -> None:
    if path is not None:
        option.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/{path}")
    option.setenv("AIRFLOW__CORE__EXECUTOR", executor)

    with pytest.raises(OutboundBotConfigError, match=r"ledger_url.*(Celery|Kubernetes)Executor"):
        config.load()

    option.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "postgresql+psycopg://me:word@db/outbound")
    assert config.load().ledger_url.startswith("postgresql")


def test_a_relative_airflow_home_gives_no_default_ledger(option: pytest.MonkeyPatch) -> None:
    option.setenv("AIRFLOW_HOME", "airflow")
    option.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "")

    with pytest.raises(
        OutboundBotConfigError,
        match=r"AIRFLOW_HOME is a relative path: .*; set it to an absolute path, e\.g\. /.*/airflow$",
    ):
        config.load()


def test_before_airflow_is_configured_that_is_said_and_what_to_run(tmp_path: Path) -> None:
    """A fresh machine: no airflow.cfg, no key in the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OUTBOUND"))}
    environment |= {"AIRFLOW_HOME": str(tmp_path)}
    command = [
        sys.executable,
        "-c",
        "from airflow_provider_outbound.cli import main; raise SystemExit(main())",
        "collect",
    ]
    command += ["--endpoint", "grpc://127.0.0.1:1", "--topic", "t", "--group", "g"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert f"Airflow is not configured here: there is no airflow.cfg in {tmp_path}" in line
    assert "airflow db migrate" in line
    assert "OUTBOUND_LEDGER_KEY" in line


@given(
    folders=st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), min_size=1, max_size=4),
    root=st.sampled_from(["/", "", "./", "../", "~/", "file:", "file:/"]),
    driver=st.sampled_from(["sqlite", "sqlite+pysqlite"]),
    query=st.sampled_from(["", "?timeout=5"]),
)
@settings(max_examples=examples(200), deadline=None)
def test_a_sqlite_url_is_taken_only_if_it_is_one_file_from_everywhere(
    folders: list[str], root: str, driver: str, query: str
) -> None:
    """Judged by SQLAlchemy: where does the file lie, seen from two working directories?"""
    url = f"{driver}:///{root}{'/'.join(folders)}{query}"
    database = make_url(url).database or ""
    seen = {os.path.normpath(Path(folder, database.removeprefix("file:"))) for folder in ("/a/b", "/c")}

    if len(seen) == 1:
        assert config.check_ledger_url(url) == url
    else:
        with pytest.raises(OutboundBotConfigError, match=r"relative.*sqlite(\+pysqlite)?:////") as caught:
            config.check_ledger_url(url)
        assert config.check_ledger_url(str(caught.value).rpartition(" ")[2])
