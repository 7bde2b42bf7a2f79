"""Every end that a wait can come to, and the same one however the sensor waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from support.waiting import RunSensor, WaitingCampaign, ways

from airflow_provider_outbound.exceptions import JobGroupFailedError, JobGroupTimeoutError
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

#: Counts that tell one end from another.
TOLD = ("total", "completed", "succeeded", "cancelled", "mismatch", "timed_out", "group_cancelled")


def _told(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: summary[name] for name in TOLD}


def _forget_the_assignment(campaign: WaitingCampaign) -> None:
    """As in a ledger that never heard of it: others assigned."""
    with campaign.ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM jobs")
        connection.exec_driver_sql("DELETE FROM assignments")


def _force_status(campaign: WaitingCampaign, status: str) -> None:
    def force(cloud: Any) -> None:
        cloud.groups[campaign.job_group_id].forced_status = status

    campaign.simulator.run(force)


def _remove_job(campaign: WaitingCampaign) -> None:
    """Take a job away without a trace, as nobody should."""

    def remove(cloud: Any) -> None:
        group = cloud.groups[campaign.job_group_id]
        job = group.jobs.pop()
        group.counts[job.status] -= 1
        del cloud.jobs[job.job_id]

    campaign.simulator.run(remove)


@ways
def test_the_time_is_over(campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]) -> None:
    campaign.assign_tomorrow(3)

    assert run_sensor(timeout=2, **way)[0] == "failed"
    partial = run_sensor(timeout=2, on_timeout="partial", **way)
    cancelled = run_sensor(timeout=2, on_timeout="cancel", **way)

    nothing = {"total": 3, "completed": 0, "succeeded": 0, "cancelled": 0, "mismatch": False}
    assert partial[0] == cancelled[0] == "success"
    assert _told(partial[1]) == nothing | {"timed_out": True, "group_cancelled": False}
    assert _told(cancelled[1]) == nothing | {
        "completed": 3,
        "cancelled": 3,
        "timed_out": True,
        "group_cancelled": True,
    }


def test_a_group_that_has_ended_unnoticed_is_not_cancelled_when_the_time_is_over(campaign: WaitingCampaign) -> None:
    """Its messages are lost, and the next look at the API would come after the sensor's time."""
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(3)
    campaign.wait_for_service()

    summary = campaign.sensor(on_timeout="cancel")._time_out()

    assert campaign.requests("CancelJobs") == 0
    assert (summary["completed"], summary["group_cancelled"]) == (3, False)


@ways
def test_a_person_cancels_the_group(campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]) -> None:
    campaign.assign_tomorrow(3)
    campaign.client.cancel_jobs(job_group_id=campaign.job_group_id, all_jobs=True)

    assert run_sensor(**way)[0] == "failed"
    assert run_sensor(soft_fail=True, **way)[0] == "skipped"
    state, summary = run_sensor(on_cancelled="succeed", **way)

    assert state == "success"
    assert (summary["cancelled"], summary["group_cancelled"], summary["timed_out"]) == (3, True, False)


@ways
def test_a_person_deletes_the_group(campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]) -> None:
    campaign.assign(2)
    campaign.simulator.run(lambda cloud: cloud.groups.clear())

    assert run_sensor(**way)[0] == "failed"
    assert run_sensor(soft_fail=True, **way)[0] == "skipped"


@ways
def test_the_service_gives_the_group_up(campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]) -> None:
    campaign.assign_tomorrow(3)
    _force_status(campaign, "Failed")

    assert run_sensor(**way)[0] == "failed"
    assert run_sensor(soft_fail=True, **way)[0] == "skipped"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param("Failed", "has failed: the service stopped dialling before 3 of 3 jobs had ended", id="failed"),
        pytest.param("Cancelled", "was cancelled", id="cancelled"),
    ],
)
def test_a_group_that_ends_with_jobs_still_to_do_is_said_in_words(
    campaign: WaitingCampaign, status: str, words: str
) -> None:
    campaign.assign_tomorrow(3)
    _force_status(campaign, status)

    with pytest.raises(JobGroupFailedError, match=words):
        campaign.sensor(rocketmq_conn_id=None).execute({})
    # Whoever asks again is told the same.
    with pytest.raises(JobGroupFailedError, match=words):
        campaign.sensor(rocketmq_conn_id=None).execute({})


def test_a_failed_group_whose_jobs_have_all_ended_has_its_results(campaign: WaitingCampaign) -> None:
    campaign.assign(3)
    campaign.wait_for_service()
    _force_status(campaign, "Failed")

    summary = campaign.sensor().execute({})

    assert (summary["completed"], summary["mismatch"]) == (3, False)


def test_a_paused_group_is_waited_for_until_it_goes_on(campaign: WaitingCampaign) -> None:
    campaign.assign_tomorrow(3)
    campaign.client.suspend_jobs(job_group_id=campaign.job_group_id, all_jobs=True)

    with pytest.raises(JobGroupTimeoutError, match="timed out with 0 of 3 jobs complete"):
        campaign.sensor(timeout=2).execute({})
    campaign.client.resume_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    campaign.simulator.advance(86_400)

    assert campaign.sensor().execute({})["completed"] == 3


@ways
@pytest.mark.parametrize(
    ("expected", "mismatch"),
    [pytest.param(2, False, id="too-low"), pytest.param(4, False, id="right"), pytest.param(6, True, id="too-high")],
)
def test_a_wrong_number_of_jobs_is_no_endless_wait(
    campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any], expected: int, mismatch: bool
) -> None:
    campaign.assign(4)
    campaign.wait_for_service()
    _forget_the_assignment(campaign)

    state, summary = run_sensor(expected_jobs=expected, **way)

    assert state == "success"
    assert (summary["total"], summary["completed"], summary["mismatch"]) == (4, 4, mismatch)


@ways
def test_a_job_that_vanishes_is_no_endless_wait(
    campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]
) -> None:
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(5)
    campaign.wait_for_service()
    _remove_job(campaign)

    state, summary = run_sensor(**way)

    assert state == "success"
    assert (summary["total"], summary["completed"], summary["mismatch"]) == (5, 4, True)


@ways
def test_without_a_subscription_the_api_tells_the_same(
    campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]
) -> None:
    campaign.assign(20)

    state, summary = run_sensor(rocketmq_conn_id=None, **way)

    assert state == "success"
    assert (summary["completed"], summary["recovered"], summary["mismatch"]) == (20, 20, False)


@ways
def test_a_cleared_sensor_asks_nobody_about_a_finished_group(
    campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]
) -> None:
    campaign.assign(10)
    first = run_sensor(rocketmq_conn_id=None, **way)  # no message comes later and tells more
    before = campaign.simulator.state()["requests"]

    again = run_sensor(rocketmq_conn_id=None, **way)

    assert again == first
    asked = {
        name: count - before.get(name, 0)
        for name, count in campaign.simulator.state()["requests"].items()
        if count != before.get(name, 0)
    }
    assert asked == {}


def test_a_killed_task_of_a_finished_group_cancels_nothing(campaign: WaitingCampaign, ended_by_a_person: None) -> None:
    campaign.assign(3)
    campaign.wait_for_service()

    campaign.sensor(cancel_on_kill=True).on_kill()

    assert campaign.requests("CancelJobs") == 0
    assert not campaign.sensor().execute({})["group_cancelled"]


def test_a_killed_task_whose_jobs_are_not_counted_yet_cancels_them(
    campaign: WaitingCampaign, ended_by_a_person: None
) -> None:
    campaign.freeze()
    campaign.assign(3)
    campaign.simulator.faults(listing_lag=600.0)

    campaign.sensor(cancel_on_kill=True).on_kill()

    assert campaign.requests("CancelJobs") == 1


def test_an_error_of_the_trigger_is_a_skip_where_the_author_says_so(campaign: WaitingCampaign) -> None:
    event = {"status": "error", "kind": "JobGroupFailedError", "message": "gone"}

    with pytest.raises(AirflowSkipException, match="gone"):
        campaign.sensor(soft_fail=True).execute_complete({}, event=event)


def test_a_sensor_that_finds_the_group_finished_does_not_defer(campaign: WaitingCampaign) -> None:
    campaign.assign(3)
    campaign.wait_for_service()

    waiting = campaign.sensor(deferrable=True, rocketmq_conn_id=None)

    try:
        assert waiting.execute({})["completed"] == 3
    except TaskDeferred:
        pytest.fail("it deferred")


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_looking_for_the_end_of_the_window_costs_one_look(campaign: WaitingCampaign, mode: str) -> None:
    """Of a group that others made; each look is a process of its own where the sensor is rescheduled."""
    campaign.freeze()
    campaign.assign(3)
    before = campaign.requests("DescribeJobGroup")
    context: Any = {"ti": _Rescheduled()}

    began = time.monotonic()
    for _ in range(20):
        assert not campaign.sensor(mode=mode).poke(context).is_done
    intervals = (time.monotonic() - began) / 1.0

    assert campaign.requests("DescribeJobGroup") - before <= intervals + 1


class _Rescheduled:
    """The part of a task instance that a rescheduled sensor asks for; only a worker has a real one."""

    def get_first_reschedule_date(self, _: Any) -> Any:
        return None


def test_an_api_that_does_not_answer_is_survived_from_the_first_look_on(campaign: WaitingCampaign) -> None:
    campaign.assign(3)
    campaign.simulator.faults(reset={"actions": ["DescribeJobGroup"]})
    waiting = campaign.sensor()
    assert not waiting.poke(cast("Any", {"ti": _Rescheduled()})).is_done

    campaign.simulator.faults()

    assert waiting.execute({})["completed"] == 3


@ways
def test_a_wait_that_timed_out_is_not_tried_again(
    campaign: WaitingCampaign, run_dag: Callable[..., Any], way: dict[str, Any]
) -> None:
    campaign.assign_tomorrow(1)
    with DAG(f"timed_out_{time.monotonic_ns()}") as dag:
        OutboundBotJobCompleteSensor(
            task_id="wait",
            job_group_id=campaign.job_group_id,
            timeout=1,
            poke_interval=0.5,
            retries=2,
            retry_delay=0.1,
            **way,
        )

    task = run_dag(dag).get_task_instance("wait")

    assert (str(task.state), task.try_number) == ("failed", 1)
