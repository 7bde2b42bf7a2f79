"""A wait that is to cancel its group does so, whatever else does not work."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.waiting import WaitingCampaign

from airflow_provider_outbound.exceptions import LedgerError, LedgerKeyError, OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.sensors import late

pytestmark = pytest.mark.usefixtures("ended_by_a_person")

OTHER_KEY = "b3RoZXIta2V5LW9mLTMyLWJ5dGVzLS0hISEhISEhISE="


@pytest.fixture
def group(campaign: WaitingCampaign) -> str:
    """A group whose people would be called tomorrow."""
    tomorrow = round(time.time() * 1000) + 86_400_000
    strategy = {"repeatBy": "Once", "startTime": tomorrow, "endTime": tomorrow + 3_600_000}
    campaign.job_group_id = campaign.client.create_job_group(
        job_group_name="tomorrow", script_id=campaign.simulator.script_id, strategy_json=json.dumps(strategy)
    ).job_group_id
    campaign.assign(3)
    return campaign.job_group_id


@pytest.fixture
def mistake(campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody makes a mistake in the connection while the task waits."""
    connection = json.loads(campaign.simulator.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"]["calling_hours"] = "9 to 5"
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))


def statuses(campaign: WaitingCampaign) -> set[str]:
    return {job["status"] for job in campaign.jobs()}


def test_a_mistake_in_a_rule_keeps_no_killed_task_from_cancelling(
    campaign: WaitingCampaign, group: str, mistake: None
) -> None:
    campaign.sensor(cancel_on_kill=True).on_kill()

    assert statuses(campaign) == {"Cancelled"}


def test_a_mistake_in_a_rule_keeps_no_wait_from_cancelling_when_its_time_is_over(
    campaign: WaitingCampaign, group: str, mistake: None
) -> None:
    sensor = campaign.sensor(timeout=0.1, on_timeout="cancel")

    summary = sensor.execute_complete({}, {"status": "timeout"}, deadline=datetime.now(UTC).isoformat())

    assert summary["cancelled"] == 3
    assert statuses(campaign) == {"Cancelled"}


def test_a_killed_task_cancels_without_a_key_of_the_ledger(
    campaign: WaitingCampaign, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as lost:
        lost.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", OTHER_KEY)
        campaign.sensor(cancel_on_kill=True).on_kill()

    assert statuses(campaign) == {"Cancelled"}
    assert campaign.ledger.groups.state(group).reconcile_state.cancelled


def test_a_killed_task_cancels_without_the_ledger(
    campaign: WaitingCampaign, group: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "nonsense")

    campaign.sensor(cancel_on_kill=True).on_kill()

    assert statuses(campaign) == {"Cancelled"}
    assert f"Run: outbound cancel {group}" in caplog.text


@pytest.fixture(params=["KEY", "URL"])
def lost(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's key, or the ledger, is lost while the task waits."""
    value = OTHER_KEY if request.param == "KEY" else "postgresql://nobody@127.0.0.1:1/none"
    monkeypatch.setenv(f"AIRFLOW__OUTBOUND__LEDGER_{request.param}", value)


def test_a_wait_whose_time_is_over_cancels_without_its_ledger_and_fails(
    campaign: WaitingCampaign, group: str, lost: None
) -> None:
    sensor = campaign.sensor(timeout=0.1, on_timeout="cancel")

    with pytest.raises(LedgerError):
        sensor.execute_complete({}, {"status": "timeout"}, deadline=datetime.now(UTC).isoformat())

    assert statuses(campaign) == {"Cancelled"}


def test_a_poke_whose_time_is_over_cancels_without_its_ledger_and_fails(
    campaign: WaitingCampaign, group: str, lost: None
) -> None:
    with pytest.raises(LedgerError):
        campaign.sensor(timeout=0, on_timeout="cancel").execute({})

    assert statuses(campaign) == {"Cancelled"}


def test_a_deferred_wait_whose_ledger_is_away_at_its_deadline_cancels_and_fails(
    campaign: WaitingCampaign, group: str, lost: None
) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=0.5)
    event = campaign.wait_deferred(deadline=deadline)
    # A trigger that lacks a key ends at once. What counts is whether the time is over when the task resumes.
    time.sleep(max(0.0, (deadline - datetime.now(UTC)).total_seconds()))

    with pytest.raises(OutboundBotError):
        campaign.sensor(timeout=0.5, on_timeout="cancel").execute_complete({}, event, deadline=deadline.isoformat())

    assert statuses(campaign) == {"Cancelled"}


def test_a_wait_whose_time_is_over_cancels_although_a_setting_is_wrong(
    campaign: WaitingCampaign, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "often")

    with pytest.raises(OutboundBotConfigError):
        campaign.sensor(timeout=0, on_timeout="cancel").execute({})

    assert statuses(campaign) == {"Cancelled"}


@pytest.mark.parametrize("arguments", [{"on_timeout": "fail"}, {"on_timeout": "cancel", "timeout": 3600}])
def test_a_wait_without_its_key_cancels_nothing_early_or_unasked(
    campaign: WaitingCampaign,
    group: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: dict[str, Any],
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", OTHER_KEY)

    with pytest.raises(LedgerKeyError):
        campaign.sensor(**arguments).execute({})

    assert statuses(campaign) == {"Scheduling"}
    # Whoever asked for a cancellation learns that there was none, and how to cancel.
    is_told = "fails before its time, so its jobs are not cancelled" in caplog.text
    assert is_told == (arguments["on_timeout"] == "cancel")


def test_a_service_that_is_away_when_the_time_is_over_is_asked_again(
    campaign: WaitingCampaign, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "CANCEL_PAUSE", 0.1)
    # The client tries four times by itself.
    campaign.simulator.faults(status_500={"actions": ["CancelJobs"], "times": 5})

    summary = campaign.sensor(timeout=0, on_timeout="cancel").execute({})

    assert summary["cancelled"] == 3
    assert statuses(campaign) == {"Cancelled"}


def test_a_window_that_was_extended_is_not_cancelled_because_a_key_is_missing(
    campaign: WaitingCampaign, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign.ledger.groups.note_window(group, datetime.now(UTC), datetime.now(UTC) + timedelta(days=2))
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", OTHER_KEY)

    with pytest.raises(LedgerKeyError):
        campaign.sensor(on_timeout="cancel").execute_complete({}, {"status": "timeout"})

    assert statuses(campaign) == {"Scheduling"}


def test_a_killed_task_that_cannot_cancel_says_what_is_left_to_do(
    campaign: WaitingCampaign, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.simulator.faults(success_false={"actions": ["CancelJobs"], "acts": False})

    campaign.sensor(cancel_on_kill=True).on_kill()

    assert statuses(campaign) == {"Scheduling"}
    assert caplog.text.rstrip().endswith(f"Run: outbound cancel {group}")
