"""Campaigns that sensors and triggers wait for, and triggers run as a triggerer runs them, from what Airflow stores."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import pytest

from airflow_provider_outbound.core.collect.watch import end_all
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger, OutboundBotJobCompleteTrigger
from support.campaigns import KEY, Campaign
from support.processes import PATIENCE

#: What fixtures make.
RunSensor = Callable[..., tuple[str, Any]]
MakeTrigger = Callable[..., OutboundBotCallEventTrigger]

#: Every way in which a sensor can wait.
ways = pytest.mark.parametrize(
    "way",
    [
        pytest.param({"deferrable": True}, id="deferred"),
        pytest.param({"deferrable": False, "mode": "poke"}, id="poke"),
        pytest.param({"deferrable": False, "mode": "reschedule"}, id="reschedule"),
    ],
)


@attrs.define(kw_only=True)
class WaitingCampaign(Campaign):
    """A campaign of this Airflow, and the means to wait for it."""

    options: Mapping[str, Any] = {"settle_seconds": 0.2}

    def trigger(self, **arguments: Any) -> OutboundBotJobCompleteTrigger:
        """The trigger that waits for the group."""
        return OutboundBotJobCompleteTrigger(job_group_id=self.job_group_id, **arguments)

    def wait_deferred(self, **arguments: Any) -> dict[str, Any]:
        """The event of that trigger, run in a loop of its own."""
        return asyncio.run(first_event(self.trigger(**arguments)))

    def sensor(self, **arguments: Any) -> OutboundBotJobCompleteSensor:
        """A sensor that is run by hand, poking unless told otherwise."""
        return OutboundBotJobCompleteSensor(
            task_id="wait", **{"job_group_id": self.job_group_id, "poke_interval": 0.1, "mode": "poke", **arguments}
        )


@contextmanager
def waiting_campaign(
    simulator: Simulator, ledger_url: str, reconcile_interval: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WaitingCampaign]:
    """A campaign of an Airflow with the simulator's connections."""
    for name, value in {
        **simulator.connections,
        "AIRFLOW__OUTBOUND__LEDGER_URL": ledger_url,
        "AIRFLOW__OUTBOUND__LEDGER_KEY": KEY,
        "AIRFLOW__OUTBOUND__RECONCILE_INTERVAL": str(reconcile_interval),
    }.items():
        monkeypatch.setenv(name, value)
    hook = OutboundBotHook()
    yield WaitingCampaign(simulator=simulator, client=hook.client, ledger=hook.ledger)
    end_all()
    hook.ledger.close()


def stored(arguments: dict[str, Any]) -> str:
    """A trigger's arguments as Airflow stores them."""
    from airflow.serialization.serialized_objects import BaseSerialization

    return json.dumps(BaseSerialization.serialize(arguments))


def restored(text: str) -> dict[str, Any]:
    """What Airflow reads from that."""
    from airflow.serialization.serialized_objects import BaseSerialization

    arguments: dict[str, Any] = BaseSerialization.deserialize(json.loads(text))
    return arguments


def rebuilt(trigger: OutboundBotJobCompleteTrigger) -> OutboundBotJobCompleteTrigger:
    """The trigger as another process makes it, from the arguments that Airflow stores."""
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_outbound.triggers.outboundbot.OutboundBotJobCompleteTrigger"
    return OutboundBotJobCompleteTrigger(**restored(stored(arguments)))


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
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", self.PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        assert self.process.stdin is not None
        self.process.stdin.write(stored(trigger.serialize()[1]) + "\n")
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


StartTriggerer = Callable[[OutboundBotJobCompleteTrigger], Triggerer]
