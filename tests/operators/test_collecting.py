"""A task that assigns stores the messages of the first calls, and its collector ends with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

PEOPLE = 8


@pytest.fixture
def simulator(simulator_factory: Callable[..., Simulator]) -> Simulator:
    """A service that takes its time, so that the task assigns for some seconds."""
    return simulator_factory(latency=0.1)


@pytest.fixture
def created(context: Callable[..., Any]) -> dict[str, Any]:
    strategy = Strategy(working_time=[("00:00", "23:59:59")])
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=strategy).execute(context("create"))


@pytest.fixture
def assigning(created: dict[str, Any], people: Callable[[int], Any]) -> Callable[..., OutboundBotAssignJobsOperator]:
    """Makes a task that sends one request for each contact."""
    return lambda conn_id: OutboundBotAssignJobsOperator(
        task_id="assign",
        contacts=people(PEOPLE),
        job_group_id=created,
        batch_size=1,
        max_parallel_requests=1,
        rocketmq_conn_id=conn_id,
    )


def _wait(what: Callable[[], Any], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def _held_up(simulator: Simulator, job_group_id: str, seconds: float) -> Iterator[list[int]]:
    """
    Throttle the task after its first requests until the ledger has results, or for so many seconds.

    :return: Results that the ledger had while the task assigned.
    """
    found: list[int] = []

    def hold() -> None:
        try:
            assert _wait(lambda: simulator.state()["requests"].get("AssignJobs", 0) >= 3, 60)
            simulator.faults(throttle={"actions": ["AssignJobs"]})
            with OutboundBotHook() as hook:
                _wait(lambda: hook.ledger.results.summary(job_group_id)["completed"], seconds)
                found.append(hook.ledger.results.summary(job_group_id)["completed"])
        finally:
            simulator.faults()

    thread = threading.Thread(target=hold)
    thread.start()
    yield found
    thread.join()


def _collectors() -> list[Any]:
    with OutboundBotHook() as hook:
        return hook.ledger.collectors.read().running()


def test_messages_of_the_first_calls_are_stored_while_others_are_assigned(
    simulator: Simulator,
    context: Callable[..., Any],
    created: dict[str, Any],
    assigning: Callable[..., OutboundBotAssignJobsOperator],
) -> None:
    with _held_up(simulator, created["job_group_id"], seconds=90) as stored:
        result = assigning("rocketmq_default").execute(context("assign"))

    assert result["assigned"] == PEOPLE
    assert stored[0] > 0, "no message was stored while the task assigned"
    assert all(len(ids) == 1 for ids in simulator.state()["jobs_per_number"].values())
    assert not [thread for thread in threading.enumerate() if thread.name == "outbound-collect"]


def test_without_a_queue_or_with_a_collector_as_a_service_the_task_collects_nothing(
    simulator: Simulator,
    context: Callable[..., Any],
    created: dict[str, Any],
    assigning: Callable[..., OutboundBotAssignJobsOperator],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__COLLECTOR", "external")
    with _held_up(simulator, created["job_group_id"], seconds=2) as stored:
        assigning("rocketmq_default").execute(context("assign"))
    monkeypatch.setenv("AIRFLOW__OUTBOUND__COLLECTOR", "embedded")
    assigning(None).execute(context("again"))

    assert stored == [0]
    assert not _collectors()


def test_a_queue_that_does_not_exist_is_an_error_before_anybody_is_called(
    simulator: Simulator,
    context: Callable[..., Any],
    assigning: Callable[..., OutboundBotAssignJobsOperator],
) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"no-queue.*Nobody was called"):
        assigning("no-queue").execute(context("assign"))

    assert not simulator.state()["requests"].get("AssignJobs")
