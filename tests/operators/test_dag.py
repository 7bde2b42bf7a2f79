"""The operators in a real DAG run, and what Airflow keeps of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task
from support.runs import task_of, xcom

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])


def stored_text(airflow_home: Path, dag_id: str) -> str:
    """Everything that the metadata database keeps of what was rendered, returned and serialised for a DAG, as text."""
    import sqlite3

    with sqlite3.connect(airflow_home / "airflow.db") as database:
        text = []
        for table in ("rendered_task_instance_fields", "serialized_dag", "xcom", "log"):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            assert "dag_id" in columns, table
            condition = "dag_id = ?" + (" AND task_id != 'load'" if table == "xcom" else "")
            text += [
                str(row) for row in database.execute(f"SELECT * FROM {table} WHERE {condition}", (dag_id,)).fetchall()
            ]
    database.close()
    return "\n".join(text)


def rendered(airflow_home: Path, dag_id: str, task_id: str) -> dict[str, Any]:
    import sqlite3

    database = sqlite3.connect(airflow_home / "airflow.db")
    row = database.execute(
        "SELECT rendered_fields FROM rendered_task_instance_fields WHERE dag_id = ? AND task_id = ?", (dag_id, task_id)
    ).fetchone()
    database.close()
    fields: dict[str, Any] = json.loads(row[0])
    return fields


def test_contacts_through_xcom_are_called_once_and_never_shown(
    simulator: Simulator,
    airflow_home: Path,
    run_dag: Callable[..., DagRun],
    people: Callable[[int], list[dict[str, str]]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    with DAG("veiled", schedule=None) as dag:

        @task(show_return_value_in_logs=False)
        def load() -> list[dict[str, str]]:
            return people(200)

        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        OutboundBotAssignJobsOperator(
            task_id="assign",
            job_group_id=create.output,
            contacts=load(),
            exclude=["13800000007"],
            retries=0,
        )

    run = run_dag(dag)

    assert run.state == "success"
    assert rendered(airflow_home, "veiled", "assign")["contacts"] == "<200 contacts>"
    assert rendered(airflow_home, "veiled", "assign")["exclude"] == "<1 contact>"
    group = xcom(run, "create")
    assert group["job_group_id"] in simulator.state()["groups"]
    assert xcom(run, "assign") == {
        "job_group_id": group["job_group_id"],
        "read": 200,
        "assigned": 199,
        "newly_assigned": 199,
        "duplicates": 0,
        "excluded": 1,
        "capped": 0,
        "rejected": 0,
        "unresolved": 0,
        "rejects_path": None,
    }
    jobs = simulator.state()["jobs_per_number"]
    assert len(jobs) == 199
    assert {len(ids) for ids in jobs.values()} == {1}
    kept = stored_text(airflow_home, "veiled") + "".join(capfd.readouterr())
    kept += "".join(log.read_text() for log in (airflow_home / "logs").rglob("dag_id=veiled/**/*.log"))
    assert "assign" in kept
    for person in people(200):
        assert person["phone"] not in kept, kept[max(0, kept.find(person["phone"]) - 400) :][:500]
        assert person["name"] not in kept


def test_contacts_by_a_rendered_path_and_a_cancelled_group(
    simulator: Simulator,
    airflow_home: Path,
    run_dag: Callable[..., DagRun],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "contacts.jsonl"
    path.write_text("".join(json.dumps(person) + "\n" for person in people(30)))
    with DAG("by_path", schedule=None, params={"folder": str(tmp_path)}) as dag:
        create = OutboundBotCreateJobGroupOperator(
            task_id="create",
            strategy=Strategy(working_time=[("00:00", "23:59:59")], min_attempt_interval=timedelta(minutes=5)),
        )
        assign = OutboundBotAssignJobsOperator(
            task_id="assign",
            job_group_id="{{ ti.xcom_pull('create')['job_group_id'] }}",
            contacts_path="{{ params.folder }}/contacts.jsonl",
        )
        cancel = OutboundBotCancelJobsOperator(task_id="cancel", job_group_id=assign.output, all_jobs=True)
        create >> assign >> cancel

    run = run_dag(dag)

    assert run.state == "success"
    assert xcom(run, "assign")["assigned"] == 30
    counts = xcom(run, "cancel")
    assert (counts["requested"], counts["total"], counts["scheduling"]) == (None, 30, 0)


def test_one_group_for_each_map_index(
    simulator: Simulator, run_dag: Callable[..., DagRun], people: Callable[[int], list[dict[str, str]]]
) -> None:
    with DAG("mapped", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator.partial(task_id="create", strategy=ALL_DAY).expand(
            script_id=[simulator.script_id, f"{simulator.script_id}-2"]
        )
        OutboundBotAssignJobsOperator.partial(task_id="assign", contacts=people(3)).expand(job_group_id=create.output)

    run = run_dag(dag)

    assert run.state == "success"
    groups = simulator.state()["groups"].values()
    assert sorted(group["script_id"] for group in groups) == [simulator.script_id, f"{simulator.script_id}-2"]
    assert [len(group["jobs"]) for group in groups] == [3, 3]


def test_a_dry_run_sends_nothing_and_skips_what_follows(
    simulator: Simulator,
    connection: Callable[..., None],
    run_dag: Callable[..., DagRun],
    people: Callable[[int], list[dict[str, str]]],
) -> None:
    connection({"dry_run": True})
    with DAG("dry", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        assign = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=create.output, contacts=people(4))
        OutboundBotCancelJobsOperator(task_id="cancel", job_group_id=assign.output, all_jobs=True)

    run = run_dag(dag)

    assert run.state == "success"
    assert (xcom(run, "assign")["assignable"], xcom(run, "assign")["dry_run"]) == (4, True)
    assert task_of(run, "cancel").state == "skipped"
    assert not simulator.state()["groups"]
    assert not simulator.state()["requests"].get("CreateJobGroup")
