"""Suspending and cancelling a job group while a task assigns to it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import attrs
import pytest
from support.campaigns import Campaign, numbers
from support.processes import until
from support.simulated import client_of

from airflow_provider_outbound.core.assign import dispatcher
from airflow_provider_outbound.core.control import Action, JobCommand
from airflow_provider_outbound.core.ledger import JobGroupRecord, TaskKey
from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.simulator.cloud import Cloud

#: As users have it.
STOP_SECONDS = dispatcher.STOP_SECONDS
STOPS = [pytest.param(Action.SUSPEND, "Paused", id="suspend"), pytest.param(Action.CANCEL, "Cancelled", id="cancel")]


@pytest.fixture(autouse=True)
def frozen(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call ends, and the task asks before each of its commits whether calls were stopped."""
    campaign.simulator.set_clock(speed=0)
    monkeypatch.setattr(dispatcher, "STOP_SECONDS", 0.0)


def send(campaign: Campaign, action: Action) -> None:
    command = JobCommand(action=action, job_group_id=campaign.job_group_id, all_jobs=True)
    command.send(campaign.client, lambda: campaign.ledger)


def waiting(campaign: Campaign) -> int:
    """The number of people whom the service would call next."""
    return sum(
        job["status"] == "Scheduling" for job in campaign.simulator.state()["groups"][campaign.job_group_id]["jobs"]
    )


def stop_midway(campaign: Campaign, numbers: list[str], action: Action) -> None:
    calls: list[None] = []

    def guard(_: Any) -> None:
        calls.append(None)
        if len(calls) == 10:
            send(campaign, action)

    with pytest.raises(OutboundBotError, match=r"so this task assigns nobody else; .* contacts are assigned already"):
        campaign.assign(numbers, guard=guard)


@pytest.mark.parametrize(("action", "after"), STOPS)
def test_a_task_that_assigns_stops_too_and_leaves_nobody_to_be_called(
    campaign: Campaign, action: Action, after: str
) -> None:
    stop_midway(campaign, numbers(600), action)

    jobs = campaign.simulator.state()["groups"][campaign.job_group_id]["jobs"]
    assert 0 < len(jobs) < 600
    assert after in {job["status"] for job in jobs}
    assert waiting(campaign) == 0

    # Nor does its retry.
    with pytest.raises(OutboundBotError, match="so this task assigns nobody else"):
        campaign.assign(numbers(600))
    assert len(campaign.simulator.state()["groups"][campaign.job_group_id]["jobs"]) == len(jobs)


def test_a_task_that_is_cleared_after_a_cancellation_says_that_nobody_is_called(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    people = numbers(3)
    for _ in range(2):
        campaign.assign(people)
    assert "cancelled" not in caplog.text
    send(campaign, Action.CANCEL)

    assert campaign.assign(people).newly_assigned == 0

    (line,) = [message for message in caplog.messages if "cancelled" in message]
    assert "UTC; who was assigned before and not called is not called" in line


def test_after_the_group_was_resumed_a_retry_assigns_the_others(campaign: Campaign) -> None:
    stop_midway(campaign, numbers(300), Action.SUSPEND)
    send(campaign, Action.RESUME)

    campaign.assign(numbers(300))

    assert campaign.each_once(numbers(300))
    assert waiting(campaign) > 0


def test_requests_that_wait_for_their_turn_are_not_sent_after_a_stop(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight requests a second are allowed, and eight threads wait for their turns when the group is stopped."""
    monkeypatch.setattr(dispatcher, "STOP_SECONDS", STOP_SECONDS)
    campaign = attrs.evolve(campaign, client=client_of(campaign.simulator.ready, max_requests_per_second=8))
    sent: list[int] = []

    def stop() -> None:
        until(lambda: len(campaign.jobs()) > 60, "the first jobs")
        send(campaign, Action.CANCEL)
        sent.append(campaign.requests("AssignJobs"))

    stopper = threading.Thread(target=stop)
    stopper.start()

    with pytest.raises(OutboundBotError, match=r"were cancelled at .* contacts are assigned already"):
        campaign.assign(numbers(400), batch_size=5, max_parallel_requests=8)

    stopper.join()
    # Those whose turn came before the ledger was asked again.
    assert campaign.requests("AssignJobs") - sent[0] <= 3


def test_a_stop_during_the_last_requests_is_repeated(campaign: Campaign) -> None:
    calls: list[None] = []

    def guard(_: Any) -> None:
        calls.append(None)
        if len(calls) == 2:
            # The only commit was before, and its requests are sent now.
            send(campaign, Action.CANCEL)

    with pytest.raises(OutboundBotError, match=r"were cancelled at .* 5 contacts are assigned already"):
        campaign.assign(numbers(5), guard=guard)

    assert waiting(campaign) == 0
    assert campaign.simulator.state()["requests"]["CancelJobs"] == 2


def test_a_group_that_was_cancelled_before_takes_contacts_again(campaign: Campaign) -> None:
    campaign.assign(numbers(5))
    send(campaign, Action.CANCEL)
    others = [f"139{index:08d}" for index in range(10)]

    assert campaign.assign(others, key=TaskKey("dag", "tomorrow", "assign")).assigned == 10
    # A task of the day before that is cleared has nobody to send, and repeats no command.
    assert campaign.assign(numbers(5)).newly_assigned == 0

    assert campaign.simulator.state()["requests"]["CancelJobs"] == 1


def created_by(campaign: Campaign, run_id: str) -> None:
    """As if a task of a DAG run had created the group."""
    key = TaskKey("dag", run_id, "create")
    record = JobGroupRecord(job_group_id=campaign.job_group_id, run_key=key.run_key, task_key=key)
    campaign.ledger.groups.record(record)


@pytest.mark.parametrize(
    ("action", "advice"),
    [(Action.SUSPEND, "run 'outbound resume"), (Action.CANCEL, "A new DAG run calls its whole list again")],
)
def test_a_task_that_begins_after_its_group_was_stopped_calls_nobody(
    campaign: Campaign, action: Action, advice: str
) -> None:
    created_by(campaign, "tonight")
    send(campaign, action)

    for _ in range(2):  # and its retry
        with pytest.raises(
            OutboundBotError, match=rf"so this task assigns nobody else; .*{advice}.* Nobody was called"
        ):
            campaign.assign(numbers(5), key=TaskKey("dag", "tonight", "assign"))

    assert campaign.jobs() == []


def test_a_task_that_begins_after_its_group_was_resumed_assigns(campaign: Campaign) -> None:
    created_by(campaign, "tonight")
    send(campaign, Action.SUSPEND)
    send(campaign, Action.RESUME)

    assert campaign.assign(numbers(5), key=TaskKey("dag", "tonight", "assign")).assigned == 5


def test_resuming_a_group_whose_jobs_have_ended_lets_tasks_assign_again(campaign: Campaign) -> None:
    campaign.assign(numbers(3))
    send(campaign, Action.SUSPEND)
    group_id = campaign.job_group_id

    def end(cloud: Cloud) -> None:
        for job in cloud.group(group_id).jobs:
            cloud.dialler.end(job, "Failed")

    campaign.simulator.run(end)
    send(campaign, Action.RESUME)

    assert campaign.assign(numbers(5, 10), key=TaskKey("dag", "tomorrow", "assign")).assigned == 5


def test_a_group_of_every_day_that_was_cancelled_during_a_run_takes_no_contacts_of_that_run(campaign: Campaign) -> None:
    started_at = campaign.ledger.now()
    campaign.assign(numbers(3))
    send(campaign, Action.SUSPEND)
    send(campaign, Action.CANCEL)
    key = TaskKey("dag", "tonight", "assign-more")

    with pytest.raises(OutboundBotError, match="so this task assigns nobody else"):
        campaign.assign(numbers(5, 10), key=key, run_started_at=started_at)
    # A run that started after the cancellation, which also ends the suspension.
    key = attrs.evolve(key, run_id="tomorrow")
    tomorrow = campaign.ledger.now() + timedelta(seconds=1)
    assert campaign.assign(numbers(5, 10), key=key, run_started_at=tomorrow).assigned == 5
