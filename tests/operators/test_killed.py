"""An assignment that Airflow ends: it stops at once, loses nothing, and the next try continues."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
#: So many that one request each takes longer than any pause of the thread that ends the task.
PEOPLE = 1500


@pytest.fixture
def created(context: Callable[..., Any]) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


@pytest.fixture
def assigning(created: dict[str, Any], people: Callable[[int], list[dict[str, str]]]) -> OutboundBotAssignJobsOperator:
    """A task that assigns for some seconds."""
    return OutboundBotAssignJobsOperator(
        task_id="assign",
        contacts=people(PEOPLE),
        job_group_id=created,
        batch_size=1,
        max_parallel_requests=2,
        settle_seconds=0.3,
    )


@contextmanager
def _sent_while_assigning(simulator: Simulator, *signals: signal.Signals) -> Iterator[None]:
    """Sends signals to this process once its task assigns."""

    def send() -> None:
        until = time.monotonic() + 120
        while simulator.state()["requests"].get("AssignJobs", 0) < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
        for number in signals:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()


@pytest.fixture
def killed(simulator: Simulator, assigning: OutboundBotAssignJobsOperator) -> Iterator[None]:
    """SIGTERM while the task assigns, to a handler like Airflow's, which only calls ``on_kill``."""
    before = signal.signal(signal.SIGTERM, lambda *_: assigning.on_kill())
    # Twice: once from Airflow, once to all processes of a service that is stopped.
    with _sent_while_assigning(simulator, signal.SIGTERM, signal.SIGTERM):
        yield
    signal.signal(signal.SIGTERM, before)


def _calls(simulator: Simulator) -> list[int]:
    return [len(ids) for ids in simulator.state()["jobs_per_number"].values()]


def _wait_in_line(job_group_id: str) -> bool:
    """Whether the wait for this group is held up by a task that may still assign."""
    with OutboundBotHook() as hook:
        return hook.ledger.groups.state(job_group_id).is_assigning


def test_a_task_that_is_killed_assigns_nobody_else_and_the_next_try_continues(
    simulator: Simulator,
    context: Callable[..., Any],
    created: dict[str, Any],
    assigning: OutboundBotAssignJobsOperator,
    killed: None,
) -> None:
    with pytest.raises(OutboundBotError, match="being ended"):
        assigning.execute(context("assign", max_tries=1))

    before = len(_calls(simulator))
    assert 0 < before < PEOPLE
    asked = simulator.state()["requests"]
    assigning.batch_size = 99
    result = assigning.execute(context("assign", try_number=2, max_tries=1))

    assert (result["assigned"], result["newly_assigned"]) == (PEOPLE, PEOPLE - before)
    assert _calls(simulator) == [1] * PEOPLE
    # Every outcome was journalled, so nobody has to be searched for in the group.
    assert simulator.state()["requests"].get("ListJobsByGroup") == asked.get("ListJobsByGroup")


def test_nothing_waits_for_a_task_that_was_killed_in_its_last_try(
    simulator: Simulator,
    context: Callable[..., Any],
    created: dict[str, Any],
    assigning: OutboundBotAssignJobsOperator,
    killed: None,
) -> None:
    with pytest.raises(OutboundBotError, match="being ended"):
        assigning.execute(context("assign"))

    assert not _wait_in_line(created["job_group_id"])


@pytest.fixture
def timed_out(simulator: Simulator) -> Iterator[None]:
    """``execution_timeout`` is over while the task assigns: Airflow's handler raises."""

    def raise_timeout(*_: object) -> None:
        raise AirflowTaskTimeout("Timeout")

    before = signal.signal(signal.SIGALRM, raise_timeout)
    with _sent_while_assigning(simulator, signal.SIGALRM):
        yield
    signal.signal(signal.SIGALRM, before)


def test_nothing_waits_for_a_task_whose_execution_timeout_is_over_in_its_last_try(
    simulator: Simulator,
    context: Callable[..., Any],
    created: dict[str, Any],
    assigning: OutboundBotAssignJobsOperator,
    timed_out: None,
) -> None:
    with pytest.raises(AirflowTaskTimeout):
        assigning.execute(context("assign"))

    assert 0 < len(_calls(simulator)) < PEOPLE
    with OutboundBotHook() as hook:
        # Contacts that were about to be sent may be in doubt. The wait settles these itself, as the task has given up.
        assert not hook.ledger.groups.state(created["job_group_id"]).open_assignments


def test_a_list_that_has_become_empty_skips_no_wait_for_people_who_are_called(
    simulator: Simulator,
    context: Callable[..., Any],
    created: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
) -> None:
    def assign(contacts: list[dict[str, str]]) -> OutboundBotAssignJobsOperator:
        return OutboundBotAssignJobsOperator(
            task_id="assign", contacts=contacts, job_group_id=created, settle_seconds=0.3
        )

    with pytest.raises(AirflowSkipException, match="there are no contacts"):
        assign([]).execute(context("assign"))
    assign(people(3)).execute(context("assign", max_tries=1))
    result = assign([]).execute(context("assign", try_number=2, max_tries=1))

    assert (result["read"], result["assigned"], result["newly_assigned"]) == (0, 3, 0)
    with pytest.raises(AirflowSkipException, match="there are no contacts"):
        assign([]).execute(context("another_task"))


def test_a_list_that_has_become_empty_settles_what_a_try_left_in_doubt(
    simulator: Simulator,
    context: Callable[..., Any],
    created: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
) -> None:
    def assign(contacts: list[dict[str, str]], **options: Any) -> OutboundBotAssignJobsOperator:
        return OutboundBotAssignJobsOperator(
            task_id="assign", contacts=contacts, job_group_id=created, settle_seconds=0.3, **options
        )

    simulator.faults(answer_lost={"actions": ["AssignJobs", "ListJobsByGroup"]})
    with pytest.raises(Exception, match="ListJobsByGroup"):
        assign(people(3)).execute(context("assign", max_tries=1))
    simulator.faults()

    result = assign([]).execute(context("assign", try_number=2, max_tries=1))

    assert (result["assigned"], result["unresolved"]) == (3, 0)
    summary = OutboundBotJobCompleteSensor(
        task_id="wait", job_group_id=created, rocketmq_conn_id=None, mode="poke", poke_interval=0.3
    ).execute({})
    assert summary["completed"] == 3
