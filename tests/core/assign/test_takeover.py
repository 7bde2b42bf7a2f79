"""What a task left undecided is decided by the next one that assigns to the group."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from support.campaigns import DIED, Campaign, numbers

from airflow_provider_outbound.core.assign import abandon
from airflow_provider_outbound.core.assign.screening import CHUNK
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import CallCap, TaskKey
from airflow_provider_outbound.exceptions import AssignmentUnresolvedError

NEXT = TaskKey("dag", "next run", "assign")


def test_the_next_task_calls_whom_a_killed_one_left(campaign: Campaign) -> None:
    contacts = numbers(20)
    campaign.die_assigning(contacts[:10], arrived=4)

    result = campaign.assign(contacts, key=NEXT)

    assert campaign.each_once(contacts)
    assert (result.read, result.assigned, result.duplicates, result.unresolved) == (20, 16, 4, 0)


def test_a_list_that_is_all_under_way_is_not_done(campaign: Campaign) -> None:
    """Every contact is in the ledger already, so that nothing seems to be left to do."""
    contacts = numbers(6)
    campaign.die_assigning(contacts)

    assert campaign.assign(contacts, key=NEXT).assigned == 6
    assert campaign.each_once(contacts)


def test_the_own_task_finds_what_was_taken_over(campaign: Campaign) -> None:
    contacts = numbers(8)
    campaign.die_assigning(contacts, arrived=3)
    campaign.assign(contacts, key=NEXT)

    result = campaign.assign(contacts, key=DIED)

    assert (result.read, result.assigned, result.duplicates) == (8, 3, 5)
    assert campaign.each_once(contacts)


def test_what_is_not_on_the_list_stays_with_the_dead_task(campaign: Campaign) -> None:
    contacts = numbers(10)
    campaign.die_assigning(contacts[:6])

    assert campaign.assign(contacts[4:], key=NEXT).assigned == 6

    assert campaign.each_once(contacts[4:])
    assert campaign.ledger.results.counts(campaign.job_group_id).unresolved == 4
    assert campaign.ledger.takeovers.unresolved_tasks(campaign.job_group_id) == [DIED]
    assert campaign.assign(contacts[:6], key=DIED).assigned == 4
    assert campaign.each_once(contacts)


def test_who_holds_reports_what_another_task_left(campaign: Campaign) -> None:
    contacts = numbers(5)
    campaign.die_assigning(contacts, arrived=2)

    result = campaign.assign(contacts, key=NEXT, on_unresolved="hold")

    assert (result.assigned, result.duplicates, result.unresolved) == (0, 2, 3)
    assert campaign.each_once(contacts[:2])


def test_a_task_that_gave_up_leaves_its_contacts_to_the_next_one(campaign: Campaign) -> None:
    contacts = numbers(9)
    campaign.simulator.faults(status_500={"actions": ["AssignJobs"]})
    with pytest.raises(AssignmentUnresolvedError):
        campaign.assign(contacts, settle_seconds=0.2)
    abandon(campaign.ledger, campaign.key, campaign.job_group_id, settle_seconds=0.2)
    campaign.simulator.faults()

    assert campaign.assign(contacts, key=NEXT).assigned == 9
    assert campaign.each_once(contacts)


def test_a_limit_counts_those_that_are_taken_over(campaign: Campaign) -> None:
    contacts = numbers(12)
    campaign.die_assigning(contacts[:8])

    result = campaign.assign(contacts, key=NEXT, max_jobs=10)

    assert (result.assigned, result.capped, result.unresolved) == (10, 2, 0)
    assert campaign.each_once(contacts[:10])


def test_a_person_who_has_had_their_calls_is_not_taken_over(campaign: Campaign) -> None:
    contacts = numbers(4)
    campaign.another().assign(contacts[:2])
    campaign.die_assigning(contacts)

    result = campaign.assign(contacts, key=NEXT, cap=CallCap(most=1, period=timedelta(days=7)))

    assert (result.assigned, result.capped) == (2, 2)
    assert campaign.each_once(contacts)


def test_a_task_that_works_keeps_its_contacts(campaign: Campaign) -> None:
    contacts = numbers(60)
    campaign.simulator.faults(answer_lost={"actions": ["AssignJobs"], "probability": 0.3})

    results = at_once(3, lambda key: campaign.finish(contacts, key=key, batch_size=2))

    assert campaign.each_once(contacts)
    assert sum(result.assigned for result in results) == 60
    assert [result.assigned + result.duplicates for result in results] == [60] * 3


def test_two_tasks_that_find_the_same_dead_one_share_what_it_left(campaign: Campaign) -> None:
    contacts = numbers(30)
    campaign.die_assigning(contacts[:20], arrived=5)

    results = at_once(3, lambda key: campaign.finish(contacts, key=key))

    assert campaign.each_once(contacts)
    assert sum(result.assigned for result in results) == 25
    assert Counter(result.read for result in results) == {30: 3}


@pytest.mark.parametrize("is_repeatable", [True, False])
def test_a_task_that_dies_while_another_works_is_taken_over_too(campaign: Campaign, is_repeatable: bool) -> None:
    contacts = numbers(30)
    died = threading.Event()

    def guard(_group: Any) -> None:
        if not died.is_set():
            died.set()
            campaign.die_assigning(contacts[20:], arrived=3, shares=True)

    def assign() -> Any:
        source = contacts if is_repeatable else from_items(iter(contacts))
        return campaign.assign(source, key=NEXT, guard=guard, on_invalid="skip")

    if not is_repeatable:
        with pytest.raises(AssignmentUnresolvedError, match="clear task died of run run of DAG dag, or this task"):
            assign()
    result = assign()

    assert campaign.each_once(contacts)
    assert (result.read, result.assigned, result.duplicates) == (30, 27, 3)


def test_what_another_task_gave_up_too_early_is_looked_for_before_it_is_sent(campaign: Campaign) -> None:
    """That task believed that none of them arrived; it ends while this one works, after this one read the group."""
    contacts = numbers(CHUNK + 20)
    campaign.assign(contacts[:1])
    died = threading.Event()

    def guard(_group: Any) -> None:
        if not died.is_set():
            died.set()
            dead = campaign.die_assigning(contacts[-10:], arrived=4, shares=True)
            ledger = campaign.ledger
            ledger.journal.mark_unresolved(dead, [doubt.reference_id for doubt in ledger.journal.in_doubt(dead)])
            ledger.assignments.renew(dead, 0)

    result = campaign.assign(contacts, key=NEXT, guard=guard, batch_size=25, settle_seconds=3.0)

    assert campaign.each_once(contacts)
    assert (result.assigned + result.duplicates, result.unresolved) == (len(contacts), 0)


def at_once(tasks: int, assign: Any) -> list[Any]:
    """What several tasks return that begin one shortly after the other."""
    results: list[Any] = []

    def run(index: int) -> None:
        time.sleep(0.2 * index)
        results.append(assign(TaskKey("dag", f"run {index}", "assign")))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == tasks
    return results
