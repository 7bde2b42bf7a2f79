"""A few go through at a time, everyone in turn, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_outbound.triggers.limiter import CapacityLimiter


def test_a_hundred_go_through_a_few_at_a_time_and_in_turn() -> None:
    gate = CapacityLimiter(3)
    inside = most = 0
    order: list[int] = []

    async def go(number: int) -> None:
        nonlocal inside, most
        async with gate.passed():
            order.append(number)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def scenario() -> None:
        await asyncio.gather(*(go(number) for number in range(100)))

    asyncio.run(scenario())

    assert order == list(range(100))
    assert most == 3


def test_every_loop_has_a_gate_of_its_own_which_goes_with_it() -> None:
    gate = CapacityLimiter(1)

    async def one() -> int:
        async with gate.passed():
            await asyncio.sleep(0)
            return len(gate._gates)

    async def scenario() -> list[int]:
        return [*await asyncio.gather(one(), one())]

    assert [asyncio.run(scenario()) for _ in range(2)] == [[1, 1], [1, 1]]
    assert gate._gates == {}


def test_one_that_is_cancelled_or_fails_leaves_its_place() -> None:
    gate = CapacityLimiter(1)

    async def stay() -> None:
        async with gate.passed():
            await asyncio.sleep(60)

    async def fail() -> None:
        async with gate.passed():
            raise ValueError("inside")

    async def scenario() -> str:
        staying, waiting = asyncio.create_task(stay()), asyncio.create_task(stay())
        await asyncio.sleep(0)
        waiting.cancel()
        staying.cancel()
        await asyncio.gather(staying, waiting, return_exceptions=True)
        with pytest.raises(ValueError, match="inside"):
            await fail()
        async with gate.passed():
            return "passed"

    assert asyncio.run(asyncio.wait_for(scenario(), 30)) == "passed"
    assert gate._gates == {}
