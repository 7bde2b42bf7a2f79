"""Those not reached by one group are called by another, numbers going by the ledger alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from support.processes import until

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)


def create(context: Callable[..., Any], run_id: str) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(
        context("create", run_id=run_id)
    )


def assign(**arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(**{"task_id": "assign", "settle_seconds": 0.3, **arguments})


@pytest.fixture
def called(
    simulator: Simulator, context: Callable[..., Any], people: Callable[[int], list[dict[str, str]]]
) -> dict[str, Any]:
    """A group that has called 75 people, and what came of it taken in, as by the sensor."""
    group = create(context, "first")
    operator = assign(job_group_id=group, contacts=people(75))
    operator.execute(context("assign", run_id="first"))
    until(lambda: simulator.run(lambda cloud: all(job.ended for job in cloud.jobs.values())), "all jobs have ended")
    with operator.hook as hook:
        jobs = hook.client.iter_jobs_with_result(job_group_id=group["job_group_id"])
        hook.ledger.results.record_listing(group["job_group_id"], jobs)
    return group


def sent(simulator: Simulator, group: str) -> dict[str, Any]:
    return simulator.run(
        lambda cloud: {job.phone_number: (dict(job.contacts[0]), list(job.extras)) for job in cloud.groups[group].jobs}
    )


def test_the_unanswered_are_called_again_as_they_were(
    simulator: Simulator, context: Callable[..., Any], called: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    again = create(context, "second")

    result = assign(job_group_id=again, contacts_from=called).execute(context("assign", run_id="second"))

    first, second = (sent(simulator, group["job_group_id"]) for group in (called, again))
    # 52 and 53 are not reached at the first attempt, 60 to 72 never.
    assert sorted(second) == [f"138{index:08d}" for index in (52, 53, *range(60, 73))]
    assert {number: first[number] for number in second} == second
    assert result["newly_assigned"] == 15
    assert "1380000" not in caplog.text + json.dumps(result)


def test_a_person_who_has_had_their_calls_is_left_alone(context: Callable[..., Any], called: dict[str, Any]) -> None:
    again = create(context, "second")

    result = assign(
        job_group_id=again, contacts_from=called, max_calls_per_contact=1, period=timedelta(days=7)
    ).execute(context("assign", run_id="second"))

    assert (result["assigned"], result["capped"]) == (0, 15)


def test_nobody_to_call_again_skips_the_task(context: Callable[..., Any], called: dict[str, Any]) -> None:
    again = create(context, "second")

    with pytest.raises(AirflowSkipException, match="contacts_from: there are no contacts"):
        assign(job_group_id=again, contacts_from=called, only="PoweredOff").execute(context("assign"))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        pytest.param({"contacts": ["13800000000"]}, OutboundBotContactsError, "give one of", id="two-sources"),
        pytest.param({"only": "unaswered"}, OutboundBotConfigError, "only: 'unaswered'", id="only"),
        pytest.param({"contacts_from": ""}, OutboundBotConfigError, "job_group_id", id="no-group"),
    ],
)
def test_what_cannot_be_asked_for_is_said_and_nobody_called(
    simulator: Simulator,
    context: Callable[..., Any],
    called: dict[str, Any],
    arguments: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    again = create(context, "second")

    with pytest.raises(error, match=words):
        assign(**{"job_group_id": again, "contacts_from": called, **arguments}).execute(context("assign"))

    assert sent(simulator, again["job_group_id"]) == {}
