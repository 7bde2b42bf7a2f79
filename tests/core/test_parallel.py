"""Bounded parallel work: never more than the limit, no result lost, and an end that waits for nothing unless asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.parallel import BoundedMap, check_limit
from airflow_provider_outbound.exceptions import OutboundBotConfigError

PATIENCE = 30.0


def make(function: Callable[[Any], Any], limit: int = 2, **options: Any) -> BoundedMap[Any, Any]:
    return BoundedMap(function, limit=limit, stop=threading.Event(), name="tested", **options)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def threads() -> int:
    return sum(thread.name == "tested" for thread in threading.enumerate())


class Held:
    """A function that returns an item once it is let go."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self._go: dict[Any, threading.Event] = {}

    def __call__(self, item: Any) -> Any:
        self.begun.append(item)
        assert self._go.setdefault(item, threading.Event()).wait(PATIENCE)
        return item

    def let_go(self, *items: Any) -> None:
        for item in items:
            self._go.setdefault(item, threading.Event()).set()


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.let_go(*held.begun)
    wait_until(lambda: not threads())


@settings(max_examples=examples(150), deadline=None)
@given(
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.001]), max_size=40),
    limit=st.integers(1, 6),
    ahead=st.integers(0, 6),
)
def test_each_result_comes_once_and_no_more_than_the_limit_run_at_a_time(
    pauses: list[float], limit: int, ahead: int
) -> None:
    lock, running, peak, taken, drawn = threading.Lock(), 0, 0, 0, 0

    def act(item: tuple[int, float]) -> int:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        time.sleep(item[1])
        with lock:
            running -= 1
        return item[0]

    def items() -> Iterator[tuple[int, float]]:
        nonlocal drawn
        for item in enumerate(pauses):
            drawn += 1
            assert drawn - taken <= limit + ahead
            yield item

    results = []
    with make(act, limit, ahead=ahead) as mapped:
        for result in mapped.map(items()):
            taken += 1
            results.append(result)

    assert sorted(results) == list(range(len(pauses)))
    assert peak <= limit
    assert mapped.is_idle


@settings(max_examples=examples(100), deadline=None)
@given(count=st.integers(1, 30), broken=st.integers(0, 29), limit=st.integers(1, 6), ahead=st.integers(0, 6))
def test_the_first_error_is_raised_and_what_was_done_by_then_is_there(
    count: int, broken: int, limit: int, ahead: int
) -> None:
    """By the account of the function itself: what it did is either a result, or the error."""
    done: list[int] = []

    def act(item: int) -> int:
        if item == broken:
            raise ValueError("broken")
        done.append(item)
        return item

    results: list[int] = []
    with make(act, limit, ahead=ahead) as mapped:
        try:
            for result in mapped.map(range(count)):
                results.append(result)  # noqa: PERF402 - kept one by one until the error
        except ValueError:
            assert broken < count
            results += [future.result() for _, future in mapped.drain() if future.exception() is None]
        else:
            assert broken >= count
    wait_until(lambda: not threads())

    assert sorted(results) == sorted(done)


def test_nothing_is_started_after_the_first_error(held: Held) -> None:
    def act(item: int) -> int:
        if item == 1:
            raise ValueError("broken")
        return int(held(item))

    with make(act, limit=2, ahead=5) as mapped:
        with pytest.raises(ValueError, match="broken"):
            for _ in mapped.map([0, 1]):
                pass
        mapped.start(2)
        mapped.start(3)
        wait_until(lambda: held.begun == [0, 2])
        held.let_go(0, 2)
        drained = [item for item, _ in mapped.drain()]

    assert sorted(drained) == [0, 2]
    assert held.begun == [0, 2]


def test_a_close_drops_what_waits_and_waits_for_nothing(held: Held) -> None:
    with make(held, limit=1, ahead=2) as mapped:
        for item in range(3):
            mapped.start(item)
        wait_until(lambda: held.begun)

    assert mapped.started == [0]
    held.let_go(0, 1, 2)
    wait_until(lambda: not threads())
    assert held.begun == [0]


def test_what_is_drained_for_some_seconds_is_what_ends_within_them(held: Held) -> None:
    with make(held, limit=3) as mapped:
        for item in range(3):
            mapped.start(item)
        held.let_go(0, 2)
        drained = [item for item, _ in mapped.drain(0.3)]

        assert sorted(drained) == [0, 2]
        assert mapped.started == [1]


@pytest.mark.parametrize("waits", [False, True])
def test_an_item_that_is_given_up_makes_room_and_has_no_result(held: Held, waits: bool) -> None:
    with make(held, limit=1, ahead=1) as mapped:
        mapped.start("slow")
        wait_until(lambda: held.begun)
        if waits:
            mapped.start("quick")
            assert mapped.free == 0
        mapped.give_up("slow")
        if not waits:
            assert mapped.free == 2
            mapped.start("quick")
        held.let_go("quick")

        assert [item for item, _ in mapped.finished(PATIENCE)] == ["quick"]
        held.let_go("slow")
        wait_until(lambda: not threads())
        assert mapped.is_idle
        mapped.start("quick")
        assert [item for item, _ in mapped.finished(PATIENCE)] == ["quick"]


def test_an_idle_map_has_no_threads() -> None:
    with make(lambda item: item, limit=4) as mapped:
        assert list(mapped.map(["only"])) == ["only"]
        wait_until(lambda: not threads())

        assert list(mapped.map(["once", "more"])) != []


_TERMINATED = """
import signal, sys, threading
from airflow_provider_outbound.core.parallel import BoundedMap

signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))

def act(item):
    print("begun", flush=True)
    threading.Event().wait()

with BoundedMap(act, limit=1, stop=threading.Event(), name="tested") as mapped:
    list(mapped.map(["never ends"]))
"""


def test_a_process_that_is_terminated_waits_for_nothing_that_is_under_way() -> None:
    with subprocess.Popen([sys.executable, "-c", _TERMINATED], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE) == 3


@pytest.mark.parametrize("limit", [0, -1, True, 2.5, "8", None])
def test_a_limit_is_a_whole_number_from_1(limit: Any) -> None:
    with pytest.raises(
        OutboundBotConfigError, match=r"^max_parallel_requests: .* is not a whole number( of 1 or more)?"
    ):
        check_limit(limit)
