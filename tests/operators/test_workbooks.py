"""Excel workbooks as contacts, as do-not-call lists, and beside every other source of the same contacts."""

from __future__ import annotations

import csv
import json
import sqlite3
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from airflow.sdk import DAG
from pyarrow import parquet

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.operators.sources import read_contacts
from airflow_provider_outbound.task_groups.outboundbot import OutboundBotCampaignTaskGroup

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
COLUMNS = ("手机号", "name", "reference_id", "city", "points", "due")


def write(path: Path, **sheets: list[list[Any]]) -> str:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, lines in sheets.items():
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append(line)
    book.save(path)
    return str(path)


def assign(group: Any, **arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, settle_seconds=0.3, **arguments)


@pytest.fixture
def group(context: Any) -> Any:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


def in_every_source(folder: Path, rows: list[tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    """Return the arguments that read these rows from each source."""
    plain = [[value.isoformat() if isinstance(value, date) else value for value in row] for row in rows]
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *plain])
    (folder / "a.jsonl").write_text("".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in plain))
    parquet.write_table(
        pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows]), folder / "a.parquet"
    )
    write(folder / "a.xlsx", People=[["Customers"], [], list(COLUMNS), *map(list, rows)], Notes=[["of March"]])
    with sqlite3.connect(folder / "a.db") as database:
        database.execute(f"CREATE TABLE people ({', '.join(COLUMNS)})")
        database.executemany(f"INSERT INTO people VALUES ({', '.join('?' * len(COLUMNS))})", plain)
    database.close()
    paths = {name: {"contacts_path": str(folder / f"a.{name}")} for name in ("csv", "jsonl", "parquet", "xlsx")}
    return paths | {"sqlite": {"contacts_sql": "SELECT * FROM people ORDER BY rowid", "sql_conn_id": "people_db"}}


def test_a_thousand_contacts_read_the_same_from_every_source(context, group, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/a.db"}))
    rows = [
        (13800000000 + index, f"李{index}", f"c-{index:05d}", '杭州, "x"', index / 4, date(2026, 1, 1 + index % 28))
        for index in range(1_000)
    ]
    read = {}

    for source, arguments in in_every_source(tmp_path, rows).items():
        operator = assign(group, **arguments)
        read[source] = [
            (contact.phone.e164, contact.name, contact.reference_id, contact.extras, contact.row)
            for contact in read_contacts(operator.source_arguments(context()), context())
        ]

    last = Decimal(999) / 4
    assert read["csv"][999][3] == {"city": '杭州, "x"', "points": str(last), "due": "2026-01-20"}
    assert len(read["csv"]) == 1_000
    for source in ("jsonl", "parquet", "xlsx", "sqlite"):
        assert read[source] == [
            (*row[:3], row[3] | {"points": row[3]["points"].removesuffix(".0")}, row[4]) for row in read["csv"]
        ]


def test_a_workbook_is_called_except_for_those_in_another(simulator, context, group, tmp_path):
    people = write(
        tmp_path / "a.xlsx", March=[["phone"], *([13800000000 + index] for index in range(9))], Other=[["x"]]
    )
    listed = write(tmp_path / "dnc.xlsx", A=[["phone"], ["138 0000 0001"]], B=[["phone"], ["13800000002"]])
    both = {"contacts_path": people, "sheet": "March", "exclude_path": listed}

    with pytest.raises(OutboundBotContactsError, match=r"exclude_path: .* pass exclude_sheet with one of 'A', 'B'"):
        assign(group, **both).execute(context())
    assert not simulator.state()["jobs_per_number"]
    result = assign(group, **both, exclude_sheet="B").execute(context())

    assert (result["read"], result["assigned"], result["excluded"]) == (9, 8, 1)
    assert "13800000002" not in simulator.state()["jobs_per_number"]


def test_nobody_is_called_before_a_workbook_is_read_to_its_end(simulator, context, group, tmp_path):
    lines = [["phone"], *([13800000000 + index] for index in range(500)), ["=A1"]]
    path = write(tmp_path / "a.xlsx", March=lines)

    with pytest.raises(OutboundBotContactsError, match=r"cell A502 is a formula without a value.* Nobody was called"):
        assign(group, contacts_path=path).execute(context())

    assert not simulator.state()["jobs_per_number"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"contacts": ["13800000000"], "sheet": "x"}, r"sheet: no workbook is read that could have a sheet; omit it"),
        ({"contacts": ["13800000000"], "exclude_sheet": "x"}, r"exclude_sheet: no workbook is read"),
        ({"contacts": ["13800000000"], "exclude": [], "exclude_sheet": "x"}, r"exclude_sheet: no workbook is read"),
        ({"contacts_path": "/nowhere.xlsx", "sheet": 0}, r"sheet: 0 is not the name of a sheet; give its name"),
        ({"contacts_path": "/nowhere.xlsx", "sheet": " "}, r"sheet: ' ' is not the name of a sheet"),
    ],
)
def test_a_sheet_that_is_none(simulator, context, group, arguments, words):
    with pytest.raises((OutboundBotConfigError, OutboundBotContactsError), match=words) as caught:
        assign(group, **arguments).execute(context())

    assert str(caught.value).endswith("Nobody was called")
    assert not simulator.state()["jobs_per_number"]


def test_a_campaign_passes_the_sheets_on():
    with DAG("sheets", schedule=None):
        campaign = OutboundBotCampaignTaskGroup(
            contacts_path="a.xlsx", sheet="{{ ds }}", exclude_sheet="DNC", path="r.xlsx"
        )

    assert (campaign.assign.sheet, campaign.assign.exclude_sheet) == ("{{ ds }}", "DNC")
    assert {"sheet", "exclude_sheet"} <= {*campaign.assign.template_fields}
