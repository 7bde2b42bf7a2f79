"""Tables of results on MySQL and MariaDB, whose defaults would make one row of two results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from support.messages import call, job_complete, store
from support.mysql import PARAMS, database

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.core.results import export_to_table
from airflow_provider_outbound.exceptions import OutboundBotConfigError

GROUP = "group-1"
#: They differ in case, accents, width, a trailing space, and by characters beyond the first 16 bits.
REFERENCES = ["Ref-A", "ref-a", "réf-a", "ref-a ", "ｒef-a", "ref-ß", "ref-ss", "ref-😀", "ref-😁"]
BINARY = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@pytest.fixture(params=PARAMS)
def warehouse(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with database(request.param, "CHARACTER SET utf8mb3") as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


def write(ledger: Ledger, warehouse: Engine, table: str = "results", **options: Any) -> dict[str, Any]:
    with warehouse.connect() as connection:
        return export_to_table(ledger, GROUP, connection, table, **options)


def column_of(warehouse: Engine, column: str, table: str = "results") -> list[Any]:
    with warehouse.connect() as connection:
        return list(connection.execute(text(f"SELECT {column} FROM {table}")).scalars())


def record(ledger: Ledger, references: list[str]) -> None:
    store(
        ledger,
        *(
            job_complete(
                GROUP,
                f"job-{reference}",
                f"138{number:08}",
                reference,
                call(f"call-{reference}", at=1, endTime=1_700_000_039_987),
                at=1_700_000_039_987,
                name="😀",
            )
            for number, reference in enumerate(references)
        ),
    )


def own_table(warehouse: Engine, ledger: Ledger, *changes: str) -> None:
    """A table that an export has made, changed by its author; empty."""
    record(ledger, ["r-1"])
    write(ledger, warehouse)
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM results"))
        for change in changes:
            connection.execute(text(f"ALTER TABLE results {change}"))


def test_each_reference_keeps_its_row_and_each_time_its_milliseconds(ledger: Ledger, warehouse: Engine) -> None:
    record(ledger, REFERENCES)

    for _ in range(2):
        assert write(ledger, warehouse, include_phone_number=True)["rows"] == len(REFERENCES)

    assert sorted(column_of(warehouse, "reference_id")) == sorted(REFERENCES)
    assert set(column_of(warehouse, "name")) == {"😀"}
    assert set(column_of(warehouse, "ended_at")) == {datetime(2023, 11, 14, 22, 13, 59, 987_000)}  # noqa: DTZ001


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            "MODIFY reference_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL",
            r"column reference_id has the collation utf8mb4_general_ci, .*run ALTER TABLE results MODIFY reference_id"
            r" VARCHAR\(256\) CHARACTER SET utf8mb4 COLLATE utf8mb4_(0900|nopad)_bin NOT NULL",
            id="ignores-case",
        ),
        pytest.param(
            "MODIFY job_group_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL",
            "column job_group_id has the collation utf8mb4_unicode_ci",
            id="group-ignores-case",
        ),
        pytest.param("MODIFY reference_id BIGINT NOT NULL", "column reference_id is of type bigint", id="number"),
        pytest.param("ADD UNIQUE KEY once (job_id(64))", "its unique key once could make one row", id="other-key"),
        pytest.param(
            "ADD UNIQUE KEY beginning (job_group_id, reference_id(2))", "its unique key beginning", id="prefix"
        ),
        pytest.param(
            f"MODIFY job_group_id VARCHAR(99) {BINARY} NOT NULL, MODIFY reference_id VARCHAR(99) {BINARY} NOT NULL,"
            " ENGINE = MyISAM",
            "its engine MyISAM has no transactions",
            id="no-transactions",
        ),
        pytest.param("MODIFY ended_at TIMESTAMP NULL", "change it to DATETIME", id="moving-times"),
    ],
)
def test_a_table_that_would_lose_results_is_refused_before_anything_is_written(
    ledger: Ledger, warehouse: Engine, change: str, words: str
) -> None:
    own_table(warehouse, ledger, change)

    with pytest.raises(OutboundBotConfigError, match=words) as caught:
        write(ledger, warehouse)

    assert str(caught.value).endswith("Nothing was written")
    assert not column_of(warehouse, "reference_id")


def test_the_fix_that_an_error_names_is_one(ledger: Ledger, warehouse: Engine) -> None:
    wrong = "MODIFY reference_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL"
    own_table(warehouse, ledger, wrong)
    with pytest.raises(OutboundBotConfigError) as caught:
        write(ledger, warehouse)

    with warehouse.begin() as connection:
        connection.execute(text(str(caught.value).partition("; run ")[2].partition(", or name")[0]))
    record(ledger, ["Ref", "ref"])
    write(ledger, warehouse)

    assert sorted(column_of(warehouse, "reference_id")) == ["Ref", "r-1", "ref"]


def test_a_table_with_a_counter_as_its_primary_key_is_written(ledger: Ledger, warehouse: Engine) -> None:
    counter = "DROP PRIMARY KEY, ADD id BIGINT AUTO_INCREMENT PRIMARY KEY, ADD UNIQUE (reference_id, job_group_id)"
    own_table(warehouse, ledger, counter)

    for _ in range(2):
        write(ledger, warehouse)

    assert column_of(warehouse, "reference_id") == ["r-1"]


def test_a_column_that_ignores_trailing_spaces_refuses_a_reference_that_ends_with_one(
    ledger: Ledger, warehouse: Engine
) -> None:
    own_table(warehouse, ledger, f"MODIFY reference_id VARCHAR(256) {BINARY} NOT NULL")
    record(ledger, ["Ref", "ref"])
    assert write(ledger, warehouse)["rows"] == 3
    record(ledger, ["x", "x "])

    with pytest.raises(OutboundBotConfigError, match="reference_id 'x ' ends with a space, which utf8mb4_bin ignores"):
        write(ledger, warehouse)

    assert "x" not in column_of(warehouse, "reference_id")


def test_a_value_that_does_not_fit_is_an_error_whatever_the_servers_mode(ledger: Ledger, warehouse: Engine) -> None:
    own_table(warehouse, ledger, f"MODIFY reference_id VARCHAR(4) {BINARY} NOT NULL")
    record(ledger, ["ref-1", "ref-2"])
    lenient = create_engine(warehouse.url, connect_args={"init_command": "SET SESSION sql_mode = ''"})

    with pytest.raises(Exception, match="Data too long"):
        write(ledger, lenient)

    lenient.dispose()
    assert not column_of(warehouse, "reference_id")


def test_a_connection_that_commits_by_itself_leaves_no_half_table(
    ledger: Ledger, warehouse: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_table(warehouse, ledger)
    (result,) = ledger.results.iter_results(GROUP)
    committing = create_engine(warehouse.url, connect_args={"autocommit": True})

    def broken(_table: str) -> Any:
        for _ in range(1200):
            yield result
        raise RuntimeError("lost")

    # The ledger is broken on purpose: nothing outside it can make a reader fail half way.
    monkeypatch.setattr(ledger.results, "iter_results", broken)
    with pytest.raises(RuntimeError, match="lost"):
        write(ledger, committing)

    committing.dispose()
    assert not column_of(warehouse, "reference_id")


def test_times_of_whole_seconds_are_logged(ledger: Ledger, warehouse: Engine, caplog: pytest.LogCaptureFixture) -> None:
    own_table(warehouse, ledger, "MODIFY ended_at DATETIME")

    with caplog.at_level(logging.WARNING):
        write(ledger, warehouse)

    assert "'results': ended_at hold whole seconds" in caplog.text


def test_a_batch_is_one_statement(ledger: Ledger, warehouse: Engine) -> None:
    record(ledger, [f"r-{number:04}" for number in range(1001)])
    with warehouse.connect() as connection:
        questions = "SHOW SESSION STATUS LIKE 'Com_insert'"
        before = int(connection.exec_driver_sql(questions).one()[1])
        connection.rollback()
        export_to_table(ledger, GROUP, connection, "results")
        after = int(connection.exec_driver_sql(questions).one()[1])

    assert after - before == 3
    assert len(column_of(warehouse, "reference_id")) == 1001
    assert inspect(warehouse).get_pk_constraint("results")["constrained_columns"] == ["job_group_id", "reference_id"]
