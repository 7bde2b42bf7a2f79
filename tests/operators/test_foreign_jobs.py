"""Whoever can publish messages cannot make this package call, or contact, people of their choice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.messages import call, incoming, job_complete
from support.processes import until

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import LedgerError, OutboundBotContactsError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)
STRANGER = "13911112222"
#: The simulator never reaches this person.
UNREACHED = "13800000060"
Context = Callable[..., Any]


def create(context: Context, run_id: str) -> str:
    operator = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
    return str(operator.execute(context("create", run_id=run_id))["job_group_id"])


def assign(**arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(**{"task_id": "assign", "settle_seconds": 0.3, **arguments})


def forge(group: str, job: str = "forged", number: str = STRANGER) -> None:
    """Store a message as a collector does: somebody was not reached."""
    message = job_complete(group, job, number, f"r-{job}", call(f"t-{job}", "NoAnswer"), status="Failed")
    with OutboundBotHook() as hook:
        hook.ledger.inbox.record([incoming(message)])


def add(group: str, number: str) -> str:
    """Assign somebody to a group as another program does, past the ledger; return the job's id."""
    contact = {"contacts": [{"phoneNumber": number, "referenceId": "theirs"}], "extras": []}
    with OutboundBotHook() as hook:
        (job_id,) = hook.client.assign_jobs(job_group_id=group, jobs=[json.dumps(contact)])
    return job_id


def called(simulator: Simulator, group: str) -> list[str]:
    return sorted(job["phone_number"] for job in simulator.state()["groups"][group]["jobs"])


@pytest.fixture
def ended(simulator: Simulator, context: Context) -> str:
    """A group with one person, who was not reached, as its results are in the ledger."""
    group = create(context, "first")
    assign(job_group_id=group, contacts=[UNREACHED]).execute(context("assign", run_id="first"))
    until(lambda: simulator.run(lambda cloud: all(job.ended for job in cloud.jobs.values())), "all jobs have ended")
    with OutboundBotHook() as hook:
        hook.ledger.results.record_listing(group, hook.client.iter_jobs_with_result(job_group_id=group))
    return group


def test_a_forged_job_in_a_group_calls_nobody(simulator: Simulator, context: Context, ended: str) -> None:
    forge(ended)
    again = create(context, "second")

    with pytest.raises(OutboundBotContactsError, match=r"the service does not list it in the group.*Nobody was called"):
        assign(job_group_id=again, contacts_from=ended).execute(context("assign"))

    assert called(simulator, again) == []


def test_a_job_of_another_group_calls_nobody(simulator: Simulator, context: Context, ended: str) -> None:
    other, again = create(context, "other"), create(context, "second")
    theirs = add(other, UNREACHED)
    forge("not-ours", theirs, UNREACHED)

    with pytest.raises(OutboundBotContactsError, match="the service does not list it in the group"):
        assign(job_group_id=again, contacts_from="not-ours").execute(context("assign"))

    assert called(simulator, again) == []


def test_the_others_are_called_if_the_author_skips_what_is_invalid(
    simulator: Simulator, context: Context, ended: str
) -> None:
    forge(ended)
    again = create(context, "second")

    result = assign(job_group_id=again, contacts_from=ended, on_invalid="skip").execute(context("assign"))

    assert (result["assigned"], result["rejected"]) == (1, 1)
    assert called(simulator, again) == [UNREACHED]


def test_a_job_of_another_program_that_the_service_lists_is_called(
    simulator: Simulator, context: Context, ended: str
) -> None:
    """Another program assigned somebody to the group; the ledger has it by a listing, or by a message."""
    forge(ended, add(ended, "13800000061"), "13800000061")
    again = create(context, "second")

    result = assign(job_group_id=again, contacts_from=ended).execute(context("assign"))

    assert (result["assigned"], result["rejected"]) == (2, 0)


def test_a_job_that_exists_with_another_number_calls_nobody(simulator: Simulator, context: Context, ended: str) -> None:
    forge(ended, add(ended, "13800000061"), STRANGER)
    again = create(context, "second")

    with pytest.raises(OutboundBotContactsError, match="the service does not list it in the group"):
        assign(job_group_id=again, contacts_from=ended).execute(context("assign"))

    assert called(simulator, again) == []


def test_a_group_that_only_messages_name_calls_nobody(simulator: Simulator, context: Context) -> None:
    """Of another bot instance that shares the topic, or made up."""
    forge("not-ours")
    again = create(context, "second")

    with pytest.raises(OutboundBotContactsError, match="the service does not list it in the group"):
        assign(job_group_id=again, contacts_from="not-ours").execute(context("assign"))
    with pytest.raises(LedgerError, match="the ledger does not know it"):
        assign(job_group_id=again, contacts_from=f"{again}x").execute(context("assign"))

    assert called(simulator, again) == []


def test_a_follow_up_leaves_a_forged_job_out(
    simulator: Simulator, context: Context, ended: str, caplog: pytest.LogCaptureFixture
) -> None:
    forge(ended)

    with OutboundBotHook() as hook:
        numbers = [result.phone_number for result in hook.follow_up(ended, "text-message")]

    assert numbers == [UNREACHED]
    assert "1 job is left out: this ledger did not assign them" in caplog.text
    assert STRANGER not in caplog.text
