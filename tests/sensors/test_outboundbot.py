"""The sensor in a DAG: deferred, rescheduled or poking, it returns the same; what it may not accept fails in words."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from support.waiting import RunSensor, WaitingCampaign

from airflow_provider_outbound.core.ledger import JobGroupRecord
from airflow_provider_outbound.exceptions import JobGroupFailedError, JobGroupTimeoutError, OutboundBotConfigError
from airflow_provider_outbound.sensors.outboundbot import TIMEOUT_MARGIN, OutboundBotJobCompleteSensor


@pytest.mark.parametrize(
    ("how", "interval"),
    [
        # Long enough that the messages alone tell the end; without a trigger there are none, and the API tells it.
        pytest.param({"deferrable": True}, "600", id="deferred"),
        pytest.param({"deferrable": False, "mode": "poke"}, "1", id="poke"),
        pytest.param({"deferrable": False, "mode": "reschedule"}, "1", id="reschedule"),
    ],
)
def test_every_way_of_waiting_returns_the_same(
    campaign: WaitingCampaign,
    run_sensor: RunSensor,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, Any],
    interval: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", interval)
    campaign.assign(100)

    state, summary = run_sensor(**how)
    again = run_sensor(**how)

    assert state == "success"
    assert json.loads(json.dumps(summary)) == summary
    assert again == (state, summary)
    # By the simulator's table, where each is dialled once: 00-51 and 54-59 answer; 52, 53, 60-72, 80-82 and 99 do not;
    # 73-77, 79, 83, 87-90 and 92-97 are not dialled; the other six are neither of the three.
    assert {name: summary[name] for name in ("total", "completed", "succeeded", "failed", "cancelled")} == {
        "total": 100,
        "completed": 100,
        "succeeded": 58,
        "failed": 41,
        "cancelled": 1,
    }
    assert (summary["answered"], summary["answer_rate"], summary["unanswered"]) == (58, 0.58, 19)
    assert summary["not_dialled"] == 17
    assert not summary["mismatch"] | summary["timed_out"] | summary["group_cancelled"]


def test_what_the_create_operator_returned_is_taken_too(campaign: WaitingCampaign, run_sensor: RunSensor) -> None:
    campaign.assign(2)

    state, summary = run_sensor(job_group_id={"job_group_id": campaign.job_group_id, "job_group_name": "x"})

    assert (state, summary["total"]) == ("success", 2)


def test_a_dry_run_is_skipped(run_sensor: RunSensor) -> None:
    assert run_sensor(job_group_id={"job_group_id": None, "dry_run": True})[0] == "skipped"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"job_group_id": ""}, "job_group_id: empty", id="no-group"),
        pytest.param({"job_group_id": "None"}, "job_group_id: empty", id="rendered-nothing"),
        pytest.param({"job_group_id": {"rows": 3}}, "job_group_id: empty", id="another-tasks-result"),
        pytest.param(
            {"job_group_id": "{'job_group_id': 'g'}"}, "job_group_id: the text of a dictionary", id="rendered-text"
        ),
        pytest.param({"expected_jobs": "many"}, "expected_jobs: 'many' is not a whole number", id="no-number"),
        pytest.param({"expected_jobs": 2.5}, "expected_jobs: 2.5 is not a whole number", id="half-a-job"),
        pytest.param({"expected_jobs": -1}, "expected_jobs: -1 is not a whole number", id="negative"),
        pytest.param({"expected_jobs": True}, "expected_jobs: True is not a whole number", id="flag-for-number"),
        pytest.param({"expected_jobs": []}, "expected_jobs: [] is not a whole number", id="list-for-number"),
        pytest.param({"on_timeout": "explode"}, "'explode' is not one of 'fail', 'partial'", id="on-timeout"),
        pytest.param({"on_cancelled": "x"}, "'x' is not one of 'fail', 'succeed'", id="on-cancelled"),
        pytest.param({"outboundbot_conn_id": "absent"}, "absent", id="no-connection"),
        pytest.param({"instance_id": "absent"}, "NotExist.Instance", id="no-instance"),
    ],
)
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_wrong_argument_is_said_in_one_line(
    campaign: WaitingCampaign, arguments: dict[str, Any], words: str, deferrable: bool
) -> None:
    from airflow_provider_outbound.exceptions import OutboundBotError

    with pytest.raises(OutboundBotError) as caught:
        campaign.sensor(deferrable=deferrable, **arguments).execute({})

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sensor_that_resumes_reads_its_arguments_as_one_that_starts(campaign: WaitingCampaign) -> None:
    """Airflow renders the templates again before it calls ``execute_complete``, and again they are text."""
    campaign.assign(2)
    campaign.wait_for_service()
    rendered = {"job_group_id": f" {campaign.job_group_id}\n", "expected_jobs": "2", "deferrable": True}

    summary = campaign.sensor(rocketmq_conn_id=None, **rendered).execute_complete({}, event=None)

    assert (summary["job_group_id"], summary["total"]) == (campaign.job_group_id, 2)


def test_a_deleted_group_fails(campaign: WaitingCampaign) -> None:
    with pytest.raises(JobGroupFailedError, match="job group gone does not exist"):
        campaign.sensor(job_group_id="gone").execute({})


def test_the_time_is_over_and_that_is_a_failure(campaign: WaitingCampaign) -> None:
    campaign.freeze()
    campaign.assign(3)

    with pytest.raises(JobGroupTimeoutError, match="timed out with 0 of 3 jobs complete"):
        campaign.sensor(timeout=0.5).execute({})


def test_the_time_is_over_and_that_is_enough(campaign: WaitingCampaign) -> None:
    campaign.freeze()
    campaign.assign(3)

    summary = campaign.sensor(timeout=timedelta(seconds=0.5), on_timeout="partial").execute({})

    assert (summary["total"], summary["completed"], summary["timed_out"]) == (3, 0, True)


def test_the_time_is_over_and_the_rest_is_cancelled(campaign: WaitingCampaign) -> None:
    campaign.assign_tomorrow(3)

    summary = campaign.sensor(timeout=0.5, on_timeout="cancel").execute({})

    assert (summary["cancelled"], summary["timed_out"]) == (3, True)
    # Whoever waits for the group later learns that it was cancelled.
    with pytest.raises(JobGroupFailedError, match="was cancelled before 3 of 3 jobs were done") as caught:
        campaign.sensor().execute({})
    # So Airflow does not retry it.
    assert isinstance(caught.value, AirflowFailException)
    assert campaign.sensor(on_cancelled="succeed").execute({})["cancelled"] == 3


def test_a_failure_is_a_skip_where_the_author_says_so(campaign: WaitingCampaign) -> None:
    campaign.freeze()
    campaign.assign(3)

    with pytest.raises(AirflowSkipException):
        campaign.sensor(timeout=0.3, soft_fail=True).execute({})


def test_the_wait_ends_some_time_after_the_window(campaign: WaitingCampaign) -> None:
    ends_at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    campaign.ledger.groups.record(JobGroupRecord(job_group_id=campaign.job_group_id, ends_at=ends_at))
    campaign.freeze()
    campaign.assign(1)
    with pytest.raises(TaskDeferred) as deferred:
        campaign.sensor(deferrable=True).execute({})

    assert deferred.value.trigger.deadline == ends_at + TIMEOUT_MARGIN
    assert deferred.value.method_name == "execute_complete"


def test_a_window_that_was_extended_during_the_wait_is_waited_for(campaign: WaitingCampaign) -> None:
    campaign.assign(1)
    now = datetime.now(UTC)
    sensor = campaign.sensor(deferrable=True)
    campaign.ledger.groups.note_window(campaign.job_group_id, None, now + timedelta(days=1))

    with pytest.raises(TaskDeferred) as caught:
        sensor.execute_complete({}, {"status": "timeout"}, deadline=now.isoformat())

    assert caught.value.trigger.deadline == now + timedelta(days=1) + TIMEOUT_MARGIN
    campaign.ledger.groups.note_window(campaign.job_group_id, None, now - timedelta(days=1))
    with pytest.raises(JobGroupTimeoutError):
        sensor.execute_complete({}, {"status": "timeout"}, deadline=now.isoformat())


def test_an_event_that_was_lost_is_made_good(campaign: WaitingCampaign) -> None:
    campaign.freeze()
    campaign.assign(2)
    waiting = campaign.sensor(deferrable=True, rocketmq_conn_id=None)

    with pytest.raises(TaskDeferred) as again:
        waiting.execute_complete({}, event=None, deadline="2030-01-01T00:00:00+00:00")
    assert again.value.trigger.deadline.year == 2030
    campaign.thaw()
    campaign.wait_for_service()
    time.sleep(1.1)

    assert waiting.execute_complete({}, event=None)["completed"] == 2


@pytest.mark.parametrize(
    ("kind", "error"),
    [("JobGroupFailedError", JobGroupFailedError), ("OutboundBotConfigError", Exception)],
)
def test_the_triggers_error_is_the_tasks(campaign: WaitingCampaign, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="in words"):
        campaign.sensor().execute_complete({}, event={"status": "error", "kind": kind, "message": "in words"})


def test_a_killed_task_cancels_only_if_told_to(campaign: WaitingCampaign, ended_by_a_person: None) -> None:
    campaign.freeze()
    campaign.assign(2)

    campaign.sensor().on_kill()
    assert "CancelJobs" not in campaign.simulator.state()["requests"]
    campaign.sensor(cancel_on_kill=True).on_kill()

    assert campaign.simulator.state()["requests"]["CancelJobs"] == 1


def test_a_missing_connection_is_found_by_the_task_and_not_by_the_parser() -> None:
    sensor = OutboundBotJobCompleteSensor(task_id="wait", job_group_id="g", mode="poke", outboundbot_conn_id="absent")

    with pytest.raises(OutboundBotConfigError, match="absent"):
        sensor.execute({})


def test_a_poking_sensor_takes_up_a_corrected_connection(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"
    good = os.environ[name]
    campaign.assign(3)
    campaign.wait_for_service()
    monkeypatch.setenv(name, json.dumps({**json.loads(good), "host": "http://127.0.0.1:9"}))
    sensor = campaign.sensor()
    assert not sensor.poke({}).is_done

    monkeypatch.setenv(name, "{")  # a mistake while somebody edits
    time.sleep(1.1)
    assert not sensor.poke({}).is_done
    monkeypatch.setenv(name, good)
    time.sleep(1.1)
    while not (result := sensor.poke({})).is_done:  # messages may be late for an interval
        time.sleep(0.3)

    assert result.xcom_value is not None
    assert result.xcom_value["completed"] == 3
