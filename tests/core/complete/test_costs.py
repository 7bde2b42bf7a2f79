"""
What waiting costs, in requests to the API as the simulator counts them.

The ledger's clock is moved by hand, and each look is made by a waiter that knows nothing of the last one: as many
processes as there are looks. ``OUTBOUND_TEST_COST_GROUPS=1000`` and ``OUTBOUND_TEST_COST_JOBS=100000`` measure the
sizes that are promised.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from support.campaigns import Campaign

from airflow_provider_outbound.simulator.testing import Simulator

GROUPS = int(os.environ.get("OUTBOUND_TEST_COST_GROUPS") or 60)
JOBS = int(os.environ.get("OUTBOUND_TEST_COST_JOBS") or 1_500)
INTERVAL = 300.0
#: Jobs on a page of a listing.
PAGE = 100

HoldClock = Callable[[float], None]


@attrs.define
class Bill:
    """Requests since the last look at it."""

    simulator: Simulator
    _before: Counter[str] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self.take()

    def take(self) -> Counter[str]:
        """Requests by action since the last call."""
        now = Counter(self.simulator.run(lambda cloud: dict(cloud.requests)))
        since = now - self._before
        self._before = now
        return since


def _make_groups(campaign: Campaign, count: int) -> list[Campaign]:
    """Groups of one job each, as if others had made and we assigned them."""
    groups = [campaign.another() for _ in range(count)]
    for index, group in enumerate(groups):
        group.assign(1, first=100 * index)  # digits that are dialled
    return groups


def test_a_waiting_group_costs_one_look_an_interval(campaign: Campaign, hold_clock: HoldClock) -> None:
    campaign.simulator.set_clock(speed=0)
    groups = _make_groups(campaign, GROUPS)
    bill = Bill(campaign.simulator)
    intervals, looks = 3, 4

    for step in range(intervals * looks):
        hold_clock(INTERVAL * step / looks)
        for group in groups:
            assert group.completion(reconcile_interval=INTERVAL).check() is None

    asked = bill.take()
    print(f"{GROUPS} groups waiting for {intervals} intervals: {dict(asked)}")
    assert asked == {"DescribeJobGroup": intervals * GROUPS}


def test_groups_that_end_together_cost_one_look_each(campaign: Campaign, hold_clock: HoldClock) -> None:
    groups = _make_groups(campaign, GROUPS)
    for group in groups:
        group.wait_for_service()
    state = campaign.simulator.state()
    for group in groups:
        group.tell(*state["groups"][group.job_group_id]["jobs"])
    bill = Bill(campaign.simulator)

    for seconds in (1, 2, INTERVAL, 2 * INTERVAL):
        hold_clock(seconds)
        for group in groups:
            summary = group.completion(reconcile_interval=INTERVAL).check()
            assert summary is not None
            assert summary["completed"] == 1

    asked = bill.take()
    print(f"{GROUPS} groups ending together, each asked about four times: {dict(asked)}")
    assert asked == {"DescribeJobGroup": GROUPS}


@pytest.mark.parametrize("heard_of", [True, False], ids=["dialling-was-told", "nothing-was-told"])
def test_few_missing_messages_cost_little_and_only_once(
    campaign: Campaign, hold_clock: HoldClock, heard_of: bool
) -> None:
    missing, waiters = 5, 3
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(JOBS, batch_size=99)
    campaign.wait_for_service(60 + JOBS / 100)
    jobs = campaign.jobs()
    campaign.tell(*jobs[missing:])
    if heard_of:
        campaign.tell(*jobs[:missing], eventType="Dialing", status="Executing", failureReason=None)
    bill = Bill(campaign.simulator)

    def look(seconds: float) -> list[Any]:
        hold_clock(seconds)
        return [campaign.completion(reconcile_interval=INTERVAL).check() for _ in range(waiters)]

    # Late messages deserve an interval: until then the gap costs the usual look.
    for seconds in (0, INTERVAL * 0.3, INTERVAL * 0.6, INTERVAL * 0.95):
        assert not any(look(seconds))
    early = bill.take()
    ended = look(INTERVAL * 1.01)
    filled = bill.take()

    print(f"{missing} messages missing of {JOBS}: {dict(early)}, after an interval {dict(filled)}")
    assert early == {"DescribeJobGroup": 1}
    pages = -(-JOBS // PAGE)
    listing = {"ListJobs": 1} if heard_of else {"QueryJobsWithResult": pages}
    assert filled == {"DescribeJobGroup": 1} | listing
    assert {summary["recovered"] for summary in ended} == {missing}
