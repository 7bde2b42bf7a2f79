"""A task that has ended holds no connection to the ledger, whatever it did last."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
    OutboundBotResumeJobsOperator,
    OutboundBotSaveContactBlockListOperator,
    OutboundBotSuspendJobsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "24:00")])


def open_ledgers(folder: Path) -> list[str]:
    """Files of the ledger that this process has open, by the operating system's word."""
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(f"{folder}/ledger.db")]


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param({}, id="without-a-limit"),
        # Requests take their turns from the ledger, the last one of a task too.
        pytest.param({"max_requests_per_second": 7}, id="with-a-limit"),
    ],
)
def test_a_task_that_has_ended_holds_no_connection(
    simulator: Simulator,
    connection: Callable[..., None],
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
    limit: dict[str, Any],
) -> None:
    connection(limit)
    held: dict[str, list[str]] = {}

    def run(operator: BaseOperator) -> Any:
        result = None
        with contextlib.suppress(AirflowSkipException):  # nobody is to be called again
            result = operator.execute(context(operator.task_id))
        held[operator.task_id] = open_ledgers(tmp_path)
        return result

    group = run(OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY))
    run(OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, contacts=people(3)))
    run(OutboundBotAssignJobsOperator(task_id="again", job_group_id=group, contacts_from=group, only="Busy"))
    for kind in (OutboundBotSuspendJobsOperator, OutboundBotResumeJobsOperator, OutboundBotCancelJobsOperator):
        run(kind(task_id=kind.action, job_group_id=group, all_jobs=True, deferrable=False, poll_interval=0.05))
    run(
        OutboundBotJobCompleteSensor(
            task_id="wait", job_group_id=group, mode="poke", poke_interval=0.1, on_cancelled="succeed"
        )
    )
    run(OutboundBotExportResultsOperator(task_id="export", job_group_id=group, path=f"{tmp_path}/r.csv", enrich=True))
    run(OutboundBotSaveContactBlockListOperator(task_id="block", job_group_id=group, only="Busy"))

    assert {task_id: files for task_id, files in held.items() if files} == {}
