"""However the service writes a number, a job under our reference is the contact's that we sent, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.ledger import Candidate, Ledger, TaskKey
from airflow_provider_outbound.core.ledger.listed_numbers import complete_number, is_same_number
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.enums import JobStatus
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.core.models.phone import normalise

E164 = ("+8613800138000", "+8615912345678", "+861012345678", "+447911123456", "+14155552671", "+85291234567")
numbers = st.sampled_from(E164)


def shown(number: str, draw: Callable[..., object]) -> str:
    """A number as some service might show it; judged by the library that knows how numbers are written."""
    parsed = phonenumbers.parse(number)
    forms = [
        number,
        number.removeprefix("+"),
        f"00{number.removeprefix('+')}",
        str(parsed.national_number),
        *(
            phonenumbers.format_number(parsed, form)
            for form in (
                phonenumbers.PhoneNumberFormat.NATIONAL,
                phonenumbers.PhoneNumberFormat.INTERNATIONAL,
            )
        ),
        f"{number[:5]}****{number[-4:]}",
        f"{number[3:6]}xxxx{number[-2:]}",
        f"***{number[-4:]}",
        number[-4:],
        "****",
    ]
    text = str(draw(st.sampled_from(forms)))
    blank = draw(st.sampled_from(["", " ", "\u00a0"]))
    return f"{blank}{text} "


@settings(max_examples=examples(300), deadline=None, print_blob=True)
@given(number=numbers, data=st.data())
def test_any_way_of_writing_our_number_is_ours(number: str, data: st.DataObject) -> None:
    assert is_same_number(shown(number, data.draw), number)


@settings(max_examples=examples(300), deadline=None, print_blob=True)
@given(number=numbers, other=numbers, plus=st.booleans())
def test_another_complete_number_is_another_person(number: str, other: str, plus: bool) -> None:
    text = other if plus else other.removeprefix("+")

    assert is_same_number(text, number) is (number == other)


@settings(max_examples=examples(300), deadline=None, print_blob=True)
@given(text=st.text(alphabet="0123456789+*xX•… ()-abc/", max_size=20))
def test_only_digits_and_separators_are_a_complete_number(text: str) -> None:
    number = complete_number(text)

    stripped = text.strip()
    if any(character in stripped for character in "*xX•…abc/"):
        assert number is None
    if number is not None:
        assert number.removeprefix("+").isdecimal()


def candidate(ledger: Ledger, e164: str, reference_id: str | None = None) -> Candidate:
    identity = ledger.identity
    return Candidate(
        reference_id=reference_id or identity.reference_id(e164),
        phone_key=identity.phone_key(e164),
        contact=Contact(phone=normalise(e164)),
    )


def listed(ours: Candidate, number: str | None, job_id: str = "j") -> Job:
    return Job(
        job_id=job_id,
        job_group_id="g1",
        status=JobStatus.SCHEDULING,
        reference_id=ours.reference_id,
        phone_number=number,
    )


@pytest.mark.parametrize(
    ("e164", "number"),
    [
        pytest.param("+8613800138000", "138****8000", id="masked"),
        pytest.param("+8613800138000", "138 0013 8000", id="spaces"),
        pytest.param("+8613800138000", None, id="empty"),
        pytest.param("+447911123456", "447911123456", id="abroad-without-plus"),
        # Read as a number of mainland China, it would be a valid one.
        pytest.param("+14155552671", "14155552671", id="looks-like-another-country"),
    ],
)
def test_a_row_found_by_our_reference_is_ours(ledger: Ledger, e164: str, number: str | None) -> None:
    ours = candidate(ledger, e164)
    key = TaskKey("d", "r", "t")
    assignment = ledger.assignments.open(key, "g1", owner="me", lease_seconds=60, settle_seconds=1)
    ledger.journal.begin(assignment, [ours], dedupe_by="phone")

    outcome = ledger.results.record_listing("g1", [listed(ours, number)])

    assert (outcome.matched, outcome.foreign) == (1, 0)
    counts = ledger.results.counts("g1")
    assert (counts.total, counts.in_doubt, counts.foreign) == (1, 0, 0)


def test_our_reference_with_another_complete_number_is_another_job(ledger: Ledger) -> None:
    ours = candidate(ledger, "+8613800138000", reference_id="vip")
    key = TaskKey("d", "r", "t")
    assignment = ledger.assignments.open(key, "g1", owner="me", lease_seconds=60, settle_seconds=1)
    ledger.journal.begin(assignment, [ours], dedupe_by="phone")

    outcome = ledger.results.record_listing("g1", [listed(ours, "13900139000")])

    assert (outcome.matched, outcome.foreign) == (0, 1)
    assert ledger.results.counts("g1").in_doubt == 1


def test_two_masked_jobs_of_others_are_two(ledger: Ledger) -> None:
    theirs = candidate(ledger, "+8613800138000", reference_id="theirs")
    jobs = [listed(theirs, "138****8000", "a"), listed(attrs.evolve(theirs, reference_id="too"), "138****8000", "b")]

    for _ in range(2):
        ledger.results.record_listing("g1", jobs)

    assert (ledger.results.counts("g1").total, ledger.results.counts("g1").foreign) == (2, 2)
