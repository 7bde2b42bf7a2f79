"""The example DAGs in a real Airflow, with the simulated service as the judge."""

from __future__ import annotations

import csv
import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import phonenumbers
import psutil
import pytest
from support.airflow import contents

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.cli.services import AirflowStack
from airflow_provider_outbound.simulator.outcomes import expected_outcome, is_answered

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]
NIGHTLY = "nightly_campaign"


def test_the_nightly_campaign_phones_everybody_once_and_tells_how_it_went(airflow_services: AirflowStack) -> None:
    run_id = run_to_success(airflow_services, NIGHTLY, {"contacts": 200})

    numbers = contacts_of(airflow_services, run_id)
    assert len(numbers) == 200
    check_everybody_phoned_once(airflow_services, run_id, numbers)
    check_results(airflow_services, run_id, numbers)
    follow_up = read_csv(Path(airflow_services.xcom(NIGHTLY, run_id, "follow_up")["path"]))
    redial = {"NoAnswer", "Busy", "NotConnected", "PoweredOff"}
    assert {row["phone_number"] for row in follow_up} == {
        number for number in numbers.values() if (expected_outcome(number).attempts or ("",))[-1] in redial
    }
    check_no_number_is_written_down(airflow_services, set(numbers.values()))
    resumed = resumed_after(airflow_services, run_id)
    print(f"the sensor had ended {resumed:.2f} s after the last JobComplete was published")


def test_two_segments_run_side_by_side_in_groups_of_their_own(airflow_services: AirflowStack) -> None:
    before = set(airflow_services.simulator_state()["groups"])

    run_to_success(airflow_services, "parallel_segments", {"contacts": 40})

    state = airflow_services.simulator_state()
    groups = [group for group_id, group in state["groups"].items() if group_id not in before]
    assert {group["script_id"] for group in groups} == set(state["scripts"])
    assert [len(group["jobs"]) for group in groups] == [40, 40]
    assert not {job["phone_number"] for job in groups[0]["jobs"]} & {job["phone_number"] for job in groups[1]["jobs"]}


def test_an_assets_event_starts_a_campaign_with_the_file_it_names(airflow_services: AirflowStack) -> None:
    before = set(airflow_services.simulator_state()["groups"])
    run_to_success(airflow_services, "contacts_for_asset", {"contacts": 25})

    def runs() -> list[dict[str, Any]]:
        return list(airflow_services.get("/api/v2/dags/campaign_on_asset/dagRuns")["dag_runs"])

    wait_until(runs, seconds=120, what="a run on the asset's event", every=0.5)
    (run,) = runs()
    run_id = run["dag_run_id"]
    state = airflow_services.wait_for_run("campaign_on_asset", run_id, 240)

    assert state == "success", describe(airflow_services, "campaign_on_asset", run_id)
    (group,) = [
        group for group_id, group in airflow_services.simulator_state()["groups"].items() if group_id not in before
    ]
    assert len({job["phone_number"] for job in group["jobs"]}) == len(group["jobs"]) == 25
    assert not list(
        Path(airflow_services.xcom("campaign_on_asset", run_id, "export")["path"]).parent.glob("asset-*.csv")
    )


def test_a_killed_collector_is_replaced_and_nothing_is_lost(airflow_services: AirflowStack) -> None:
    run_id = airflow_services.trigger(NIGHTLY, {"contacts": 400})
    wait_for_task(airflow_services, run_id, "wait", "deferred")
    wait_until(lambda: collectors(airflow_services), seconds=60, what="a collector")

    for collector in collectors(airflow_services):
        collector.kill()

    assert airflow_services.wait_for_run(NIGHTLY, run_id, 240) == "success"
    check_results(airflow_services, run_id, contacts_of(airflow_services, run_id))


def test_a_killed_triggerer_is_replaced_by_another(airflow_services: AirflowStack) -> None:
    run_id = airflow_services.trigger(NIGHTLY, {"contacts": 600})
    wait_for_task(airflow_services, run_id, "wait", "deferred")

    os.kill(airflow_services.pid("triggerer"), signal.SIGKILL)
    airflow_services.start_service("triggerer")

    assert airflow_services.wait_for_run(NIGHTLY, run_id, 240) == "success"
    numbers = contacts_of(airflow_services, run_id)
    check_everybody_phoned_once(airflow_services, run_id, numbers)
    check_results(airflow_services, run_id, numbers)


def run_to_success(stack: AirflowStack, dag_id: str, params: dict[str, Any]) -> str:
    run_id = stack.trigger(dag_id, params)
    state = stack.wait_for_run(dag_id, run_id, 240)
    assert state == "success", describe(stack, dag_id, run_id)
    return run_id


def describe(stack: AirflowStack, dag_id: str, run_id: str) -> str:
    """The logs of the tasks that failed."""
    logs = [
        stack.task_log(dag_id, run_id, task["task_id"])
        for task in stack.tasks(dag_id, run_id)
        if task["state"] == "failed"
    ]
    return "\n".join(log.read_text(errors="replace")[-3000:] for log in logs if log)


def wait_for_task(stack: AirflowStack, run_id: str, task_id: str, state: str) -> None:
    def has_state() -> bool:
        states = {task["task_id"]: task["state"] for task in stack.tasks(NIGHTLY, run_id)}
        assert "failed" not in states.values(), describe(stack, NIGHTLY, run_id)
        return states.get(task_id) == state

    wait_until(has_state, seconds=180, what=f"{task_id} {state}", every=0.5)


def collectors(stack: AirflowStack) -> list[psutil.Process]:
    """Collectors that a triggerer of this stack started."""
    tree = psutil.Process(stack.pid("triggerer")).children(recursive=True)
    return [process for process in tree if "airflow_provider_outbound.core.collect.worker" in _command(process)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it has just ended


def contacts_of(stack: AirflowStack, run_id: str) -> dict[str, str]:
    """Phone number by reference id, as the upstream task wrote them; its list is gone once it is assigned."""
    assert not Path(stack.xcom(NIGHTLY, run_id, "write_contacts")).exists()
    every = (f"+1{area}55501{last:02}" for area in range(201, 990) for last in range(100))
    valid = (number for number in every if phonenumbers.is_valid_number(phonenumbers.parse(number)))
    read = stack.xcom(NIGHTLY, run_id, "assign")["read"]
    return {f"customer-{index:05}": number for index, number in zip(range(1, read + 1), valid, strict=False)}


def check_everybody_phoned_once(stack: AirflowStack, run_id: str, numbers: dict[str, str]) -> None:
    group_id = stack.xcom(NIGHTLY, run_id, "create")["job_group_id"]
    jobs = stack.simulator_state()["groups"][group_id]["jobs"]
    assert sorted(job["phone_number"] for job in jobs) == sorted(numbers.values())


def check_results(stack: AirflowStack, run_id: str, numbers: dict[str, str]) -> None:
    """One row a contact, with the outcome that its number asks for."""
    lines = Path(stack.xcom(NIGHTLY, run_id, "export")["path"]).read_text(encoding="utf-8").splitlines()
    rows = {row["reference_id"]: row for row in map(json.loads, lines)}
    assert len(lines) == len(rows)
    assert rows.keys() == numbers.keys()
    for reference_id, number in numbers.items():
        expected, row = expected_outcome(number), rows[reference_id]
        last = expected.attempts[-1] if expected.attempts else None
        assert row["status"] == expected.status, number
        assert row["answered"] == (last is not None and is_answered(last)), number
        assert row["call_status"] == last, number
        assert row["failure_reason"] == expected.failure_reason, number


def check_no_number_is_written_down(stack: AirflowStack, numbers: set[str]) -> None:
    """Neither a log nor a database holds a number that can be read."""
    files = [*stack.folder.glob("*.log"), *stack.folder.glob("*.db*"), *(stack.folder / "logs").rglob("*.log*")]
    assert len(files) > 10
    for path, content in contents(files):
        assert not [number for number in numbers if number.removeprefix("+").encode() in content], path.name


def resumed_after(stack: AirflowStack, run_id: str) -> float:
    """Seconds from the end of the last call until the sensor had run to its end."""
    group_id = stack.xcom(NIGHTLY, run_id, "create")["job_group_id"]
    jobs = stack.simulator_state()["groups"][group_id]["jobs"]
    wait = next(task for task in stack.tasks(NIGHTLY, run_id) if task["task_id"] == "wait")
    ended = datetime.fromisoformat(wait["end_date"])
    last = max(call["ended_at"] for job in jobs for call in job["calls"])
    return (ended - datetime.fromtimestamp(last / 1000, UTC)).total_seconds()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
