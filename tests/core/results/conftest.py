"""A ledger with results in it: told by messages as a collector keeps them, or by a campaign in the simulator."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine, make_url
from support.mysql import PARAMS, SERVERS, database
from support.simulated import client_of

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import Incoming, Ledger, open_ledger
from airflow_provider_outbound.simulator.testing import Simulator

KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="
GROUP = "group-1"
#: Long enough for a slow machine; nothing is measured by it.
PATIENCE = 60.0
POSTGRESQL = os.environ.get("OUTBOUND_TEST_POSTGRESQL")


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def ledger(tmp_path: Path, key: str) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [key]) as opened:
        yield opened


@pytest.fixture
def tell(ledger: Ledger) -> Callable[..., None]:
    """Stores a message about a job, as a collector does."""

    def tell(
        number: int,
        *,
        group: str = GROUP,
        event: str = "JobComplete",
        status: str = "Succeeded",
        reason: str | None = None,
        call: str | None = None,
        call_id: str | None = None,
        **contact: Any,
    ) -> None:
        extras = [{"key": key, "value": value} for key, value in contact.pop("extras", {}).items()]
        body = {
            "eventType": event,
            "eventTime": 1_700_000_000_000 + number,
            "groupId": group,
            "id": f"{group}-job-{number}",
            "status": status,
            "failureReason": reason,
            "contacts": [{"phoneNumber": f"1380000{number:04}", "referenceId": f"r-{number:04}", **contact}],
            "extras": extras,
            "tasks": []
            if call is None
            else [{"id": call_id or f"{group}-call-{number}", "status": call, "actualTime": 1_700_000_000_000}],
        }
        ledger.inbox.record([Incoming(body=json.dumps(body).encode(), message_id=str(number), topic="t")])

    return tell


@pytest.fixture(
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param(
            "postgresql",
            id="postgresql",
            marks=[
                pytest.mark.postgresql,
                pytest.mark.skipif(POSTGRESQL is None, reason="OUTBOUND_TEST_POSTGRESQL names no server"),
            ],
        ),
        *PARAMS,
    ]
)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database that results are written to, of the test's own."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
        yield engine
        engine.dispose()
        return
    if request.param in SERVERS:
        # In another character set, as many databases are.
        with database(request.param, "CHARACTER SET utf8mb3") as url:
            engine = create_engine(url)
            yield engine
            engine.dispose()
        return
    server = make_url(POSTGRESQL or "").set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    keeper = create_engine(server, isolation_level="AUTOCOMMIT")
    with keeper.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(server.set(database=name))
    yield engine
    engine.dispose()
    with keeper.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    keeper.dispose()


@pytest.fixture
def client(simulator: Simulator) -> OutboundBotClient:
    return client_of(simulator.ready, connect_timeout=2.0, read_timeout=5.0)


@attrs.define(kw_only=True)
class Campaign:
    """One job group in the simulator that has ended."""

    simulator: Simulator
    client: OutboundBotClient
    ledger: Ledger
    job_group_id: str

    def dial(self, numbers: list[str]) -> None:
        """Assign numbers, each under a reference of its own, and wait until all jobs and recordings are there."""
        jobs = [
            json.dumps({"contacts": [{"phoneNumber": number, "referenceId": f"r-{index:04}"}], "extras": []})
            for index, number in enumerate(numbers)
        ]
        for start in range(0, len(jobs), 99):
            self.client.assign_jobs(job_group_id=self.job_group_id, jobs=jobs[start : start + 99])
        deadline = time.monotonic() + PATIENCE
        while not self._is_over():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _is_over(self) -> bool:
        return all(
            job["status"] in ("Succeeded", "Failed", "Cancelled")
            and all(call["recording"] or not call["status"].startswith("Succeeded") for call in job["calls"])
            for job in self.jobs()
        )

    def jobs(self) -> list[dict[str, Any]]:
        """The group's jobs, by the simulator's own account."""
        jobs: list[dict[str, Any]] = self.simulator.state()["groups"][self.job_group_id]["jobs"]
        return jobs

    def answered_calls(self) -> dict[str, str]:
        """Task id → job id of every answered call, by the simulator's own account."""
        return {
            call["task_id"]: job["job_id"]
            for job in self.jobs()
            for call in job["calls"]
            if call["status"].startswith("Succeeded")
        }

    def collect(self, *, ends: bool = True) -> None:
        """Keep the messages about completed jobs, as a collector does; ``ends``: with the ends of their calls."""
        self.keep(
            {
                "eventType": "JobComplete",
                "eventTime": 1_700_000_000_000,
                "groupId": self.job_group_id,
                "id": job["job_id"],
                "status": job["status"],
                "failureReason": job["failure_reason"],
                "contacts": [{"phoneNumber": job["phone_number"], "referenceId": job["reference_id"]}],
                "extras": [],
                "tasks": [
                    {
                        "id": call["task_id"],
                        "status": call["status"],
                        "actualTime": call["started_at"],
                        "endTime": call["ended_at"] if ends else None,
                    }
                    for call in job["calls"]
                ],
            }
            for job in self.jobs()
        )

    def notice(self, task_ids: list[str], *, url: str | None = None, field: str = "url") -> None:
        """
        Keep the notices of recordings, as a collector does.

        :param url: Another than the service gives.
        :param field: The field of the message with the URL.
        """
        jobs = self.answered_calls()
        self.keep(
            {
                "eventType": "RecordingReady",
                "eventTime": 1_700_000_000_000,
                "groupId": self.job_group_id,
                "id": jobs[task_id],
                "contacts": [],
                "extras": [],
                "recording": {
                    "taskId": task_id,
                    "callId": task_id,
                    "duration": 5,
                    "fileName": "../../13800000000.wav",
                    field: url or self.simulator.run(lambda cloud, name=f"{task_id}.wav": cloud.recording_url(name)),
                },
            }
            for task_id in task_ids
        )

    def keep(self, events: Any) -> None:
        self.ledger.inbox.record(
            [Incoming(body=json.dumps(event).encode(), message_id="m", topic="t") for event in events]
        )

    def requests(self, action: str) -> int:
        """How often the service was asked for an action; ``recording``: for the sound itself."""
        return int(self.simulator.state()["requests"].get(action, 0))


@pytest.fixture
def campaign(simulator: Simulator, client: OutboundBotClient, ledger: Ledger) -> Campaign:
    group = client.create_job_group(job_group_name="tests", script_id=simulator.script_id)
    return Campaign(simulator=simulator, client=client, ledger=ledger, job_group_id=group.job_group_id)
