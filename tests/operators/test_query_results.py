"""A query in MaxCompute runs once a task: its later tries, also in other processes, read the result of the first."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from support.maxcompute import MaxCompute, serve
from support.processes import until

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotContactsError, OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

SQL = "SELECT phone FROM people ORDER BY RAND() LIMIT 25"
FIRST, LATER = range(13800000000, 13800000025), range(13900000000, 13900000025)


def rows(numbers: range) -> list[tuple[int]]:
    return [(number,) for number in numbers]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[MaxCompute]:
    with serve({"phone": "bigint"}) as state:
        state.results[SQL] = rows(FIRST)
        monkeypatch.setenv("AIRFLOW_CONN_ODPS", state.connection)
        yield state
        state.resume.set()


@pytest.fixture
def group(context: Callable[..., Any], cloud: MaxCompute) -> dict[str, Any]:
    made: dict[str, Any] = OutboundBotCreateJobGroupOperator(
        task_id="create", strategy=Strategy(working_time=[("00:00", "23:59:59")])
    ).execute(context("create"))
    return made


def assign(group: dict[str, Any], **arguments: Any) -> OutboundBotAssignJobsOperator:
    arguments = {"contacts_sql": SQL, "sql_conn_id": "odps", "settle_seconds": 0.3, **arguments}
    return OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, **arguments)


def called(simulator: Simulator) -> set[int]:
    return {int(number) for number in simulator.state()["jobs_per_number"]}


def lose_answers(simulator: Simulator, context: Callable[..., Any], group: dict[str, Any]) -> None:
    """Let a first try fail after it has assigned some people, of which it does not know."""
    simulator.faults(answer_lost={"actions": ["AssignJobs", "ListJobsByGroup"]})
    with pytest.raises(OutboundBotError, match="ListJobsByGroup"):
        assign(group, max_jobs=5).execute(context("assign", max_tries=1))
    simulator.faults()
    assert called(simulator) == set(FIRST[:5])


_TRY = """
import sys
from types import SimpleNamespace
from datetime import UTC, datetime
from airflow_provider_outbound.operators.outboundbot import OutboundBotAssignJobsOperator

ti = SimpleNamespace(
    dag_id="campaign", run_id="run", task_id="assign", map_index=-1, try_number=1, max_tries=1
)
run = SimpleNamespace(run_after=datetime.now(UTC), run_type="scheduled", logical_date=None)
OutboundBotAssignJobsOperator(
    task_id="assign", job_group_id=sys.argv[1], contacts_sql=sys.argv[2], sql_conn_id="odps", settle_seconds=0.3
).execute({"ti": ti, "dag_run": run, "outlet_events": {}})
"""


def test_a_try_after_a_kill_calls_those_who_were_validated(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], cloud: MaxCompute
) -> None:
    # Once to see that there are rows, once to validate them, and then to send them.
    cloud.pause_from = 2
    first = subprocess.Popen([sys.executable, "-c", _TRY, group["job_group_id"], SQL])
    until(lambda: len(cloud.ranges) == 3 or first.poll() is not None, "the first try begins to send")
    first.kill()
    first.wait()
    assert called(simulator) == set()
    cloud.resume.set()
    cloud.results[SQL] = rows(LATER)
    with OutboundBotHook() as hook, hook.ledger.write() as connection:
        # As if the time of the killed try's lease had passed.
        connection.execute(text("UPDATE assignments SET lease_until = opened_at"))

    result = assign(group).execute(context("assign", try_number=2, max_tries=1))

    assert called(simulator) == set(FIRST)
    assert result["newly_assigned"] == 25
    assert len(cloud.statements) == 1


def test_a_try_after_a_failure_goes_on_with_the_same_people(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    cloud: MaxCompute,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    lose_answers(simulator, context, group)
    cloud.results[SQL] = rows(LATER)

    result = assign(group).execute(context("assign", try_number=2, max_tries=1))

    assert called(simulator) == set(FIRST)
    assert (result["read"], result["assigned"]) == (25, 25)
    assert len(cloud.statements) == 1
    assert "the rows are those of instance 0, which an earlier try read" in caplog.text


def test_a_result_that_is_gone_is_not_replaced_by_another(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], cloud: MaxCompute
) -> None:
    lose_answers(simulator, context, group)
    before = called(simulator)
    cloud.results[SQL] = cloud.results[f"{SQL} -- again"] = rows(LATER)
    cloud.has_expired = True
    with pytest.raises(OutboundBotContactsError, match="the result of instance 0, which an earlier try read") as caught:
        assign(group).execute(context("assign", try_number=2, max_tries=2))

    assert str(caught.value).endswith("to run it anew. Nobody was called in this try")
    assert not re.search(r"13\d{9}|\n", str(caught.value))
    assert called(simulator) == before

    # As the error advises.
    cloud.has_expired = False
    assign(group, contacts_sql=f"{SQL} -- again").execute(context("assign", try_number=3, max_tries=2))
    assert called(simulator) == before | set(LATER)


def test_a_task_that_is_run_again_after_its_success_runs_its_query_again(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], cloud: MaxCompute
) -> None:
    assign(group).execute(context("assign"))
    cloud.results[SQL] = rows(LATER)

    result = assign(group).execute(context("assign", try_number=2))

    assert called(simulator) == {*FIRST, *LATER}
    assert (result["assigned"], result["newly_assigned"]) == (50, 25)


@pytest.mark.parametrize("on_invalid", ["fail", "skip"])
def test_rows_that_nobody_can_be_called_by_may_be_corrected(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], cloud: MaxCompute, on_invalid: str
) -> None:
    cloud.results[SQL] = [(1,), (2,)]
    with pytest.raises(OutboundBotContactsError):
        assign(group, on_invalid=on_invalid).execute(context("assign", max_tries=1))
    cloud.results[SQL] = rows(LATER)

    assign(group, on_invalid=on_invalid).execute(context("assign", try_number=2, max_tries=1))

    assert called(simulator) == set(LATER)


def test_the_ledger_keeps_no_text_of_a_query(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], cloud: MaxCompute
) -> None:
    query = f"{SQL} -- without 13800138000"
    cloud.results[query] = rows(FIRST)
    simulator.faults(answer_lost={"actions": ["AssignJobs", "ListJobsByGroup"]})
    with pytest.raises(OutboundBotError):
        assign(group, contacts_sql=query).execute(context("assign", max_tries=1))

    with OutboundBotHook() as hook, hook.ledger.read() as connection:
        (stored,) = connection.execute(text("SELECT query_result FROM assignments")).scalars()
    assert json.loads(stored).keys() == {"query", "instance_id"}
    assert "138" not in json.loads(stored)["instance_id"]
    assert re.fullmatch("[0-9a-f]{32}", json.loads(stored)["query"])
