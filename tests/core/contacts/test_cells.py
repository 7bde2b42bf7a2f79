"""What a cell means, by its type: never a guess, and never what ``str()`` happens to say."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rows import as_contact, as_contacts, as_reject

from airflow_provider_outbound.core.contacts import Reject, from_items, from_path, narrow_columns, read_excluded
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800138000"


def read(**cells: object) -> Contact | Reject:
    (item,) = from_items([{"phone": NUMBER, **cells}])
    return item


def spoken(value: object) -> str | None:
    item = read(note=value)
    assert isinstance(item, Contact), item
    return item.extras.get("note")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_the_text_that_they_encode(kind: Callable[[bytes], object]) -> None:
    item = read(
        phone=kind(NUMBER.encode()),
        name=kind("李宁".encode()),
        honorific=kind(b"Ms"),
        role=kind(b"owner"),
        reference_id=kind(b"c-1"),
        city=kind("杭州".encode()),
    )

    assert isinstance(item, Contact), item
    assert (item.phone.wire, item.name, item.honorific, item.role) == (NUMBER, "李宁", "Ms", "owner")
    assert (item.reference_id, item.extras) == ("c-1", {"city": "杭州"})
    assert [contact.phone.wire for contact in as_contacts(from_items([kind(NUMBER.encode())]))] == [NUMBER]


@pytest.mark.parametrize("column", ["phone", "name", "honorific", "role", "reference_id", "city"])
def test_bytes_that_are_no_text_refuse_the_row_and_name_the_column(column: str) -> None:
    item = read(**{column: "李宁".encode("gb18030")})

    assert isinstance(item, Reject)
    assert item.reason == f"column {column!r} holds bytes that are not UTF-8; decode them at their source"


def test_a_binary_column_of_parquet_and_of_frames_is_text(tmp_path: Path) -> None:
    table = pa.table({"phone": [NUMBER.encode()], "name": ["李宁".encode()], "city": ["杭州".encode()]})
    pyarrow.parquet.write_table(table, tmp_path / "people.parquet")

    for source in (from_path(tmp_path / "people.parquet"), from_items(table), from_items(pl.from_arrow(table))):
        (contact,) = as_contacts(source)
        assert (contact.phone.wire, contact.name, contact.extras) == (NUMBER, "李宁", {"city": "杭州"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E+3"), "1000"),
        (Decimal("0E+5"), "0"),
        (Decimal("10.50"), "10.50"),
        (Decimal("1E-7"), "0.0000001"),
        (0.1 + 0.2, "0.3"),
        (99.9, "99.9"),
        (1e-7, "0.0000001"),
        (1e16, "10000000000000000"),
        (1.5e20, "150000000000000000000"),
        (9007199254740991.0, "9007199254740991"),
        (-0.0, "0"),
        (np.float32(99.9), "99.9"),
        (np.float16(0.1), "0.1"),
        (np.float64(0.1) * 3, "0.3"),
        (np.float32(3.0), "3"),
        (np.int64(7), "7"),
        (np.bool_(True), "true"),
        (np.str_("a"), "a"),
        (True, "true"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
        (["a", 1, 0.1 + 0.2, None], '["a", 1, 0.3, null]'),
        ({"a": Decimal("1E+3"), "b": date(2026, 1, 2), "c": b"x"}, '{"a": "1000", "b": "2026-01-02", "c": "x"}'),
        ((np.int64(1), np.float32(99.9)), "[1, 99.9]"),
        (float("nan"), None),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (pd.NaT, None),
        (pd.NA, None),
    ],
)
def test_a_value_is_written_as_people_write_it(value: object, text: str | None) -> None:
    assert spoken(value) == text


@pytest.mark.parametrize(
    "value",
    [
        {1},
        object(),
        time(9, 30),
        timedelta(seconds=1),
        uuid.UUID(int=1),
        Fraction(1, 3),
        1j,
        np.datetime64("2026-01-02"),
        np.array([1]),
        pd.Period("2026-01"),
        [object()],
        {"a": [time(9)]},
        {None: 1},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("column", ["name", "reference_id", "birth day"])
def test_a_value_of_another_type_refuses_the_row_by_the_names_of_column_and_type(column: str, value: object) -> None:
    item = read(**{column: value})

    assert isinstance(item, Reject)
    assert item.reason.startswith(f"column {column!r} is of type ")


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), Decimal("Infinity"), np.float32("inf"), [float("inf")]])
def test_infinity_is_refused(value: object) -> None:
    item = read(score=value)

    assert isinstance(item, Reject)
    assert item.reason == "column 'score' is infinite"


@pytest.mark.parametrize("value", [10**5000, Decimal("1E+1000000"), 1e200], ids=["int", "Decimal", "float"])
def test_a_number_that_nobody_could_hear_to_its_end_is_refused(value: object) -> None:
    assert "more than 100 digits" in as_reject(read(score=value)).reason


def test_what_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)

    assert as_reject(read(note=value)).reason == "column 'note' is nested too deeply"


@pytest.mark.parametrize("marker", [r"\N", "NULL", "null", "nan", "NaN", "NaT", "<NA>", "None"])
def test_what_exports_write_for_nothing_is_nothing(marker: str) -> None:
    item = as_contact(read(name=marker, honorific=marker, role=marker, reference_id=marker, city=marker))

    assert (item.name, item.honorific, item.role, item.reference_id, item.extras) == (None, None, None, None, {})
    assert as_contact(read(name=f" {marker} ")).name is None
    assert as_reject(read(phone=marker)).reason == "no phone number"


@pytest.mark.parametrize("name", ["Nan", "Null", "NA", "none", "NAN"])
def test_what_could_be_somebodys_name_is_one(name: str) -> None:
    assert as_contact(read(name=name)).name == name


class TestNarrowFloats:
    """Such a float has 24 bits: 13800138000 becomes 13800137728, who is somebody else."""

    @pytest.mark.parametrize("kind", ["float32", "float16"])
    def test_a_value_is_refused_by_its_type(self, kind: str) -> None:
        value = np.array([1380], dtype=kind)[0]
        for rows in ([value], [{"phone": value}]):
            (item,) = from_items(rows)
            assert isinstance(item, Reject)
            assert item.reason.startswith(f"{kind} cannot hold a phone number's digits exactly; cast the column to")

    @pytest.mark.parametrize(
        ("frame", "kind"),
        [
            (pd.DataFrame({"phone": np.array([13800138000], dtype="float32")}), "float32"),
            (pd.DataFrame({"phone": pd.array([13800138000], dtype="Float32")}), "float32"),
            (pd.DataFrame({"phone": pd.Series([13800138000.0], dtype=pd.ArrowDtype(pa.float32()))}), "float32"),
            (pd.DataFrame({"phone": np.array([138], dtype="float16")}), "float16"),
            (pl.DataFrame({"phone": pl.Series([13800138000], dtype=pl.Float32)}), "float32"),
            (pa.table({"phone": pa.array([13800138000.0], pa.float32())}), "float32"),
            (pa.table({"phone": pa.array([np.float16(138)], pa.float16())}), "float16"),
        ],
    )
    def test_a_column_of_a_frame_is_refused_whole(self, frame: Any, kind: str) -> None:
        with pytest.raises(OutboundBotContactsError, match=rf"contacts: column 'phone': {kind} cannot"):
            list(from_items(frame))
        with pytest.raises(OutboundBotContactsError, match=rf"exclude: column 'phone': {kind} cannot"):
            read_excluded(from_items(frame, label="exclude"), "exclude")

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series([13800138000.0], dtype="float32"),
            pd.Series([13800138000.0], dtype=pd.ArrowDtype(pa.float32())),
            pl.Series([13800138000], dtype=pl.Float32),
            pa.array([13800138000.0], pa.float32()),
            pa.chunked_array([pa.array([13800138000.0], pa.float32())]),
            np.array([13800138000], dtype="float32"),
        ],
    )
    def test_a_column_alone_is_refused_whole(self, column: object) -> None:
        with pytest.raises(OutboundBotContactsError, match="contacts: float32 cannot hold a phone number's digits"):
            list(from_items(column))

    def test_a_column_of_parquet_is_refused_whole(self, tmp_path: Path) -> None:
        table = pa.table({"Mobile No.": pa.array([13800138000.0], pa.float32()), "name": ["Li"]})
        pyarrow.parquet.write_table(table, tmp_path / "people.parquet")

        with pytest.raises(OutboundBotContactsError, match=r"column 'Mobile No\.': float32 cannot hold"):
            list(from_path(tmp_path / "people.parquet", columns={"phone": "Mobile No."}))

    def test_an_extra_is_the_decimal_that_it_means(self, tmp_path: Path) -> None:
        table = pa.table(
            {"phone": [NUMBER], "price": pa.array([99.9], pa.float32()), "h": pa.array([np.float16(0.1)], pa.float16())}
        )
        pyarrow.parquet.write_table(table, tmp_path / "people.parquet")

        for source in (from_path(tmp_path / "people.parquet"), from_items(table), from_items(table.to_pandas())):
            (contact,) = as_contacts(source)
            assert contact.extras == {"price": "99.9", "h": "0.1"}

    @pytest.mark.parametrize("value", [Decimal("1.38E+10"), Decimal(-13800138000), Decimal("13800138000.5"), 0.5])
    def test_a_number_that_was_rounded_or_is_none_is_refused(self, value: object) -> None:
        assert isinstance(read(phone=value), Reject)

    def test_wide_types_hold_numbers(self) -> None:
        for value in (np.int64(NUMBER), np.uint64(NUMBER), np.float64(NUMBER), np.str_(NUMBER), Decimal(NUMBER)):
            assert as_contact(read(phone=value)).phone.wire == NUMBER


@settings(max_examples=examples(300), deadline=None)
@given(st.decimals(-(10**9), 10**9, places=3))
def test_a_decimal_fraction_is_the_same_as_a_float(value: Decimal) -> None:
    text = spoken(float(value))

    assert text is not None
    assert Decimal(text) == value


@settings(max_examples=examples(300), deadline=None)
@given(st.floats(-1e90, 1e90) | st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32))
def test_any_float_is_plain_notation_and_means_the_same(value: Any) -> None:
    item = read(note=value)
    if isinstance(item, Reject):
        assert 0 < abs(value) < 1e-90
        return
    text = item.extras["note"]
    assert not set(text) - set("-.0123456789")
    if isinstance(value, float):
        assert float(text) == pytest.approx(value, rel=1e-14, abs=0)
    else:
        assert np.float32(text) == value


values = st.recursive(
    st.none()
    | st.text(max_size=5)
    | st.integers()
    | st.booleans()
    | st.decimals()
    | st.floats()
    | st.binary(max_size=4)
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.fractions()
    | st.sets(st.integers(), max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=examples(200), deadline=None)
@given(values)
def test_whatever_a_cell_holds_is_spoken_in_full_or_refused_by_its_column(value: object) -> None:
    item = read(note=value, name=value)

    if isinstance(item, Reject):
        assert item.reason.startswith("column ")
        return
    text = item.extras.get("note", "")
    for wrong in ("Infinity", "Decimal(", "b'", "datetime.", "UUID(", "object at"):
        assert wrong not in text or wrong in json.dumps(value, default=repr)
    if isinstance(value, list | dict):
        json.loads(text)


@pytest.mark.parametrize(
    ("dialect", "code"),
    [
        pytest.param("postgresql", 700, id="postgresql"),  # pg_type's oid of float4
        pytest.param("mysql", 4, id="mysql"),  # MYSQL_TYPE_FLOAT of its protocol
        pytest.param("mariadb", 4, id="mariadb"),
    ],
)
def test_a_column_of_short_floats_is_known_by_its_databases_code(dialect: str, code: int) -> None:
    description = [("phone", code, None), ("other", 1043, None)]

    assert list(narrow_columns(dialect, description)) == ["phone"]
    assert narrow_columns("another", description) == {}


@pytest.mark.parametrize("form", ["'{}", '="{}"', " '{} ", ' ="{}" ', '="+86 {}"', "'+86{}"])
def test_what_a_spreadsheet_writes_to_keep_a_number_as_text_is_no_part_of_it(form: str) -> None:
    (contact,) = as_contacts(from_items([{"phone": form.format("13800000000")}]))

    assert contact.phone.e164 == "+8613800000000"


@pytest.mark.parametrize("text", ["'", '=""', '="', "='13800000000'", '="13800000000"&A1', "''13800000000", "'x"])
def test_other_formulas_are_no_numbers(text: str) -> None:
    (item,) = from_items([{"phone": text}])

    assert "number" in as_reject(item).reason
