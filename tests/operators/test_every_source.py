"""The same thousand people in every source: whichever they are read from, the contacts are the same."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import URL, create_engine, make_url, text
from support.maxcompute import serve
from support.mysql import PARAMS, database, server_url
from support.oss_server import OssServer
from support.rows import as_contacts

from airflow_provider_outbound.operators.outboundbot import OutboundBotAssignJobsOperator
from airflow_provider_outbound.operators.sources import read_contacts

COLUMNS = ("手机号", "name", "reference_id", "city", "points", "due")
ROWS = [
    (13800000000 + index, f"李{index}", f"c-{index:05d}", '杭州, "x"', index / 4, date(2026, 1, 1 + index % 28))
    for index in range(1_000)
]
#: As JSON and SQLite hold them.
PLAIN = [[value.isoformat() if isinstance(value, date) else value for value in row] for row in ROWS]
#: MaxCompute has no columns with Chinese names.
ENGLISH = {"手机号": "phone"}
TABLE = """
CREATE TABLE people (
  手机号 BIGINT, name VARCHAR(50), reference_id VARCHAR(50), city VARCHAR(50), points DOUBLE PRECISION, due DATE
)
"""
Contacts = list[tuple[Any, ...]]


def read(context: Callable[..., Any], **arguments: Any) -> Contacts:
    operator = OutboundBotAssignJobsOperator(task_id="assign", job_group_id="g", **arguments)
    return [
        (contact.phone.e164, contact.name, contact.reference_id, dict(contact.extras), contact.row)
        for contact in as_contacts(read_contacts(operator.source_arguments(context()), context()))
    ]


@pytest.fixture(scope="module")
def expected() -> Contacts:
    """The contacts, with numbers as every typed source gives them."""
    return [
        (
            f"+86{phone}",
            name,
            reference,
            {"city": city, "points": str(points).removesuffix(".0"), "due": due.isoformat()},
            row,
        )
        for row, (phone, name, reference, city, points, due) in enumerate(ROWS, start=1)
    ]


def as_csv() -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([COLUMNS, *PLAIN])
    return file.getvalue().encode()


def as_json_lines() -> bytes:
    return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in PLAIN).encode()


def as_parquet() -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in ROWS]), file)
    return file.getvalue()


def as_workbook() -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "People"
    for line in (["Customers"], [], list(COLUMNS), *map(list, ROWS)):
        book["People"].append(line)
    book.create_sheet("Notes").append(["of March"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


FILES = pytest.mark.parametrize(
    ("suffix", "content"),
    [("csv", as_csv), ("jsonl", as_json_lines), ("parquet", as_parquet), ("xlsx", as_workbook)],
    ids=["csv", "jsonl", "parquet", "xlsx"],
)


def typed(contacts: Contacts, suffix: str) -> Contacts:
    """CSV has text only: its extras are as they stand in the file."""
    if suffix != "csv":
        return contacts
    return [(*row[:3], row[3] | {"points": str(ROWS[row[4] - 1][4])}, row[4]) for row in contacts]


@FILES
def test_a_local_file(
    context: Callable[..., Any], tmp_path: Path, expected: Contacts, suffix: str, content: Callable[[], bytes]
) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(content())

    assert read(context, contacts_path=str(tmp_path / f"a.{suffix}")) == typed(expected, suffix)


@FILES
def test_a_file_in_oss(
    context: Callable[..., Any], oss: OssServer, expected: Contacts, suffix: str, content: Callable[[], bytes]
) -> None:
    oss.put(f"campaigns/a.{suffix}", content())

    assert read(context, contacts_path=f"oss://oss_test@campaigns/a.{suffix}") == typed(expected, suffix)


def test_sqlite(
    context: Callable[..., Any], tmp_path: Path, expected: Contacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/a.db"}))
    with sqlite3.connect(tmp_path / "a.db") as people:
        people.execute(f"CREATE TABLE people ({', '.join(COLUMNS)})")
        people.executemany(f"INSERT INTO people VALUES ({', '.join('?' * len(COLUMNS))})", PLAIN)
    people.close()

    assert read(context, contacts_sql="SELECT * FROM people ORDER BY rowid", sql_conn_id="people_db") == expected


def test_maxcompute(context: Callable[..., Any], expected: Contacts, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("bigint", "string", "string", "string", "double", "date")
    with serve(dict(zip((ENGLISH.get(name, name) for name in COLUMNS), kinds, strict=True))) as cloud:
        cloud.results["SELECT * FROM people"] = ROWS
        cloud.tables["people", "pt=20260102"] = ROWS
        monkeypatch.setenv("AIRFLOW_CONN_ODPS", cloud.connection)

        assert read(context, contacts_sql="SELECT * FROM people", sql_conn_id="odps") == expected
        table = {"contacts_table": "people", "partition": "pt=20260102", "contacts_conn_id": "odps"}
        assert read(context, **table) == expected


def filled(url: str) -> None:
    engine = create_engine(url)
    names = ("phone", *COLUMNS[1:])
    with engine.begin() as connection:
        connection.exec_driver_sql(TABLE)
        connection.execute(
            text(f"INSERT INTO people VALUES ({', '.join(f':{name}' for name in names)})"),
            [dict(zip(names, row, strict=True)) for row in ROWS],
        )
    engine.dispose()


@pytest.mark.postgresql
def test_postgresql(
    context: Callable[..., Any], expected: Contacts, monkeypatch: pytest.MonkeyPatch, make_database: Callable[[], str]
) -> None:
    url = make_database()
    filled(url)

    assert from_server(context, monkeypatch, make_url(url), {"conn_type": "postgres"}) == expected


@pytest.mark.parametrize("server", PARAMS)
def test_mysql(context: Callable[..., Any], expected: Contacts, monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    server_url(server)
    pytest.importorskip("airflow.providers.mysql", reason="its Airflow provider is not installed: see .ci/run")
    with database(server, "CHARACTER SET utf8mb4") as url:
        filled(url.render_as_string(hide_password=False))
        kind = {"conn_type": "mysql", "extra": {"client": "pymysql"}}

        assert from_server(context, monkeypatch, url, kind) == expected


def from_server(
    context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, url: URL, kind: dict[str, Any]
) -> Contacts:
    place = {"host": url.host, "port": url.port, "login": url.username, "password": url.password}
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", json.dumps(kind | place | {"schema": url.database}))
    return read(context, contacts_sql="SELECT * FROM people ORDER BY reference_id", sql_conn_id="people_db")
