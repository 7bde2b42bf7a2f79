"""Airflow kills a waiting process for many reasons, and only one of them is a person who ended the task."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from support.waiting import RunSensor, WaitingCampaign

from airflow_provider_outbound.sensors import killed


def _cancels(campaign: WaitingCampaign) -> int:
    return int(campaign.simulator.state()["requests"].get("CancelJobs", 0))


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("state", [None, "running", "restarting", "scheduled", "up_for_retry"])
def test_a_task_that_no_person_ended_cancels_nothing(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    """It was cleared, its worker is shut down, its time is over, or the API server was away."""
    monkeypatch.setattr(killed, "own_state", lambda: state)
    campaign.simulator.set_clock(speed=0)
    campaign.assign(2)

    campaign.sensor(cancel_on_kill=True).on_kill()

    assert _cancels(campaign) == 0


@pytest.mark.parametrize("state", ["failed", "success", "skipped"])
def test_a_task_that_was_ended_cancels(campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """A person marked it, or the dagrun_timeout of its run is over: Airflow then skips its tasks."""
    monkeypatch.setattr(killed, "own_state", lambda: state)
    campaign.simulator.set_clock(speed=0)
    campaign.assign(2)

    campaign.sensor(cancel_on_kill=True).on_kill()

    assert _cancels(campaign) == 1


def test_a_signal_to_a_task_of_airflow_is_no_reason_to_cancel(campaign: WaitingCampaign, run_sensor: RunSensor) -> None:
    """As when its worker is shut down: Airflow hands the signal on, and the task is tried again."""
    campaign.simulator.set_clock(speed=0)
    campaign.assign(2)
    asked = campaign.simulator.state()["requests"]["DescribeJobGroup"]

    def shut_down() -> None:
        _until(lambda: campaign.simulator.state()["requests"]["DescribeJobGroup"] > asked)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        campaign.simulator.set_clock(speed=20)

    thread = threading.Thread(target=shut_down)
    thread.start()
    state, summary = run_sensor(cancel_on_kill=True, deferrable=False, mode="poke", rocketmq_conn_id=None)
    thread.join()

    assert (state, summary["completed"], summary["group_cancelled"]) == ("success", 2, False)
    assert _cancels(campaign) == 0


def test_a_task_that_does_not_learn_its_state_says_what_is_left_to_do(
    campaign: WaitingCampaign, caplog: pytest.LogCaptureFixture
) -> None:
    """Outside a task, as when the API server is away."""
    campaign.simulator.set_clock(speed=0)
    campaign.assign(2)

    campaign.sensor(cancel_on_kill=True).on_kill()

    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.endswith(f"Run: outbound cancel {campaign.job_group_id}")
    assert _cancels(campaign) == 0


def test_a_mistake_in_the_connections_rules_keeps_nobody_from_stopping_calls(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, ended_by_a_person: None
) -> None:
    campaign.simulator.set_clock(speed=0)
    campaign.assign(2)
    name = "AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"
    connection = json.loads(os.environ[name])
    connection["extra"]["calling_hours"] = "9 to 5"
    monkeypatch.setenv(name, json.dumps(connection))

    campaign.sensor(cancel_on_kill=True).on_kill()

    assert _cancels(campaign) == 1
