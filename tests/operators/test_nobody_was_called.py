"""Whatever is wrong with an argument, a source or a strategy: the error says once, and truly: nobody was called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import (
    NOBODY_WAS_CALLED,
    OutboundBotConfigError,
    OutboundBotContactsError,
    before_calling,
    end_with,
)
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"contacts_sql": "SELECT 1", "sql_conn_id": "web"}, id="connection-that-is-no-database"),
        pytest.param({"contacts_sql": "SELECT 1", "sql_conn_id": ""}, id="no-connection"),
        pytest.param({"contacts_sql": "SELECT * FROM nowhere", "sql_conn_id": "people_db"}, id="no-table"),
        pytest.param({"contacts_sql": "SELECT 1 AS a, 2 AS a", "sql_conn_id": "people_db"}, id="column-twice"),
        pytest.param({"contacts_sql": "CREATE TABLE t (x)", "sql_conn_id": "people_db"}, id="no-rows"),
        pytest.param({"contacts_path": "/nowhere/people.csv"}, id="no-file"),
        pytest.param({"contacts": [{"telefon": "1"}], "columns": {"telefone": "telefon"}}, id="unknown-field"),
        pytest.param({"contacts": 5}, id="no-list"),
        pytest.param({"contacts": ["13800000000"], "default_region": "China"}, id="region"),
        pytest.param({"contacts": ["13800000000"], "exclude": ["1380000"]}, id="exclusion"),
        pytest.param({"contacts": [], "on_empty": "fail"}, id="empty"),
        pytest.param({"contacts": ["13800000000"], "period": 5}, id="cap"),
        pytest.param({"contacts": ["13800000000"], "strategy": {"workingTime": []}}, id="strategy"),
        pytest.param({"contacts": ["13800000000"], "calling_numbers": 5}, id="calling-numbers"),
    ],
)
def test_an_error_before_the_first_call_says_so(
    simulator: Simulator,
    context: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEB", "http://example.com")
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/a.db"}))
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))

    with pytest.raises(OutboundBotConfigError) as caught:
        OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, **arguments).execute(context())

    assert str(caught.value).endswith(f". {NOBODY_WAS_CALLED}")
    assert str(caught.value).count(NOBODY_WAS_CALLED) == 1
    assert simulator.state()["jobs_per_number"] == {}


def test_a_query_without_rows_is_named(
    simulator: Simulator, context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/a.db"}))
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    query: dict[str, Any] = {"contacts_sql": "SELECT 1 AS phone WHERE 0", "sql_conn_id": "people_db"}

    with pytest.raises(AirflowSkipException, match=r"^contacts_sql: there are no contacts"):
        OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, **query).execute(context())


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"strategy": {"workingTime": []}}, id="strategy"),
        pytest.param({}, id="no-strategy"),
        pytest.param({"strategy": ALL_DAY, "calling_numbers": 5}, id="calling-numbers"),
    ],
)
def test_a_group_that_cannot_be_created_calls_nobody(
    simulator: Simulator, context: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    with pytest.raises(OutboundBotConfigError) as caught:
        OutboundBotCreateJobGroupOperator(task_id="create", **arguments).execute(context("create"))

    assert str(caught.value).endswith(f". {NOBODY_WAS_CALLED}")
    assert simulator.state()["groups"] == {}


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("a: b; c", "a: b; c. Nobody was called"),
        ("a: b; c.", "a: b; c. Nobody was called"),
        ("a: b; c. Nobody was called", "a: b; c. Nobody was called"),
        ("a: b; did you mean c?", "a: b; did you mean c? Nobody was called"),
    ],
)
def test_the_ending_is_there_once(text: str, ended: str) -> None:
    assert end_with(text, NOBODY_WAS_CALLED) == ended
    assert end_with(text, "5 were") == ended.replace(NOBODY_WAS_CALLED, "5 were")
    with pytest.raises(OutboundBotContactsError) as caught, before_calling():
        raise OutboundBotContactsError(text)
    assert str(caught.value) == ended


@pytest.mark.parametrize("arguments", [{"exclude_path": "/nowhere.csv"}, {"contacts": ["1380000"]}])
def test_a_retry_speaks_of_itself_only(
    simulator: Simulator, context: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))

    def assign(**more: Any) -> OutboundBotAssignJobsOperator:
        given = {"contacts": ["13800000000"], "settle_seconds": 0.3, **more}
        return OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, **given)

    assign().execute(context("assign", try_number=1, max_tries=2))
    assert simulator.state()["jobs_per_number"]

    with pytest.raises((OutboundBotConfigError, AirflowSkipException), match=r"\. Nobody was called in this try\Z"):
        assign(**arguments).execute(context("assign", try_number=2, max_tries=2))
