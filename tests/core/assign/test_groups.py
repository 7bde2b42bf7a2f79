"""One group for each task, however often it is created."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import campaigns
from support.campaigns import Campaign

from airflow_provider_outbound.core.assign import GroupSpec, create_group
from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger, TaskKey, open_ledger
from airflow_provider_outbound.exceptions import OutboundBotError, OutboundBotNotFoundError

KEY = TaskKey("nightly", "run-1", "create")
#: The task's identity in the group's name. Later versions must find groups by it, and earlier ones after a restore.
SHORT = KEY.run_key[:12]

Create = Callable[..., JobGroupRecord]


@pytest.fixture
def create(campaign: Campaign) -> Create:
    """Creates the group of a task; the simulator starts without any."""
    campaign.simulator.reset()

    def run(
        key: TaskKey = KEY, *, ledger: Ledger | None = None, settle_seconds: float = 0.5, **spec: Any
    ) -> JobGroupRecord:
        wanted = GroupSpec(**{"name": "nightly", "script_id": campaign.simulator.script_id, **spec})
        return create_group(
            campaign.client,
            ledger or campaign.ledger,
            key,
            lambda: wanted,
            instance_id=campaign.simulator.instance_id,
            settle_seconds=settle_seconds,
        )

    return run


def test_the_next_try_finds_the_group_of_the_one_before(create: Create, campaign: Campaign) -> None:
    first = create(description="For the evening", ends_at=datetime(2030, 1, 1, tzinfo=UTC))

    assert create(name="renamed") == first
    (group,) = campaign.simulator.state()["groups"].values()
    assert group["name"] == f"nightly {SHORT}"
    assert group["description"].splitlines() == [
        "For the evening",
        f"airflow run {KEY.run_key} ledger {campaign.ledger.ledger_id}",
    ]


def test_a_group_is_found_although_its_creation_was_not_recorded(
    create: Create, campaign: Campaign, tmp_path: Path
) -> None:
    """Killed between the answer and the ledger; here the ledger forgot everything."""
    first = create()
    with open_ledger(f"sqlite:///{tmp_path}/empty.db", [campaigns.KEY]) as empty:
        found = create(ledger=empty)

    assert found.job_group_id == first.job_group_id
    assert len(campaign.simulator.state()["groups"]) == 1


@pytest.mark.parametrize("fault", ["answer_lost", "late", "success_false", "throttle_503"])
def test_an_answer_that_got_lost_makes_no_second_group(create: Create, campaign: Campaign, fault: Any) -> None:
    times = {"actions": ["CreateJobGroup"], "times": 1} | ({"seconds": 0.3} if fault == "late" else {})
    campaign.simulator.faults(**{fault: times})

    record = create(settle_seconds=2.0)

    assert list(campaign.simulator.state()["groups"]) == [record.job_group_id]


@pytest.mark.parametrize("fault", ["reset", "throttle", "html", "status_503"])
def test_a_request_without_effect_is_sent_again(create: Create, campaign: Campaign, fault: Any) -> None:
    campaign.simulator.faults(**{fault: {"actions": ["CreateJobGroup"], "times": 2}})

    record = create()

    assert list(campaign.simulator.state()["groups"]) == [record.job_group_id]


def test_each_run_and_map_index_has_its_own(create: Create, campaign: Campaign) -> None:
    keys = [KEY, TaskKey("nightly", "run-2", "create"), TaskKey("nightly", "run-1", "create", 0)]

    made = {create(key).job_group_id for key in keys}

    assert len(made) == len(campaign.simulator.state()["groups"]) == 3


def test_a_name_that_another_group_bears_is_no_identity(create: Create, campaign: Campaign) -> None:
    other = campaign.new_group(f"nightly {SHORT}", description="by hand")

    assert create().job_group_id != other


def test_a_refusal_is_raised_at_once(create: Create, campaign: Campaign) -> None:
    with pytest.raises(OutboundBotNotFoundError, match=r"NotExist\.Script"):
        create(script_id="none")

    assert campaign.requests("CreateJobGroup") == 1


def test_a_service_without_any_usable_answer_is_given_up(create: Create, campaign: Campaign) -> None:
    campaign.simulator.faults(html={"actions": ["CreateJobGroup"]})

    with pytest.raises(OutboundBotError):
        create(settle_seconds=0)

    assert campaign.requests("CreateJobGroup") == 3
