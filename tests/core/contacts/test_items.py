"""Contacts of lists, iterators, columns and frames."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from support.rows import as_contact, as_contacts, as_reject

from airflow_provider_outbound.core.contacts import Reject, from_items
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800000000"
COLUMNS = {"手机号": [NUMBER, None, "13800000002"], "姓名": ["李宁", "张三", None], "age": [31, None, 40]}
FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame(make: Callable[[object], object]) -> None:
    source = from_items(make(COLUMNS))

    assert source.is_repeatable
    for _ in range(2):
        first, second, last = source
        first, third = as_contacts([first, last])
        assert (first.phone.wire, first.name, first.extras) == (NUMBER, "李宁", {"age": "31"})
        assert isinstance(second, Reject)
        assert (second.row, second.reason) == (2, "no phone number")
        assert (third.phone.wire, third.name, third.extras) == ("13800000002", None, {"age": "40"})


@pytest.mark.parametrize("dtype", ["int64", "float64", "Int64", "string", "object"])
def test_numbers_of_every_type_of_pandas(dtype: str) -> None:
    frame = pd.DataFrame({"phone": pd.Series([13800000000]).astype(dtype)})

    assert [contact.phone.wire for contact in as_contacts(from_items(frame))] == [NUMBER]


def test_cells_that_pandas_calls_missing() -> None:
    frame = pd.DataFrame(
        {
            "phone": pd.array([13800000000, pd.NA], dtype="Int64"),
            "since": [pd.NaT, pd.Timestamp("2026-01-02")],
            "score": [float("nan"), 1.5],
        }
    )

    first, second = from_items(frame)

    assert as_contact(first).extras == {}
    assert as_reject(second).reason == "no phone number"


@pytest.mark.parametrize("make", [pd.Series, pl.Series, pa.array, iter])
def test_a_column_alone_is_a_list_of_numbers(make: Callable[[list[int]], object]) -> None:
    items = from_items(make([13800000000, 13800000001]))

    assert [item.phone.wire for item in as_contacts(items)] == [NUMBER, "13800000001"]


def test_a_decimal_is_a_number() -> None:
    assert [contact.phone.wire for contact in as_contacts(from_items([Decimal(13800000000)]))] == [NUMBER]
    (reject,) = from_items([Decimal("Infinity")])
    assert as_reject(reject).reason == "not a phone number"


def test_a_frame_without_a_column_for_the_number() -> None:
    with pytest.raises(OutboundBotContactsError, match="contacts: has no column for the phone number among a"):
        list(from_items(pd.DataFrame({"a": []})))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[NUMBER, 1, 2]], columns=["phone", "x", "x"]),
        pd.DataFrame([[NUMBER, 1, 2]], columns=["phone", "x", "x "]),
        pd.DataFrame([[NUMBER, 1, 2]], columns=["phone", 1, "1"]),
        pl.DataFrame({"phone": [NUMBER], "x": [1], " x": [2]}),
        pa.table([pa.array([NUMBER]), pa.array([1]), pa.array([2])], names=["phone", "x", "x"]),
    ],
)
def test_a_frame_that_has_a_column_twice_is_refused_in_our_words(frame: object) -> None:
    with pytest.raises(OutboundBotContactsError, match=r"exclude: column.* (appears twice|differ only in spaces);"):
        list(from_items(frame, label="exclude"))


def test_an_item_whose_keys_differ_in_blanks_only_is_refused() -> None:
    with pytest.raises(OutboundBotContactsError, match="columns 'city' and 'city ' differ only in spaces; rename one"):
        list(from_items([{"phone": NUMBER, "city": "a", "city ": "b"}]))


def test_a_lazy_frame_must_be_collected() -> None:
    with pytest.raises(OutboundBotContactsError, match=r"exclude: a lazy frame .* call \.collect\(\)"):
        from_items(pl.LazyFrame(COLUMNS), label="exclude")


def test_without_narwhals_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals", None)

    with pytest.raises(OutboundBotContactsError, match=r"a pandas DataFrame needs narwhals; run: .*\[frames\]"):
        from_items(pd.DataFrame(COLUMNS))


def test_an_iterator_can_be_read_once_and_asked_before_whether_it_is_empty() -> None:
    source = from_items(iter([NUMBER, "13800000001"]))

    assert not source.is_repeatable
    assert not source.is_empty()
    assert len(list(source)) == 2
    assert from_items(iter([])).is_empty()


@pytest.mark.parametrize("items", ["13800000000", b"x", bytearray(b"x"), memoryview(b"x"), {"phone": NUMBER}, 7, None])
def test_what_is_no_list_is_refused(items: object) -> None:
    with pytest.raises(OutboundBotContactsError, match="is not a list of dictionaries or numbers, or a frame"):
        from_items(items)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda frame: frame.groupby("phone").agg({"tel": "first"}),
            id="groupby",
        ),
        pytest.param(lambda frame: frame.set_index(["city", "phone"]), id="several"),
        pytest.param(lambda frame: frame.set_index("phone")["tel"], id="series"),
        pytest.param(lambda frame: frame.astype({"phone": "int64"}).set_index("phone"), id="whole-numbers"),
    ],
)
@pytest.mark.parametrize("label", ["contacts", "exclude"])
def test_numbers_in_the_index_of_a_frame_are_refused(make: Callable[..., Any], label: str) -> None:
    """Only columns are read: of a do-not-call list, the people in the index would be called."""
    frame = pd.DataFrame({"phone": [NUMBER], "tel": ["13900000000"], "city": ["Hangzhou"]})

    with pytest.raises(OutboundBotContactsError, match=rf"^{label}: the index holds phone numbers") as caught:
        from_items(make(frame), label=label)
    # A do-not-call list without its index would exclude nobody.
    assert ("drop=True" in str(caught.value)) == (label == "contacts")


def test_an_index_of_other_values_does_no_harm() -> None:
    frame = pd.DataFrame({"phone": [NUMBER, "13900000000"], "city": ["a", "b"]})

    for indexed in (frame[frame["city"] == "b"], frame.set_index("city"), frame.set_index(pd.Index([2026, 1])).tail(1)):
        assert [contact.phone.wire for contact in as_contacts(from_items(indexed))][-1] == "13900000000"
