"""A key is rotated between two tasks: nobody is called twice, and a key dropped too early calls nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.ledger.cipher import FieldCipher
from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import LedgerKeyError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.operators.results import OutboundBotExportResultsOperator
from airflow_provider_outbound.operators.steering import OutboundBotCancelJobsOperator, OutboundBotResumeJobsOperator
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)
OLD, NEW = os.environ["AIRFLOW__CORE__FERNET_KEY"], Fernet.generate_key().decode()


@pytest.fixture(params=["AIRFLOW__OUTBOUND__LEDGER_KEY", "AIRFLOW__CORE__FERNET_KEY"])
def use(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the keys, by our own option or, where that is not set, by Airflow's."""

    def set_keys(*keys: str) -> None:
        monkeypatch.setenv(request.param, ",".join(keys))

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    set_keys(OLD)
    return set_keys


def create(context: Callable[..., Any], run_id: str) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(
        context("create", run_id=run_id)
    )


def assign(context: Callable[..., Any], run_id: str, task_id: str = "assign", **arguments: Any) -> dict[str, Any]:
    operator = OutboundBotAssignJobsOperator(task_id=task_id, settle_seconds=0.3, **arguments)
    return operator.execute(context(task_id, run_id=run_id))


def jobs_per_number(simulator: Simulator) -> dict[str, int]:
    return {number: len(ids) for number, ids in simulator.state()["jobs_per_number"].items()}


def test_nobody_is_called_twice_after_a_rotation(
    simulator: Simulator,
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    use: Callable[..., None],
) -> None:
    group = create(context, "first")
    assert assign(context, "first", job_group_id=group, contacts=people(20))["newly_assigned"] == 20
    use(NEW, OLD)
    assert main(["ledger", "rekey"]) == 0
    use(NEW)

    again = assign(context, "first", job_group_id=group, contacts=people(20))
    other_task = assign(context, "first", "other", job_group_id=group, contacts=people(21))

    assert (again["newly_assigned"], again["assigned"]) == (0, 20)
    assert (other_task["newly_assigned"], other_task["duplicates"]) == (1, 20)
    assert jobs_per_number(simulator) == {f"138{index:08d}": 1 for index in range(21)}


def test_call_caps_hold_after_a_rotation(
    simulator: Simulator,
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    use: Callable[..., None],
) -> None:
    assign(context, "first", job_group_id=create(context, "first"), contacts=people(20))
    use(NEW, OLD)
    assert main(["ledger", "rekey"]) == 0
    use(NEW)

    result = assign(
        context,
        "second",
        job_group_id=create(context, "second"),
        contacts=people(21),
        max_calls_per_contact=1,
        period=timedelta(days=7),
    )

    assert (result["newly_assigned"], result["capped"]) == (1, 20)
    assert jobs_per_number(simulator) == {f"138{index:08d}": 1 for index in range(21)}


@pytest.mark.parametrize("has_migrated", [False, True])
def test_a_key_that_is_dropped_too_early_calls_nobody_and_is_named(
    simulator: Simulator,
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    use: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    has_migrated: bool,
) -> None:
    group = create(context, "first")
    assign(context, "first", job_group_id=group, contacts=people(10))
    use(NEW, OLD)
    if has_migrated:
        assert main(["ledger", "migrate"]) == 0
    use(NEW)

    with pytest.raises(LedgerKeyError, match=FieldCipher([OLD]).key_ids[0]):
        assign(context, "first", job_group_id=group, contacts=people(20))
    with pytest.raises(LedgerKeyError, match=FieldCipher([OLD]).key_ids[0]):
        OutboundBotExportResultsOperator(task_id="export", job_group_id=group, path="/nowhere/a.csv").execute({})

    assert len(jobs_per_number(simulator)) == 10
    assert main(["doctor", "--no-rocketmq"]) == 1
    assert FieldCipher([OLD]).key_ids[0] in capsys.readouterr().out


def test_calls_can_be_stopped_while_a_key_is_missing_and_not_resumed(
    simulator: Simulator,
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    use: Callable[..., None],
) -> None:
    group = create(context, "first")
    assign(context, "first", job_group_id=group, contacts=people(10))
    use(NEW, OLD)
    assert main(["ledger", "migrate"]) == 0
    use(NEW)

    with pytest.raises(LedgerKeyError):
        OutboundBotResumeJobsOperator(task_id="resume", job_group_id=group, all_jobs=True).execute(context("resume"))
    assert main(["suspend", group["job_group_id"]]) == 0
    OutboundBotCancelJobsOperator(
        task_id="cancel", job_group_id=group, all_jobs=True, wait_for_completion=False
    ).execute(context("cancel"))
    assert main(["cancel", "--all", "--yes"]) == 0
