"""Many waiters, one collector: who is woken, when the child lives and dies, and what is left behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.fernet import Fernet
from support.processes import collectors, eventually, is_running, until

from airflow_provider_outbound.core.collect import watch
from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.collect.watch import Waiter, WatchSettings, subscribe
from airflow_provider_outbound.core.ledger import Incoming, Ledger, open_ledger
from airflow_provider_outbound.exceptions import LedgerKeyError, RocketMQClientError
from airflow_provider_outbound.simulator.testing import Simulator

PATIENCE = 60.0


@pytest.fixture
def watching(settings: WorkerSettings) -> Iterator[WatchSettings]:
    """Watches of these settings end with the test."""
    yield WatchSettings(
        ledger_url=settings.ledger_url, ledger_keys=settings.ledger_keys, rocketmq=settings.rocketmq, poll_interval=1.0
    )
    watch.end_all()


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches end soon after their last waiter: nobody gains by waiting longer here."""
    monkeypatch.setattr(watch, "LINGER_SECONDS", 0.1)


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "outbound-watch"]


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _calm(waiter: Waiter) -> None:
    """Read until there is nothing new, as a trigger that has read the present."""
    while await waiter.changed(2.0):
        pass


def test_the_first_look_comes_at_once(watching: WatchSettings) -> None:
    async def scenario() -> bool:
        async with subscribe(watching, "group-1") as waiter:
            return await waiter.changed(0)

    assert asyncio.run(scenario())


def test_a_message_that_came_before_its_waiter_is_seen(
    simulator: Simulator, watching: WatchSettings, ledger: Ledger, completed: Callable[..., bytes]
) -> None:
    simulator.publish(completed("group-1"))

    async def scenario() -> None:
        async with subscribe(watching, "group-1") as waiter:
            async with asyncio.timeout(PATIENCE):
                while "group-1" not in ledger.groups.changed_since(0)[1]:
                    await waiter.changed(PATIENCE)

    asyncio.run(scenario())


def test_a_waiter_is_woken_for_its_own_group_only(
    simulator: Simulator, watching: WatchSettings, completed: Callable[..., bytes]
) -> None:
    async def scenario() -> tuple[bool, bool]:
        async with subscribe(watching, "group-a") as a, subscribe(watching, "group-b") as b:
            await asyncio.gather(_calm(a), _calm(b))
            simulator.publish(completed("group-b"))
            woken = await b.changed(PATIENCE)
            return woken, await a.changed(2.0)

    assert asyncio.run(scenario()) == (True, False)


def test_a_waiter_for_all_groups_is_woken_by_any(
    simulator: Simulator, watching: WatchSettings, completed: Callable[..., bytes]
) -> None:
    async def scenario() -> bool:
        async with subscribe(watching, None) as waiter:
            await _calm(waiter)
            simulator.publish(completed("group-b"))
            return await waiter.changed(PATIENCE)

    assert asyncio.run(scenario())


def test_many_waiters_share_one_collector(
    simulator: Simulator, watching: WatchSettings, completed: Callable[..., bytes]
) -> None:
    async def wait(group: str) -> bool:
        async with subscribe(watching, group) as waiter:
            await _calm(waiter)
            calm.release()
            return await waiter.changed(PATIENCE)

    calm = threading.Semaphore(0)

    async def scenario() -> tuple[list[bool], int]:
        tasks = [asyncio.create_task(wait(f"group-{number}")) for number in range(100)]
        for _ in tasks:
            await asyncio.to_thread(calm.acquire, timeout=PATIENCE)
        for number in range(100):
            simulator.publish(completed(f"group-{number}"))
        return await asyncio.gather(*tasks), len(collectors())

    woken, running = asyncio.run(scenario())

    assert all(woken)
    assert running == 1
    assert len(_threads()) == 1


def test_waiters_in_loops_one_after_another_share_one_collector(watching: WatchSettings) -> None:
    async def scenario() -> list[int]:
        async with subscribe(watching, "group-1") as waiter:
            await waiter.changed(0)
            return list(await eventually(collectors, "a child"))

    assert asyncio.run(scenario()) == asyncio.run(scenario())


def test_a_collector_that_is_killed_is_replaced(
    simulator: Simulator,
    watching: WatchSettings,
    completed: Callable[..., bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> tuple[bool, set[int]]:
        async with subscribe(watching, "group-1") as waiter:
            await eventually(lambda: "collecting" in caplog.text, "collecting")
            before = set(collectors())
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            await eventually(lambda: "exit code -9" in caplog.text, "the end noticed")
            await _calm(waiter)
            simulator.publish(completed("group-1"))
            woken = await waiter.changed(PATIENCE)
            return woken, before & set(collectors())

    with caplog.at_level(logging.INFO, logger="airflow_provider_outbound.collect"):
        woken, still_there = asyncio.run(scenario())

    assert woken
    assert not still_there


def test_cancelled_waiters_leave_nothing(watching: WatchSettings, short_linger: None) -> None:
    async def wait(group: str) -> None:
        async with subscribe(watching, group) as waiter:
            while True:
                await waiter.changed(PATIENCE)

    async def scenario() -> list[Any]:
        tasks = [asyncio.create_task(wait(f"group-{number}")) for number in range(20)]
        await eventually(collectors, "a child")
        for task in tasks:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(scenario())

    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    until(lambda: not _threads() and not collectors(), "thread and child gone")


def test_twenty_starts_and_stops_leave_no_process_thread_or_file(watching: WatchSettings, short_linger: None) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    pauses = random.Random(seed)

    async def scenario(pause: float) -> None:
        async with subscribe(watching, "group-1"):
            await asyncio.sleep(pause)

    asyncio.run(scenario(0.5))
    until(lambda: not _threads(), "the first thread gone")
    files = _open_files()
    for _ in range(20):
        asyncio.run(scenario(pauses.uniform(0, 1)))
        until(lambda: not _threads() and not collectors(), "thread and child gone")

    assert _open_files() <= files


def test_without_a_subscription_the_ledger_alone_is_watched(
    watching: WatchSettings, ledger: Ledger, completed: Callable[..., bytes]
) -> None:
    async def scenario() -> bool:
        async with subscribe(attrs.evolve(watching, rocketmq=None), "group-1") as waiter:
            await _calm(waiter)
            ledger.inbox.record([Incoming(body=completed("group-1"), message_id="1", topic="t")])
            return await waiter.changed(PATIENCE)

    assert asyncio.run(scenario())
    assert not collectors()


def test_what_happened_while_the_ledger_was_away_is_seen(
    watching: WatchSettings, completed: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(watching.ledger_url.removeprefix("sqlite:///"))
    path.mkdir()

    def happen() -> None:
        path.rmdir()
        with open_ledger(watching.ledger_url, watching.ledger_keys) as ledger:
            ledger.inbox.record([Incoming(body=completed("group-1"), message_id="1", topic="t")])

    async def scenario() -> bool:
        async with subscribe(attrs.evolve(watching, rocketmq=None), "group-1") as waiter:
            await _calm(waiter)
            await eventually(lambda: "WARNING" in caplog.text, "said")
            happen()
            return await waiter.changed(PATIENCE)

    assert asyncio.run(scenario())
    assert caplog.text.count("WARNING") == 1


def test_a_ledger_that_these_keys_do_not_open_ends_the_waiting(watching: WatchSettings, ledger: Ledger) -> None:
    async def scenario() -> None:
        other = attrs.evolve(watching, rocketmq=None, ledger_keys=(Fernet.generate_key().decode(),))
        async with subscribe(other, "group-1") as waiter, asyncio.timeout(PATIENCE):
            while True:
                await waiter.changed(PATIENCE)

    with pytest.raises(LedgerKeyError, match="ledger_key"):
        asyncio.run(scenario())


def test_a_transport_whose_library_is_missing_is_refused_before_anything_starts(watching: WatchSettings) -> None:
    assert watching.rocketmq is not None
    remoting = attrs.evolve(
        watching, rocketmq=attrs.evolve(watching.rocketmq, transport="remoting", librocketmq="/nowhere.so")
    )

    async def scenario() -> None:
        async with subscribe(remoting, "group-1"):
            pass

    with pytest.raises(RocketMQClientError, match="is not a file"):
        asyncio.run(scenario())
    assert not _threads()


def test_what_troubles_the_collector_is_logged_here(
    watching: WatchSettings, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    assert watching.rocketmq is not None
    lost = attrs.evolve(watching, rocketmq=attrs.evolve(watching.rocketmq, topic="no-such-topic"))

    async def scenario() -> None:
        async with subscribe(lost, "group-1"):
            await eventually(lambda: "no topic 'no-such-topic'" in caplog.text, "said")

    asyncio.run(scenario())


def test_a_killed_triggerer_leaves_no_collector(watching: WatchSettings) -> None:
    """The other process stands for a triggerer; it is killed while its waiters wait."""
    program = (
        "import asyncio, json, sys\n"
        "from airflow_provider_outbound.core.collect.watch import WatchSettings, subscribe\n"
        "from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings\n"
        "values = json.loads(sys.stdin.readline())\n"
        "settings = WatchSettings(ledger_url=values['url'], ledger_keys=tuple(values['keys']),\n"
        "    rocketmq=RocketMQSettings.from_dict(values['rocketmq']))\n"
        "async def wait():\n"
        "    async with subscribe(settings, 'group-1') as waiter:\n"
        "        print('waiting', flush=True)\n"
        "        while True:\n"
        "            await waiter.changed(60)\n"
        "asyncio.run(wait())\n"
    )
    assert watching.rocketmq is not None
    values = {"url": watching.ledger_url, "keys": watching.ledger_keys, "rocketmq": watching.rocketmq.to_dict()}
    triggerer = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert triggerer.stdin is not None
    assert triggerer.stdout is not None
    triggerer.stdin.write(json.dumps(values).encode() + b"\n")
    triggerer.stdin.close()
    assert triggerer.stdout.readline() == b"waiting\n"
    (child,) = until(lambda: collectors(triggerer.pid), "a child")

    triggerer.kill()
    triggerer.wait()
    triggerer.stdout.close()

    until(lambda: not is_running(child), "the collector gone")
