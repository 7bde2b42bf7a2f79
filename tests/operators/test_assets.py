"""Assets of what is written: an alias gets an event of the file or table itself, under the URI of other providers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from sqlalchemy import create_engine, make_url
from support.oss_server import OssServer

from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.assets import path_uri, table_uri
from airflow_provider_outbound.operators.outboundbot import OutboundBotExportResultsOperator
from airflow_provider_outbound.simulator.testing import Simulator

ALIAS, NAMED = AssetAlias("results"), Asset("named")
Runtime: Any = ProvidersManagerTaskRuntime  # untyped


@pytest.fixture
def group(simulator: Simulator) -> str:
    """A job group that the ledger knows."""
    with OutboundBotHook() as hook:
        made = hook.client.create_job_group(job_group_name="n", script_id=simulator.script_id)
        hook.ledger.groups.note_connection(made.job_group_id, "outboundbot_default")
    return made.job_group_id


def exported(group: str, context: Callable[..., Any], **arguments: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The events of an export with an alias and an asset among its outlets: URIs with extras, and the asset's extra."""
    events = OutletEventAccessors()
    operator = OutboundBotExportResultsOperator(
        task_id="export", job_group_id=group, outlets=[ALIAS, NAMED], **arguments
    )
    result = operator.execute(context() | {"outlet_events": events})
    assert events[NAMED].extra == result
    return [(event.dest_asset_key.uri, event.extra) for event in events[ALIAS].asset_alias_events], result


def test_a_file_is_an_asset(group: str, context: Callable[..., Any], tmp_path: Path) -> None:
    events, result = exported(group, context, path=str(tmp_path / "r 1.csv"))

    assert events == [(f"file://{tmp_path}/r%201.csv", result)]


def test_an_object_is_the_asset_that_the_author_wrote(group: str, context: Callable[..., Any], oss: OssServer) -> None:
    path = "oss://oss_test@campaigns/out/r.csv"

    events, result = exported(group, context, path=path)

    assert events == [(Asset(path).uri, result)]


def test_a_table_without_a_uri_gives_an_alias_no_event(
    group: str,
    context: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MARTS", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/m.db"}))

    events, _ = exported(group, context, table="results", sql_conn_id="marts")

    assert events == []
    assert "alias 'results' gets no event" in caplog.text + "".join(capfd.readouterr())


@pytest.mark.postgresql
@pytest.mark.parametrize(("table", "schema"), [("results", "public"), ("marts.results", "marts")])
def test_a_table_is_the_asset_of_its_own_provider(
    group: str,
    context: Callable[..., Any],
    make_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    schema: str,
) -> None:
    url = make_url(make_database())
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA marts")
        uri = table_uri(connection, table)
        assert uri is not None
    engine.dispose()
    monkeypatch.setenv(
        "AIRFLOW_CONN_MARTS",
        json.dumps(
            {"conn_type": "postgres", "host": url.host, "port": url.port, "schema": url.database}
            | {"login": url.username, "password": url.password}
        ),
    )

    events, result = exported(group, context, table=table, sql_conn_id="marts")

    assert events == [(f"postgres://{url.host}:{url.port}/{url.database}/{schema}/results", result)]
    # The provider of PostgreSQL, which owns the scheme, has nothing to change.
    assert Asset(uri).uri == uri == events[0][0]


def test_airflow_knows_the_scheme_of_oss_and_not_ours_for_databases() -> None:
    runtime = Runtime()
    found = runtime.asset_to_openlineage_converters["oss"](Asset("oss://conn@bucket/a/b.csv"), None)

    assert (found.namespace, found.name) == ("oss://bucket", "a/b.csv")
    assert runtime.asset_factories["oss"](bucket="bucket", key="a/b.csv").uri == "oss://bucket/a/b.csv"
    assert "outbound" not in runtime.asset_uri_handlers["postgres"].__module__
    assert path_uri("/a/b.csv") == "file:///a/b.csv"


@pytest.mark.parametrize(
    ("parts", "uri", "name"),
    [
        ({}, "maxcompute://crm/people", "crm.people"),
        ({"schema": "ods"}, "maxcompute://crm/ods/people", "crm.ods.people"),
    ],
)
def test_a_table_in_maxcompute_has_the_name_that_tasks_report(parts: dict[str, Any], uri: str, name: str) -> None:
    runtime = Runtime()

    asset = runtime.asset_factories["maxcompute"](project="crm", table="people", **parts)
    found = runtime.asset_to_openlineage_converters["maxcompute"](asset, None)

    assert (asset.uri, found.namespace, found.name) == (uri, "maxcompute", name)
