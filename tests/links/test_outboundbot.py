"""The link to the console: made by a real run, found by Airflow's pages through XCom alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.links.outboundbot import OutboundBotConsoleLink, console_url
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
    OutboundBotResumeJobsOperator,
    OutboundBotSuspendJobsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun


@pytest.mark.parametrize(
    "kind",
    [
        OutboundBotCreateJobGroupOperator,
        OutboundBotAssignJobsOperator,
        OutboundBotJobCompleteSensor,
        OutboundBotExportResultsOperator,
        OutboundBotSuspendJobsOperator,
        OutboundBotResumeJobsOperator,
        OutboundBotCancelJobsOperator,
    ],
)
def test_every_task_of_a_group_has_the_link(kind: Any) -> None:
    assert [type(link) for link in kind.operator_extra_links] == [OutboundBotConsoleLink]


def test_a_run_leaves_links_that_need_no_code_of_ours_to_be_shown(
    simulator: Simulator,
    airflow_home: Path,
    run_dag: Callable[..., DagRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    with DAG("linked", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(
            task_id="create", strategy=Strategy(working_time=[("00:00", "23:59:59")])
        )
        cancel = OutboundBotCancelJobsOperator(task_id="cancel", job_group_id=create.output, all_jobs=True)
        failing = OutboundBotCancelJobsOperator(task_id="failing", job_group_id="nope", all_jobs=True)
        create >> cancel >> failing

    run_dag(dag)

    (group_id,) = simulator.state()["groups"]
    url = f"https://outboundbot.console.aliyun.com/?instanceId={simulator.instance_id}&jobGroupId={group_id}"
    database = sqlite3.connect(airflow_home / "airflow.db")
    key = OutboundBotConsoleLink().xcom_key
    rows = database.execute("SELECT task_id, value FROM xcom WHERE dag_id = 'linked' AND key = ?", (key,)).fetchall()
    database.close()
    assert {task_id: value.strip('"') for task_id, value in rows} == {
        "create": url,
        "cancel": url,
        "failing": "https://outboundbot.console.aliyun.com/?jobGroupId=nope",
    }


@pytest.mark.parametrize("job_group_id", [None, "", 7])
def test_without_a_job_group_there_is_no_link(job_group_id: int | str | None) -> None:
    assert console_url(job_group_id, "instance") == ""
