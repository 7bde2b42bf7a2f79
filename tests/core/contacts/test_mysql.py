"""Values of MySQL's types are the same whichever driver returns them."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.contacts.mysql import readers

BIT, DATES = 16, (7, 10, 12)


@settings(deadline=None, max_examples=examples(200))
@given(number=st.integers(0, 2**64 - 1), extra=st.integers(0, 3))
def test_bits_are_a_number_as_bytes_of_any_length_and_as_a_number(number: int, extra: int) -> None:
    read = readers([("flags", BIT, None)])["flags"]

    as_bytes = number.to_bytes((number.bit_length() + 7) // 8 + extra, "big")

    assert read(as_bytes) == read(number) == number
    assert read(None) is None


@pytest.mark.parametrize("code", DATES)
@given(value=st.dates() | st.datetimes() | st.none(), text=st.text())
@settings(deadline=None, max_examples=examples(100))
def test_a_date_stays_and_the_text_of_one_that_does_not_exist_is_empty(
    code: int, value: date | datetime | None, text: str
) -> None:
    read = readers([("due", code)])["due"]

    assert read(value) == value
    assert read(text) is None


@given(code=st.integers(0, 255).filter(lambda code: code not in (BIT, *DATES)))
@settings(deadline=None, max_examples=examples(100))
def test_other_types_are_left_as_they_are(code: int) -> None:
    assert readers([("other", code)]) == {}
