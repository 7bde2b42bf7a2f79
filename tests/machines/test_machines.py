"""A campaign on several machines, some of which are killed, judged by the jobs that the service received."""

from __future__ import annotations

import csv
import json
from collections import Counter
from typing import Any

import pytest
from support.machines import LONG, TRIGGERERS, WORKERS, Machines

from airflow_provider_outbound.cli.processes import wait_until

pytestmark = [pytest.mark.celery, pytest.mark.airflow, pytest.mark.xdist_group("machines")]

NIGHTLY = "nightly_campaign"
CONTACTS = 600


def test_a_killed_worker_and_a_killed_triggerer_leave_nobody_out_and_call_nobody_twice(machines: Machines) -> None:
    run_id = machines.trigger(NIGHTLY, {"contacts": CONTACTS})
    numbers = numbers_of(machines, run_id)
    assert len(numbers) == CONTACTS

    wait_until(lambda: len(jobs_of_run(machines, run_id)) >= 50, seconds=LONG, what="assignment of some contacts")
    worker = machines.machine_of(WORKERS, NIGHTLY, run_id, "assign", "attempt=*.log")
    assert worker
    machines.kill(worker)
    # No call ends before the wait starts, however long Airflow takes.
    machines.simulator_post("clock", {"speed": 0})
    assert 0 < len(jobs_of_run(machines, run_id)) < CONTACTS
    machines.start_worker(worker)

    wait_until(
        lambda: machines.machine_of(TRIGGERERS, NIGHTLY, run_id, "wait", "attempt=*.log.trigger.*"),
        seconds=LONG,
        what="the wait in a triggerer",
        every=1,
    )
    triggerer = machines.machine_of(TRIGGERERS, NIGHTLY, run_id, "wait", "attempt=*.log.trigger.*")
    assert triggerer
    machines.kill(triggerer)
    jobs = jobs_of_run(machines, run_id)
    assert len(jobs) == CONTACTS
    assert {job["status"] for job in jobs} & {"Scheduling", "Executing"}, "all jobs have ended"
    machines.simulator_post("clock", {"speed": 1})
    (other,) = set(TRIGGERERS) - {triggerer}
    machines.services = tuple(name for name in machines.services if name != triggerer)

    assert machines.wait_for_run(NIGHTLY, run_id, LONG) == "success"
    assert machines.machine_of([other], NIGHTLY, run_id, "wait", "attempt=*.log.trigger.*")
    check_each_called_once(machines, run_id, numbers)
    summary = machines.xcom(NIGHTLY, run_id, "wait")
    assert summary["total"] == CONTACTS
    assert not summary["mismatch"]
    results = [
        json.loads(line) for line in machines.stored(machines.xcom(NIGHTLY, run_id, "export")["path"]).splitlines()
    ]
    assert len({row["reference_id"] for row in results}) == len(results) == CONTACTS
    assert all(row["outcome"] for row in results)
    with pytest.raises(OSError, match="404"):
        machines.stored(machines.xcom(NIGHTLY, run_id, "write_contacts"))
    machines.start_triggerer(triggerer)
    machines.services = type(machines).services


def numbers_of(machines: Machines, run_id: str) -> set[str]:
    """Numbers in the contact list, read from the object store before the list is deleted."""
    found: list[str] = []

    def is_written() -> bool:
        states = {task["task_id"]: task["state"] for task in machines.tasks(NIGHTLY, run_id)}
        if states.get("write_contacts") != "success":
            return False
        path = machines.xcom(NIGHTLY, run_id, "write_contacts")
        found.extend(row["phone_number"] for row in csv.DictReader(machines.stored(path).splitlines()))
        return True

    wait_until(is_written, seconds=LONG, what="the contact list", every=1)
    assert len(set(found)) == len(found)
    return set(found)


def jobs_of_run(machines: Machines, run_id: str) -> list[dict[str, Any]]:
    """The service's jobs of a run, recognised by fictitious numbers, which no other campaign calls."""
    groups = machines.simulator_state()["groups"].values()
    return [job for group in groups for job in group["jobs"] if job["phone_number"].startswith("+1")]


def check_each_called_once(machines: Machines, run_id: str, numbers: set[str]) -> None:
    jobs = Counter(job["phone_number"] for job in jobs_of_run(machines, run_id))
    assert set(jobs) == numbers
    assert {number: count for number, count in jobs.items() if count != 1} == {}
