"""Whom a later try must not call, it does not call: neither as a new contact nor as one that an earlier try sent."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import DIED, Campaign, numbers

from airflow_provider_outbound.core.ledger import CallCap
from airflow_provider_outbound.exceptions import AssignmentUnresolvedError
from airflow_provider_outbound.simulator.testing import Simulator

CONTACTS = numbers(4)
GONE, STAYING = CONTACTS[1], [CONTACTS[0], *CONTACTS[2:]]


@pytest.fixture
def campaign(simulator: Simulator, make_campaign: Callable[[Simulator], Campaign]) -> Campaign:
    made = make_campaign(simulator)
    made.options = {**made.options, "settle_seconds": 0.1, "lease_seconds": 60.0}
    return made


def e164(items: Sequence[str]) -> frozenset[str]:
    return frozenset(f"+86{number}" for number in items)


def fail_to_send(campaign: Campaign, contacts: Sequence[Any], **options: Any) -> None:
    """A try during an outage: its contacts stay unresolved."""
    campaign.simulator.faults(status_500={"actions": ["AssignJobs"]})
    with pytest.raises(AssignmentUnresolvedError):
        campaign.assign(contacts, **options)
    campaign.simulator.faults()


@pytest.mark.parametrize(
    ("items", "options"),
    [
        pytest.param(CONTACTS, {"excluded": e164([GONE])}, id="excluded"),
        pytest.param(CONTACTS, {"allowed": e164(STAYING)}, id="not allowed"),
        pytest.param(STAYING, {"on_invalid": "skip"}, id="not in the list, which is not read in advance"),
    ],
)
def test_a_contact_that_is_unwanted_by_now_is_not_sent_again(
    campaign: Campaign, caplog: pytest.LogCaptureFixture, items: Sequence[str], options: dict[str, Any]
) -> None:
    fail_to_send(campaign, CONTACTS)
    caplog.set_level(logging.INFO)

    result = campaign.assign(items, **options)

    assert campaign.each_once(STAYING)
    assert (result.assigned, result.unresolved) == (3, 0)
    assert "1 contacts that an earlier try sent and that never arrived are not sent again" in caplog.text


def test_who_has_had_the_calls_of_the_cap_meanwhile_is_not_sent_again(
    campaign: Campaign, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cap = CallCap(most=1, period=timedelta(days=7))
    fail_to_send(campaign, CONTACTS, cap=cap)
    campaign.another("another DAG, without a cap").assign([GONE])
    caplog.set_level(logging.INFO)
    people = [{"phone": number, "reference_id": f"person-{number[-4:]}"} for number in (*CONTACTS, CONTACTS[0])]

    result = campaign.assign(people, cap=cap, rejects_path=tmp_path / "left-out.csv")

    assert campaign.each_once(CONTACTS)
    assert (result.read, result.assigned, result.capped, result.unresolved) == (5, 3, 1, 0)
    written = (tmp_path / "left-out.csv").read_text(encoding="utf-8-sig")
    listed = [(row["row"], row["counted_as"]) for row in csv.DictReader(io.StringIO(written))]
    assert listed == [("5", "duplicates"), ("2", "capped")]
    assert f"Left out, over a limit: person-{GONE[-4:]}" in caplog.messages
    # Who may be called once more is, by the same task.
    again = campaign.assign(CONTACTS, cap=CallCap(most=2, period=timedelta(days=7)))
    assert (again.newly_assigned, again.capped) == (1, 0)


def test_contacts_that_are_sent_again_are_not_counted_against_themselves(campaign: Campaign) -> None:
    cap = CallCap(most=1, period=timedelta(days=7))
    fail_to_send(campaign, CONTACTS, cap=cap)

    result = campaign.assign(CONTACTS, cap=cap)

    assert (result.assigned, result.capped) == (4, 0)
    assert campaign.each_once(CONTACTS)


def test_people_who_are_only_to_be_sent_again_are_checked_before(campaign: Campaign) -> None:
    fail_to_send(campaign, CONTACTS)
    told: list[int | None] = []

    campaign.assign(CONTACTS, before_sending=lambda _group, people: told.append(people))
    campaign.assign(CONTACTS, before_sending=lambda _group, people: told.append(people))

    assert told == [4, 0]


def test_nobody_is_sent_again_from_another_list_and_who_is_wanted_once_more_is(campaign: Campaign) -> None:
    fail_to_send(campaign, CONTACTS)

    other = campaign.assign(numbers(2, first=50))
    back = campaign.assign([GONE])

    assert (other.assigned, other.unresolved, back.newly_assigned) == (2, 0, 1)
    assert campaign.each_once([*numbers(2, first=50), GONE])


def test_what_a_killed_try_was_sending_is_not_sent_again_to_who_is_excluded_by_now(campaign: Campaign) -> None:
    campaign.die_assigning(CONTACTS, arrived=1, lease_seconds=0.1)

    result = campaign.assign(CONTACTS, key=DIED, excluded=e164([CONTACTS[0], GONE]))

    # The first one had arrived before it was excluded.
    assert campaign.each_once([CONTACTS[0], *CONTACTS[2:]])
    assert result.assigned == 3


def test_a_person_whose_reference_changed_is_wanted(campaign: Campaign) -> None:
    fail_to_send(campaign, [{"phone": number, "reference_id": f"old-{number[-1]}"} for number in CONTACTS])

    renamed = [{"phone": number, "reference_id": f"new-{number[-1]}"} for number in CONTACTS]
    result = campaign.assign(renamed)

    assert (result.assigned, result.unresolved) == (4, 0)
    assert campaign.each_once(CONTACTS)


def test_who_is_sent_again_hears_what_the_corrected_list_says(campaign: Campaign) -> None:
    fail_to_send(campaign, [{"phone": number, "name": "Wrong", "amount": "999"} for number in CONTACTS])

    corrected = [{"phone": number, "name": "Wang", "amount": number[-2:]} for number in CONTACTS]
    assert campaign.assign(corrected).assigned == 4

    group = campaign.job_group_id
    sent = campaign.simulator.run(
        lambda cloud: [(job.phone_number, job.contacts[0]["name"], job.extras) for job in cloud.groups[group].jobs]
    )
    assert {(number, name) for number, name, _ in sent} == {(number, "Wang") for number in CONTACTS}
    assert all({"key": "amount", "value": number[-2:]} in extras for number, _, extras in sent)
