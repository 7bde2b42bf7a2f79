"""A person ends a deferred wait in a real Airflow: its campaign ends only if the author asked for that."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.cli.services import AirflowStack

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.xdist_group("airflow"),
    pytest.mark.skipif(
        not hasattr(BaseTrigger, "on_kill"), reason="before Airflow 3.3 a trigger is not told of a kill"
    ),
]

DAG = "killed_campaign"


def test_a_wait_that_is_cleared_goes_on_and_one_that_is_marked_failed_cancels(airflow_services: AirflowStack) -> None:
    stack = airflow_services
    before = _cancels(stack)
    run_id = stack.trigger(DAG)
    _wait_until_triggered(stack, run_id, attempt=1)
    group_id = stack.xcom(DAG, run_id, "create")["job_group_id"]

    stack._request(
        "POST",
        f"/api/v2/dags/{DAG}/clearTaskInstances",
        {"dry_run": False, "dag_run_id": run_id, "task_ids": ["wait"], "only_failed": False},
    )
    _wait_until_triggered(stack, run_id, attempt=2)
    assert _statuses(stack, group_id) & {"Scheduling", "Executing"}
    assert _cancels(stack) == before

    # It takes longer than a round of the triggerer, and each round cancels the trigger again.
    stack.simulator_post("faults", {"throttle": {"times": 6, "actions": ["CancelJobs"]}})
    try:
        stack._request(
            "PATCH",
            f"/api/v2/dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances/wait",
            {"new_state": "failed"},
        )
        wait_until(lambda: _cancels(stack) > before + 6, seconds=300, what="cancelled", every=1)
    finally:
        stack.simulator_post("faults", {"throttle": None})
    wait_until(
        lambda: not _statuses(stack, group_id) & {"Scheduling", "Executing"}, seconds=60, what="nobody is called"
    )
    assert "Cancelled" in _statuses(stack, group_id)


def _wait_until_triggered(stack: AirflowStack, run_id: str, *, attempt: int) -> None:
    """Wait until the trigger runs: of one that it has not begun yet Airflow tells nobody when its task is ended."""
    logs = stack.folder / "logs" / f"dag_id={DAG}" / f"run_id={run_id}" / "task_id=wait"

    def runs() -> bool:
        texts = [path.read_text(errors="replace") for path in logs.glob(f"attempt={attempt}.log.trigger.*")]
        return any(" starting" in text for text in texts)

    wait_until(runs, seconds=180, what=f"the trigger of try {attempt} waits", every=0.5)


def _cancels(stack: AirflowStack) -> int:
    return int(stack.simulator_state()["requests"].get("CancelJobs", 0))


def _statuses(stack: AirflowStack, group_id: str) -> set[str]:
    return {job["status"] for job in stack.simulator_state()["groups"][group_id]["jobs"]}
