"""What waits between the thread that journals and those that send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_outbound.core.assign.work_queue import WorkQueue


@pytest.fixture
def in_thread() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


def queue() -> Any:
    """A queue. It never looks into a batch, so that texts serve as batches here."""
    return WorkQueue()


def still_waits(*futures: Future[Any]) -> bool:
    time.sleep(0.05)
    return not any(future.done() for future in futures)


def test_batches_are_taken_in_order_and_those_given_back_come_last(in_thread: Callable[..., Future[Any]]) -> None:
    backlog = queue()
    backlog.add(["first", "second"])

    backlog.give_back(backlog.take())

    assert [backlog.take(), backlog.take()] == ["second", "first"]
    waiting = in_thread(backlog.take)
    assert still_waits(waiting)
    backlog.add(["third"])
    assert waiting.result() == "third"


def test_all_is_done_only_when_what_was_taken_is(in_thread: Callable[..., Future[Any]]) -> None:
    backlog = queue()
    backlog.add(["only"])
    taken = backlog.take()

    finished, other = in_thread(backlog.finish), in_thread(backlog.take)
    assert still_waits(finished, other)
    # Throttled, it waits for another turn.
    backlog.give_back(taken)
    assert other.result() == "only"
    last = in_thread(backlog.take)
    assert still_waits(finished, last)
    backlog.done()

    assert finished.result() is None
    assert last.result() is None


def test_there_is_room_once_enough_was_taken(in_thread: Callable[..., Future[Any]]) -> None:
    backlog = queue()
    assert backlog.wait_for_room(0)
    backlog.add(["first", "second"])

    room = in_thread(backlog.wait_for_room, 1)

    assert still_waits(room)
    backlog.take()
    assert room.result()


def test_a_stop_wakes_everybody_and_what_waits_was_not_sent(in_thread: Callable[..., Future[Any]]) -> None:
    backlog = queue()
    taken = [in_thread(backlog.take), in_thread(backlog.take)]
    assert still_waits(*taken)

    backlog.stop()
    backlog.add([["journalled"], ["too", "late"]])

    assert [future.result() for future in taken] == [None, None]
    assert backlog.take() is None
    assert not backlog.wait_for_room(0)
    backlog.finish()
    assert backlog.unsent() == ["journalled", "too", "late"]
