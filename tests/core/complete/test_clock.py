"""A clock that is set to another time does not break a wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from support.campaigns import Campaign

from airflow_provider_outbound.core.ledger import TaskKey

DAY = timedelta(days=1)
INTERVAL = 0.5


_steps = pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(DAY, timedelta(0), id="set-back"), pytest.param(timedelta(0), DAY, id="set-forward")],
)


@_steps
def test_results_that_only_the_api_knows_are_fetched(
    campaign: Campaign, set_clock: Callable[[timedelta], None], before: timedelta, after: timedelta
) -> None:
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(10)
    campaign.wait_for_service()
    set_clock(before)
    assert campaign.completion(reconcile_interval=INTERVAL).check() is None  # the gap is seen

    set_clock(after)
    summary = campaign.wait(campaign.completion(reconcile_interval=INTERVAL))

    assert (summary["completed"], summary["mismatch"]) == (10, False)


@_steps
def test_a_finished_group_is_confirmed(
    campaign: Campaign, set_clock: Callable[[timedelta], None], before: timedelta, after: timedelta
) -> None:
    campaign.assign(3)
    campaign.wait_for_service()
    for job in campaign.jobs():
        campaign.tell(job)
    campaign.simulator.faults(reset={"actions": ["DescribeJobGroup"]})
    set_clock(before)
    assert campaign.completion(reconcile_interval=INTERVAL).check() is None  # asked in vain

    campaign.simulator.faults()
    set_clock(after)

    assert campaign.wait(campaign.completion(reconcile_interval=INTERVAL))["completed"] == 3


@_steps
def test_a_group_that_ended_short_is_seen_twice(
    campaign: Campaign, set_clock: Callable[[timedelta], None], before: timedelta, after: timedelta
) -> None:
    campaign.assign(3)
    ledger = campaign.ledger
    second = ledger.assignments.open(
        TaskKey("dag", "run", "second"), campaign.job_group_id, owner="me", lease_seconds=60, settle_seconds=1
    )
    ledger.assignments.close(second, 2)
    campaign.wait_for_service()
    set_clock(before)
    assert campaign.completion(messages=False, reconcile_interval=INTERVAL).check() is None

    set_clock(after)
    summary = campaign.wait(campaign.completion(messages=False, reconcile_interval=INTERVAL))

    assert (summary["total"], summary["mismatch"]) == (3, True)
