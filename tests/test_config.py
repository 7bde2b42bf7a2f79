"""The ``[outbound]`` section, as an author writes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

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
        pytest.param("LEDGER_URL", "sqlite:///", "in memory", id="memory"),
        pytest.param("LEDGER_URL", "sqlite:///:memory:", "in memory", id="memory-by-name"),
        pytest.param("LEDGER_KEY", "s3cret", "key 1 of 1 is not a Fernet key", id="no-key"),
        pytest.param("LEDGER_KEY", f"{KEY},s3cret", "key 2 of 2 is not a Fernet key", id="second-is-no-key"),
        pytest.param("COLLECTOR", "both", "collector is 'both'; use one of embedded, external", id="collector"),
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
    config.check_shared_ledger(config.load(), executor)


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
def test_the_default_ledger_is_refused_where_several_machines_run_tasks(
    option: pytest.MonkeyPatch, executor: str, tmp_path: Path
) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"ledger_url.*(Celery|Kubernetes)Executor"):
        config.check_shared_ledger(config.load(), executor)

    option.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/shared.db")
    config.check_shared_ledger(config.load(), executor)
