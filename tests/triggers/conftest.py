"""A campaign, and triggers run as a triggerer runs them: rebuilt from what was stored, in a loop of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from airflow_provider_outbound.core.assign import AssignOptions, AssignResult, Request, assign
from airflow_provider_outbound.core.collect.watch import end_all
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import Incoming, Ledger, TaskKey
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger, OutboundBotJobCompleteTrigger

KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="
#: Long enough for a slow machine; nothing is measured by it.
PATIENCE = 90.0
WORKER = "airflow_provider_outbound.core.collect.worker"


def rebuilt(trigger: OutboundBotJobCompleteTrigger) -> OutboundBotJobCompleteTrigger:
    """The trigger as another process makes it, from the arguments that Airflow stores."""
    from airflow.serialization.serialized_objects import BaseSerialization

    path, arguments = trigger.serialize()
    assert path == "airflow_provider_outbound.triggers.outboundbot.OutboundBotJobCompleteTrigger"
    stored = json.loads(json.dumps(BaseSerialization.serialize(arguments)))
    return OutboundBotJobCompleteTrigger(**BaseSerialization.deserialize(stored))


async def first_event(trigger: OutboundBotJobCompleteTrigger) -> dict[str, Any]:
    """Run a trigger until its event, and clean up as the triggerer does."""
    try:
        async with asyncio.timeout(PATIENCE):
            async for event in rebuilt(trigger).run():
                payload: dict[str, Any] = json.loads(json.dumps(event.payload))
                return payload
        raise AssertionError("the trigger ended without an event")
    finally:
        await trigger.cleanup()


@attrs.define(kw_only=True)
class Campaign:
    """One job group in the simulator, and the means to assign to it and to wait for it."""

    simulator: Simulator
    hook: OutboundBotHook
    job_group_id: str

    @property
    def ledger(self) -> Ledger:
        """The ledger that everybody shares."""
        return self.hook.ledger

    def another(self) -> Campaign:
        """A second group beside this one."""
        group = self.hook.client.create_job_group(job_group_name="second", script_id=self.simulator.script_id)
        return attrs.evolve(self, job_group_id=group.job_group_id)

    def assign(self, count: int, *, task: str = "assign", first: int = 0) -> AssignResult:
        """Assign ``count`` numbers whose last digits run up from ``first``."""
        return assign(
            self.hook.client,
            self.ledger,
            TaskKey("dag", self.job_group_id, task),
            from_items([f"138{index:08d}" for index in range(first, first + count)]),
            request=Request(job_group_id=self.job_group_id),
            options=AssignOptions(settle_seconds=0.2),
            guard=lambda _: None,
        )

    def trigger(self, **options: Any) -> OutboundBotJobCompleteTrigger:
        """The trigger that waits for the group."""
        return OutboundBotJobCompleteTrigger(job_group_id=self.job_group_id, **options)

    def wait(self, **options: Any) -> dict[str, Any]:
        """Run the trigger in a loop of its own."""
        return asyncio.run(first_event(self.trigger(**options)))

    def freeze(self) -> None:
        """Stop the service's clock: no call ends."""
        self.simulator.set_clock(speed=0)

    def thaw(self) -> None:
        """Let the service's clock go on."""
        self.simulator.set_clock(speed=1)


@pytest.fixture
def campaign(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Campaign]:
    for name, value in {
        **simulator.connections,
        "AIRFLOW__OUTBOUND__LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "AIRFLOW__OUTBOUND__LEDGER_KEY": KEY,
        # Long: what ends soon ends by messages. Tests that go by the API shorten it.
        "AIRFLOW__OUTBOUND__RECONCILE_INTERVAL": "600",
    }.items():
        monkeypatch.setenv(name, value)
    hook = OutboundBotHook()
    group = hook.client.create_job_group(job_group_name="tests", script_id=simulator.script_id)
    yield Campaign(simulator=simulator, hook=hook, job_group_id=group.job_group_id)
    end_all()
    hook.ledger.close()
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("outbound-wait")], "threads end")


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.05)
    return result


def collectors(parent: int) -> list[int]:
    """Collector processes of a process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes()
                owner = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            if owner == parent and WORKER.encode() in command:
                found.append(int(folder.name))
    return found


class Tools:
    """What the tests of this folder share."""

    first_event = staticmethod(first_event)
    rebuilt = staticmethod(rebuilt)
    until = staticmethod(until)
    collectors = staticmethod(collectors)


@pytest.fixture
def tools() -> Tools:
    return Tools()


class Triggerer:
    """Another process that runs one trigger from what was stored, as a triggerer does."""

    PROGRAM = """
import asyncio, json, sys
from airflow.serialization.serialized_objects import BaseSerialization
from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger
trigger = OutboundBotJobCompleteTrigger(**BaseSerialization.deserialize(json.loads(sys.stdin.readline())))
async def run():
    print("running", flush=True)
    async for event in trigger.run():
        print(json.dumps(event.payload), flush=True)
asyncio.run(run())
"""

    def __init__(self, trigger: OutboundBotJobCompleteTrigger) -> None:
        from airflow.serialization.serialized_objects import BaseSerialization

        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", self.PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(BaseSerialization.serialize(trigger.serialize()[1])) + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """The next line it writes, Airflow's own log lines left out."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(("{", "running")):
                return line.strip()
        raise AssertionError("it ended without another line")

    def kill(self) -> None:
        """End it without warning."""
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Wait for its end."""
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def triggerer() -> Iterator[Callable[[OutboundBotJobCompleteTrigger], Triggerer]]:
    started: list[Triggerer] = []

    def start(trigger: OutboundBotJobCompleteTrigger) -> Triggerer:
        started.append(Triggerer(trigger))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.kill()


@pytest.fixture
def ledger(campaign: Campaign) -> Ledger:
    """The ledger of the campaign."""
    return campaign.ledger


@pytest.fixture
def happen(ledger: Ledger) -> Callable[..., None]:
    """Records events, as a collector does."""

    def happen(*numbers: int, event: str = "JobComplete", group: str = "group-1") -> None:
        bodies = [
            {
                "eventType": event,
                "eventTime": 1_700_000_000_000 + number,
                "groupId": group,
                "id": f"job-{number}",
                "status": "Succeeded",
                "contacts": [{"phoneNumber": f"1380000{number:04}", "referenceId": f"r-{number}", "name": "Zhang"}],
            }
            for number in numbers
        ]
        ledger.inbox.record(
            [Incoming(body=json.dumps(body).encode(), message_id=body["id"], topic="t") for body in bodies]
        )

    return happen


@pytest.fixture
def call_events() -> Callable[..., OutboundBotCallEventTrigger]:
    """Makes triggers of the subscription ``tests`` as another process does, from what Airflow stores."""
    from airflow.serialization.serialized_objects import BaseSerialization

    def make(**arguments: Any) -> OutboundBotCallEventTrigger:
        made = OutboundBotCallEventTrigger(
            **{"subscription": "tests", "rocketmq_conn_id": None, "max_wait": 0.1, **arguments}
        )
        path, kwargs = made.serialize()
        assert path == "airflow_provider_outbound.triggers.events.OutboundBotCallEventTrigger"
        stored = json.loads(json.dumps(BaseSerialization.serialize(kwargs)))
        return OutboundBotCallEventTrigger(**BaseSerialization.deserialize(stored))

    return make
