"""A wait ends when every job has ended, and says what came of it, whatever is lost on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import Any

import attrs
import pytest
from support.campaigns import Campaign, numbers

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import TaskKey, examine
from airflow_provider_outbound.exceptions import JobGroupFailedError, OutboundBotAuthenticationError

#: Slack for a slow machine, seconds.
PATIENCE = 60.0


def test_without_any_message_the_api_fills_in(campaign: Campaign) -> None:
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(100)

    summary = campaign.wait(campaign.completion())

    # By the simulator's table of outcomes: one number of each two last digits.
    assert summary["total"] == summary["completed"] == summary["recovered"] == 100
    assert summary["succeeded"] + summary["failed"] + summary["cancelled"] == 100
    assert sum(summary["by_status"].values()) == 100
    assert summary["by_call_status"]["FutureStatus"] == 1
    assert summary["by_failure_reason"]["FutureReason"] == 1
    assert summary["by_failure_reason"]["TimeUp"] == 1
    assert summary["answered"] >= 58
    assert summary["answer_rate"] == round(summary["answered"] / 100, 4)
    assert summary["not_dialled"] >= 12
    assert not summary["mismatch"]


def test_what_settled_a_doubt_does_not_hide_who_answered(campaign: Campaign) -> None:
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(30)
    campaign.wait_for_service()
    # The listing that finds these has all jobs, and none of their calls.
    campaign.simulator.faults(answer_lost={"actions": ["AssignJobs"], "probability": 1.0})
    assert campaign.assign(10, task="second", first=30).unresolved == 0

    summary = campaign.wait(campaign.completion(messages=False))

    answered = [job for job in campaign.jobs() if any(call["status"].startswith("Succeeded") for call in job["calls"])]
    assert (summary["completed"], summary["answered"]) == (40, len(answered))


def test_where_no_messages_are_expected_one_look_is_enough(campaign: Campaign) -> None:
    campaign.assign(20)
    campaign.wait_for_service()

    summary = campaign.completion(messages=False, reconcile_interval=600).check()

    assert summary is not None
    assert summary["completed"] == 20


def test_messages_that_are_merely_late_are_waited_for(campaign: Campaign) -> None:
    campaign.assign(5)
    campaign.wait_for_service()
    completion = campaign.completion(reconcile_interval=600)

    assert completion.check() is None
    campaign.tell(*campaign.jobs())
    summary = completion.check()

    assert summary is not None
    assert summary["recovered"] == 0
    assert campaign.requests("QueryJobsWithResult") == campaign.requests("ListJobs") == 0


def lose_messages(campaign: Campaign, *, of: int, lost: int) -> None:
    """Let all calls end; of the last jobs, only the first message has come."""
    campaign.assign(of)
    campaign.wait_for_service()
    jobs = campaign.jobs()
    campaign.tell(*jobs[:-lost])
    campaign.tell(*jobs[-lost:], eventType="Dialing", status="Executing")


def test_a_few_missing_messages_are_filled_one_by_one(campaign: Campaign) -> None:
    lose_messages(campaign, of=6, lost=2)

    summary = campaign.wait(campaign.completion())

    assert summary["completed"] == 6
    assert summary["recovered"] == 2
    assert campaign.requests("QueryJobsWithResult") == 0
    assert campaign.requests("ListJobs") == 1


def test_a_job_that_an_answer_leaves_out_is_asked_for_again(campaign: Campaign) -> None:
    lose_messages(campaign, of=4, lost=2)
    campaign.simulator.faults(job_left_out={"times": 3})

    summary = campaign.wait(campaign.completion())

    assert (summary["completed"], summary["recovered"], summary["mismatch"]) == (4, 2, False)


def test_one_group_costs_one_look_an_interval_whoever_waits(campaign: Campaign) -> None:
    campaign.freeze()
    campaign.assign(3)
    before = campaign.requests("DescribeJobGroup")

    for completion in [campaign.completion(reconcile_interval=600) for _ in range(5)]:
        for _ in range(3):
            assert completion.check() is None

    assert campaign.requests("DescribeJobGroup") == before + 1


def test_a_running_assignment_is_waited_for(campaign: Campaign) -> None:
    key = TaskKey("dag", "run", "second")
    campaign.assign(3)
    open_one = campaign.ledger.assignments.open(
        key, campaign.job_group_id, owner="me", lease_seconds=600, settle_seconds=1
    )
    campaign.wait_for_service()
    completion = campaign.completion(messages=False)

    for _ in range(5):
        assert completion.check() is None
        time.sleep(0.1)
    campaign.ledger.assignments.close(open_one, 0)

    assert campaign.wait(completion)["total"] == 3


def test_no_job_at_all_is_no_completion(campaign: Campaign) -> None:
    completion = campaign.completion(messages=False, reconcile_interval=0.05)

    for _ in range(5):
        assert completion.check() is None
        time.sleep(0.06)


def test_a_deliberate_assignment_of_nobody_completes(campaign: Campaign) -> None:
    key = TaskKey("dag", "run", "assign")
    opened = campaign.ledger.assignments.open(
        key, campaign.job_group_id, owner="me", lease_seconds=60, settle_seconds=1
    )
    campaign.ledger.assignments.close(opened, 0)

    summary = campaign.completion(reconcile_interval=600).check()

    assert summary is not None
    assert (summary["total"], summary["answer_rate"], summary["mismatch"]) == (0, 0.0, False)


def test_a_group_that_others_assign_goes_by_the_number_expected(campaign: Campaign) -> None:
    campaign.assign(4)
    group = campaign.job_group_id
    with campaign.ledger.write() as connection:  # as in a ledger that never heard of the assignment
        connection.exec_driver_sql("DELETE FROM jobs")
        connection.exec_driver_sql("DELETE FROM assignments")
    campaign.wait_for_service()
    waits_for_more = campaign.completion(messages=False, expected_jobs=6)
    assert waits_for_more.check() is None

    assert campaign.wait(campaign.completion(messages=False, expected_jobs=4))["completed"] == 4
    assert campaign.ledger.results.counts(group).foreign == 4


def test_a_group_that_others_assign_goes_by_the_api_without_a_number(campaign: Campaign) -> None:
    campaign.assign(4)
    with campaign.ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM jobs")
        connection.exec_driver_sql("DELETE FROM assignments")

    summary = campaign.wait(campaign.completion(messages=False))

    assert (summary["completed"], summary["mismatch"]) == (4, False)


def test_a_group_that_ended_with_fewer_jobs_is_seen_twice_and_flagged(campaign: Campaign) -> None:
    campaign.assign(5)
    key = TaskKey("dag", "run", "second")
    ledger = campaign.ledger
    opened = ledger.assignments.open(key, campaign.job_group_id, owner="me", lease_seconds=60, settle_seconds=1)
    ledger.assignments.close(opened, 2)
    campaign.wait_for_service()
    completion = campaign.completion(messages=False)

    assert completion.check() is None
    summary = campaign.wait(completion)

    assert summary["mismatch"]
    assert summary["total"] == 5


def test_a_lagging_count_of_jobs_is_no_mismatch(campaign: Campaign) -> None:
    campaign.simulator.faults(listing_lag=3.0)
    campaign.assign(5)
    for job in campaign.jobs():
        campaign.tell(job, status="Succeeded")

    before = campaign.requests("DescribeJobGroup")
    summary = campaign.wait(campaign.completion(reconcile_interval=600))

    assert not summary["mismatch"]
    # At ever longer pauses, and not at every tick: now, a second later, two later, four later.
    assert campaign.requests("DescribeJobGroup") <= before + 4


@pytest.mark.parametrize("sent", [pytest.param(True, id="request-arrived"), pytest.param(False, id="request-lost")])
def test_an_assignment_that_died_is_settled_and_flagged(campaign: Campaign, sent: bool) -> None:
    campaign.assign(3)
    campaign.die_assigning(numbers(2, 50), arrived=2 * sent)
    campaign.wait_for_service()

    summary = campaign.wait(campaign.completion(messages=False, abandoned_after=1))

    assert summary["mismatch"]
    assert summary["total"] == summary["completed"] == (5 if sent else 3)
    assert summary["unresolved"] == (0 if sent else 2)


def test_the_next_try_of_an_assignment_is_waited_for(campaign: Campaign) -> None:
    campaign.assign(3)
    campaign.die_assigning(numbers(2, 50), arrived=2)
    campaign.wait_for_service()
    completion = campaign.completion(messages=False)  # as patient as usual

    for _ in range(4):
        assert completion.check() is None
        time.sleep(0.3)
    campaign.assign(2, task="died", first=50)
    summary = campaign.wait(completion)

    assert (summary["total"], summary["unresolved"], summary["mismatch"]) == (5, 0, False)


def test_a_task_that_gave_up_is_not_waited_for(campaign: Campaign) -> None:
    campaign.assign(3)
    dead = campaign.die_assigning(numbers(2, 50))
    campaign.ledger.assignments.abandon(dead)
    campaign.wait_for_service()

    summary = campaign.wait(campaign.completion(messages=False))  # as patient as usual

    assert (summary["total"], summary["unresolved"], summary["mismatch"]) == (3, 2, True)


def test_a_status_nobody_documented_counts_as_ended_once_the_service_is_done(campaign: Campaign) -> None:
    campaign.assign(3)
    campaign.wait_for_service()
    first, *rest = campaign.jobs()
    campaign.simulator.run(lambda cloud: _set_status(cloud, campaign.job_group_id, first["job_id"], "Archived"))
    for job in rest:
        campaign.tell(job)

    summary = campaign.wait(campaign.completion())

    assert summary["by_status"]["Archived"] == 1
    assert (summary["completed"], summary["mismatch"]) == (3, False)


def _set_status(cloud: Any, group_id: str, job_id: str, status: str) -> None:
    group = cloud.groups[group_id]
    job = next(job for job in group.jobs if job.job_id == job_id)
    group.counts[job.status] -= 1
    job.status = status
    group.counts[status] += 1


def test_a_group_that_does_not_exist_is_said_in_words(campaign: Campaign) -> None:
    campaign.job_group_id = "gone"

    with pytest.raises(JobGroupFailedError, match=r"job group gone does not exist.*deleted"):
        campaign.completion().check()


def test_refused_credentials_end_the_wait(campaign: Campaign) -> None:
    campaign.assign(1)
    campaign.client = OutboundBotClient(attrs.evolve(campaign.client.settings, access_key_secret="wrong"))

    with pytest.raises(OutboundBotAuthenticationError):
        campaign.completion().check()


def test_an_api_in_trouble_is_told_once_and_survived(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    campaign.assign(2)
    campaign.simulator.faults(reset={"actions": ["DescribeJobGroup"]})
    completion = campaign.completion(messages=False, reconcile_interval=0.01)

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        for _ in range(2):
            assert completion.check() is None
            time.sleep(0.02)
        campaign.simulator.faults()
        assert campaign.wait(completion)["completed"] == 2

    told = [
        record.levelname
        for record in caplog.records
        if "try again" in record.message or "succeed again" in record.message
    ]
    assert told == ["WARNING", "INFO"]


def test_progress_is_told_in_words(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    campaign.assign(4)
    campaign.wait_for_service()
    campaign.tell(campaign.jobs()[0])

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        campaign.completion().check()

    answered = campaign.ledger.results.summary(campaign.job_group_id)["answered"]
    assert f"Job group {campaign.job_group_id}: 1 of 4 jobs complete, {answered} answered" in caplog.messages


def test_asking_again_about_a_finished_group_costs_nothing(campaign: Campaign) -> None:
    campaign.assign(3)
    done = campaign.wait(campaign.completion(messages=False))
    before = campaign.simulator.state()["requests"]

    again = campaign.completion(reconcile_interval=600).check()

    assert again == done
    assert campaign.simulator.state()["requests"] == before


def test_another_assignment_opens_a_finished_group_again(campaign: Campaign) -> None:
    campaign.assign(3)
    campaign.wait(campaign.completion(messages=False))
    campaign.freeze()
    campaign.assign(2, task="second", first=10)

    assert campaign.completion(messages=False).check() is None
    campaign.thaw()
    assert campaign.wait(campaign.completion(messages=False))["total"] == 5


def test_a_cancelled_group_says_so(campaign: Campaign) -> None:
    campaign.assign_tomorrow(3)
    completion = campaign.completion(messages=False)
    assert completion.check() is None
    campaign.client.cancel_jobs(job_group_id=campaign.job_group_id, all_jobs=True)

    summary = campaign.wait(completion)

    assert (summary["cancelled"], summary["not_dialled"], summary["group_cancelled"]) == (3, 3, True)


def test_a_cancellation_of_our_own_is_remembered(campaign: Campaign) -> None:
    campaign.assign(3)
    campaign.ledger.groups.note_cancelled(campaign.job_group_id)

    assert campaign.wait(campaign.completion(messages=False))["group_cancelled"]


def test_messages_that_are_missing_are_announced_and_warned_of(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(10)
    campaign.wait_for_service()

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        campaign.wait(campaign.completion())

    told = f"Job group {campaign.job_group_id}: the service has ended 10 jobs, and the ledger has 0 results"
    assert len([message for message in caplog.messages if message.startswith(told)]) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "no message brought any of its 10 results" in warnings[0]
    assert "another program" not in warnings[0]


def test_a_part_of_the_messages_that_is_missing_hints_at_another_reader(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.assign(10)
    campaign.wait_for_service()
    campaign.tell(*campaign.jobs()[:5])

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        campaign.wait(campaign.completion())

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "5 of 10 results came from the API" in warnings[0]


def test_nobody_is_warned_where_no_messages_are_expected(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    campaign.assign(10)

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        campaign.wait(campaign.completion(messages=False))

    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


def test_a_wait_says_when_the_api_is_asked_again(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    campaign.freeze()
    campaign.assign(1)
    before = datetime.now(UTC)
    completion = campaign.completion(reconcile_interval=300)

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        for _ in range(3):
            assert completion.check() is None

    (told,) = [message for message in caplog.messages if "next request to the API" in message]
    assert told.endswith(" UTC")
    at = datetime.combine(before, time_of_day.fromisoformat(told.split()[-2]), UTC)
    wait = (at - before) % timedelta(days=1)
    assert timedelta(seconds=299) <= wait <= timedelta(seconds=300 + PATIENCE)


def test_who_waits_beside_another_process_asks_as_soon_as_the_interval_is_over(
    campaign: Campaign, hold_clock: Callable[[float], None]
) -> None:
    """As a trigger does that goes on after its task's own first look."""
    campaign.freeze()
    campaign.assign(1)
    hold_clock(0)
    assert campaign.completion(reconcile_interval=300).check() is None

    hold_clock(100)
    second = campaign.completion(reconcile_interval=300)
    assert second.check() is None

    assert 200 - PATIENCE <= second.next_check_in() <= 200
    # The interval is not over yet by the ledger's clock, and over a little later.
    hold_clock(299)
    assert campaign.completion(reconcile_interval=300).check() is None
    asked = campaign.requests("DescribeJobGroup")
    hold_clock(300)
    assert campaign.completion(reconcile_interval=300).check() is None
    assert campaign.requests("DescribeJobGroup") == asked + 1


def test_a_group_without_a_message_counts_among_results_from_the_api(campaign: Campaign) -> None:
    told, silent, by_the_api_alone = campaign, campaign.another(), campaign.another()
    for index, group in enumerate((told, silent, by_the_api_alone)):
        group.assign(10, first=100 * index)
        group.wait_for_service()
    told.tell(*told.jobs())
    told.wait(told.completion())
    silent.wait(silent.completion())
    by_the_api_alone.wait(by_the_api_alone.completion(messages=False))

    recovery = examine(campaign.ledger).recovery

    assert (recovery.results, recovery.from_api) == (20, 10)
    assert (recovery.silent_groups, recovery.silent_results) == ((silent.job_group_id,), 10)
    assert not recovery.is_high
