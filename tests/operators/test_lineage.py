"""Lineage as Airflow's OpenLineage provider asks for it: files and job groups by name, nothing of what is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator


def asked(operator: BaseOperator, returned: Any = None) -> list[list[tuple[str, str]]]:
    """Inputs and outputs, asked for as the provider does it."""
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    extractor = DefaultExtractor(operator=operator)
    found = extractor.extract_on_complete(SimpleNamespace(task_id=operator.task_id, xcom_pull=lambda **_: returned))
    assert found is not None
    return [[(each.namespace, each.name) for each in part] for part in (found.inputs, found.outputs)]


def test_contacts_lead_to_a_job_group_and_that_to_results(
    simulator: Simulator, context: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text("phone\n13800000000\n")
    create = OutboundBotCreateJobGroupOperator(
        task_id="create", strategy=Strategy(working_time=[("00:00", "23:59:59")])
    )
    made = create.execute(context("create"))
    assign = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=made, contacts_path=str(path))
    assign.execute(context("assign"))
    export = OutboundBotExportResultsOperator(
        task_id="export", job_group_id=made["job_group_id"], path=tmp_path / "results.jsonl"
    )
    export.execute(context("export"))

    group = ("outboundbot", made["job_group_id"])
    assert asked(create, made) == [[], [group]]
    assert asked(assign) == [[("file", str(path))], [group]]
    assert asked(export) == [[group], [("file", str(tmp_path / "results.jsonl"))]]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        pytest.param("s3://bucket/a/b.csv", ("s3://bucket", "a/b.csv"), id="bucket"),
        pytest.param("s3://aws_default@bucket/a/b.csv", ("s3://bucket", "a/b.csv"), id="with-connection"),
    ],
)
def test_a_store_is_named_by_bucket_and_key(path: str, named: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow.sdk

    monkeypatch.setattr(airflow.sdk, "ObjectStoragePath", str)  # the file system of S3 is not installed here
    operator = OutboundBotExportResultsOperator(task_id="export", job_group_id="g-1", path=path)

    assert asked(operator) == [[("outboundbot", "g-1")], [named]]


class TestDatabases:
    """Tables that contacts come from and results go to, named as the provider of the database names them."""

    @pytest.fixture
    def database(self, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
        """Namespace and name of a real database; its provider asks it for the default schema."""
        from sqlalchemy import make_url

        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgresql_url.replace("postgresql://", "postgres://"))
        url = make_url(postgresql_url)
        return f"postgres://{url.host}:{url.port or 5432}", url.database

    @pytest.mark.postgresql
    def test_a_query_reads_its_tables(self, database: tuple[str, str | None]) -> None:
        namespace, name = database
        operator = OutboundBotAssignJobsOperator(
            task_id="assign",
            job_group_id="g-1",
            contacts_sql="SELECT phone FROM crm.people JOIN orders USING (id) WHERE phone <> '13800000000'",
            sql_conn_id="warehouse",
        )

        read, written = asked(operator)

        assert sorted(read) == [(namespace, f"{name}.crm.people"), (namespace, f"{name}.public.orders")]
        assert written == [("outboundbot", "g-1")]

    @pytest.mark.postgresql
    def test_a_table_of_results_is_written(self, database: tuple[str, str | None]) -> None:
        namespace, name = database
        operator = OutboundBotExportResultsOperator(
            task_id="export", job_group_id="g-1", table="marts.results", sql_conn_id="warehouse"
        )

        assert asked(operator) == [[("outboundbot", "g-1")], [(namespace, f"{name}.marts.results")]]

    @pytest.mark.parametrize("conn_id", ["plain", "missing"])
    def test_a_database_that_cannot_be_named_costs_only_its_name(
        self, conn_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_PLAIN", "http://example.com")
        operator = OutboundBotExportResultsOperator(
            task_id="export", job_group_id="g-1", table="results", sql_conn_id=conn_id
        )

        assert asked(operator) == [[("outboundbot", "g-1")], []]


class TestMaxCompute:
    """Tables in MaxCompute, which no convention of OpenLineage names."""

    @pytest.fixture(autouse=True)
    def _connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = {"project": "crm", "endpoint": "http://127.0.0.1:1", "access_key_id": "i", "access_key_secret": "s"}
        monkeypatch.setenv("AIRFLOW_CONN_ODPS", json.dumps({"conn_type": "maxcompute", "extra": extra}))

    @pytest.mark.parametrize(
        ("table", "name"),
        [("people", "crm.people"), ("dwh.people", "dwh.people"), (" dwh.ods.people ", "dwh.ods.people")],
    )
    def test_a_table_is_read(self, table: str, name: str) -> None:
        operator = OutboundBotAssignJobsOperator(
            task_id="assign", job_group_id="g-1", contacts_table=table, partition="pt=1", contacts_conn_id="odps"
        )

        assert asked(operator) == [[("maxcompute", name)], [("outboundbot", "g-1")]]

    @pytest.mark.parametrize("argument", ["sql_conn_id", "contacts_conn_id"])
    def test_a_query_reads_its_tables(self, argument: str) -> None:
        statement = "SELECT /*+ MAPJOIN(o) */ phone FROM people p JOIN dwh.ods.orders o ON p.id = o.id WHERE pt = '1'"
        connection: dict[str, Any] = {argument: "odps"}
        operator = OutboundBotAssignJobsOperator(
            task_id="assign", job_group_id="g-1", contacts_sql=statement, **connection
        )

        read, written = asked(operator)

        assert sorted(read) == [("maxcompute", "crm.people"), ("maxcompute", "dwh.ods.orders")]
        assert written == [("outboundbot", "g-1")]

    @pytest.mark.parametrize("conn_id", ["nameless", "missing"])
    def test_a_table_that_cannot_be_named_costs_only_its_name(
        self, conn_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_NAMELESS", json.dumps({"conn_type": "maxcompute"}))
        operator = OutboundBotAssignJobsOperator(
            task_id="assign", job_group_id="g-1", contacts_table="people", contacts_conn_id=conn_id
        )

        assert asked(operator) == [[], [("outboundbot", "g-1")]]


def test_contacts_that_are_no_file_and_their_numbers_are_not_told() -> None:
    operator = OutboundBotAssignJobsOperator(task_id="assign", job_group_id="g-1", contacts=["13800000000"])

    assert asked(operator) == [[], [("outboundbot", "g-1")]]


def test_a_task_without_a_group_has_no_lineage() -> None:
    assert asked(OutboundBotCreateJobGroupOperator(task_id="create"), None) == [[], []]


def test_a_steered_group_is_written_to() -> None:
    operator = OutboundBotCancelJobsOperator(task_id="cancel", job_group_id="g-1", all_jobs=True)

    assert asked(operator) == [[], [("outboundbot", "g-1")]]
