"""Results as an Excel workbook: the same values, never a formula, in constant memory, and not one row too few."""

from __future__ import annotations

import io
import re
import tempfile
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.ledger import JobDetails, Ledger
from airflow_provider_outbound.core.results import COLUMNS, export, spreadsheet
from airflow_provider_outbound.core.results.columns import KINDS, Kind
from airflow_provider_outbound.core.results.spreadsheet import open_workbook_writer
from airflow_provider_outbound.exceptions import OutboundBotConfigError

GROUP = "group-1"
ALL = tuple(KINDS)


def written(rows: list[dict[str, Any]]) -> bytes:
    target = io.BytesIO()
    with open_workbook_writer(target, ALL) as write:
        for row in rows:
            write(dict.fromkeys(ALL) | row)
    return target.getvalue()


def read(content: bytes) -> list[dict[str, Any]]:
    header, *rows = openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows()
    names = [cell.value for cell in header]
    return [dict(zip(names, row, strict=True)) for row in rows]


def unescaped(text: str) -> str:
    return re.sub("_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), text)


def test_types_are_those_of_excel(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    tell(1, call="SucceededFinish", extras={"city": "杭州", "note": "13800000001"})
    result = next(iter(ledger.results.iter_results(GROUP)))
    ledger.details.save([(result, JobDetails(tags={"意向": "有"}, call_seconds=7.25))])

    export(ledger, GROUP, tmp_path / "r.xlsx")

    (row,) = read((tmp_path / "r.xlsx").read_bytes())
    assert list(row) == list(COLUMNS)
    assert (row["started_at"].value, row["started_at"].is_date) == (datetime(2023, 11, 14, 22, 13, 20), True)  # noqa: DTZ001
    assert (row["answered"].value, row["attempts"].value, row["call_seconds"].value) == (True, 1, 7.25)
    assert row["tags"].value == '{"意向": "有"}'
    assert row["extras"].value == '{"city": "杭州", "note": "138******01"}'
    assert row["talk_seconds"].value is None


def test_ids_and_numbers_are_text_and_keep_their_zeros(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path
) -> None:
    tell(1, name="007")

    export(ledger, GROUP, tmp_path / "r.xlsx", include_phone_number=True)

    (row,) = read((tmp_path / "r.xlsx").read_bytes())
    assert (row["name"].value, row["name"].number_format) == ("007", "@")
    assert isinstance(row["phone_number"].value, str)
    assert row["phone_number"].value.endswith("13800000001")
    assert (tmp_path / "r.xlsx").stat().st_mode & 0o777 == 0o600


@settings(max_examples=examples(200), deadline=None)
@given(
    texts=st.lists(
        st.text(max_size=30)
        | st.sampled_from(["=1+1", "+1", "-1", "@SUM(A1)", "#DIV/0!", "_x0041_", "_x005F_", "a\r\nb\tc", " a ", "<&>"])
    )
)
def test_text_arrives_as_it_is_and_is_never_a_formula(texts: list[str]) -> None:
    rows = read(written([{"name": text} for text in texts]))

    assert len(rows) == len(texts)
    for text, row in zip(texts, rows, strict=True):
        cell = row["name"]
        assert cell.data_type in ("s", "n")
        assert unescaped(cell.value or "") == text


@settings(max_examples=examples(200), deadline=None)
@given(
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    number=st.floats(0, 1e7) | st.none(),
    attempts=st.integers(0, 10**9),
    flag=st.booleans(),
)
def test_values_arrive_as_they_are(moment: datetime, number: float | None, attempts: int, *, flag: bool) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    values = {"started_at": moment.replace(tzinfo=UTC), "call_seconds": number, "attempts": attempts, "answered": flag}

    (row,) = read(written([values]))

    assert abs(row["started_at"].value - moment) < timedelta(milliseconds=1)
    assert (row["call_seconds"].value, row["attempts"].value, row["answered"].value) == (number, attempts, flag)


def test_more_rows_than_a_sheet_holds_are_refused_before_writing(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        tell(number)
    monkeypatch.setattr(spreadsheet, "MAX_ROWS", 3)
    export(ledger, GROUP, tmp_path / "r.xlsx")
    before = (tmp_path / "r.xlsx").read_bytes()
    monkeypatch.setattr(spreadsheet, "MAX_ROWS", 2)

    for only in (None, "Succeeded"):
        with pytest.raises(OutboundBotConfigError, match=r"an Excel sheet holds 2 rows, not 3; end .* \.csv or \.parq"):
            export(ledger, GROUP, tmp_path / "r.xlsx", only=only)

    assert [path.name for path in tmp_path.iterdir() if "ledger" not in path.name] == ["r.xlsx"]
    assert (tmp_path / "r.xlsx").read_bytes() == before


def test_what_a_cell_or_a_sheet_cannot_hold_is_refused_and_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(written([{"name": "x" * 32_767}]))[0]["name"].value == "x" * 32_767
    with pytest.raises(OutboundBotConfigError, match="column 'name' holds a text of 32,768 characters"):
        written([{"name": "x" * 32_768}])
    monkeypatch.setattr(spreadsheet, "MAX_BYTES", 20_000)
    with pytest.raises(OutboundBotConfigError, match="the sheet is too large for Excel"):
        written([{"name": "x" * 30_000}])


def test_memory_and_temporary_files_do_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    row = dict.fromkeys(ALL) | {name: name * 3 for name, kind in KINDS.items() if kind is Kind.TEXT}
    peaks = []
    for count in (500, 5_000):
        tracemalloc.start()
        with (tmp_path / "r.xlsx").open("wb") as file, open_workbook_writer(file, ALL) as write:
            for _ in range(count):
                write(row)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 1.5
    assert not list((tmp_path / "tmp").iterdir())
