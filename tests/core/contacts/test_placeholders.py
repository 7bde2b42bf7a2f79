"""What stands for no value, or for a spreadsheet's error, is never spoken and identifies nobody."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.contacts import ContactSource, Reject, from_items, from_path, read_excluded
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800000000"
COLUMNS = ["phone", "name", "称呼", "role", "reference_id", "city"]
NULLS = [r"\N", "NULL", "null", "(null)", "[NULL]", "<null>", "nan", "NaN", "NaT", "<NA>", "None", "N/A", "n/a"]
NULLS += ["undefined", ""]
ERRORS = [
    "#N/A",
    "#REF!",
    "#VALUE!",
    "#DIV/0!",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#SPILL!",
    "#n/a",
    "#NA",
    "Err:502",
    "####",
]
#: Names and values that resemble them.
MEANT = ["Null", "Nan", "Na", "NA", "None Smith", "nano", "#1", "No. #N/A?", "C#", "Err", "#多人", "无"]
KINDS = ["list", "csv", "jsonl", "frame", "parquet", "xlsx"]


def source(kind: str, row: Mapping[str, str], folder: Path) -> ContactSource:
    """The row, and a good one after it, as a source of some kind."""
    rows = [dict(row), {**dict.fromkeys(row, "x"), "phone": "13900000000"}]
    path = folder / f"people.{kind}"
    if kind == "list":
        return from_items(rows)
    if kind == "frame":
        return from_items(pd.DataFrame(rows))
    if kind == "csv":
        lines = [",".join(row), *(",".join(f'"{cell}"' for cell in line.values()) for line in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(line) + "\n" for line in rows))
    elif kind == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        book = openpyxl.Workbook()
        assert book.active is not None
        for cells in (list(row), *(list(line.values()) for line in rows)):
            book.active.append(cells)
            for cell in book.active[book.active.max_row]:
                # Text, as a person may type it: openpyxl would make an error of it.
                cell.data_type = "s"
        book.save(path)
    return from_path(path)


def spoken(contact: Contact) -> Iterable[str]:
    return [text for text in (contact.name, contact.honorific, contact.role, *contact.extras.values()) if text]


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_an_empty_cell_is_empty_and_an_error_a_reject_in_every_source(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    column = data.draw(st.sampled_from(COLUMNS))
    text = data.draw(st.sampled_from(NULLS + ERRORS + MEANT))
    # An Excel file cannot have spaces that nobody sees, and a list can.
    around = data.draw(st.sampled_from(["", " "]))
    row = {"phone": NUMBER, "name": "Li", "称呼": "先生", "role": "buyer", "reference_id": "r-1", "city": "杭州"}
    row[column] = f"{around}{text}{around}"

    item, good = source(kind, row, tmp_path_factory.mktemp("people"))

    assert isinstance(good, Contact)
    if text in ERRORS or column == "phone":
        assert isinstance(item, Reject), item
        if text in ERRORS:
            assert f"{text}, which a spreadsheet shows instead of a value" in item.reason
            assert column == "phone" or repr(column) in item.reason
        return
    assert isinstance(item, Contact), item
    values = {"name": item.name, "称呼": item.honorific, "role": item.role, "reference_id": item.reference_id}
    found = {**values, "city": item.extras.get("city") or None}[column]
    assert found == (None if text in NULLS else text)
    assert not {*spoken(item)} & {*NULLS, *ERRORS}


@pytest.mark.parametrize("text", ["#N/A", "#REF!", "####"])
def test_a_do_not_call_list_with_an_error_is_refused(text: str) -> None:
    rows = [{"phone": NUMBER, "phone 2": text}]
    exclusions = from_items(rows, label="exclude")
    exclusions.be_exclusions()

    with pytest.raises(OutboundBotContactsError, match=r"row 1 .*which a spreadsheet shows instead of a value"):
        read_excluded(exclusions, "exclude")
