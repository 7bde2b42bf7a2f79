"""Rows as people write them, read as contacts or refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_outbound.core.contacts import Reject, from_items, read_excluded
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800000000"


def only(source: Iterable[Contact | Reject]) -> Any:
    (item,) = source
    return item


@pytest.mark.parametrize(
    "column", ["phone", "Phone Number", "phone_number", "phoneNumber", "MOBILE", "手机号", "手机号码", "电话"]
)
def test_the_usual_names_of_columns_are_understood(column: str) -> None:
    contact = only(from_items([{column: NUMBER, "姓名": "张三", "称呼": "先生", "referenceId": "r-1", "城市": "杭州"}]))

    assert contact.phone.e164 == "+8613800000000"
    assert (contact.name, contact.honorific, contact.reference_id) == ("张三", "先生", "r-1")
    assert contact.extras == {"城市": "杭州"}


def test_columns_are_chosen_by_name() -> None:
    contact = only(
        from_items(
            [{"a": NUMBER, "b": "Li", "phone": "not this"}],
            columns={"phone": "a", "name": "b"},
        )
    )

    assert (contact.phone.wire, contact.name, contact.extras) == (NUMBER, "Li", {"phone": "not this"})


@pytest.mark.parametrize(
    ("number", "e164"),
    [
        (NUMBER, "+8613800000000"),
        (13800000000, "+8613800000000"),
        (13800000000.0, "+8613800000000"),
        ("13800000000.0", "+8613800000000"),
        (" +86 138-0000-0000 ", "+8613800000000"),
        ("\u202d13800000000\u202c", "+8613800000000"),
        ("１３８００００００００", "+8613800000000"),
        ("+852 5123 4567", "+85251234567"),
    ],
)
def test_numbers_as_people_and_spreadsheets_write_them(number: object, e164: str) -> None:
    assert only(from_items([{"phone": number}])).phone.e164 == e164
    assert only(from_items([number])).phone.e164 == e164


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"phone": ""}, "no phone number"),
        ({"phone": None}, "no phone number"),
        ({"name": "Li"}, "no phone number"),
        ({}, "no phone number"),
        ({"phone": "1.38E+10"}, "a spreadsheet has rounded"),
        ({"phone": "12345"}, "not a valid number"),
        ({"phone": [NUMBER]}, "the number is of type list"),
        ({"phone": True}, "the number is of type bool"),
        ({"phone": NUMBER, "reference_id": NUMBER}, "could be a phone number"),
        ({"phone": NUMBER, "reference_id": "x" * 129}, "longer than 128"),
        ({"phone": NUMBER, "reference_id": "a\x00b"}, "control characters"),
        (None, "NoneType is neither"),
        ([NUMBER], "list is neither"),
    ],
)
def test_a_row_that_is_no_contact_is_rejected_with_its_reason(row: object, reason: str) -> None:
    reject = only(from_items([row]))

    assert isinstance(reject, Reject)
    assert reason in reject.reason
    assert NUMBER not in str(reject)


def test_control_characters_become_spaces_and_empty_values_stay() -> None:
    contact = only(
        from_items([{"phone": NUMBER, "name": "Li\x00\nNing\ud800", "note": "a\tb", "empty": "", "none": None, "n": 3}])
    )

    assert contact.name == "Li  Ning\ufffd"
    assert contact.extras == {"note": "a b", "empty": "", "n": "3"}


def test_excluded_numbers_must_all_be_readable() -> None:
    assert read_excluded(from_items([NUMBER, {"phone": "13800000001"}]), "exclude") == {
        "+8613800000000",
        "+8613800000001",
    }
    with pytest.raises(OutboundBotContactsError, match="exclude: row 2"):
        read_excluded(from_items([NUMBER, "1"]), "exclude")


@pytest.mark.parametrize("field", ["name", "honorific", "role", "reference_id"])
def test_the_column_of_the_number_is_not_spoken(field: str) -> None:
    with pytest.raises(OutboundBotContactsError, match=rf"columns: 'tel' is named for phone and for {field}"):
        from_items([{"tel": NUMBER}], columns={"phone": "tel", field: "tel"})


def test_an_iterator_can_be_read_once_only() -> None:
    assert not from_items(iter([NUMBER])).is_repeatable
    assert from_items([NUMBER]).is_repeatable
    assert from_items((NUMBER,)).is_repeatable


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.none() | st.integers() | st.floats())))
def test_whatever_stands_in_a_row_is_a_contact_or_rejected(rows: list[dict[str, object]]) -> None:
    try:
        items = list(from_items(rows))
    except OutboundBotContactsError as error:
        # Only now and then: two columns for one field, or two that differ in blanks only.
        assert re.search("both look like|appears twice|differ only in spaces", str(error))  # noqa: PT017
        return

    assert len(items) == len(rows)
    for item in items:
        if isinstance(item, Contact):
            item.job_json("reference").encode()
