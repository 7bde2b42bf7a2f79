"""A listing with gaps of its own fills those of the messages nevertheless."""

from __future__ import annotations

import pytest
from support.campaigns import Campaign

#: More than a page, so that what the order of a listing moves across a page's edge is left out.
MANY = 150


def test_a_listing_whose_order_changes_between_its_pages_is_read_until_it_told_all(campaign: Campaign) -> None:
    campaign.simulator.faults(messages_withheld=True, listing_reshuffle=True)
    campaign.assign(MANY)
    campaign.wait_for_service()

    summary = campaign.wait(campaign.completion())

    assert (summary["completed"], summary["mismatch"]) == (MANY, False)


def test_a_listing_that_never_tells_all_does_not_hold_the_wait_for_ever(campaign: Campaign) -> None:
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(10)
    campaign.wait_for_service()
    # It shows no jobs and counts them all the same.
    campaign.simulator.faults(listing_lag={"seconds": 600.0, "actions": ["QueryJobsWithResult"]})

    summary = campaign.wait(campaign.completion())

    assert (summary["total"], summary["completed"], summary["mismatch"]) == (10, 0, True)


@pytest.mark.parametrize("messages", [True, False])
def test_jobs_that_were_never_called_are_found_by_their_ids(campaign: Campaign, messages: bool) -> None:
    campaign.simulator.faults(messages_withheld=True, latest_task_missing=True)
    campaign.assign(80)
    campaign.wait_for_service()

    summary = campaign.wait(campaign.completion(messages=messages))

    assert (summary["total"], summary["completed"], summary["mismatch"]) == (80, 80, False)
    assert campaign.ledger.results.counts(campaign.job_group_id).foreign == 0


def test_a_job_that_is_not_found_by_its_id_at_first_is_no_mismatch(campaign: Campaign) -> None:
    campaign.simulator.faults(messages_withheld=True, latest_task_missing=True, job_left_out={"times": 3})
    campaign.assign(80)
    campaign.wait_for_service()

    summary = campaign.wait(campaign.completion(messages=False))

    assert (summary["total"], summary["completed"], summary["mismatch"]) == (80, 80, False)


def test_jobs_whose_numbers_show_masked_are_counted_once(campaign: Campaign) -> None:
    campaign.simulator.faults(numbers_masked=True, messages_withheld=True)
    campaign.assign(3)

    summary = campaign.wait(campaign.completion(messages=False))

    assert (summary["total"], summary["completed"], summary["mismatch"]) == (3, 3, False)
