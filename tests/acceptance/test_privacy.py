"""With every fault on, nothing that Airflow or we wrote down tells a number or a name: no log, database or export."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from support.airflow import contents

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.cli.services import AirflowStack, request_json

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]

DAG = "private_campaign"
TASKS = ("create", "strict", "assign", "wait", "export")
CONTACTS = 120
FAULTS = {
    "throttle": {"probability": 0.1},
    "answer_lost": {"probability": 0.15, "actions": ["AssignJobs", "CreateJobGroup"]},
    "late": {"probability": 0.1, "seconds": 1.0, "actions": ["AssignJobs"]},
    "partial_batch": {"probability": 0.2},
    "status_500": {"probability": 0.05},
    "html": {"probability": 0.05},
    "reset": {"probability": 0.05},
    "success_false": {"probability": 0.1, "actions": ["AssignJobs"]},
    "ids_shuffled": {},
    "listing_lag": {"seconds": 1.0},
    "listing_reshuffle": {},
    "messages_doubled": {"probability": 0.3},
    "messages_late": {"seconds": 1.0},
    "messages_reordered": {"seconds": 1.0},
}


def test_a_campaign_with_every_fault_on_leaves_no_number_and_no_name(
    airflow_services: AirflowStack, tmp_path: Path
) -> None:
    stack = airflow_services
    people = make_people()
    sources = write_sources(tmp_path, people)
    faults_at = f"{stack.simulator['api']}/_simulator/faults"
    request_json("POST", faults_at, FAULTS)
    seen_processes: set[bytes] = set()

    try:
        run_id = stack.trigger(DAG, sources)
        states = finish(stack, run_id, seen_processes)
    finally:
        struck = request_json("GET", faults_at)
        request_json("DELETE", faults_at)

    assert states == {
        "create": "success",
        "strict": "failed",
        "assign": "success",
        "wait": "success",
        "export": "success",
    }
    assert sum(bool(fault["struck"]) for fault in struck.values()) >= 8, struck
    result = stack.xcom(DAG, run_id, "assign")
    # Some may be unresolved: what is sent again at the end meets the same faults.
    counts = (result["assigned"] + result["unresolved"], result["excluded"], result["rejected"])
    assert counts == (CONTACTS, 2, 2)
    jobs = stack.simulator_state()["groups"][result["job_group_id"]]["jobs"]
    called = Counter(job["phone_number"] for job in jobs)
    assert set(called.values()) == {1}
    assert set(called) <= {phone for phone, _ in people[:CONTACTS]}
    assert len(called) >= result["assigned"] > CONTACTS / 2
    texts = [text for phone, name in [*people, ("1380013800", "坏号码的人")] for text in forms(phone, name)]
    written = dict(contents(everything_written(stack, tmp_path)))
    assert {"ledger.db", "airflow.db"} <= {path.name.removeprefix("outbound_") for path in written}
    assert any(b"campaign" in process for process in seen_processes) or len(seen_processes) > 5
    rows = [json.loads(line) for line in written[tmp_path / "results.jsonl"].splitlines()]
    assert sum(bool(row["conversation"]) for row in rows) > 20
    export_log = stack.task_log(DAG, run_id, "export")
    assert export_log is not None
    assert b"DEFERRED" in written[export_log]
    written[Path("process list")] = b"\n".join(seen_processes)
    leaks = {str(path): text for path, content in written.items() for text in texts if text in content}
    assert not leaks


def make_people() -> list[tuple[str, str]]:
    """Real-looking numbers, of which no other test knows, and names that stand nowhere else."""
    rng = random.Random(20261124)
    family, given = "欧阳诸葛司马上官", "墨翟羲璟彧韫晗翊"
    return [
        (f"139{rng.randrange(10**8):08d}", f"{rng.choice(family)}{rng.choice(given)}{rng.choice(given)}{index}号")
        for index in range(CONTACTS + 2)
    ]


def write_sources(folder: Path, people: list[tuple[str, str]]) -> dict[str, str]:
    paths = {name: folder / f"{name}.{suffix}" for name, suffix in (("contacts", "csv"), ("exclude", "jsonl"))}
    with paths["contacts"].open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["手机号", "姓名", "note"])
        for phone, name in people:
            writer.writerow([phone, name, f"call {phone}"])
        writer.writerow(["1380013800", "坏号码的人", ""])
        writer.writerow(["", "没有号码的人", ""])
    lines = [json.dumps({"phone": phone, "name": name}) for phone, name in people[CONTACTS:]]
    paths["exclude"].write_text("\n".join(lines), encoding="utf-8")
    outputs = {"rejects": folder / "rejects.out", "results": folder / "results.jsonl"}
    return {name: str(path) for name, path in (paths | outputs).items()}


def finish(stack: AirflowStack, run_id: str, seen_processes: set[bytes]) -> dict[str, str]:
    """Wait for the end of the run; look at the process list meanwhile."""

    def has_ended() -> bool:
        for process in psutil.process_iter():
            try:
                command = process.cmdline()
                # Processes of pytest show the name of the test that runs in them.
                if not command[:1] or "pytest" not in command[0]:
                    seen_processes.add("\0".join([*command, *process.environ().values()]).encode())
            except (psutil.Error, OSError):
                continue
        return stack.run_state(DAG, run_id) in {"success", "failed"}

    wait_until(has_ended, seconds=600, what="the end of the campaign", every=1)
    return {task["task_id"]: task["state"] for task in stack.tasks(DAG, run_id)}


def everything_written(stack: AirflowStack, folder: Path) -> list[Path]:
    """All files of this Airflow, its databases and the ledger included, and what the campaign itself wrote."""
    files = [path for path in stack.folder.rglob("*") if path.is_file() and not path.is_relative_to(stack.files)]
    return [*files, folder / "rejects.out", folder / "results.jsonl"]


def forms(phone: str, name: str) -> list[bytes]:
    """How a number and a name may have been written."""
    spaced = [f"{phone[:3]}{sign}{phone[3:7]}{sign}{phone[7:]}" for sign in (" ", "-", "%20")]
    escaped = json.dumps(name).strip('"')
    texts = [phone, *spaced, name, quote(name), escaped, escaped.replace("\\", "\\\\")]
    return [text.encode() for text in texts] + [name.encode("utf-16-le"), phone.encode("utf-16-le")]
