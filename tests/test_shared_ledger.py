"""A SQLite ledger, where tasks run on several machines, is refused by whatever would open it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotDownloadRecordingsOperator,
    OutboundBotExportResultsOperator,
    OutboundBotSaveContactBlockListOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger, OutboundBotJobCompleteTrigger

EXECUTORS = ["CeleryExecutor", "LocalExecutor,k8s:KubernetesExecutor", "LocalExecutor;team=CeleryExecutor"]
WORDS = r"ledger_url is a SQLite file.*(Celery|Kubernetes)Executor runs tasks on others"


@pytest.fixture(params=["default", "explicit"])
def ledger(
    request: pytest.FixtureRequest, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The file of a ledger that must not be made."""
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    if request.param == "default":
        monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "")
        return tmp_path / "outbound_ledger.db"
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/explicit.db")
    return tmp_path / "explicit.db"


def run_of(operator: Any) -> Callable[[], Any]:
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=0, start_date=None)
    run = SimpleNamespace(run_after=datetime.now(UTC), run_type="scheduled")
    return lambda: operator.execute({"ti": ti, "dag_run": run, "task_instance": ti, "outlet_events": {}})


def event_of(trigger: Any) -> Callable[[], Any]:
    """Run a trigger as another process would: made of what was stored."""

    async def first() -> Any:
        _, arguments = trigger.serialize()
        rebuilt = type(trigger)(**arguments)
        async with asyncio.timeout(60):
            return [event.payload async for event in rebuilt.run()]

    def run() -> None:
        (payload,) = asyncio.run(first())
        assert payload["status"] == "error"
        raise OutboundBotConfigError(payload["message"])

    return run


def opened() -> dict[str, Callable[[], Any]]:
    group: dict[str, Any] = {"task_id": "t", "job_group_id": "group"}
    strategy = Strategy(working_time=[("00:00", "23:59:59")])
    return {
        "hook": lambda: OutboundBotHook().ledger,
        "results": lambda: list(OutboundBotHook().iter_results("group")),
        "create": run_of(OutboundBotCreateJobGroupOperator(task_id="t", strategy=strategy)),
        "assign": run_of(OutboundBotAssignJobsOperator(**group, contacts=["13800000000"])),
        "contacts-from": run_of(OutboundBotAssignJobsOperator(**group, contacts_from="other")),
        "export": run_of(OutboundBotExportResultsOperator(**group, path="/proc/nowhere/x.csv")),
        "recordings": run_of(OutboundBotDownloadRecordingsOperator(**group, path="/proc/nowhere")),
        "block-list": run_of(OutboundBotSaveContactBlockListOperator(**group, only="failed")),
        "sensor": run_of(OutboundBotJobCompleteSensor(**group, deferrable=False, mode="poke")),
        "deferrable-sensor": run_of(OutboundBotJobCompleteSensor(**group, deferrable=True)),
        "trigger": event_of(OutboundBotJobCompleteTrigger(job_group_id="group")),
        "trigger-without-messages": event_of(
            OutboundBotJobCompleteTrigger(job_group_id="group", rocketmq_conn_id=None)
        ),
    }


@pytest.mark.parametrize("who", [*opened()])
def test_it_is_refused_in_tasks_and_triggers(
    who: str, simulator: Simulator, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")

    with pytest.raises(OutboundBotConfigError, match=WORDS):
        opened()[who]()

    assert not ledger.exists()
    assert not simulator.state()["groups"]


def test_calls_are_stopped_without_it(simulator: Simulator, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = OutboundBotHook().client.create_job_group(job_group_name="tests", script_id=simulator.script_id)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    cancel = OutboundBotCancelJobsOperator(task_id="t", job_group_id=made.job_group_id, all_jobs=True)

    with pytest.raises(OutboundBotError, match="the ledger could not record"):
        run_of(cancel)()

    assert simulator.state()["requests"]["CancelJobs"] == 1
    assert not ledger.exists()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_is_refused_by_an_event_trigger(executor: str, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)

    async def pages() -> None:
        trigger = OutboundBotCallEventTrigger(subscription="s")
        async for _ in trigger._pages(None):
            break

    with pytest.raises(OutboundBotConfigError, match=WORDS):
        asyncio.run(pages())

    assert not ledger.exists()


@pytest.mark.parametrize(
    "command",
    [
        "groups",
        "cancel --all --yes",
        "ledger migrate",
        "ledger status",
        "collect --endpoint grpc://127.0.0.1:1 --topic t --group g",
    ],
    ids=lambda command: command.split()[-1] if command.startswith("ledger") else command.split()[0],
)
def test_it_is_refused_by_commands(
    command: str, ledger: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", EXECUTORS[1])

    assert main(command.split()) == 1

    (line,) = capfd.readouterr().err.splitlines()
    assert "KubernetesExecutor runs tasks on others" in line
    assert not ledger.exists()


@pytest.mark.parametrize(
    ("url", "executor", "words"),
    [
        pytest.param("sqlite:////tmp/nowhere/l.db", EXECUTORS[0], "CeleryExecutor runs tasks on others", id="celery"),
        pytest.param("sqlite:///l.db", "LocalExecutor", "is a relative path", id="relative"),
        pytest.param("sqlite:///~/l.db", "LocalExecutor", "is a relative path", id="home"),
    ],
)
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_so_is_one_named_to_a_command(
    url: str,
    executor: str,
    words: str,
    by: str,
    ledger: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    monkeypatch.chdir(tmp_path)
    if by == "environment":
        monkeypatch.setenv("OUTBOUND_LEDGER_URL", url)

    assert main(["ledger", "migrate", *(["--ledger-url", url] if by == "argument" else [])]) == 1

    (line,) = capfd.readouterr().err.splitlines()
    assert words in line
    assert not list(tmp_path.iterdir())


def test_the_doctor_names_it(ledger: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")

    assert main(["doctor", "--json", "--no-rocketmq"]) == 1

    found = {finding["name"]: finding for finding in json.loads(capfd.readouterr().out)}
    assert found["configuration"]["state"] == "wrong"
    assert "CeleryExecutor runs tasks on others" in found["configuration"]["text"]
    assert not ledger.exists()
