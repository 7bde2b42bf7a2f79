"""A sensor outlasts an outage of the ledger, however it waits, as its trigger does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import TaskDeferred
from support.waiting import WaitingCampaign

from airflow_provider_outbound.exceptions import LedgerUnavailableError

AWAY = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def away(campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """People are being called, and the server of the ledger is away."""
    campaign.freeze()
    campaign.assign(2)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", AWAY)


def test_a_poke_without_its_ledger_is_followed_by_another(
    campaign: WaitingCampaign, away: None, caplog: pytest.LogCaptureFixture
) -> None:
    sensor = campaign.sensor()

    results = [sensor.poke({}) for _ in range(2)]

    assert [result.is_done for result in results] == [False, False]
    assert caplog.text.count("will try again") == 1


def test_the_ledger_is_used_once_it_is_back(campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign.freeze()
    campaign.assign(2)
    sensor = campaign.sensor()
    with monkeypatch.context() as outage:
        outage.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", AWAY)
        assert not sensor.poke({}).is_done

    campaign.thaw()

    assert sensor.execute({})["completed"] == 2


def test_a_wait_that_begins_without_its_ledger_is_deferred(campaign: WaitingCampaign, away: None) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        campaign.sensor(deferrable=True, timeout=60).execute({})

    assert deferred.value.trigger.deadline > datetime.now(UTC)


def test_a_ledger_that_stays_away_ends_the_wait_at_its_deadline(campaign: WaitingCampaign, away: None) -> None:
    with pytest.raises(LedgerUnavailableError):
        campaign.sensor(timeout=timedelta(0)).execute({})


def test_the_end_of_the_window_is_the_services_while_the_ledger_is_away(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    begin_at, end_at = (round(moment.timestamp() * 1000) for moment in (begin, begin + timedelta(hours=1)))
    strategy = json.dumps({"repeatBy": "Once", "startTime": begin_at, "endTime": end_at})
    campaign.job_group_id = campaign.client.create_job_group(
        job_group_name="tomorrow", script_id=campaign.simulator.script_id, strategy_json=strategy
    ).job_group_id
    campaign.assign(1)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", AWAY)

    with pytest.raises(TaskDeferred) as deferred:
        campaign.sensor(deferrable=True).execute({})

    assert deferred.value.trigger.deadline == begin + timedelta(hours=3)
