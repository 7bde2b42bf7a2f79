"""The API fails in the middle of campaigns on several machines: a run that succeeds has called everybody."""

from __future__ import annotations

from collections import Counter

import pytest
from support.machines import LONG, Machines

from airflow_provider_outbound.cli.processes import wait_until

pytestmark = [pytest.mark.celery, pytest.mark.airflow, pytest.mark.xdist_group("machines")]

CONTACTS = 400
#: The first number of each campaign; the service has nothing else by which to distinguish them.
WAITING, PATIENT, IMPATIENT = (13_800_000_000 + index * 10_000 for index in range(3))


def test_no_run_is_green_whose_contacts_an_outage_left_out(machines: Machines) -> None:
    waiting = start(machines, "patient_campaign", WAITING)
    wait_until(
        lambda: state_of(machines, "patient_campaign", waiting, "wait") == "deferred",
        seconds=LONG,
        what="a wait",
        every=1,
    )
    assert len(jobs_of(machines, WAITING)) == CONTACTS
    patient = start(machines, "patient_campaign", PATIENT)
    impatient = start(machines, "impatient_campaign", IMPATIENT)
    wait_until(
        lambda: min(len(jobs_of(machines, first)) for first in (PATIENT, IMPATIENT)) > 0,
        seconds=LONG,
        what="first contacts of both campaigns",
    )

    machines.simulator_post("faults", {"status_503": True})
    try:
        left_out = {first: CONTACTS - len(jobs_of(machines, first)) for first in (PATIENT, IMPATIENT)}
        # The impatient campaign ends during the outage; the patient one and the wait outlast it.
        assert machines.wait_for_run("impatient_campaign", impatient, LONG) == "failed"
        wait_until(
            lambda: tries_of(machines, "patient_campaign", patient, "assign") >= 2,
            seconds=LONG,
            what="a second try",
            every=1,
        )
        assert machines.run_state("patient_campaign", patient) == "running"
        assert machines.run_state("patient_campaign", waiting) in ("running", "success")
    finally:
        machines.simulator_post("faults", {"status_503": None})

    assert min(left_out.values()) > 0
    assert state_of(machines, "impatient_campaign", impatient, "assign") == "failed"
    assert 0 < len(jobs_of(machines, IMPATIENT)) < CONTACTS
    for run_id, first in ((waiting, WAITING), (patient, PATIENT)):
        assert machines.wait_for_run("patient_campaign", run_id, LONG) == "success"
        assert sorted(jobs_of(machines, first)) == [*range(first, first + CONTACTS)]
        assert machines.xcom("patient_campaign", run_id, "wait")["total"] == CONTACTS
        assert machines.xcom("patient_campaign", run_id, "export")["rows"] == CONTACTS
    for first in (WAITING, PATIENT, IMPATIENT):
        assert {number: count for number, count in jobs_of(machines, first).items() if count != 1} == {}


def start(machines: Machines, dag_id: str, first: int) -> str:
    return machines.trigger(dag_id, {"first": first, "contacts": CONTACTS})


def jobs_of(machines: Machines, first: int) -> Counter[int]:
    """How many jobs the service has for each number of a campaign."""
    jobs = machines.simulator_state()["jobs_per_number"].items()
    numbers = [(int(text.removeprefix("+").removeprefix("86")), len(job_ids)) for text, job_ids in jobs]
    return Counter({number: count for number, count in numbers if first <= number < first + 10_000})


def state_of(machines: Machines, dag_id: str, run_id: str, task_id: str) -> str | None:
    return next((task["state"] for task in machines.tasks(dag_id, run_id) if task["task_id"] == task_id), None)


def tries_of(machines: Machines, dag_id: str, run_id: str, task_id: str) -> int:
    return max((task["try_number"] for task in machines.tasks(dag_id, run_id) if task["task_id"] == task_id), default=0)
