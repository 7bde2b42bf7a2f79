"""Threads come with the work and go without."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from functools import partial

import pytest

from airflow_provider_outbound.triggers.threads import Threads

PATIENCE = 30.0


def alive(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def until_gone(name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while alive(name):
        assert time.monotonic() < deadline, f"{name} still runs"
        time.sleep(0.02)


def test_a_hundred_tasks_share_few_threads_and_each_gets_its_own_result() -> None:
    threads = Threads(3, "test-few", linger=0.1)
    seen: set[str] = set()

    def work(number: int) -> int:
        seen.add(threading.current_thread().name)
        return number * 2

    async def scenario() -> list[int]:
        return await asyncio.gather(*(threads.run(partial(work, number)) for number in range(100)))

    assert asyncio.run(scenario()) == [number * 2 for number in range(100)]
    assert len(seen) <= 3
    until_gone("test-few")


def test_an_error_is_raised_where_the_result_is_awaited_and_the_next_task_runs() -> None:
    threads = Threads(1, "test-error", linger=0.1)

    async def scenario() -> int:
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        return await threads.run(lambda: 7)

    assert asyncio.run(scenario()) == 7
    until_gone("test-error")


def test_idle_threads_end_tell_so_once_and_come_again_with_the_next_task() -> None:
    idle: list[str] = []
    threads = Threads(2, "test-idle", linger=0.05, on_idle=lambda: idle.append("idle"))

    async def both() -> None:
        meet = threading.Barrier(2)
        await asyncio.gather(threads.run(meet.wait), threads.run(meet.wait))

    asyncio.run(both())
    until_gone("test-idle")
    assert idle == ["idle"]

    asyncio.run(both())
    until_gone("test-idle")
    assert idle == ["idle", "idle"]


def test_what_was_cancelled_before_it_began_is_not_done() -> None:
    threads = Threads(1, "test-cancel", linger=0.05)
    done: list[str] = []

    async def scenario() -> None:
        go_on = threading.Event()
        first = asyncio.create_task(threads.run(go_on.wait))
        second = asyncio.create_task(threads.run(lambda: done.append("second")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go_on.set()
        await first
        await threads.run(lambda: done.append("third"))

    asyncio.run(scenario())

    assert done == ["third"]
    until_gone("test-cancel")


def test_closing_waits_for_the_work_under_way_and_takes_no_more() -> None:
    threads = Threads(1, "test-close")

    async def scenario() -> list[str]:
        done: list[str] = []
        begun = threading.Event()

        def work() -> None:
            begun.set()
            time.sleep(0.2)
            done.append("work")

        task = asyncio.create_task(threads.run(work))
        await asyncio.to_thread(begun.wait)
        await asyncio.to_thread(threads.close)
        assert not alive("test-close")
        with pytest.raises(RuntimeError, match="closed"):
            await threads.run(lambda: None)
        await task
        return done

    assert asyncio.run(scenario()) == ["work"]


def test_work_sees_the_context_of_who_asked_for_it() -> None:
    """A triggerer knows by it to which task's log a line belongs."""
    threads = Threads(2, "test-context", linger=0.1)
    asker: contextvars.ContextVar[int] = contextvars.ContextVar("asker")

    async def ask(number: int) -> int:
        asker.set(number)
        return await threads.run(asker.get)

    async def scenario() -> list[int]:
        return await asyncio.gather(*(ask(number) for number in range(20)))

    assert asyncio.run(scenario()) == list(range(20))
    until_gone("test-context")
