"""A misconfigured machine calls nobody: its task ends with one clear error, and the doctor reports the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from cryptography.fernet import Fernet
from support.machines import LONG, TRIGGERERS, WORKERS, Machines, python_without

from airflow_provider_outbound.cli.processes import wait_until

pytestmark = [pytest.mark.celery, pytest.mark.airflow, pytest.mark.xdist_group("machines")]

#: For each misconfigured machine: part of its task's error, and the name of the doctor's finding that contains it.
WRONG: Mapping[str, tuple[str, str]] = {
    "other-key": (" opens the ledger postgresql+psycopg://", "ledger"),
    "sqlite": ("[outbound] ledger_url is a SQLite file, which is on one machine", "configuration"),
    "no-extra": ('PostgreSQL needs psycopg; run: pip install "airflow-provider-outbound[postgresql]"', "ledger"),
}
RIGHT = (WORKERS[0], TRIGGERERS[0])


@pytest.fixture(scope="module")
def wrong_machines(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run ids by machine: each misconfigured one has tried to run a campaign. The doctor has run on all machines."""
    without = python_without(tmp_path_factory.mktemp("machine") / "venv", "psycopg", "rocketmq-python-client")
    settings: dict[str, dict[str, str]] = {
        # Airflow writes such a key into the airflow.cfg that it creates on a machine without one.
        "other-key": {"CORE__FERNET_KEY": Fernet.generate_key().decode()},
        "sqlite": {"OUTBOUND__LEDGER_URL": f"sqlite:///{machines.folder}/sqlite/ledger.db"},
        "no-extra": {},
    }
    pythons = {"no-extra": without}
    for name in WRONG:
        machines.start_worker(name, queue=name, python=pythons.get(name), **settings[name])
    runs = {name: machines.trigger(f"on_{name}") for name in WRONG}
    for name, run_id in runs.items():
        assert machines.wait_for_run(f"on_{name}", run_id, LONG) == "failed"
        machines.kill(name)
    for name in (*RIGHT, *WRONG):
        machines.start_doctor(name, pythons.get(name), **settings.get(name, {}))
    for name in (*RIGHT, *WRONG):
        wait_until(partial(_has_ended, machines, f"doctor-{name}"), seconds=LONG, what="the doctor", every=1)
    return runs


def _has_ended(machines: Machines, name: str) -> bool:
    return machines.ended(name) is not None


@pytest.mark.parametrize("name", [*WRONG])
def test_a_wrong_machine_calls_nobody_and_says_why_in_one_line(
    machines: Machines, wrong_machines: dict[str, str], name: str
) -> None:
    run_id = wrong_machines[name]

    states = {task["task_id"]: task["state"] for task in machines.tasks(f"on_{name}", run_id)}
    assert states == {"create": "failed", "assign": "upstream_failed"}
    assert "+8613800000000" not in machines.simulator_state()["jobs_per_number"]
    assert not (machines.folder / "sqlite" / "ledger.db").exists()
    log = machines.task_log(f"on_{name}", run_id, "create")
    assert log
    errors = [error for line in log.read_text().splitlines() for error in errors_of(json.loads(line))]
    assert [WRONG[name][0] in error for error in errors] == [True], errors
    assert "\n" not in errors[0]


@pytest.mark.parametrize("name", [*WRONG])
def test_the_doctor_says_what_would_break_on_a_machine(
    machines: Machines, wrong_machines: dict[str, str], name: str
) -> None:
    text, found_as = WRONG[name]

    code, findings = doctor(machines, name)

    assert code == 1
    (wrong,) = [finding["text"] for finding in findings if finding["name"] == found_as and finding["state"] == "wrong"]
    assert text in wrong
    others = {finding["name"] for finding in findings if finding["state"] == "wrong"} - {found_as}
    assert others == ({"rocketmq_default"} if name == "no-extra" else set())


def test_two_machines_are_compared_by_what_the_doctor_says_of_them(
    machines: Machines, wrong_machines: dict[str, str]
) -> None:
    reports = {name: doctor(machines, name) for name in (*RIGHT, "other-key")}

    assert [reports[name][0] for name in RIGHT] == [0, 0], reports
    configured = {
        name: next(finding["text"] for finding in findings if finding["name"] == "configuration")
        for name, (_, findings) in reports.items()
    }
    assert "executor CeleryExecutor" in configured[RIGHT[0]]
    assert configured[RIGHT[0]] == configured[RIGHT[1]] != configured["other-key"]


def doctor(machines: Machines, name: str) -> tuple[int | None, list[dict[str, Any]]]:
    """Exit code and findings."""
    text = machines.log(f"doctor-{name}").read_text()
    return machines.ended(f"doctor-{name}"), json.loads(text[text.index("[") : text.rindex("]") + 1])


def errors_of(line: dict[str, Any]) -> list[str]:
    """Messages of the exceptions in a line of a task's log."""
    return [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or ()]
