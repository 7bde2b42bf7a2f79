"""The sensor in a DAG: deferred, rescheduled or poking, it returns the same; what it may not accept fails in words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.assign import AssignOptions, Request, assign
from airflow_provider_outbound.core.collect.watch import end_all
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import JobGroupRecord, TaskKey
from airflow_provider_outbound.exceptions import JobGroupFailedError, JobGroupTimeoutError, OutboundBotConfigError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.sensors.outboundbot import TIMEOUT_MARGIN, OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="


@attrs.define(kw_only=True)
class Campaign:
    """One job group in the simulator."""

    simulator: Simulator
    hook: OutboundBotHook
    job_group_id: str

    def assign(self, count: int) -> None:
        """Assign ``count`` numbers."""
        assign(
            self.hook.client,
            self.hook.ledger,
            TaskKey("dag", self.job_group_id, "assign"),
            from_items([f"138{index:08d}" for index in range(count)]),
            request=Request(job_group_id=self.job_group_id),
            options=AssignOptions(settle_seconds=0.2),
            guard=lambda _: None,
        )

    def wait_for_service(self) -> None:
        """Wait until the service has ended."""
        while self.hook.client.describe_job_group(job_group_id=self.job_group_id).progress.unfinished:  # type: ignore[union-attr]
            time.sleep(0.05)


@pytest.fixture
def campaign(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Campaign]:
    for name, value in {
        **simulator.connections,
        "AIRFLOW__OUTBOUND__LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "AIRFLOW__OUTBOUND__LEDGER_KEY": KEY,
        "AIRFLOW__OUTBOUND__RECONCILE_INTERVAL": "1",
    }.items():
        monkeypatch.setenv(name, value)
    hook = OutboundBotHook()
    group = hook.client.create_job_group(job_group_name="tests", script_id=simulator.script_id)
    yield Campaign(simulator=simulator, hook=hook, job_group_id=group.job_group_id)
    end_all()
    hook.ledger.close()


@pytest.fixture
def run_sensor(campaign: Campaign, run_dag: Callable[..., Any]) -> Callable[..., tuple[str, Any]]:
    """Runs a sensor in a DAG of its own; its state and what it returned."""

    def run(**arguments: Any) -> tuple[str, Any]:
        with DAG(f"sensor_{campaign.job_group_id.replace('-', '_')}_{time.monotonic_ns()}") as dag:
            OutboundBotJobCompleteSensor(
                task_id="wait", **{"job_group_id": campaign.job_group_id, "poke_interval": 0.5, **arguments}
            )
        run = run_dag(dag)
        task = run.get_task_instance("wait")
        return str(task.state), task.xcom_pull(task_ids="wait", key="return_value")

    return run


def sensor(campaign: Campaign, **arguments: Any) -> OutboundBotJobCompleteSensor:
    return OutboundBotJobCompleteSensor(
        task_id="wait", **{"job_group_id": campaign.job_group_id, "poke_interval": 0.1, "mode": "poke", **arguments}
    )


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
    campaign: Campaign,
    run_sensor: Callable[..., tuple[str, Any]],
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


def test_what_the_create_operator_returned_is_taken_too(
    campaign: Campaign, run_sensor: Callable[..., tuple[str, Any]]
) -> None:
    campaign.assign(2)

    state, summary = run_sensor(job_group_id={"job_group_id": campaign.job_group_id, "job_group_name": "x"})

    assert (state, summary["total"]) == ("success", 2)


def test_a_dry_run_is_skipped(run_sensor: Callable[..., tuple[str, Any]]) -> None:
    assert run_sensor(job_group_id={"job_group_id": None, "dry_run": True})[0] == "skipped"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"job_group_id": ""}, "job_group_id is empty", id="no-group"),
        pytest.param({"job_group_id": "None"}, "job_group_id is empty", id="rendered-nothing"),
        pytest.param({"expected_jobs": "many"}, "expected_jobs 'many' is not a number", id="no-number"),
        pytest.param({"on_timeout": "explode"}, "'explode' is unknown: use one of fail, partial", id="on-timeout"),
        pytest.param({"on_cancelled": "x"}, "'x' is unknown: use one of fail, succeed", id="on-cancelled"),
        pytest.param({"outboundbot_conn_id": "absent"}, "absent", id="no-connection"),
        pytest.param({"instance_id": "absent"}, "NotExist.Instance", id="no-instance"),
    ],
)
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_wrong_argument_is_said_in_one_line(
    campaign: Campaign, arguments: dict[str, Any], words: str, deferrable: bool
) -> None:
    from airflow_provider_outbound.exceptions import OutboundBotError

    with pytest.raises(OutboundBotError) as caught:
        sensor(campaign, deferrable=deferrable, **arguments).execute({})

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_deleted_group_fails(campaign: Campaign) -> None:
    with pytest.raises(JobGroupFailedError, match="job group gone does not exist"):
        sensor(campaign, job_group_id="gone").execute({})


def test_the_time_is_over_and_that_is_a_failure(campaign: Campaign) -> None:
    campaign.simulator.set_clock(speed=0)
    campaign.assign(3)

    with pytest.raises(JobGroupTimeoutError, match="0 of 3 jobs were complete"):
        sensor(campaign, timeout=0.5).execute({})


def test_the_time_is_over_and_that_is_enough(campaign: Campaign) -> None:
    campaign.simulator.set_clock(speed=0)
    campaign.assign(3)

    summary = sensor(campaign, timeout=timedelta(seconds=0.5), on_timeout="partial").execute({})

    assert (summary["total"], summary["completed"], summary["timed_out"]) == (3, 0, True)


def test_the_time_is_over_and_the_rest_is_cancelled(campaign: Campaign) -> None:
    tomorrow = round(time.time() * 1000) + 86_400_000
    strategy = {"repeatBy": "Once", "startTime": tomorrow, "endTime": tomorrow + 3_600_000}
    campaign.job_group_id = campaign.hook.client.create_job_group(
        job_group_name="tomorrow", script_id=campaign.simulator.script_id, strategy_json=json.dumps(strategy)
    ).job_group_id
    campaign.assign(3)

    summary = sensor(campaign, timeout=0.5, on_timeout="cancel").execute({})

    assert (summary["cancelled"], summary["timed_out"]) == (3, True)
    # Whoever waits for the group later learns that it was cancelled.
    with pytest.raises(JobGroupFailedError, match="was cancelled"):
        sensor(campaign).execute({})
    assert sensor(campaign, on_cancelled="succeed").execute({})["cancelled"] == 3


def test_a_failure_is_a_skip_where_the_author_says_so(campaign: Campaign) -> None:
    campaign.simulator.set_clock(speed=0)
    campaign.assign(3)

    with pytest.raises(AirflowSkipException):
        sensor(campaign, timeout=0.3, soft_fail=True).execute({})


def test_the_wait_ends_some_time_after_the_window(campaign: Campaign) -> None:
    from datetime import UTC, datetime

    ends_at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    campaign.hook.ledger.jobs.record_job_group(JobGroupRecord(job_group_id=campaign.job_group_id, ends_at=ends_at))
    campaign.simulator.set_clock(speed=0)
    campaign.assign(1)
    from airflow.sdk.exceptions import TaskDeferred

    with pytest.raises(TaskDeferred) as deferred:
        sensor(campaign, deferrable=True).execute({})

    assert deferred.value.trigger.deadline == ends_at + TIMEOUT_MARGIN
    assert deferred.value.method_name == "execute_complete"


def test_an_event_that_was_lost_is_made_good(campaign: Campaign) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    campaign.simulator.set_clock(speed=0)
    campaign.assign(2)
    waiting = sensor(campaign, deferrable=True, rocketmq_conn_id=None)

    with pytest.raises(TaskDeferred) as again:
        waiting.execute_complete({}, event=None, deadline="2030-01-01T00:00:00+00:00")
    assert again.value.trigger.deadline.year == 2030
    campaign.simulator.set_clock(speed=1)
    campaign.wait_for_service()
    time.sleep(1.1)

    assert waiting.execute_complete({}, event=None)["completed"] == 2


@pytest.mark.parametrize(
    ("kind", "error"),
    [("JobGroupFailedError", JobGroupFailedError), ("OutboundBotConfigError", Exception)],
)
def test_the_triggers_error_is_the_tasks(campaign: Campaign, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="in words"):
        sensor(campaign).execute_complete({}, event={"status": "error", "kind": kind, "message": "in words"})


def test_a_killed_task_cancels_only_if_told_to(campaign: Campaign) -> None:
    campaign.simulator.set_clock(speed=0)
    campaign.assign(2)

    sensor(campaign).on_kill()
    assert "CancelJobs" not in campaign.simulator.state()["requests"]
    sensor(campaign, cancel_on_kill=True).on_kill()

    assert campaign.simulator.state()["requests"]["CancelJobs"] == 1


def test_a_missing_connection_is_found_by_the_task_and_not_by_the_parser() -> None:
    sensor = OutboundBotJobCompleteSensor(task_id="wait", job_group_id="g", mode="poke", outboundbot_conn_id="absent")

    with pytest.raises(OutboundBotConfigError, match="absent"):
        sensor.execute({})
