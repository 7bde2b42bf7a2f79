"""What everybody expects of an Airflow task, of ours: templates, XCom of any form, mapping, trigger rules, retries."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task
from support.runs import xcom

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
    OutboundBotSuspendJobsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)
NUMBERS = [f"1380000{index:04}" for index in range(4)]


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")


def states(run: DagRun) -> dict[str, str]:
    return {
        f"{ti.task_id}{'' if ti.map_index < 0 else f'[{ti.map_index}]'}": str(ti.state)
        for ti in run.get_task_instances()
    }


@pytest.mark.parametrize(
    ("named", "native"),
    [
        pytest.param(lambda create: create.output, False, id="output"),
        pytest.param(lambda _: "{{ ti.xcom_pull('create')['job_group_id'] }}", False, id="template"),
        pytest.param(lambda _: "{{ ti.xcom_pull('create')['job_group_id'] }}", True, id="native-template"),
        pytest.param(lambda _: "{{ ti.xcom_pull('create') }}", True, id="native-dictionary"),
    ],
)
def test_a_group_may_be_named_in_any_form(
    simulator: Simulator, run_dag: Callable[..., DagRun], tmp_path: Path, named: Callable[..., Any], native: bool
) -> None:
    dag_id = f"forms_{native}_{abs(hash(tmp_path))}"
    with DAG(dag_id, schedule=None, render_template_as_native_obj=native) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        group = {"job_group_id": named(create)}
        assign = OutboundBotAssignJobsOperator(task_id="assign", contacts=NUMBERS, **group)
        wait = OutboundBotJobCompleteSensor(task_id="wait", rocketmq_conn_id=None, deferrable=True, **group)
        cancel = OutboundBotCancelJobsOperator(task_id="cancel", all_jobs=True, **group)
        export = OutboundBotExportResultsOperator(
            task_id="export", path=f"{tmp_path}/{{{{ dag.dag_id }}}}.csv", **group
        )
        create >> assign >> wait >> cancel >> export

    run = run_dag(dag)

    assert set(states(run).values()) == {"success"}
    (job_group_id,) = simulator.state()["groups"]
    tasks = ("create", "assign", "wait", "cancel", "export")
    assert {xcom(run, task_id)["job_group_id"] for task_id in tasks} == {job_group_id}
    assert (tmp_path / f"{dag_id}.csv").exists()
    for task_id in tasks:
        value = xcom(run, task_id)
        assert json.loads(json.dumps(value)) == value, task_id


def test_every_task_can_be_mapped(simulator: Simulator, run_dag: Callable[..., DagRun], tmp_path: Path) -> None:
    with DAG("every_mapped", schedule=None) as dag:

        @task
        def paths(exported: list[dict[str, Any]]) -> list[str]:
            return [each["path"] for each in exported]

        create = OutboundBotCreateJobGroupOperator.partial(task_id="create", strategy=ALL_DAY).expand(
            job_group_name=["north", "south"]
        )
        assign = OutboundBotAssignJobsOperator.partial(task_id="assign", contacts=NUMBERS).expand(
            job_group_id=create.output
        )
        wait = OutboundBotJobCompleteSensor.partial(task_id="wait", rocketmq_conn_id=None, deferrable=True).expand(
            job_group_id=assign.output
        )
        hold = OutboundBotSuspendJobsOperator.partial(task_id="hold", all_jobs=True).expand(job_group_id=wait.output)
        export = OutboundBotExportResultsOperator.partial(
            task_id="export", path=f"{tmp_path}/{{{{ ti.map_index }}}}.jsonl"
        ).expand(job_group_id=hold.output)
        paths(export.output)

    run = run_dag(dag)

    assert set(states(run).values()) == {"success"}
    assert len(simulator.state()["groups"]) == 2
    assert [len(Path(path).read_text().splitlines()) for path in xcom(run, "paths")] == [4, 4]


def test_a_sensor_that_fails_leaves_the_rest_to_its_trigger_rule(
    simulator: Simulator, run_dag: Callable[..., DagRun], tmp_path: Path
) -> None:
    simulator.set_clock(speed=0)
    with DAG("rules", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        assign = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=create.output, contacts=NUMBERS)
        wait = OutboundBotJobCompleteSensor(
            task_id="wait",
            job_group_id=create.output,
            rocketmq_conn_id=None,
            deferrable=True,
            timeout=timedelta(seconds=1),
        )
        by_default = OutboundBotExportResultsOperator(
            task_id="by_default", job_group_id=create.output, path=f"{tmp_path}/no.csv"
        )
        in_any_case = OutboundBotExportResultsOperator(
            task_id="in_any_case", job_group_id=create.output, path=f"{tmp_path}/yes.csv", trigger_rule="all_done"
        )
        if_failed = OutboundBotCancelJobsOperator(
            task_id="if_failed",
            job_group_id=create.output,
            all_jobs=True,
            wait_for_completion=False,
            trigger_rule="one_failed",
        )
        assign >> wait >> [by_default, in_any_case, if_failed]

    run = run_dag(dag)

    found = states(run)
    assert (found["wait"], found["by_default"]) == ("failed", "upstream_failed")
    assert (found["in_any_case"], found["if_failed"]) == ("success", "success")
    assert xcom(run, "if_failed")["total"] == 4


def test_an_upstream_skip_skips_a_campaign(
    simulator: Simulator, run_dag: Callable[..., DagRun], tmp_path: Path
) -> None:
    with DAG("skipped", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        assign = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=create.output, contacts=[])
        wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
        export = OutboundBotExportResultsOperator(
            task_id="export", job_group_id=create.output, path=f"{tmp_path}/results.csv"
        )
        assign >> wait >> export

    run = run_dag(dag)

    assert states(run) == {"create": "success", "assign": "skipped", "wait": "skipped", "export": "skipped"}
    assert not simulator.state()["jobs_per_number"]
