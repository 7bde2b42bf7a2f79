"""Results in a table: typed, whole or not at all, one row a job however often they are written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from support.messages import job_complete, store

from airflow_provider_outbound.core.ledger import JobDetails, Ledger
from airflow_provider_outbound.core.results import COLUMNS, export_to_table
from airflow_provider_outbound.exceptions import OutboundBotConfigError

GROUP = "group-1"


def write(ledger: Ledger, warehouse: Engine, table: str = "results", **options: Any) -> dict[str, Any]:
    with warehouse.connect() as connection:
        return export_to_table(ledger, GROUP, connection, table, **options)


def rows_of(warehouse: Engine, table: str = "results") -> list[Any]:
    with warehouse.connect() as connection:
        return list(connection.execute(text(f"SELECT * FROM {table} ORDER BY reference_id")).mappings())


def object_of(value: Any) -> Any:
    """A JSON value, which SQLite gives as text."""
    return json.loads(value) if isinstance(value, str) else value


def test_one_typed_row_a_job(ledger: Ledger, tell: Callable[..., None], warehouse: Engine) -> None:
    tell(1, call="SucceededFinish", extras={"city": "杭州", "note": "or 138-0000-0001"})
    tell(2, status="Failed", reason="NoAnswer", call="NoAnswer")
    result = next(iter(ledger.results.iter_results(GROUP)))
    ledger.details.save([(result, JobDetails(tags={"intent": "13800000001"}, talk_seconds=12.5, hang_up_side="ivr"))])

    written = write(ledger, warehouse)

    first, second = rows_of(warehouse)
    funnel = {"dialled": 2, "answered": 1, "finished": 1, "tagged": 1}
    assert written == {"table": "results", "rows": 2, "counts": {"answered": 1, "unanswered": 1, "funnel": funnel}}
    assert list(first) == list(COLUMNS)
    assert (first["job_group_id"], first["reference_id"], first["outcome"]) == (GROUP, "r-0001", "answered")
    assert (first["answered"], first["attempts"], first["revision"]) == (True, 1, 1)
    assert object_of(first["extras"]) == {"city": "杭州", "note": "or 138********01"}
    assert object_of(first["tags"]) == {"intent": "138******01"}
    assert (first["talk_seconds"], first["hang_up_side"], first["conversation_end"]) == (12.5, "ivr", None)
    assert (second["outcome"], second["tags"], second["talk_seconds"]) == ("unanswered", None, None)
    begun = first["started_at"]
    if warehouse.dialect.name == "postgresql":
        assert begun == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        types = {column["name"]: str(column["type"]) for column in inspect(warehouse).get_columns("results")}
        assert types["extras"] == "JSON"
        assert types["ended_at"] == "TIMESTAMP"
        assert types["attempts"] == "BIGINT"
    elif warehouse.dialect.name == "mysql":
        assert begun == datetime(2023, 11, 14, 22, 13, 20)  # noqa: DTZ001 - UTC, which this type does not say
    else:
        assert begun == "2023-11-14 22:13:20.000000"


def test_written_again_it_is_one_row_with_the_newer_revision(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine
) -> None:
    tell(1, status="Failed", reason="NoAnswer", call="NoAnswer")
    tell(2, status="Failed", reason="NoAnswer", call="NoAnswer")
    write(ledger, warehouse)
    tell(1, call="SucceededFinish", call_id="second")

    write(ledger, warehouse, only="answered")

    first, second = rows_of(warehouse)
    assert (first["outcome"], first["revision"], first["attempts"]) == ("answered", 2, 2)
    assert (second["outcome"], second["revision"]) == ("unanswered", 1)


def test_a_database_without_a_statement_of_its_own_gets_the_same_rows(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of which it is not known how it replaces a row: the same databases by another name."""
    if warehouse.dialect.name == "mysql":
        pytest.skip("SQLAlchemy looks for MySQL's options under the dialect's name")
    monkeypatch.setattr(warehouse.dialect, "name", "another")
    for job in range(1, 251):
        tell(job, status="Failed", reason="NoAnswer", call="NoAnswer")
    write(ledger, warehouse)
    tell(1, call="SucceededFinish", call_id="second")

    write(ledger, warehouse)
    write(ledger, warehouse, only="answered")

    first, *others = rows_of(warehouse)
    assert (first["outcome"], first["revision"]) == ("answered", 2)
    assert [row["reference_id"] for row in others] == [f"r-{job:04}" for job in range(2, 251)]
    assert {(row["outcome"], row["revision"]) for row in others} == {("unanswered", 1)}


def test_numbers_only_if_asked_for(ledger: Ledger, tell: Callable[..., None], warehouse: Engine) -> None:
    tell(1, name="=Zhang")
    write(ledger, warehouse)
    write(ledger, warehouse, "with_numbers", include_phone_number=True)

    assert "13800000001" not in str(rows_of(warehouse))
    (row,) = rows_of(warehouse, "with_numbers")
    assert (row["phone_number"], row["name"]) == ("13800000001", "=Zhang")
    with pytest.raises(OutboundBotConfigError, match="'results' lacks the columns phone_number, name; add them"):
        write(ledger, warehouse, include_phone_number=True)


def test_a_table_of_ones_own_may_have_more_columns_but_needs_the_key(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine
) -> None:
    tell(1)
    write(ledger, warehouse)
    with warehouse.begin() as connection:
        connection.execute(text("ALTER TABLE results ADD COLUMN remark TEXT"))
        connection.execute(text("UPDATE results SET remark = 'mine'"))
        connection.execute(text("CREATE TABLE keyless AS SELECT * FROM results"))

    write(ledger, warehouse)
    with pytest.raises(OutboundBotConfigError, match="'keyless' has no unique key of job_group_id and reference_id"):
        write(ledger, warehouse, "keyless")
    with warehouse.begin() as connection:
        connection.execute(text("CREATE UNIQUE INDEX k ON keyless (reference_id, job_group_id)"))
    write(ledger, warehouse, "keyless")

    assert [row["remark"] for row in rows_of(warehouse)] == ["mine"]
    assert len(rows_of(warehouse, "keyless")) == 1


def test_a_schema_may_be_named(ledger: Ledger, tell: Callable[..., None], warehouse: Engine) -> None:
    tell(1)
    schema = {"sqlite": "main", "postgresql": "public"}.get(warehouse.dialect.name, warehouse.url.database)

    write(ledger, warehouse, f"{schema}.results")
    write(ledger, warehouse, f"{schema}.results")

    assert len(rows_of(warehouse)) == 1
    with pytest.raises(OutboundBotConfigError, match="does not name a table"):
        write(ledger, warehouse, f"{schema}.")


def test_a_failure_half_way_writes_nothing(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The ledger is broken on purpose: nothing outside it can make a reader fail half way.
    tell(1)
    write(ledger, warehouse)
    results = list(ledger.results.iter_results(GROUP))
    tell(2)

    def broken(_table: str) -> Any:
        for _ in range(1200):
            yield results[0]
        raise RuntimeError("lost")

    monkeypatch.setattr(ledger.results, "iter_results", broken)
    with pytest.raises(RuntimeError, match="lost"):
        write(ledger, warehouse)

    assert len(rows_of(warehouse)) == 1


_CHILD = """
import sys
from sqlalchemy import create_engine
from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.core.results import export_to_table

def slow(original):
    def results(group):
        for number, result in enumerate(original(group)):
            if number == 700:
                print("half", flush=True)
                sys.stdin.read()
            yield result
    return results

with open_ledger(sys.argv[1], [sys.argv[2]]) as ledger:
    ledger.results.iter_results = slow(ledger.results.iter_results)
    with create_engine(sys.argv[3]).connect() as connection:
        export_to_table(ledger, "group-1", connection, "results")
"""


def test_a_kill_half_way_leaves_the_table_as_it_was(ledger: Ledger, key: str, warehouse: Engine) -> None:
    many(ledger, 1)
    write(ledger, warehouse)
    many(ledger, 1000)
    url = warehouse.url.render_as_string(hide_password=False)
    ledger_url = str(ledger.engine.url)
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, ledger_url, key, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()

    assert len(rows_of(warehouse)) == 1
    write(ledger, warehouse)
    assert len(rows_of(warehouse)) == 1000


def test_two_exports_at_once_give_one_row_a_job(ledger: Ledger, warehouse: Engine) -> None:
    many(ledger, 1500)
    errors: list[Exception] = []

    def export() -> None:
        try:
            write(ledger, warehouse)
        except (SQLAlchemyError, OutboundBotConfigError) as error:
            errors.append(error)

    threads = [threading.Thread(target=export) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert len(rows_of(warehouse)) == 1500


def many(ledger: Ledger, count: int) -> None:
    """Completed jobs of others."""
    store(ledger, *(job_complete(GROUP, f"job-{n}", f"138{n:08}", f"r-{n:06}", at=1) for n in range(count)))


def test_an_export_without_numbers_clears_those_of_an_earlier_one(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine
) -> None:
    tell(1, name="Zhang")
    tell(2, name="Li", status="Failed", reason="NoAnswer", call="NoAnswer")
    write(ledger, warehouse, include_phone_number=True)

    write(ledger, warehouse, only="unanswered")

    first, second = rows_of(warehouse)
    assert (first["phone_number"], first["name"]) == ("13800000001", "Zhang")
    assert (second["phone_number"], second["name"]) == (None, None)


def test_numbers_that_cannot_be_cleared_are_refused(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine
) -> None:
    tell(1)
    write(ledger, warehouse)
    with warehouse.begin() as connection:
        connection.execute(text("ALTER TABLE results ADD COLUMN phone_number VARCHAR(40) NOT NULL DEFAULT ''"))

    with pytest.raises(OutboundBotConfigError, match="column phone_number is NOT NULL"):
        write(ledger, warehouse)


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York", "UTC"])
@pytest.mark.parametrize("kind", ["timestamp", "timestamp with time zone", "timestamp(3)"])
def test_times_are_utc_whatever_the_columns_and_the_sessions_zone(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine, kind: str, zone: str
) -> None:
    if warehouse.dialect.name != "postgresql":
        pytest.skip("sessions with a zone")
    tell(1, status="Failed", reason="NoAnswer", call="NoAnswer")
    write(ledger, warehouse)
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM results"))
        for column in ("started_at", "ended_at"):
            connection.execute(text(f"ALTER TABLE results ALTER {column} TYPE {kind}"))
        connection.execute(text(f"ALTER DATABASE {warehouse.url.database} SET timezone TO '{zone}'"))
    warehouse.dispose()

    write(ledger, warehouse)

    with warehouse.begin() as connection:
        connection.execute(text("SET timezone TO 'UTC'"))
        begun = connection.execute(
            text("SELECT to_char(started_at, 'YYYY-MM-DD HH24:MI:SS') FROM results")
        ).scalar_one()
    assert begun == "2023-11-14 22:13:20"


def test_a_column_that_cannot_hold_a_time_is_refused_with_the_type_to_use(
    ledger: Ledger, tell: Callable[..., None], warehouse: Engine
) -> None:
    if warehouse.dialect.name != "postgresql":
        pytest.skip("SQLite has no types for times")
    tell(1)
    write(ledger, warehouse)
    with warehouse.begin() as connection:
        connection.execute(text("ALTER TABLE results ALTER ended_at TYPE date"))

    with pytest.raises(OutboundBotConfigError, match=r"ended_at is a DATE.* change it to TIMESTAMP WITH TIME ZONE"):
        write(ledger, warehouse)
