"""A contact's own id is the one that its source gives, or the row is refused: results are joined by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.contacts import Reject, from_items, from_path
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800000000"


def from_list(folder: Path, references: Sequence[Any]) -> list[Contact | Reject]:
    return list(from_items([{"phone": int(NUMBER) + n, "reference_id": id_} for n, id_ in enumerate(references)]))


def from_csv(folder: Path, references: Sequence[Any]) -> list[Contact | Reject]:
    path = folder / "people.csv"
    path.write_text("phone,reference_id\n" + "".join(f"{int(NUMBER) + n},{id_}\n" for n, id_ in enumerate(references)))
    return list(from_path(path))


def from_jsonl(folder: Path, references: Sequence[Any]) -> list[Contact | Reject]:
    path = folder / "people.jsonl"
    rows = [{"phone": int(NUMBER) + n, "reference_id": id_} for n, id_ in enumerate(references)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(from_path(path))


def from_frame(folder: Path, references: Sequence[Any]) -> list[Contact | Reject]:
    numbers = [int(NUMBER) + n for n in range(len(references))]
    return list(from_items(pd.DataFrame({"phone": numbers, "reference_id": references})))


def from_parquet(folder: Path, references: Sequence[Any] | np.ndarray[Any, Any]) -> list[Contact | Reject]:
    numbers = [int(NUMBER) + n for n in range(len(references))]
    pd.DataFrame({"phone": numbers, "reference_id": references}).to_parquet(folder / "people.parquet")
    return list(from_path(folder / "people.parquet"))


def from_workbook(folder: Path, references: Sequence[Any], number_format: str | None = None) -> list[Contact | Reject]:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["phone", "reference_id"])
    for n, id_ in enumerate(references):
        sheet.append([int(NUMBER) + n, id_])
        if number_format is not None:
            sheet.cell(n + 2, 2).number_format = number_format
    book.save(folder / "people.xlsx")
    return list(from_path(folder / "people.xlsx"))


READERS = [from_list, from_csv, from_jsonl, from_frame, from_parquet, from_workbook]
#: Ids that look like numbers, hexadecimal ones among them, and ones that spreadsheets change.
IDS = st.one_of(
    st.from_regex(r"[0-9a-f]{4,12}", fullmatch=True),
    st.from_regex(r"[0-9]{1,3}E[0-9]{1,2}", fullmatch=True),
    st.from_regex(r"0{1,5}[0-9]{1,4}", fullmatch=True),
    st.sampled_from(["1a2b3c", "12345678901", "1E5", "007", "1-2", "MAR1", "TRUE", "2026112600012345", "1.10", "+7"]),
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(IDS, min_size=1, max_size=4), st.sampled_from(READERS))
def test_an_id_that_is_text_is_the_same_from_every_source(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], read: Callable[..., list[Contact | Reject]]
) -> None:
    found = read(tmp_path_factory.mktemp("ids"), ids)

    for given_id, item in zip(ids, found, strict=True):
        if isinstance(item, Contact):
            assert item.reference_id == given_id
        else:
            assert "contains what could be a phone number" in item.reason


@pytest.mark.parametrize("read", READERS)
def test_a_whole_number_is_its_digits_also_with_gaps(
    tmp_path: Path, read: Callable[..., list[Contact | Reject]]
) -> None:
    items = read(tmp_path, [1, 20261126001, 999999999999999])

    assert [item.reference_id for item in items if isinstance(item, Contact)] == ["1", "20261126001", "9" * 15]


def test_a_column_with_gaps_is_read_as_its_whole_numbers(tmp_path: Path) -> None:
    items = from_frame(tmp_path, [1.0, None, 20261126001.0])

    assert [item.reference_id for item in items if isinstance(item, Contact)] == ["1", None, "20261126001"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        pytest.param(1.5, "a float", id="fraction"),
        pytest.param(1e15, "a float", id="16-digits"),
        pytest.param(2.0261126000123456e18, "a float", id="long"),
        pytest.param(float("inf"), "infinite", id="infinite"),
        pytest.param(np.float32(16777217), "float32", id="float32"),
        pytest.param(Decimal("1E+5"), "keeps only the first digits", id="exponent"),
        pytest.param("1.00E+05", "keeps only the first digits", id="exponent-as-text"),
        pytest.param("2.02611E+15", "keeps only the first digits", id="long-as-text"),
        pytest.param(date(2026, 1, 2), "a date", id="date"),
        pytest.param(datetime(2026, 1, 2, tzinfo=UTC), "a date", id="time"),
        pytest.param(True, "type bool", id="bool"),
        pytest.param(["a"], "type list", id="list"),
        pytest.param({"a": 1}, "type dict", id="dict"),
        pytest.param(Decimal("Infinity"), "infinite", id="infinite-decimal"),
    ],
)
def test_an_id_that_may_have_been_changed_is_a_reject(tmp_path: Path, reference: Any, words: str) -> None:
    (item,) = from_list(tmp_path, [reference])

    assert isinstance(item, Reject)
    assert words in item.reason


def test_a_column_of_float32_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutboundBotContactsError, match=r"'reference_id': (float32|float) cannot hold each digit"):
        from_parquet(tmp_path, np.array([16777217], dtype="float32"))


@pytest.mark.parametrize(
    ("reference", "number_format"),
    [
        pytest.param(100000, "0.00E+00", id="1E5"),
        pytest.param(1.0, "0.00E+00", id="1E0"),
        pytest.param(2026112600012300, None, id="16-digits"),
        pytest.param(2.0261126000123e18, None, id="19-digits"),
        pytest.param(date(2026, 1, 2), "yyyy-mm-dd", id="1-2"),
        pytest.param(0.5, None, id="half"),
        pytest.param(True, None, id="TRUE"),
    ],
)
def test_what_excel_makes_of_an_id_is_a_reject(tmp_path: Path, reference: Any, number_format: str | None) -> None:
    (item,) = from_workbook(tmp_path, [reference], number_format)

    assert isinstance(item, Reject), item
    assert item.reason.startswith("its reference_id is")


def test_leading_zeros_that_a_number_format_shows_stay(tmp_path: Path) -> None:
    (item,) = from_workbook(tmp_path, [7], "000")

    assert isinstance(item, Contact)
    assert item.reference_id == "007"


@pytest.mark.parametrize("text", ["1.38E+10", "1.38e10", "138E8", "1.381234567E10"])
def test_json_with_an_exponent_is_no_phone_number(tmp_path: Path, text: str) -> None:
    """Otherwise somebody else is called: the digits are those of a number that was rounded."""
    path = tmp_path / "people.jsonl"
    path.write_text(f'{{"phone": {text}, "name": "Li"}}\n{{"phone": {NUMBER}.0, "price": 1.5E3, "tiny": 1E-3}}\n')

    rounded, good = from_path(path)

    assert isinstance(rounded, Reject)
    assert "a spreadsheet has rounded the number" in rounded.reason
    assert isinstance(good, Contact)
    assert (good.phone.wire, good.extras) == (NUMBER, {"price": "1500", "tiny": "0.001"})


def test_json_with_an_exponent_and_all_its_digits_is_a_number(tmp_path: Path) -> None:
    """Java writes large doubles so."""
    path = tmp_path / "people.jsonl"
    path.write_text('{"phone": 1.3812345678E10}\n')

    (item,) = from_path(path)

    assert isinstance(item, Contact)
    assert item.phone.wire == "13812345678"


def test_a_phone_number_that_a_workbook_shows_with_an_exponent_is_a_reject(tmp_path: Path) -> None:
    """Excel makes it of "1.38E+10" in a CSV file."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["phone"], [13800000000], [13812345678]):
        sheet.append(row)
    for line in (2, 3):
        sheet.cell(line, 1).number_format = "0.00E+00"
    book.save(tmp_path / "people.xlsx")

    rounded, good = from_path(tmp_path / "people.xlsx")

    assert isinstance(rounded, Reject)
    assert "a spreadsheet has rounded the number" in rounded.reason
    assert isinstance(good, Contact)
