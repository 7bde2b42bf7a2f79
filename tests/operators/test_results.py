"""Results of a real DAG run: into files and tables, enriched, and announced by an asset event without numbers."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset
from pyarrow import parquet
from support.messages import call, job_complete, store
from support.runs import xcom

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
#: Interested, refused (and not to be called again), hung up by the person, no answer, blocked.
NUMBERS = [f"138000000{digits:02}" for digits in (0, 38, 43, 60, 88)]
PHONE = re.compile(r"138\d{8}")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")


def campaign_of(numbers: list[str] = NUMBERS) -> OutboundBotJobCompleteSensor:
    """Create, assign and wait, in the DAG whose context is open."""
    create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
    assign = OutboundBotAssignJobsOperator(
        task_id="assign",
        job_group_id=create.output,
        contacts=[{"phone": number, "reference_id": f"c{index}"} for index, number in enumerate(numbers)],
        settle_seconds=0.3,
    )
    return OutboundBotJobCompleteSensor(
        task_id="wait",
        job_group_id=assign.output,
        rocketmq_conn_id=None,
        deferrable=False,
        mode="poke",
        poke_interval=0.5,
    )


@pytest.fixture
def group(run_dag: Callable[..., DagRun], request: pytest.FixtureRequest) -> str:
    """A job group that has ended."""
    with DAG(f"ended_{request.node.name[:40]}".replace("[", "_").replace("]", "_"), schedule=None) as dag:
        campaign_of()
    run = run_dag(dag)
    assert run.state == "success"
    return str(xcom(run, "wait")["job_group_id"])


def export(group: Any, **arguments: Any) -> OutboundBotExportResultsOperator:
    return OutboundBotExportResultsOperator(**{"task_id": "export", "job_group_id": group, **arguments})


def test_a_campaign_ends_in_parquet_and_an_asset_event_without_numbers(
    simulator: Simulator, airflow_home: Path, run_dag: Callable[..., DagRun], tmp_path: Path
) -> None:
    results = Asset("results")
    with DAG("to_parquet", schedule=None, params={"folder": str(tmp_path)}) as dag:
        wait = campaign_of()
        done = export(wait.output, path="{{ params.folder }}/{{ run_id | length }}.parquet", enrich=True)
        done.outlets.append(results)

    run = run_dag(dag)

    assert run.state == "success"
    returned = xcom(run, "export")
    rows = parquet.read_table(returned["path"]).to_pylist()
    assert returned == {
        "job_group_id": xcom(run, "create")["job_group_id"],
        "path": str(next(tmp_path.glob("*.parquet"))),
        "rows": 5,
        "counts": {
            "answered": 3,
            "not_dialled": 1,
            "unanswered": 1,
            "funnel": {"dialled": 4, "answered": 3, "finished": 2, "tagged": 2},
        },
    }
    assert {row["reference_id"]: row["tags"] and json.loads(row["tags"]) for row in rows} == {
        "c0": {"intent": "interested"},
        "c1": {"intent": "refused", "do_not_call": "yes"},
        "c2": {},
        "c3": None,
        "c4": None,
    }
    assert [row["conversation_end"] for row in rows] == ["FINISHED", "FINISHED", "CLIENT_HANGUP", None, None]
    database = sqlite3.connect(airflow_home / "airflow.db")
    ((extra,),) = database.execute(
        "SELECT extra FROM asset_event WHERE source_dag_id = 'to_parquet' AND source_task_id = 'export'"
    ).fetchall()
    database.close()
    assert json.loads(extra) == returned
    assert not PHONE.search(extra)
    assert not PHONE.search(str(rows))


def test_a_retry_does_not_fetch_again(
    simulator: Simulator, group: str, context: Callable[..., Any], tmp_path: Path
) -> None:
    def asked() -> Any:
        return simulator.state()["requests"].get("DescribeJob", 0)

    folder = tmp_path / "file"
    folder.touch()
    with pytest.raises(OutboundBotConfigError, match="cannot be written"):
        export(group, path=str(folder / "r.csv"), enrich=True).execute(context())
    first = asked()

    export(group, path=str(tmp_path / "r.csv"), enrich=True).execute(context())

    assert (first, asked()) == (3, 3)


def test_only_those_with_a_tag_asks_for_the_tags_by_itself(
    simulator: Simulator, group: str, context: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "r.csv"

    result = export(group, path=str(path), only="tag:do_not_call=yes").execute(context())

    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row["reference_id"] for row in csv.DictReader(file)] == ["c1"]
    assert (result["rows"], result["counts"]["answered"]) == (1, 1)


def test_calls_and_what_was_said_are_exported_by_one_task(
    simulator: Simulator, group: str, context: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "calls.csv"

    result = export(group, path=str(path), level="call", conversation=True, enrich=True).execute(context())

    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["reference_id"], row["attempt"], row["sip_code"]) for row in csv.DictReader(file)]
    assert rows == [("c0", "1", "200"), ("c1", "1", "200"), ("c2", "1", "200"), ("c3", "1", "480"), ("c4", "1", "")]
    said = [json.loads(line) for line in Path(result["conversation_path"]).read_text().splitlines()]
    assert [row["reference_id"] for row in said] == ["c0", "c1", "c2"]
    assert not PHONE.search(path.read_text())
    with pytest.raises(OutboundBotConfigError, match="level: 'jobs' is not one of"):
        export(group, path=str(path), level="jobs").execute(context())


def test_the_sensor_counts_tags_that_it_was_asked_to_fetch(
    simulator: Simulator, group: str, context: Callable[..., Any]
) -> None:
    def wait(**arguments: Any) -> dict[str, Any]:
        sensor = OutboundBotJobCompleteSensor(
            task_id="wait", job_group_id=group, rocketmq_conn_id=None, deferrable=False, mode="poke", **arguments
        )
        result: dict[str, Any] = sensor.execute(context("wait"))
        return result

    before, after = wait()["by_tag"], wait(enrich=True)["by_tag"]

    assert before == {}
    assert after == {"intent=interested": 1, "intent=refused": 1, "do_not_call=yes": 1}
    assert wait()["by_tag"] == after


def test_the_hook_gives_the_same(simulator: Simulator, group: str) -> None:
    hook = OutboundBotHook()

    assert [result.reference_id for result in hook.iter_results(group)] == ["c0", "c1", "c2", "c3", "c4"]
    assert [result.reference_id for result in hook.iter_results(group, "unanswered")] == ["c3"]
    assert [result.reference_id for result in hook.iter_results(group, "tag:intent=interested")] == ["c0"]
    with pytest.raises(OutboundBotConfigError, match="is not one of"):
        hook.iter_results(group, "unansered")
    hook.ledger.close()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="nowhere"),
        pytest.param({"path": "/tmp/r.csv", "table": "t", "sql_conn_id": "db"}, id="both"),
        pytest.param({"table": "t"}, id="no-connection"),
        pytest.param({"path": "/tmp/r.csv", "sql_conn_id": "db"}, id="no-table"),
    ],
)
def test_where_to_write_must_be_clear(context: Callable[..., Any], arguments: dict[str, Any]) -> None:
    with pytest.raises(OutboundBotConfigError, match="path: give either a path, or a table together with"):
        export("group", **arguments).execute(context())


class TestSqlite:
    """``table`` by Airflow's connection to SQLite."""

    @pytest.fixture(autouse=True)
    def _connection(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/warehouse.db"})
        )

    def test_results_become_rows(self, group: str, context: Callable[..., Any], tmp_path: Path) -> None:
        outlet = Asset("table")
        operator = export(group, table="results", sql_conn_id="warehouse", outlets=[outlet])
        event = SimpleNamespace(extra={})

        for _ in range(2):
            result = operator.execute(context() | {"outlet_events": {outlet: event}})

        with sqlite3.connect(tmp_path / "warehouse.db") as database:
            rows = database.execute("SELECT reference_id, outcome FROM results ORDER BY 1").fetchall()
        database.close()
        assert dict(rows) == dict.fromkeys(("c0", "c1", "c2"), "answered") | {"c3": "unanswered", "c4": "not_dialled"}
        assert len(rows) == 5
        assert (result["table"], result["rows"]) == ("results", 5)
        assert event.extra == result

    def test_a_database_that_cannot_be_opened_is_said_in_words(
        self, group: str, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": "/dev/null/w.db"}))

        with pytest.raises(OutboundBotConfigError, match="table on connection 'warehouse': unable to open"):
            export(group, table="results", sql_conn_id="warehouse").execute(context())


@pytest.mark.postgresql
@pytest.mark.xdist_group("outbound_results")
class TestPostgresql:
    """``table`` on a real PostgreSQL, by Airflow's own hook and driver."""

    @pytest.fixture
    def connect(self, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        import psycopg

        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgresql_url.replace("postgresql://", "postgres://"))
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS outbound_results CASCADE")
            connection.execute("CREATE SCHEMA outbound_results")
            yield connection
            connection.execute("DROP SCHEMA outbound_results CASCADE")

    def test_results_become_rows_and_a_job_that_ran_again_another_revision(
        self, run_dag: Callable[..., DagRun], connect: Any, context: Callable[..., Any]
    ) -> None:
        with DAG("to_table", schedule=None, params={"schema": "outbound_results"}) as dag:
            wait = campaign_of()
            export(wait.output, sql_conn_id="warehouse", table="{{ params.schema }}.results", enrich=True)

        run = run_dag(dag)
        group = xcom(run, "create")["job_group_id"]
        before = connect.execute("SELECT reference_id, revision FROM outbound_results.results ORDER BY 1").fetchall()
        run_again(group, "c3")
        export(group, sql_conn_id="warehouse", table="outbound_results.results").execute(context())

        assert run.state == "success"
        assert before == [(f"c{index}", 1) for index in range(5)]
        rows = connect.execute(
            "SELECT reference_id, revision, outcome, tags ->> 'intent', ended_at >= started_at FROM"
            " outbound_results.results ORDER BY 1"
        ).fetchall()
        assert [row[:4] for row in rows] == [
            ("c0", 1, "answered", "interested"),
            ("c1", 1, "answered", "refused"),
            ("c2", 1, "answered", None),
            ("c3", 2, "answered", None),
            ("c4", 1, "not_dialled", None),
        ]
        assert xcom(run, "export")["table"] == "outbound_results.results"

    def test_what_the_database_refuses_is_said_without_values(
        self, group: str, connect: Any, context: Callable[..., Any]
    ) -> None:
        connect.execute(
            "CREATE TABLE outbound_results.narrow (job_group_id text, reference_id text, PRIMARY KEY (job_group_id,"
            " reference_id))"
        )
        for number, (name, _) in enumerate(columns()):
            connect.execute(
                f'ALTER TABLE outbound_results.narrow ADD COLUMN IF NOT EXISTS "{name}" varchar({number % 2 + 1})'
            )

        with pytest.raises(OutboundBotConfigError, match="table on connection 'warehouse': ") as caught:
            export(group, sql_conn_id="warehouse", table="outbound_results.narrow", include_phone_number=True).execute(
                context()
            )

        assert not PHONE.search(str(caught.value))
        assert not connect.execute("SELECT count(*) FROM outbound_results.narrow").fetchone()[0]


def columns() -> list[tuple[str, str]]:
    from airflow_provider_outbound.core.results.columns import KINDS

    return [(name, str(kind)) for name, kind in KINDS.items()]


def run_again(group: str, reference_id: str) -> None:
    """Keep the message that a job completed once more, as a collector does."""
    with OutboundBotHook().ledger as ledger:
        found = next(r for r in ledger.results.iter_results(group) if r.reference_id == reference_id)
        for moment, status, end in ((1, "Failed", "NoAnswer"), (2, "Succeeded", "SucceededFinish")):
            again = call(f"again-{moment}", end, 4_000_000_000_000 + moment)
            store(ledger, job_complete(group, str(found.job_id), None, None, again, at=moment, status=status))


def test_every_template_field_is_an_argument() -> None:
    operator = export("g", path="p")

    assert [name for name in operator.template_fields if not hasattr(operator, name)] == []
    assert {"path", "table", "sql_conn_id", "only"} <= set(operator.template_fields)


def test_paths_may_be_path_objects(group: str, context: Callable[..., Any], tmp_path: Path) -> None:
    assert export(group, path=Path(tmp_path) / "r.jsonl").execute(context())["rows"] == 5
