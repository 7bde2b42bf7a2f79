"""A wait ends red where contacts were left out, unless the author accepts that; and its sentence adds up."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.waiting import RunSensor, WaitingCampaign, ways

from airflow_provider_outbound.core.assign import abandon
from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.exceptions import (
    AssignmentUnresolvedError,
    JobGroupFailedError,
    OutboundBotConfigError,
    OutboundBotError,
)
from airflow_provider_outbound.task_groups.outboundbot import OutboundBotCampaignTaskGroup

KEY = TaskKey("dag", "tonight", "assign")


def _assign(campaign: WaitingCampaign, count: int, *, down: bool, **options: Any) -> None:
    """Assign, perhaps while the service does not take anybody."""
    campaign.simulator.faults(**({"status_500": {"actions": ["AssignJobs"]}} if down else {}))
    try:
        campaign.assign(count, key=KEY, **{"on_unresolved": "hold", **options})
    finally:
        campaign.simulator.faults()


@ways
@pytest.mark.parametrize("assigned", [pytest.param(0, id="nobody-assigned"), pytest.param(3, id="some-assigned")])
def test_held_contacts_end_red_unless_they_are_accepted(
    campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any], assigned: int
) -> None:
    if assigned:
        _assign(campaign, assigned, down=False)
    _assign(campaign, assigned + 2, down=True)

    assert run_sensor(**way)[0] == "failed"
    state, summary = run_sensor(on_unresolved_jobs="accept", **way)

    assert state == "success"
    assert (summary["total"], summary["completed"], summary["unresolved"]) == (assigned, assigned, 2)


def test_the_failure_says_how_many_and_what_to_do(campaign: WaitingCampaign) -> None:
    _assign(campaign, 3, down=False)
    _assign(campaign, 5, down=True)

    with pytest.raises(JobGroupFailedError) as caught:
        campaign.sensor().execute({})

    text = str(caught.value)
    assert "2 contacts are unresolved" in text
    assert "Clear task assign of run tonight of DAG dag" in text
    assert "on_unresolved_jobs='accept'" in text
    assert "\n" not in text
    # Cleared, the task finds them nowhere, and sends them.
    _assign(campaign, 5, down=False, on_unresolved="resend")
    assert campaign.sensor().execute({})["total"] == 5


@pytest.mark.parametrize("on_timeout", ["partial", "cancel"])
def test_a_wait_that_ends_early_does_not_hide_them(campaign: WaitingCampaign, on_timeout: str) -> None:
    _assign(campaign, 2, down=True)

    sensor = campaign.sensor(on_timeout=on_timeout, on_cancelled="succeed")
    with pytest.raises(JobGroupFailedError, match="2 contacts are unresolved"):
        sensor._time_out()


@ways
def test_a_group_to_which_nobody_was_assigned_because_of_failures_is_red(
    campaign: WaitingCampaign, run_sensor: RunSensor, way: dict[str, Any]
) -> None:
    """The assigning task gave up; the sensor runs nevertheless, by its trigger rule."""
    with pytest.raises(AssignmentUnresolvedError):
        _assign(campaign, 4, down=True, on_unresolved="resend")
    abandon(campaign.ledger, KEY, campaign.job_group_id, settle_seconds=0.2)

    assert run_sensor(**way)[0] == "failed"
    assert run_sensor(on_unresolved_jobs="accept", **way)[0] == "failed"


def test_a_group_that_nobody_was_meant_for_is_green(campaign: WaitingCampaign) -> None:
    _assign(campaign, 2, down=False, excluded=frozenset({"+8613800000000", "+8613800000001"}))

    assert campaign.sensor().execute({})["total"] == 0


def test_the_sentence_adds_up(campaign: WaitingCampaign, capsys: pytest.CaptureFixture[str]) -> None:
    campaign.assign(100)

    summary = campaign.sensor().execute({})

    (sentence,) = re.findall(r"Job group \S+: .* jobs complete: [^\[]*", capsys.readouterr().out)
    completed, total, *outcomes = map(int, re.findall(r"\b\d+(?= )", sentence.partition(": ")[2]))
    assert completed == total == sum(outcomes) == 100
    assert outcomes == [summary[name] for name in ("answered", "unanswered", "not_dialled", "other")]
    assert summary["other"] > 0
    reasons = {name: int(count) for name, count in re.findall(r"(\w+): (\d+)[,)]", sentence)}
    assert reasons == summary["by_failure_reason"]
    assert len(reasons) > 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_misspelt_word_is_refused(campaign: WaitingCampaign, deferrable: bool) -> None:
    with pytest.raises(OutboundBotConfigError, match="on_unresolved_jobs: 'ignore' is not one of 'fail', 'accept'"):
        campaign.sensor(deferrable=deferrable, on_unresolved_jobs="ignore").execute({})


def test_the_campaign_takes_it() -> None:
    from airflow.sdk import DAG

    with DAG("accepting"):
        group = OutboundBotCampaignTaskGroup(
            start_immediately=True, contacts=["13800000000"], path="/tmp/x.csv", on_unresolved_jobs="accept"
        )
        default = OutboundBotCampaignTaskGroup(
            "other", start_immediately=True, contacts=["13800000000"], path="/tmp/y.csv"
        )

    assert (group.wait.on_unresolved_jobs, default.wait.on_unresolved_jobs) == ("accept", "fail")
    assert issubclass(AssignmentUnresolvedError, OutboundBotError)
