"""A real api-server with the page, and a ledger with campaigns in it; one of them is in the simulated service too."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from support.campaigns import KEY
from support.ledgers import REPORT
from support.seeding import (
    ANSWERED,
    ANSWERED_LATE,
    BLOCKED,
    CALL_FAILED,
    ON_THE_LINE,
    UNANSWERED,
    WAITING,
    seed,
)
from support.simulated import client_of

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.cli.services import USER, AirflowStack, request_json
from airflow_provider_outbound.core.ledger import Incoming, JobGroupRecord, Ledger, TaskKey, open_ledger

DAG_ID = "spring_renewal"
RUNNING = "Spring renewal, east"
FIRST_NUMBER = 13800000000
_DAG = f"""
from airflow.sdk import DAG

from airflow_provider_outbound.operators.outboundbot import OutboundBotCreateJobGroupOperator

with DAG("{DAG_ID}", schedule=None):
    OutboundBotCreateJobGroupOperator(task_id="create", job_group_name="{RUNNING}")
"""
_SETTINGS = {
    "CORE__FERNET_KEY": KEY,
    "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,viewer:viewer",
}
#: Calls of the simulated service outlast every test, so that there is something to suspend.
_SIMULATOR = ("--call-seconds", "3600", "--concurrency", "5")
_PEOPLE = [ANSWERED, UNANSWERED, ANSWERED_LATE, UNANSWERED, BLOCKED, ANSWERED, UNANSWERED, CALL_FAILED]


@attrs.frozen(kw_only=True)
class Site:
    """What a test needs to know."""

    stack: AirflowStack
    #: The campaign that the simulated service has too.
    running_id: str
    #: A run of the DAG, to which it belongs.
    run_id: str
    ledger_path: Path

    @property
    def address(self) -> str:
        """Where Airflow's UI is."""
        return self.stack.address

    def token(self, user: str = USER) -> str:
        """A user's token, as the cookie has it."""
        password = self.stack.password if user == USER else user
        answer = request_json("POST", f"{self.address}/auth/token", {"username": user, "password": password})
        return str(answer["access_token"])

    def jobs(self) -> list[dict[str, Any]]:
        """The running campaign's jobs, by the simulated service's own account."""
        jobs: list[dict[str, Any]] = self.stack.simulator_state()["groups"][self.running_id]["jobs"]
        return jobs


@contextmanager
def site(folder: Path, path: str = "") -> Iterator[Site]:
    """
    Start the simulator and the api-server, fill the ledger, and end everything afterwards.

    :param path: The path of Airflow's address.
    """
    for name in ("source", "airflow"):
        (folder / name).mkdir()
    dag = folder / "source" / f"{DAG_ID}.py"
    dag.write_text(_DAG)
    ledger_path = folder / "ledger.db"
    settings = {**_SETTINGS, "OUTBOUND__LEDGER_URL": f"sqlite:///{ledger_path}"}
    options: dict[str, Any] = {"settings": settings, "simulator_options": _SIMULATOR, "path": path}
    with AirflowStack(folder / "airflow", dags=[dag], **options) as stack:
        stack.prepare()
        (stack.folder / "passwords.json").write_text(json.dumps({USER: stack.password, "viewer": "viewer"}))
        _add_calling_hours(stack)
        stack.start(
            "reserialize", [sys.executable, "-W", "ignore", "-m", "airflow", "dags", "reserialize"], stack.environment
        )
        stack.start_service("api-server")
        stack.services = ("api-server",)
        with open_ledger(settings["OUTBOUND__LEDGER_URL"], [KEY]) as ledger:
            running_id = _campaign_in_service(stack)
            stack.wait_for_dag(DAG_ID)
            run_id = stack.trigger(DAG_ID)
            _fill(ledger, running_id, run_id, stack.simulator["instance_id"])
        wait_until(lambda: stack.ended("reserialize") is not None, seconds=120, what="airflow dags reserialize")
        yield Site(stack=stack, running_id=running_id, run_id=run_id, ledger_path=ledger_path)


def _add_calling_hours(stack: AirflowStack) -> None:
    """Calling hours that the page shows, and that no hour of the day contradicts."""
    connections = stack.simulator["connections"]
    name = "AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"
    connection = json.loads(connections[name])
    connection["extra"]["calling_hours"] = {"timezone": "Asia/Shanghai", "windows": [["00:00", "24:00"]]}
    connections[name] = json.dumps(connection)


def _people() -> list[Any]:
    return [*_PEOPLE * 20, *[ON_THE_LINE] * 4, *[WAITING] * 76]


def _campaign_in_service(stack: AirflowStack) -> str:
    """Create the running campaign's job group in the simulated service, with one job for each person."""
    client = client_of(stack.simulator)
    group = client.create_job_group(job_group_name=RUNNING, script_id=stack.simulator["script_id"])
    jobs = [
        json.dumps(
            {
                "contacts": [
                    {"phoneNumber": str(FIRST_NUMBER + index), "referenceId": f"{group.job_group_id}-{index:04d}"}
                ],
                "extras": [],
            }
        )
        for index in range(len(_people()))
    ]
    for start in range(0, len(jobs), 90):
        client.assign_jobs(job_group_id=group.job_group_id, jobs=jobs[start : start + 90])
    return str(group.job_group_id)


def _fill(ledger: Ledger, running_id: str, run_id: str, instance_id: str) -> None:
    now = datetime.now(UTC)

    def campaign(
        group_id: str, name: str, run: str, people: list[Any], *, ago: timedelta, lasts: timedelta, **more: Any
    ) -> None:
        key = TaskKey(DAG_ID, run, "create", -1)
        record = JobGroupRecord(
            job_group_id=group_id,
            run_key=key.run_key,
            task_key=key,
            instance_id=instance_id,
            name=name,
            starts_at=now - ago - timedelta(minutes=10),
            ends_at=now - ago + lasts,
        )
        seed(ledger, group_id, people, task=key, name=name, called_at=now - ago, **more)
        ledger.groups.record(record)

    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    # Its last calls lie some minutes ahead, so that it has a pace for as long as the tests take.
    called = timedelta(seconds=7 * len(_PEOPLE) * 20) - 2 * minute
    for number in range(1, 56):
        start = 13000000000 + number * 100
        campaign(
            f"wave-{number:02d}",
            f"Renewal wave {number}",
            f"wave-{number}",
            [ANSWERED, UNANSWERED],
            ago=number * 24 * hour,
            lasts=2 * hour,
            first_number=start,
        )
    campaign(
        "winter",
        "Winter check",
        "winter",
        _PEOPLE * 5,
        ago=30 * hour,
        lasts=2 * hour,
        first_number=13700000000,
        unresolved=3,
    )
    campaign(
        "huadong",
        "春季续约 华东",
        "huadong",
        [*_PEOPLE * 3, *[WAITING] * 20],
        ago=2 * hour,
        lasts=9 * hour,
        first_number=13600000000,
    )
    ledger.groups.note_suspended("huadong", suspended=True)
    campaign(running_id, RUNNING, run_id, _people(), ago=called, lasts=called + 5 * minute, first_number=FIRST_NUMBER)
    ledger.collectors.report(REPORT)
    ledger.inbox.record([Incoming(body=b"not JSON, from 13800000007", message_id="q1", topic="outbound-events")])
