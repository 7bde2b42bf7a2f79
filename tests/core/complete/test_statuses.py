"""A status that this version has no word for, or that a message leaves out, hides no other job."""

from __future__ import annotations

from typing import Any

import pytest
from support.campaigns import Campaign

#: What the message of one of five jobs says of its status; of another the message is lost.
ODD = [
    pytest.param("Expired", id="unlisted"),
    pytest.param("99", id="unlisted-number"),
    pytest.param(None, id="none"),
    pytest.param("", id="empty"),
    pytest.param([], id="list"),
    pytest.param("Executing", id="under-way"),
    pytest.param(2, id="number"),
    pytest.param("4", id="number-as-text"),
]


@pytest.mark.parametrize("messages", [True, False])
@pytest.mark.parametrize("status", ODD)
def test_a_lost_message_is_recovered_beside_an_odd_status(campaign: Campaign, status: Any, messages: bool) -> None:
    campaign.assign(5)
    campaign.wait_for_service()
    odd, lost, *others = campaign.jobs()
    for job in others:
        campaign.tell(job)
    campaign.tell(odd, status=status)

    summary = campaign.wait(campaign.completion(messages=messages))

    is_told = status in ("Expired", "99", 2, "4")
    assert (summary["total"], summary["completed"], summary["mismatch"]) == (5, 5, False)
    assert summary["recovered"] == (1 if is_told else 2)
    results = {result.job_id: result for result in campaign.ledger.results.iter_results(campaign.job_group_id)}
    assert results[lost["job_id"]].status == lost["status"]
    if not is_told:
        assert results[odd["job_id"]].status == odd["status"]
    assert sum(summary["by_status"].values()) == 5
    assert "unlisted" not in summary
    assert summary["answered"] + summary["unanswered"] + summary["not_dialled"] <= summary["completed"]


def test_a_status_that_is_not_listed_is_not_asked_for_again(campaign: Campaign) -> None:
    campaign.assign(3)
    campaign.wait_for_service()
    for job in campaign.jobs():
        campaign.tell(job, status="Expired")

    summary = campaign.wait(campaign.completion())

    assert (summary["completed"], summary["recovered"], summary["by_status"]) == (3, 0, {"Expired": 3})
    assert campaign.requests("ListJobs") == campaign.requests("QueryJobsWithResult") == 0
