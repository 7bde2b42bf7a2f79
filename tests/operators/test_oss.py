"""A campaign whose lists, results, rejects and recordings are in OSS."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from support.oss_server import OssServer
from support.runs import xcom

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotDownloadRecordingsOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.sdk.definitions.xcom_arg import XComArg

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
STORE = "oss://oss_test@campaigns"
PHONE = re.compile(r"138\d{8}")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")


def assign(group: dict[str, Any] | XComArg, **arguments: Any) -> OutboundBotAssignJobsOperator:
    given = {
        "contacts_path": f"{STORE}/list/*.csv",
        "exclude_path": f"{STORE}/do-not-call.csv",
        "rejects_path": f"{STORE}/rejects.csv",
        **arguments,
    }
    return OutboundBotAssignJobsOperator(
        task_id="assign",
        job_group_id=group,
        on_invalid="skip",
        settle_seconds=0.3,
        **{name: value for name, value in given.items() if value is not None},
    )


def campaign(dag_id: str) -> DAG:
    with DAG(dag_id, schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        wait = OutboundBotJobCompleteSensor(
            task_id="wait",
            job_group_id=assign(create.output).output,
            rocketmq_conn_id=None,
            deferrable=False,
            mode="poke",
            poke_interval=0.5,
        )
        OutboundBotExportResultsOperator(task_id="export", job_group_id=wait.output, path=f"{STORE}/results.csv")
        OutboundBotDownloadRecordingsOperator(
            task_id="record", job_group_id=wait.output, path=f"{STORE}/recordings", timeout=timedelta(minutes=2)
        )
    return dag


def test_a_campaign_from_lists_in_oss_to_results_in_oss(
    simulator: Simulator,
    run_dag: Callable[..., DagRun],
    oss: OssServer,
    at: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    oss.put("campaigns/list/1.csv", b"phone\n13800000000\n13800000060\n")
    oss.put("campaigns/list/2.csv", b"phone\n13800000001\n1380000\n")
    oss.put("campaigns/do-not-call.csv", b"phone\n13800000001\n")

    run = run_dag(campaign("in_oss"))

    assert run.state == "success"
    assert sorted(simulator.state()["jobs_per_number"]) == ["13800000000", "13800000060"]
    rows = list(csv.DictReader(io.StringIO(at("results.csv").read_text(encoding="utf-8-sig"))))
    assert sorted(row["outcome"] for row in rows) == ["answered", "unanswered"]
    left_out = list(csv.DictReader(io.StringIO(at("rejects.csv").read_text(encoding="utf-8-sig"))))
    assert sorted(row["counted_as"] for row in left_out) == ["excluded", "rejected"]
    (recording,) = at("recordings").iterdir()
    assert recording.read_bytes().startswith(b"RIFF")
    assert not oss.uploads
    assert not [key for key in oss.buckets["campaigns"] if ".part" in key]
    assert not PHONE.search(caplog.text)

    # Another try finds the recording there, without reading all of it.
    oss.operations.clear()
    group = xcom(run, "wait")
    again = OutboundBotDownloadRecordingsOperator(task_id="again", job_group_id=group, path=f"{STORE}/recordings")
    assert again.execute({})["present"] == 1
    assert "PutObject" not in oss.operations


@pytest.mark.parametrize(
    ("arguments", "denied", "reason"),
    [
        pytest.param({}, {"ListObjects"}, "contacts_path: .* cannot be read: OSS refuses access", id="contacts"),
        pytest.param(
            {"contacts_path": f"{STORE}/list/1.csv"}, {"GetObject"}, "exclude_path: .* OSS refuses", id="exclude"
        ),
        pytest.param(
            {"contacts_path": f"{STORE}/list/1.csv", "exclude_path": f"{STORE}/other/*.csv"},
            {"ListObjects"},
            "exclude_path: .* OSS refuses access",
            id="exclude-by-pattern",
        ),
    ],
)
def test_a_refused_list_fails_the_task_and_nobody_is_called(
    simulator: Simulator,
    oss: OssServer,
    arguments: dict[str, Any],
    denied: set[str],
    reason: str,
    context: Callable[..., Any],
) -> None:
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    oss.put("campaigns/list/1.csv", b"phone\n13800000000\n")
    oss.put("campaigns/do-not-call.csv", b"phone\n13800000001\n")
    oss.denied = denied

    with pytest.raises(OutboundBotContactsError, match=reason):
        assign(group, **arguments).execute(context())
    assert simulator.state()["jobs_per_number"] == {}


def test_a_list_that_may_not_be_read_is_not_replaced_by_rejects(
    simulator: Simulator, oss: OssServer, context: Callable[..., Any]
) -> None:
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    oss.put("campaigns/do-not-call.csv", b"phone\n13800000001\n")
    oss.denied = {"GetObject"}
    path = f"{STORE}/do-not-call.csv"
    task = assign(group, contacts=["13800000000"], contacts_path=None, exclude_path=None, rejects_path=path)

    with pytest.raises(OutboundBotConfigError, match=r"rejects_path: .* cannot be read, so it may be another file"):
        task.execute(context())
    assert oss.body("campaigns/do-not-call.csv") == b"phone\n13800000001\n"
    assert simulator.state()["jobs_per_number"] == {}
