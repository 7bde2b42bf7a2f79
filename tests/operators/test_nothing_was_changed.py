"""A job group that exists may be dialling, so no error about it says that nobody was called."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import (
    NOBODY_WAS_CALLED,
    NOTHING_WAS_CHANGED,
    LedgerKeyError,
    OutboundBotConfigError,
)
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
    OutboundBotModifyJobGroupOperator,
    OutboundBotResumeJobsOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
LATE = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def group(context: Callable[..., Any]) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


@pytest.mark.parametrize(
    ("operator", "arguments", "run"),
    [
        pytest.param(OutboundBotModifyJobGroupOperator, {"priority": "Urgent"}, {"run_after": LATE}, id="late-change"),
        pytest.param(
            OutboundBotModifyJobGroupOperator, {"strategy": ALL_DAY}, {"run_type": "backfill"}, id="changed-by-backfill"
        ),
        pytest.param(OutboundBotModifyJobGroupOperator, {"strategy": {"workingTime": []}}, {}, id="strategy"),
        pytest.param(OutboundBotModifyJobGroupOperator, {}, {}, id="no-change"),
        pytest.param(OutboundBotResumeJobsOperator, {"all_jobs": True}, {"run_after": LATE}, id="late-resumption"),
        pytest.param(OutboundBotCancelJobsOperator, {}, {}, id="no-jobs-named"),
    ],
)
def test_an_error_before_a_change_says_that_nothing_was_changed(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    operator: Callable[..., Any],
    arguments: dict[str, Any],
    run: dict[str, Any],
) -> None:
    with pytest.raises(OutboundBotConfigError) as caught:
        operator(task_id="task", job_group_id=group, **arguments).execute(context(**run))

    assert str(caught.value).endswith(f". {NOTHING_WAS_CHANGED}")
    assert NOBODY_WAS_CALLED not in str(caught.value)
    assert not {"ModifyJobGroup", "ResumeJobs", "CancelJobs"} & simulator.state()["requests"].keys()


def test_a_missing_key_says_that_nobody_was_called_only_where_people_would_be(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], tmp_path: Path
) -> None:
    """Another machine has written with a new key, which this one lacks."""
    keys = [Fernet.generate_key().decode(), os.environ["AIRFLOW__CORE__FERNET_KEY"]]
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", keys) as ledger, ledger.write():
        pass

    with pytest.raises(LedgerKeyError, match=rf"which is not among the keys given .*\. {NOBODY_WAS_CALLED}\Z"):
        OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, contacts=["13800000000"]).execute(context())
    with pytest.raises(LedgerKeyError) as caught:
        OutboundBotExportResultsOperator(task_id="export", job_group_id=group, path=f"{tmp_path}/a.csv").execute(
            context()
        )

    assert NOBODY_WAS_CALLED not in str(caught.value)
