"""Recordings in a real DAG run, at the end of a campaign."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from airflow.sdk import DAG

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotDownloadRecordingsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")


def test_a_campaign_ends_with_its_recordings_and_nothing_tells_a_number_or_a_link(
    simulator, airflow_home, run_dag, tmp_path, capfd, caplog
):
    caplog.set_level("DEBUG")
    with DAG("recorded", schedule=None, params={"folder": str(tmp_path)}) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        assign = OutboundBotAssignJobsOperator(
            task_id="assign",
            job_group_id=create.output,
            contacts=[f"138000000{digits:02}" for digits in (0, 1, 2, 60, 88)],
            settle_seconds=0.3,
        )
        wait = OutboundBotJobCompleteSensor(
            task_id="wait",
            job_group_id=assign.output,
            rocketmq_conn_id=None,
            deferrable=False,
            mode="poke",
            poke_interval=0.5,
        )
        OutboundBotDownloadRecordingsOperator(
            task_id="record",
            job_group_id=wait.output,
            path="{{ params.folder }}/{{ ti.xcom_pull('create')['job_group_id'] }}",
            timeout=timedelta(minutes=2),
        )

    run = run_dag(dag)

    assert run.state == "success"
    group = run.get_task_instance("create").xcom_pull(task_ids="create")["job_group_id"]
    result = run.get_task_instance("record").xcom_pull(task_ids="record")
    files = sorted(path.name for path in (tmp_path / group).iterdir())
    assert (result["job_group_id"], result["path"]) == (group, str(tmp_path / group))
    assert (result["answered"], result["downloaded"], result["present"], result["missing"]) == (3, 3, 0, 0)
    answered = {
        f"{job['job_id']}_{call['task_id']}.wav"
        for job in simulator.state()["groups"][group]["jobs"]
        for call in job["calls"]
        if call["recording"]
    }
    assert set(files) == answered
    told = "".join(capfd.readouterr()) + caplog.text + json.dumps(result)
    told += "".join(log.read_text() for log in (airflow_home / "logs").rglob("dag_id=recorded/**/*.log"))
    assert "3 recordings downloaded" in told
    assert not re.search(r"138\d{8}|Signature=", told)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            {"max_parallel_requests": 0}, "max_parallel_requests: 0 is not a whole number of 1 or more", id="requests"
        ),
        pytest.param({"timeout": 60}, "timeout: 60 is not a timedelta", id="timeout"),
        pytest.param({"path": 5}, "path: int is not a path", id="path"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(context, tmp_path, arguments, words):
    given = {"path": str(tmp_path / "r"), **arguments}

    with pytest.raises(OutboundBotConfigError, match=words):
        OutboundBotDownloadRecordingsOperator(task_id="record", job_group_id="group", **given).execute(context())
