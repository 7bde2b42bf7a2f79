"""Instances of a mapped task whose lists change places when the run is cleared call nobody twice."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from support.campaigns import Campaign, numbers

from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.exceptions import OutboundBotContactsError

FIRST, SECOND = numbers(5), numbers(5, first=50)


def instance(campaign: Campaign, map_index: int, *, run: str = "run") -> Campaign:
    """An instance of a mapped task, with a group of its own."""
    return attrs.evolve(campaign.another(f"{run} {map_index}"), key=TaskKey("dag", run, "assign", map_index))


def both(campaign: Campaign) -> tuple[Campaign, Campaign]:
    """Two instances that have finished."""
    one, two = instance(campaign, 0), instance(campaign, 1)
    one.assign(FIRST)
    two.assign(SECOND)
    return one, two


@pytest.mark.parametrize("on_invalid", ["fail", "skip"])
def test_lists_that_changed_places_are_refused_in_every_later_try(campaign: Campaign, on_invalid: str) -> None:
    one, two = both(campaign)
    told = r"another instance of this mapped task has assigned \+86138\*{6}50 .*ORDER BY.*A new DAG run would call"

    for _ in range(2):
        with pytest.raises(OutboundBotContactsError, match=told):
            one.assign(SECOND, on_invalid=on_invalid)
        with pytest.raises(OutboundBotContactsError, match="another instance"):
            two.assign(from_items(iter(FIRST)), on_invalid=on_invalid)

    assert campaign.each_once([*FIRST, *SECOND])
    # In their order, both go on.
    assert (one.assign(FIRST).newly_assigned, two.assign([*SECOND, *numbers(1, first=90)]).newly_assigned) == (0, 1)


def test_an_instance_that_had_nobody_does_not_take_those_of_another(campaign: Campaign) -> None:
    one, two = instance(campaign, 0), instance(campaign, 1)
    one.assign([])
    two.assign(SECOND)

    with pytest.raises(OutboundBotContactsError, match="another instance"):
        one.assign(SECOND)

    assert campaign.each_once(SECOND)


def test_a_person_may_be_on_the_lists_of_two_instances(campaign: Campaign) -> None:
    one, two = instance(campaign, 0), instance(campaign, 1)

    assert one.assign(FIRST).assigned == two.assign([*FIRST, *SECOND]).newly_assigned - 5 == 5
    assert (one.assign(FIRST).newly_assigned, two.assign([*FIRST, *SECOND]).newly_assigned) == (0, 0)


def test_another_run_and_a_task_that_is_not_mapped_are_no_concern(campaign: Campaign) -> None:
    both(campaign)
    later = instance(campaign, 0, run="later")
    later.assign(numbers(1, first=70))

    assert later.assign(SECOND).newly_assigned == 5
    alone, beside = instance(campaign, -1, run="alone"), instance(campaign, -1, run="alone")
    alone.assign(numbers(1, first=80))
    beside.assign(FIRST)
    assert alone.assign(FIRST).newly_assigned == 5


def test_another_order_of_the_same_person_is_a_contact_of_its_own(campaign: Campaign) -> None:
    by: dict[str, Any] = {"dedupe_by": "reference_id"}
    one, two = instance(campaign, 0), instance(campaign, 1)
    one.assign([{"phone": FIRST[0], "reference_id": "order-1"}], **by)
    two.assign([{"phone": FIRST[0], "reference_id": "order-2"}], **by)

    third = [{"phone": FIRST[0], "reference_id": "order-1"}, {"phone": FIRST[0], "reference_id": "order-3"}]
    assert one.assign(third, **by).newly_assigned == 1
    with pytest.raises(OutboundBotContactsError, match="another instance"):
        one.assign([{"phone": FIRST[0], "reference_id": "order-2"}], **by)
