"""A setting that a task was to give, and that is None, must not mean the default."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotModifyJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
CREATE: dict[str, Any] = {"strategy": ALL_DAY, "trigger_rule": "none_failed"}


@pytest.mark.parametrize("native", [False, True])
def test_a_setting_that_its_task_did_not_give_is_not_the_default(
    simulator: Simulator, run_dag: Callable[..., DagRun], people: Callable[[int], list[dict[str, str]]], native: bool
) -> None:
    with DAG(f"none_{native}", schedule=None, render_template_as_native_obj=native) as dag:

        @task
        def nothing() -> None:
            return None

        @task
        def skipped() -> dict[str, Any]:
            raise AirflowSkipException

        group = OutboundBotCreateJobGroupOperator(task_id="create", **CREATE).output
        given: dict[str, Any] = {
            "job_group_id": group,
            "contacts": people(2),
            "settle_seconds": 0.3,
            "trigger_rule": "none_failed",
        }
        OutboundBotCreateJobGroupOperator(task_id="script", **CREATE | {"script_id": nothing()})
        OutboundBotAssignJobsOperator(task_id="window", **given | {"strategy": skipped()})
        OutboundBotAssignJobsOperator.partial(task_id="mapped", strategy=nothing(), **given).expand(max_jobs=[1])
        change: dict[str, Any] = {"strategy": nothing(), "priority": "Daily"}
        OutboundBotModifyJobGroupOperator(task_id="longer", job_group_id=group, **change)
        if native:
            template = "{{ none }}"
            OutboundBotAssignJobsOperator(task_id="numbers", calling_numbers=template, **given)

    run = run_dag(dag)

    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    failed = {"script", "window", "mapped", "longer", *(("numbers",) if native else ())}
    assert {name: states[name] for name in failed} == dict.fromkeys(failed, "failed")
    assert states["create"] == "success"
    assert not simulator.state()["jobs_per_number"]
    assert simulator.state()["requests"].get("CreateJobGroup") == 1
    assert "ModifyJobGroup" not in simulator.state()["requests"]
