"""Results of one group are the contacts of another, as they were, and nobody who must not be called."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from airflow_provider_outbound.core.contacts import Reject
from airflow_provider_outbound.core.follow_up import from_results
from airflow_provider_outbound.core.ledger import Candidate, Ledger, TaskKey
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import normalise

GROUP = "group-1"
Tell = Callable[..., None]


def test_a_contact_comes_back_with_all_it_had(ledger: Ledger, tell: Tell) -> None:
    phone = normalise("13800000001")
    contact = Contact(
        phone=phone, name="Zhang", honorific="Mr", role="buyer", reference_id="r-0001", extras={"city": "Hangzhou"}
    )
    candidate = Candidate(reference_id="r-0001", phone_key=ledger.identity.phone_key(phone.e164), contact=contact)
    assignment = ledger.assignments.open(
        TaskKey("dag", "run", "assign"), GROUP, owner="me", lease_seconds=60, settle_seconds=0
    )
    ledger.journal.begin(assignment, [candidate], dedupe_by="phone")
    tell(1)

    source = from_results(lambda: nullcontext(ledger), GROUP, "unanswered")

    assert list(source) == list(source) == [contact]


def test_only_those_are_called_again_who_may_be(ledger: Ledger, tell: Tell) -> None:
    tell(1)
    tell(2, "SucceededFinish", status="Succeeded")
    tell(3, "ContactBlockList", reason="ContactBlockList")
    tell(4)
    tell(4, "ContactBlockList", group="group-2", reason="ContactBlockList", at=9000)
    tell(5, event="CallFinished", status="Scheduling")

    source = from_results(lambda: nullcontext(ledger), GROUP, "unanswered")

    assert [contact.reference_id for contact in source if isinstance(contact, Contact)] == ["r-0001"]


def test_rows_are_counted_over_all_and_a_job_without_a_number_is_a_reject(ledger: Ledger, tell: Tell) -> None:
    for number in range(120):
        tell(number)
    tell(900, phone=None)

    items = list(from_results(lambda: nullcontext(ledger), GROUP, "unanswered"))

    assert [item.row for item in items] == list(range(1, 122))
    assert [item for item in items if isinstance(item, Reject)] == [Reject(row=121, number="", reason="empty")]


def test_what_others_called_by_a_number_gets_a_reference_that_is_none(ledger: Ledger, tell: Tell) -> None:
    tell(1, reference="13800000001")

    (contact,) = from_results(lambda: nullcontext(ledger), GROUP, "unanswered")

    assert isinstance(contact, Contact)
    assert contact.reference_id is None


def test_who_is_left_out_is_counted_in_the_log_once(
    ledger: Ledger, tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    """A source is read twice: before anything is sent, and to send."""
    caplog.set_level("INFO")
    for number in (1, 2, 3):
        tell(number)
    ledger.follow_ups.refuse([ledger.identity.phone_key("+8613800000002")])
    source = from_results(lambda: nullcontext(ledger), GROUP, None)

    assert [len(list(source)) for _ in range(2)] == [2, 2]

    (line,) = [message for message in caplog.messages if "left out" in message]
    assert line.startswith(f"Job group {GROUP}: 1 person is left out, whatever the result: ")
