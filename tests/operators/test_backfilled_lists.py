"""A backfill of the DAG that writes the lists triggers DAGs that call: nobody is called unless the author said so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotWrongTimeError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "24:00")])
LIST = Asset("list", uri="file:///nowhere/people.csv")


def triggered_by(*events: Any) -> dict[str, Any]:
    return {"triggering_asset_events": {LIST: list(events)}}


def event(run_id: str | None, run_type: str | None = None) -> SimpleNamespace:
    """An event as Airflow gives it to a task; the DAG run that made it can be looked up."""
    run = None if run_type is None else SimpleNamespace(run_id=run_id, run_type=run_type)
    return SimpleNamespace(
        source_dag_id="lists", source_run_id=run_id, source_dag_run=run, timestamp=datetime.now(UTC), extra={}
    )


class Unknown(SimpleNamespace):
    """An event whose DAG run Airflow does not know."""

    @property
    def source_dag_run(self) -> None:
        raise RuntimeError("DAGRUN_NOT_FOUND")


DAILY = event("scheduled__2026-11-26", "scheduled")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([event("backfill__2026-10-01", "backfill")], id="backfill"),
        pytest.param([DAILY, event("backfill__2026-10-01", "backfill")], id="one of several"),
        pytest.param([event("scheduled__2026-10-01", "backfill")], id="a scheduled run that a backfill ran again"),
        pytest.param([Unknown(source_dag_id="lists", source_run_id="scheduled__2026-10-01")], id="unknown"),
    ],
)
def test_nobody_is_called_by_the_backfill_of_a_list(
    simulator: Simulator, context: Callable[..., Any], events: list[Any]
) -> None:
    create: dict[str, Any] = {"task_id": "create", "strategy": ALL_DAY}
    assign: dict[str, Any] = {"task_id": "assign", "contacts": ["13800000000"], "settle_seconds": 0.3}
    group = OutboundBotCreateJobGroupOperator(**create).execute(context("create"))
    run = triggered_by(*events)

    with pytest.raises(OutboundBotWrongTimeError, match=r"backfill.* pass allow_backfill=True.* Nobody was called"):
        OutboundBotCreateJobGroupOperator(**create).execute(context("another") | run)
    with pytest.raises(OutboundBotWrongTimeError, match=r"backfill.* pass allow_backfill=True.* Nobody was called"):
        OutboundBotAssignJobsOperator(job_group_id=group, **assign).execute(context("assign") | run)
    assert not simulator.state()["jobs_per_number"]

    late = context("assign", run_after=datetime.now(UTC) - timedelta(hours=13)) | run
    allowed = OutboundBotAssignJobsOperator(job_group_id=group, allow_backfill=True, **assign)
    with pytest.raises(OutboundBotWrongTimeError, match="longer ago than max_run_age"):
        allowed.execute(late)
    assert allowed.execute(context("assign") | run)["assigned"] == 1


def test_lists_of_today_are_called(simulator: Simulator, context: Callable[..., Any]) -> None:
    # Nobody's run made the second one: a person or another program did.
    run = triggered_by(DAILY, event(None))

    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create") | run)
    assign = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, contacts=["13800000000"])

    assert assign.execute(context("assign") | run)["assigned"] == 1
