"""Events of calls start DAGs in a real Airflow, whatever happens to its triggerer."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.cli.services import AirflowStack

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]
NIGHTLY = "nightly_campaign"
KILLS = int(os.environ.get("OUTBOUND_TEST_TRIGGERER_KILLS", "1"))
#: Calls must last until the last kill.
CONTACTS = 200 * KILLS


@pytest.fixture
def events_start_dags(airflow_services: AirflowStack) -> Iterator[AirflowStack]:
    """Afterwards events start none any more: the campaigns of other tests would start more than a run a second."""
    yield airflow_services
    for dag_id in ("call_events", "eager_events"):
        airflow_services.send("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})
        # Airflow ends the watchers of a paused DAG when it parses its file again.
        (airflow_services.folder / "dags" / f"{dag_id}.py").touch()


def test_no_event_is_lost_when_triggerers_are_killed(events_start_dags: AirflowStack) -> None:
    stack = events_start_dags
    wait_until(lambda: subscriptions(stack) >= {"call_events", "eager_events"}, seconds=120, what="cursors", every=0.5)
    before = set(stack.simulator_state()["groups"])
    run_id = stack.trigger(NIGHTLY, {"contacts": CONTACTS})

    for _ in range(KILLS):
        wait_for_a_batch(stack)
        os.kill(stack.pid("triggerer"), signal.SIGKILL)
        stack.start_service("triggerer")

    assert stack.wait_for_run(NIGHTLY, run_id, 600) == "success"
    (group,) = [group for group_id, group in stack.simulator_state()["groups"].items() if group_id not in before]
    jobs = {job["job_id"] for job in group["jobs"]}
    assert len(jobs) == CONTACTS
    wait_until(lambda: jobs <= stored(stack).keys(), seconds=300, what="an event of every job", every=1)
    # Airflow leaves events that come while it makes a run to the run that the next event starts.
    assert stack.wait_for_run(NIGHTLY, stack.trigger(NIGHTLY, {"contacts": 5}), 240) == "success"
    wait_until(lambda: jobs <= noted(stack), seconds=300, what="a run of the example for every job", every=1)
    twice = sum(count > 1 for job_id, count in stored(stack).items() if job_id in jobs)
    print(f"{KILLS} triggerers killed: {twice} of {CONTACTS} events came more than once")


def subscriptions(stack: AirflowStack) -> set[str]:
    """Which triggers have begun to read: from that moment on they are given everything."""
    path = stack.folder / "outbound_ledger.db"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as ledger:
        if not ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'cursors'").fetchall():
            return set()
        return {name for (name,) in ledger.execute("SELECT name FROM cursors")}


def wait_for_a_batch(stack: AirflowStack) -> None:
    seen = len(batches(stack))
    wait_until(lambda: len(batches(stack)) > seen, seconds=300, what="another batch", every=0.1)


def batches(stack: AirflowStack) -> list[Any]:
    """
    What Airflow has stored of the eager subscription.

    Read from its database: 3.3's API fails on an event that has a run which has not begun.
    """
    with closing(sqlite3.connect(stack.folder / "airflow.db")) as database:
        rows = database.execute(
            "SELECT extra FROM asset_event WHERE asset_id = (SELECT id FROM asset WHERE name = 'eager_events')"
        ).fetchall()
    return [json.loads(extra)["payload"] for (extra,) in rows]


def stored(stack: AirflowStack) -> Counter[str]:
    """How often a job's event is in there."""
    return Counter(event["job_id"] for batch in batches(stack) for event in batch["events"])


def noted(stack: AirflowStack) -> set[str]:
    """Jobs that runs of the example were told of."""
    return {
        json.loads(line)["job_id"]
        for path in stack.files.glob("completed-*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    }
