"""Who asked not to be called is not called by the next campaign."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from support.messages import call, job_complete, store

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotSaveContactBlockListOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)
#: The simulator hangs up on the client's behalf for numbers that end in 43.
HUNG_UP = "SucceededClientHangUp"


def campaign(context: Callable[..., Any], run_id: str, contacts: list[Any]) -> dict[str, Any]:
    create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
    group = create.execute(context("create", run_id=run_id))
    assign = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, contacts=contacts, settle_seconds=0.3)
    assign.execute(context("assign", run_id=run_id))
    return group


def save(**arguments: Any) -> OutboundBotSaveContactBlockListOperator:
    return OutboundBotSaveContactBlockListOperator(**{"task_id": "block", "only": HUNG_UP, **arguments})


def ended_jobs(simulator: Simulator, group: dict[str, Any]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while True:
        jobs: list[dict[str, Any]] = simulator.state()["groups"][group["job_group_id"]]["jobs"]
        if all(job["status"] in ("Succeeded", "Failed") for job in jobs):
            return jobs
        assert time.monotonic() < deadline
        time.sleep(0.05)


def take_in(operator: OutboundBotSaveContactBlockListOperator, group: dict[str, Any]) -> None:
    """Fetch what came of a group, as the sensor does."""
    with operator.hook as hook:
        jobs = hook.client.iter_jobs_with_result(job_group_id=group["job_group_id"])
        hook.ledger.results.record_listing(group["job_group_id"], jobs)


def test_who_said_so_in_the_conversation_is_found_by_its_tag(
    simulator: Simulator, context: Callable[..., Any], people: Callable[[int], list[dict[str, str]]]
) -> None:
    """The simulator's people with numbers that end in 38 and 39 ask not to be called; nobody asked the API before."""
    group = campaign(context, "first", people(60))
    ended_jobs(simulator, group)
    operator = save(job_group_id=group, only="tag:do_not_call=yes")
    take_in(operator, group)

    assert operator.execute(context())["saved"] == 2
    assert save(job_group_id=group, only="tag:do_not_call=yes").execute(context())["saved"] == 0


def test_who_hung_up_is_not_dialled_by_the_next_campaign(
    simulator: Simulator,
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = campaign(context, "first", people(60))
    ended_jobs(simulator, first)
    operator = save(job_group_id=first, remark="hung up")
    take_in(operator, first)

    result = operator.execute(context())
    again = save(job_group_id=first).execute(context())
    second = campaign(context, "second", people(60))

    assert result == {"job_group_id": first["job_group_id"], "saved": 1}
    assert again["saved"] == 0
    jobs = {job["phone_number"]: job for job in ended_jobs(simulator, second)}
    assert jobs["13800000043"]["failure_reason"] == "ContactBlockList"
    assert [job["failure_reason"] for job in jobs.values()].count("ContactBlockList") == 1
    assert "13800000043" not in caplog.text + json.dumps(result)


def test_nobody_is_blocked_in_a_dry_run(
    simulator: Simulator,
    context: Callable[..., Any],
    connection: Callable[..., None],
    people: Callable[[int], list[dict[str, str]]],
) -> None:
    group = campaign(context, "first", people(50))
    connection({"dry_run": True})

    with pytest.raises(AirflowSkipException, match="dry run"):
        save(job_group_id=group).execute(context())

    assert "SaveContactBlockList" not in simulator.state()["requests"]


@pytest.mark.parametrize("only", ["", "nonsense"])
def test_it_must_be_said_who_is_meant(simulator: Simulator, context: Callable[..., Any], only: str) -> None:
    with pytest.raises(OutboundBotConfigError, match="only"):
        save(job_group_id="group-1", only=only).execute(context())

    assert "SaveContactBlockList" not in simulator.state()["requests"]


def test_somebody_who_cannot_be_blocked_fails_the_task_after_the_others_are(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    operator = save(job_group_id="group-1")
    with operator.hook as hook:
        for n, phone in enumerate(("13800000043", None)):
            store(hook.ledger, job_complete("group-1", f"job-{n}", phone, f"r-{n}", call(f"call-{n}", HUNG_UP)))

    with pytest.raises(OutboundBotContactsError, match="1 person is not on the block list, 1 because another program"):
        operator.execute(context())

    assert simulator.run(lambda cloud: list(cloud.block_list)) == ["13800000043"]


def test_who_was_erased_from_the_ledger_fails_no_task(
    simulator: Simulator,
    context: Callable[..., Any],
    people: Callable[[int], list[dict[str, str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No key brings the number back, so the task could never succeed again."""
    group = campaign(context, "first", people(60))
    ended_jobs(simulator, group)
    operator = save(job_group_id=group)
    take_in(operator, group)
    with operator.hook as hook:
        hook.ledger.persons.forget("+8613800000043")

    result = operator.execute(context())

    assert result["saved"] == 0
    assert "1 person was erased from the ledger since" in capsys.readouterr().out


def test_a_group_that_has_not_ended_is_a_warning(
    simulator: Simulator, context: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks not to be called in one of the remaining calls is not among them."""
    simulator.set_clock(speed=0)
    group = campaign(context, "first", ["13800000043", "13800000044"])

    result = save(job_group_id=group).execute(context())

    assert result["saved"] == 0
    assert "2 of 2 jobs have not ended; their results are not in what this task puts on the block list" in caplog.text
