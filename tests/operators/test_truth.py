"""A run in which nobody was called because the service was down is not green."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import AssignmentUnresolvedError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
DOWN = {"status_500": {"actions": ["AssignJobs"]}}


def test_a_campaign_whose_service_was_down_is_red(
    simulator: Simulator, run_dag: Callable[..., DagRun], people: Callable[[int], list[dict[str, str]]], tmp_path: Path
) -> None:
    simulator.faults(**DOWN)
    with DAG("down", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        group: dict[str, Any] = {"job_group_id": create.output}
        assign = OutboundBotAssignJobsOperator(task_id="assign", contacts=people(8), settle_seconds=0.3, **group)
        wait = OutboundBotJobCompleteSensor(task_id="wait", rocketmq_conn_id=None, deferrable=True, **group)
        export = OutboundBotExportResultsOperator(task_id="export", path=f"{tmp_path}/results.csv", **group)
        assign >> wait >> export

    run = run_dag(dag)

    assert run.state == "failed"
    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()} == {
        "create": "success",
        "assign": "failed",
        "wait": "upstream_failed",
        "export": "upstream_failed",
    }
    assert not (tmp_path / "results.csv").exists()


def test_the_next_try_assigns_whom_the_one_before_could_not(
    simulator: Simulator,
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    created = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    operator = OutboundBotAssignJobsOperator(
        task_id="assign", job_group_id=created, contacts=[*people(8), people(1)[0]], settle_seconds=0.3
    )
    simulator.faults(**DOWN)

    with pytest.raises(AssignmentUnresolvedError, match="9 contacts read: 0 assigned, 1 duplicates, 8 unresolved"):
        operator.execute(context("assign", max_tries=1))
    simulator.faults()
    result = operator.execute(context("assign", try_number=2, max_tries=1))

    assert (result["assigned"], result["duplicates"], result["unresolved"]) == (8, 1, 0)
    assert {len(ids) for ids in simulator.state()["jobs_per_number"].values()} == {1}
    (sentence,) = re.findall(r"Job group \S+: (\d+ contacts read: [^\[]*)", capsys.readouterr().out)
    assert sentence.strip() == "9 contacts read: 8 assigned, 1 duplicates"
