"""Lists whose names depend on the run: in a run without that date, nobody outside the list that was meant is called."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task
from support.oss_server import OssServer

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
ANNA, BERT, CLEO = "13800000001", "13800000002", "13800000003"
Run = Callable[..., Any]
Context = Callable[..., Any]


def states(run: DagRun) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def called(simulator: Simulator) -> list[str]:
    return sorted(simulator.state()["jobs_per_number"])


def assign(group: Any, **arguments: Any) -> OutboundBotAssignJobsOperator:
    given = {"task_id": "assign", "settle_seconds": 0.3, "contacts": [ANNA, BERT, CLEO], **arguments}
    return OutboundBotAssignJobsOperator(job_group_id=group, **given)


def fails(operator: OutboundBotAssignJobsOperator, full: Any) -> bool:
    """Render and execute a task as Airflow does; whether it failed or was skipped."""
    try:
        operator.render_template_fields(full)
        operator.execute(full)
    except Exception:
        return True
    return False


@pytest.fixture
def people_db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of people who must not be called."""
    path = tmp_path / "people.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE dnc (phone TEXT, note TEXT)")
        connection.executemany("INSERT INTO dnc VALUES (?, ?)", [(ANNA, "asked"), ("13900000000", f"wife: {CLEO}")])
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))


@pytest.mark.usefixtures("people_db")
@pytest.mark.parametrize("how", ["frame", "dictionaries"])
def test_a_list_from_a_database_through_a_task(simulator: Simulator, run_dag: Run, how: str) -> None:
    with DAG(f"dnc_{how}", schedule=None) as dag:

        @task
        def do_not_call() -> Any:
            from airflow.providers.sqlite.hooks.sqlite import SqliteHook

            hook: Any = SqliteHook  # untyped
            frame = hook("people_db").get_df("SELECT phone, note FROM dnc", df_type="pandas")
            return frame if how == "frame" else frame.to_dict("records")

        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        assign(create.output, exclude=do_not_call())

    run = run_dag(dag)

    assert states(run)["assign"] == "success"
    assert called(simulator) == [BERT]


@pytest.mark.parametrize("rows", [[(ANNA, "asked")], [[ANNA]], [(ANNA,)]])
def test_rows_without_column_names_as_an_sql_operator_returns_them_call_nobody(
    simulator: Simulator, context: Context, rows: list[Any]
) -> None:
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))

    with pytest.raises(OutboundBotContactsError, match=r"neither a dictionary nor a number; name its columns"):
        assign(group, exclude=rows).execute(context("assign"))

    assert not called(simulator)


@pytest.mark.parametrize(
    ("day", "conf", "expected"),
    [
        pytest.param("{{ ds }}", {}, "failed", id="ds"),
        pytest.param("{{ dag_run.conf['day'] }}", {}, "failed", id="conf"),
        pytest.param("{{ dag_run.conf.get('day') }}", {}, "failed", id="conf-get"),
        pytest.param("{{ dag_run.conf['day'] }}", {"day": ""}, "failed", id="empty"),
        pytest.param("{{ dag_run.conf['day'] }}", {"day": "2026-11-26"}, "success", id="given"),
        pytest.param("{{ (dag_run.logical_date or dag_run.run_after) | ds }}", {}, "failed", id="no-list-of-today"),
    ],
)
def test_a_do_not_call_list_in_oss_in_a_run_without_a_date(
    simulator: Simulator, context: Context, oss: OssServer, day: str, conf: dict[str, str], expected: str
) -> None:
    oss.put("campaigns/dnc/2026-11-26/LIST.CSV", f"phone,note\n{ANNA},\n13900000000,and {CLEO} too\n".encode())
    oss.put("campaigns/dnc/old.csv", b"phone\n13900000001\n")
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    full = context("assign")
    full["dag_run"].conf = conf

    failed = fails(assign(group, exclude_path=f"oss://oss_test@campaigns/dnc/{day}/*.csv"), full)

    assert failed is (expected == "failed")
    assert called(simulator) == ([BERT] if expected == "success" else [])


@pytest.mark.parametrize("argument", ["contacts_path", "exclude_path"])
@pytest.mark.parametrize("store", ["", "file://"])
def test_a_path_without_the_part_that_names_the_day_calls_nobody(
    simulator: Simulator, context: Context, tmp_path: Path, argument: str, store: str
) -> None:
    """Without it, the path names the list of somebody else."""
    (tmp_path / "list.csv").write_text(f"phone\n{ANNA}\n")
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    full: Any = {**context("assign"), "params": {"day": ""}}
    contacts = None if argument == "contacts_path" else [ANNA, BERT]
    operator = assign(group, contacts=contacts, **{argument: f"{store}{tmp_path}/{{{{ params.day }}}}/list.csv"})

    nothing = rf"^{argument}: an expression .* gives .* nothing: .*Nobody was called$"
    with pytest.raises(OutboundBotConfigError, match=nothing):
        operator.render_template_fields(full)

    # A task that returns the path is no template.
    setattr(operator, argument, f"{store}{tmp_path}//list.csv")
    with pytest.raises(OutboundBotContactsError, match=rf"^{argument}: .* has an empty part .*Nobody was called$"):
        operator.execute(full)
    assert not called(simulator)
