"""Events of calls start DAGs in a real Airflow, whatever happens to its triggerer."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest

from airflow_provider_outbound.cli.services import AirflowStack, wait_until

pytestmark = pytest.mark.airflow
NIGHTLY = "nightly_campaign"


def test_no_event_is_lost_when_the_triggerer_is_killed(airflow_services: AirflowStack) -> None:
    stack = airflow_services
    before = set(stack.simulator_state()["groups"])
    run_id = stack.trigger(NIGHTLY, {"contacts": 400})

    # Each time some of the calls have ended, and their events are under way from the broker to Airflow's database.
    for ended in (60, 140, 240):
        wait_until(
            lambda ended=ended: len(jobs_that_ended(stack, before)) >= ended, seconds=240, what="calls", every=0.2
        )  # type: ignore[misc]
        os.kill(stack.pid("triggerer"), signal.SIGKILL)
        stack.start_service("triggerer")

    assert stack.wait_for_run(NIGHTLY, run_id, 300) == "success"
    ended = jobs_that_ended(stack, before)
    assert len(ended) == 400
    wait_until(lambda: ended <= noted(stack).keys(), seconds=180, what="an event of every job", every=1)
    run = stack.get("/api/v2/dags/call_events/dagRuns?order_by=-start_date&limit=1")["dag_runs"][0]
    assert stack.wait_for_run("call_events", run["dag_run_id"]) == "success"
    print(f"{sum(noted(stack).values())} lines for {len(noted(stack))} events")


def jobs_that_ended(stack: AirflowStack, before: set[str]) -> set[str]:
    """Jobs of groups made since, that the service has ended."""
    groups = stack.simulator_state()["groups"]
    return {
        job["job_id"]
        for group_id, group in groups.items()
        if group_id not in before
        for job in group["jobs"]
        if job["status"] in {"Succeeded", "Failed", "Cancelled"}
    }


def noted(stack: AirflowStack) -> Counter[str]:
    """How often runs of the example were given a job's event."""
    return Counter(
        json.loads(line)["job_id"]
        for path in stack.files.glob("completed-*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    )
