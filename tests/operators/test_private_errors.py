"""Whatever library or generator fails on a phone number: the task's log does not show it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotSyncContactBlockListOperator,
)
from airflow_provider_outbound.operators.privacy import without_numbers
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
NUMBER = "13877665546"
#: How a traceback could show it.
SHOWN = (NUMBER, "138 7766 5546", "138-7766-5546", f"+86{NUMBER}")


class Strange:
    """A cell whose type is unknown, and which shows a number."""

    def __str__(self) -> str:
        return NUMBER

    def __repr__(self) -> str:
        return f"Strange({NUMBER})"


def failing(kind: str) -> Iterator[Any]:
    """Contacts that an author's generator reads until it fails."""
    yield {"phone": "13800000000"}
    if kind == "error":
        raise ValueError(f"bad number: {NUMBER}")
    if kind == "key":
        raise KeyError(NUMBER)
    if kind == "note":
        error = RuntimeError("bad row")
        error.add_note(f"it is {NUMBER}")
        raise error
    if kind == "group":
        raise ExceptionGroup("bad rows", [ValueError(NUMBER), OSError(2, "no such file", f"/data/{NUMBER}.csv")])
    if kind == "decode":
        raise UnicodeDecodeError("utf-8", NUMBER.encode() + b"\xff", 11, 12, f"near {NUMBER}")
    if kind == "file":
        Path(f"/nowhere/{NUMBER}.csv").open()  # noqa: SIM115 - it does not exist
    try:
        int(f"{NUMBER[:3]}-{NUMBER[3:7]}-{NUMBER[7:]}")
    except ValueError as error:
        if kind == "cause":
            raise RuntimeError("bad row") from error
        raise RuntimeError("bad row") from None if kind == "hidden" else RuntimeError(f"row of {NUMBER}")


def database(folder: Path) -> str:
    path = folder / "people.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE people (phone TEXT)")
        connection.execute("INSERT INTO people VALUES (CAST(? AS TEXT))", (NUMBER.encode() + b"\xff",))
    return json.dumps({"conn_type": "sqlite", "host": str(path)})


def sources(folder: Path) -> dict[str, dict[str, Any]]:
    """Arguments with which an assignment fails, each in its own way."""
    (folder / f"{NUMBER}.csv").write_text(f'phone,name\n{NUMBER}x,Li "{NUMBER}\n')
    (folder / "cut.jsonl").write_text(f'{{"phone": "{NUMBER}"')
    (folder / "parquet.parquet").write_bytes(f"PAR1 {NUMBER} PAR1".encode())
    (folder / "book.xlsx").write_bytes(b"PK\x03\x04" + NUMBER.encode())
    mixed = pd.DataFrame({"phone": [NUMBER, Strange()]})
    kinds = ("error", "key", "note", "group", "decode", "file", "cause", "hidden", "context")
    return {
        **{f"generator_{kind}": {"contacts": failing(kind)} for kind in kinds},
        "frame": {"contacts": mixed},
        "list": {"contacts": [Strange()]},
        "csv": {"contacts_path": f"{folder}/{NUMBER}.csv"},
        "jsonl": {"contacts_path": f"{folder}/cut.jsonl"},
        "parquet": {"contacts_path": f"{folder}/parquet.parquet"},
        "workbook": {"contacts_path": f"{folder}/book.xlsx"},
        "file": {"contacts_path": f"file:///nowhere/{NUMBER}.csv"},
        "undecodable": {"contacts_sql": "SELECT phone FROM people", "sql_conn_id": "people_db"},
        "column": {"contacts_sql": f'SELECT "{NUMBER}".phone FROM people', "sql_conn_id": "people_db"},
        "exclude": {"contacts": ["13800000000"], "exclude": failing("error")},
        "template": {"contacts": [{"phone": f"{{{{ {NUMBER} {NUMBER} }}}}"}]},
        "call": {"contacts": [{"phone": f"{{{{ '{NUMBER}'.nothing() }}}}"}]},
        "filter": {"contacts": [{"phone": f"{{{{ '{NUMBER}' | strptime }}}}"}]},
    }


def test_no_error_shows_a_number_in_the_log_of_its_task(
    simulator: Simulator,
    airflow_home: Path,
    run_dag: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", database(tmp_path))
    ways = sources(tmp_path)
    with DAG("private_errors", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        for name, arguments in ways.items():
            OutboundBotAssignJobsOperator(task_id=name, job_group_id=create.output, settle_seconds=0.3, **arguments)
        OutboundBotSyncContactBlockListOperator(task_id="sync", exclude=failing("cause"))

    run = run_dag(dag)

    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    assert {name: states[name] for name in (*ways, "sync")} == dict.fromkeys((*ways, "sync"), "failed")
    written = "".join(capfd.readouterr())
    written += "".join(log.read_text() for log in (airflow_home / "logs").rglob("dag_id=private_errors/**/*.log"))
    assert "Traceback" in written or "exc_type" in written
    for text in SHOWN:
        assert text not in written, written[max(0, written.find(text) - 1500) :][:1700]


@pytest.mark.parametrize("kind", [AirflowSkipException, AirflowFailException, KeyError, OutboundBotError])
def test_an_error_keeps_its_type_and_its_traceback(kind: type[Exception]) -> None:
    def fails() -> None:
        raise kind(f"{NUMBER} asked not to be called")

    with pytest.raises(kind) as caught, without_numbers():
        fails()

    assert NUMBER not in str(caught.value)
    assert "asked not to be called" in str(caught.value)
    assert caught.traceback[-1].name == "fails"


def test_an_error_without_a_number_stays_as_it_is() -> None:
    error = ValueError("order 20261126001")

    with pytest.raises(ValueError, match="order 20261126001") as caught, without_numbers():
        raise error from KeyError("x")

    assert caught.value is error
    assert isinstance(caught.value.__cause__, KeyError)
