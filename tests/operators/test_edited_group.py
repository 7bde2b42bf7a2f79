"""A create task that is cleared after its DAG was edited finds the group of before, and does not pass it off as new."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.outboundbot import OutboundBotCreateJobGroupOperator
from airflow_provider_outbound.simulator.testing import Simulator

START = datetime.now(UTC).replace(microsecond=0)
LATE = Strategy(working_time=[("00:00", "24:00")], start=START, end=START + timedelta(days=2))
EARLY = Strategy(working_time=[("00:00", "24:00")], start=START, end=START + timedelta(days=1))


def create(context: Callable[..., Any], **arguments: Any) -> Any:
    return OutboundBotCreateJobGroupOperator(**{"task_id": "create", "strategy": LATE, **arguments}).execute(
        context("create")
    )


def test_a_group_with_another_script_is_refused(simulator: Simulator, context: Callable[..., Any]) -> None:
    first = create(context)

    with pytest.raises(
        OutboundBotConfigError, match=r"script_id: .* A new DAG run would call its whole list .*Nothing was changed$"
    ):
        create(context, script_id="another")

    assert create(context) == create(context, script_id=simulator.script_id) == first
    assert list(simulator.state()["groups"]) == [first["job_group_id"]]


def test_a_group_with_another_window_is_named_in_the_log(
    simulator: Simulator, context: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    first = create(context)

    assert create(context) == first
    # Where Airflow writes an operator's log depends on what ran before.
    assert "keeps its window" not in caplog.text + "".join(capfd.readouterr())
    assert create(context, strategy=EARLY) == first

    logged = caplog.text + "".join(capfd.readouterr())
    assert f"dials until {first['ends_at']}" in logged
    assert "The group keeps its window; to change it, use OutboundBotModify" in logged
