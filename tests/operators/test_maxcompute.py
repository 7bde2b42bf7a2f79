"""Contacts in MaxCompute: read completely or refused, twice the same, and by the tunnel alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from support.maxcompute import MaxCompute, serve
from support.rows import as_contacts

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators import maxcompute
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.operators.sources import read_contacts
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
COLUMNS = {"phone": "bigint", "name": "string", "debt": "decimal(10,2)", "due": "datetime", "day": "date"}
SQL = "SELECT * FROM people"


def people(count: int) -> list[tuple[Any, ...]]:
    moment = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001
    return [(13800000000 + index, f"n{index}", Decimal("1.50"), moment, date(2026, 1, 2)) for index in range(count)]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[MaxCompute]:
    with serve(COLUMNS) as state:
        state.results[SQL] = people(25)
        state.tables["people", "pt=20260102"] = people(25)
        monkeypatch.setenv("AIRFLOW_CONN_ODPS", state.connection)
        # So that ranges are many while rows are few.
        monkeypatch.setattr(maxcompute, "RANGE", 10)
        yield state


@pytest.fixture
def group(context: Callable[..., Any]) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


def assign(group: dict[str, Any] | str = "g", **arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, settle_seconds=0.3, **arguments)


BY_SQL = {"contacts_sql": f"{SQL};", "sql_conn_id": "odps"}
BY_TABLE = {"contacts_table": "people", "partition": "pt=20260102", "contacts_conn_id": "odps"}


@pytest.mark.parametrize("arguments", [BY_SQL, BY_TABLE])
def test_all_rows_are_read_in_short_ranges_and_assigned(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    cloud: MaxCompute,
    arguments: dict[str, str],
) -> None:
    result = assign(group, **arguments).execute(context())

    assert (result["read"], result["assigned"]) == (25, 25)
    assert len(simulator.state()["jobs_per_number"]) == 25
    assert cloud.ranges[-3:] == [(0, 10), (10, 10), (20, 5)]
    assert len(cloud.statements) == ("contacts_sql" in arguments)


@pytest.mark.parametrize("arguments", [BY_SQL, BY_TABLE])
def test_a_second_reading_gives_the_same_rows_although_the_table_changed(
    context: Callable[..., Any], cloud: MaxCompute, arguments: dict[str, str]
) -> None:
    source = read_contacts(assign(**arguments).source_arguments(context()), context())
    first = [(contact.phone, contact.name, contact.extras) for contact in as_contacts(source)]

    cloud.results[SQL] = cloud.tables["people", "pt=20260102"] = people(3)

    assert [(contact.phone, contact.name, contact.extras) for contact in as_contacts(source)] == first
    assert len(first) == 25
    assert first[0][2] == {"debt": "1.50", "due": "2026-01-02T03:04:05", "day": "2026-01-02"}


def test_rows_that_do_not_come_are_not_overlooked(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], cloud: MaxCompute
) -> None:
    cloud.lost = 1

    with pytest.raises(
        OutboundBotContactsError, match=r"contacts_table on connection 'odps': 9 rows came instead of 10"
    ):
        assign(group, **BY_TABLE).execute(context())

    assert not simulator.state()["jobs_per_number"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"contacts_sql": "SELECT 2", "sql_conn_id": "odps"}, r"contacts_sql on connection 'odps': .*Table not found"),
        ({**BY_TABLE, "partition": "pt=2"}, r"contacts_table on connection 'odps': .*"),
        ({**BY_TABLE, "partition": None}, r"contacts_table on connection 'odps': .*"),
        ({**BY_TABLE, "partition": "20260102"}, r"partition: '20260102' is not a partition; give one such as"),
        ({**BY_TABLE, "partition": "pt="}, r"partition: 'pt=' is not a partition"),
        ({**BY_TABLE, "partition": "pt=None"}, r"partition: 'pt=None' has a value that was not set"),
        ({**BY_TABLE, "partition": " "}, r"partition: empty: its template rendered to nothing"),
        ({**BY_TABLE, "contacts_conn_id": None}, r"contacts_conn_id: missing; give the connection"),
        ({"contacts": ["13800000000"], "contacts_conn_id": "odps"}, r"contacts_conn_id: contacts needs no connection"),
        ({**BY_SQL, "partition": "pt=1"}, r"partition: there is no contacts_table that could have one"),
        ({**BY_SQL, "contacts_table": "people"}, r"contacts: give one of .* not contacts_sql and contacts_table"),
    ],
)
def test_what_cannot_be_read_calls_nobody(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    cloud: MaxCompute,
    arguments: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises((OutboundBotConfigError, OutboundBotContactsError), match=words) as caught:
        assign(group, **arguments).execute(context())

    assert "\n" not in str(caught.value)
    assert "13800138000" not in str(caught.value)
    assert not simulator.state()["jobs_per_number"]


def test_a_column_of_floats_cannot_hold_a_number(context: Callable[..., Any], cloud: MaxCompute) -> None:
    cloud.columns = COLUMNS | {"phone": "float"}
    cloud.results[SQL] = [(13800138000.0, *row[1:]) for row in people(1)]

    with pytest.raises(OutboundBotContactsError, match="column 'phone': float32 cannot hold"):
        list(read_contacts(assign(**BY_SQL).source_arguments(context()), context()))


def test_a_wrong_key_is_said_in_one_line(
    context: Callable[..., Any], cloud: MaxCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(cloud.connection)
    connection["extra"]["access_key_id"] = "other"
    monkeypatch.setenv("AIRFLOW_CONN_ODPS", json.dumps(connection))
    with pytest.raises(OutboundBotContactsError, match="contacts_table on connection 'odps': Unauthorized"):
        list(read_contacts(assign(**BY_TABLE).source_arguments(context()), context()))

    del connection["extra"]["access_key_id"]
    monkeypatch.setenv("AIRFLOW_CONN_ODPS", json.dumps(connection))
    with pytest.raises(OutboundBotConfigError, match="on connection 'odps': No access_key_id is specified"):
        list(read_contacts(assign(**BY_TABLE).source_arguments(context()), context()))
