"""Contacts from MySQL and MariaDB, and results into them, with the drivers that Airflow's provider offers."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, text
from support.mysql import PARAMS, database, server_url
from support.rows import as_contacts

from airflow_provider_outbound.core.contacts import ContactSource
from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotContactsError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.operators.queries import Query
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
#: Module by the extra "client" of a connection.
DRIVERS = {"pymysql": "pymysql", "mysqlclient": "MySQLdb", "mysql-connector-python": "mysql.connector"}
TABLE = """
CREATE TABLE people (
  手机号 VARBINARY(20), name VARCHAR(50), vip BIT(1), flags BIT(10), debt DECIMAL(9, 2), due DATE, seen DATETIME(6),
  price FLOAT, tenth DOUBLE, note BLOB, details JSON, born YEAR, size ENUM('S', 'L'), zero DATE, never DATETIME
) CHARACTER SET utf8mb4
"""
ROW = """
INSERT INTO people VALUES (
  '13800000001', '张😀', b'1', b'1000000001', 10.50, '2026-01-02', '2026-01-02 03:04:05.060000',
  99.9, 0.1, 'Grüße', '{"a": [1]}', 1999, 'L', '0000-00-00', '0000-00-00 00:00:00'
)
"""
EXTRAS = {
    "vip": "1",
    "flags": "513",
    "debt": "10.50",
    "due": "2026-01-02",
    "seen": "2026-01-02T03:04:05.060000",
    "price": "99.9",
    "tenth": "0.1",
    "note": "Grüße",
    "born": "1999",
    "size": "L",
}


@pytest.fixture(scope="module", params=PARAMS)
def people_url(request: pytest.FixtureRequest) -> Iterator[URL]:
    """A database with one person in it."""
    server_url(request.param)
    pytest.importorskip(
        "airflow.providers.mysql", reason="apache-airflow-providers-mysql is not installed: see .ci/run"
    )
    with database(request.param, "CHARACTER SET utf8mb4") as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("SET SESSION sql_mode = ''"))
            connection.exec_driver_sql(TABLE)
            connection.exec_driver_sql(ROW)
        yield url
        engine.dispose()


@pytest.fixture
def connect(people_url: URL, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the connection ``people_db``."""

    def make(client: str = "pymysql", **extra: Any) -> None:
        if importlib.util.find_spec(DRIVERS[client].partition(".")[0]) is None:
            pytest.skip(f"{client} is not installed")
        value = {
            "conn_type": "mysql",
            "host": people_url.host,
            "port": people_url.port,
            "login": people_url.username,
            "schema": people_url.database,
            "extra": {"client": client, **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", json.dumps(value))

    return make


def assign(context: Callable[..., Any], sql: str, **how: Any) -> dict[str, Any]:
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    operator = OutboundBotAssignJobsOperator(
        task_id="assign", job_group_id=group, settle_seconds=0.3, contacts_sql=sql, sql_conn_id="people_db"
    )
    return operator.execute(context(**how))


@pytest.mark.parametrize("client", DRIVERS)
def test_each_driver_gives_the_same_contact(
    connect: Callable[..., None], client: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    connect(client)

    with caplog.at_level(logging.WARNING):
        (contact,) = as_contacts(ContactSource([Query("SELECT * FROM people WHERE name LIKE '张%'", "people_db")]))

    assert (contact.phone.wire, contact.name) == ("13800000001", "张😀")
    extras = dict(contact.extras)
    assert json.loads(extras.pop("details")) == {"a": [1]}
    assert extras == EXTRAS
    logged = caplog.text + "".join(capfd.readouterr())
    assert ("holds all rows of a query in memory" in logged) == (client == "mysql-connector-python")


def test_a_campaign_from_a_table_and_into_one(
    simulator: Simulator, context: Callable[..., Any], connect: Callable[..., None]
) -> None:
    connect()

    result = assign(context, "SELECT 手机号, name, vip FROM people")
    written = OutboundBotExportResultsOperator(
        task_id="export", job_group_id=result, sql_conn_id="people_db", table="campaign_results"
    ).execute(context("export"))

    assert (result["read"], result["assigned"], written["rows"]) == (1, 1, 1)
    assert list(simulator.state()["jobs_per_number"]) == ["13800000001"]
    (stored,) = OutboundBotHook().ledger.results.iter_results(result["job_group_id"])
    assert stored.extras == {"vip": "1"}


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        pytest.param("SELECT CAST(13800138000 AS FLOAT) AS phone", "column 'phone': float32 cannot hold", id="float"),
        pytest.param(
            "SELECT '13800000001' AS phone, 0xFF AS x", "column 'x' holds bytes that are not UTF-8", id="bytes"
        ),
        pytest.param("SELECT 0xFFFE AS phone", "column 'phone' holds bytes that are not UTF-8", id="number-of-bytes"),
        pytest.param("SELECT '13800000001' AS phone, CAST('1:00' AS TIME) AS t", "'t' is of type timedelta", id="time"),
        pytest.param("SELECT nothing FROM people", "contacts_sql on connection 'people_db': .*1054", id="no-column"),
        pytest.param("CREATE TABLE more (a INT)", "it returns no rows", id="no-rows"),
    ],
)
def test_what_is_not_understood_calls_nobody(
    simulator: Simulator, context: Callable[..., Any], connect: Callable[..., None], sql: str, words: str
) -> None:
    connect()

    with pytest.raises(Exception, match=words) as caught:
        assign(context, sql)

    assert "\n" not in str(caught.value)
    assert not simulator.state()["jobs_per_number"]


@pytest.mark.parametrize("client", DRIVERS)
@pytest.mark.parametrize(
    ("extra", "words"),
    [
        pytest.param({"cursor": "sscursor"}, "the setting cursor .*; remove it", id="cursor"),
        pytest.param({"nonsense": "1"}, "nonsense.*; correct the connection's settings", id="unknown"),
    ],
)
def test_a_setting_that_the_driver_does_not_have_is_named(
    connect: Callable[..., None], client: str, extra: dict[str, str], words: str
) -> None:
    connect(client, **extra)

    with pytest.raises(OutboundBotContactsError, match=f"contacts_sql on connection 'people_db': .*{words}") as caught:
        list(Query("SELECT 1 AS phone", "people_db"))

    assert "\n" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    connect()
    monkeypatch.setitem(sys.modules, "pymysql", None)

    with pytest.raises(OutboundBotContactsError, match=r"its driver is not installed: .*pymysql"):
        list(Query("SELECT 1 AS phone", "people_db"))


def test_a_reader_that_pauses_loses_no_row(people_url: URL, connect: Callable[..., None]) -> None:
    connect()
    rows = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i FROM n"
    sql = f"SELECT 13800000000 + i AS phone, REPEAT('x', 60000) AS x FROM ({rows}) AS n"  # more than the buffers hold
    engine = create_engine(people_url)
    with engine.begin() as connection:
        before = connection.exec_driver_sql("SELECT @@GLOBAL.net_write_timeout").scalar_one()
        connection.exec_driver_sql("SET GLOBAL net_write_timeout = 1")
    try:
        reading = iter(Query(sql, "people_db"))
        assert [next(reading) for _ in range(2)]
        time.sleep(3)
        assert len(list(reading)) == 899
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET GLOBAL net_write_timeout = {before:d}")
        engine.dispose()
