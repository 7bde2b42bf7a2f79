"""Every outcome of the table is reached, and the cloud agrees with the judge."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_outbound.simulator.outcomes import NOT_DIALLED, OUTCOMES, expected_outcome
from airflow_provider_outbound.simulator.testing import Simulator

#: Written out from the vendor's guide, so that a status dropped from the table is missed.
CALL_STATUSES = frozenset(
    {
        "Succeeded",
        "NoAnswer",
        "NotExist",
        "Busy",
        "Cancelled",
        "Failed",
        "NotConnected",
        "PoweredOff",
        "OutOfService",
        "InArrears",
        "EmptyNumber",
        "PerDayCallCountLimit",
        "ContactBlockList",
        "CallerNotRegistered",
        "Terminated",
        "VerificationCancelled",
    }
)
FAILURE_REASONS = frozenset(
    {
        "Unknown",
        "NoAnswer",
        "InvalidStrategy",
        "TimeUp",
        "NoStrategy",
        "CallFailed",
        "PerDayCallCountLimit",
        "ContactBlockList",
        "EmptyNumber",
        "JobPerDayCallCountLimit",
        "VerificationCancelled",
        "ContactSuspended",
    }
)


@pytest.fixture(scope="module")
def jobs() -> dict[str, dict[str, Any]]:
    """One job for each pair of digits, ended, by number; two attempts allowed."""
    numbers = [f"138000001{digits:02d}" for digits in range(100)]
    with Simulator(call_seconds=0.01) as simulator:

        def assign(cloud: Any) -> str:
            group = cloud.create_group(
                name="all", script_id=cloud.options.script_id, strategy_json='{"maxAttemptsPerDay": 2}'
            )
            cloud.assign(group, [{"contacts": [{"phoneNumber": number, "referenceId": number}]} for number in numbers])
            return str(group.group_id)

        group = simulator.run(assign)
        while (state := simulator.state()["groups"][group])["status"] != "Completed":
            time.sleep(0.01)
    return {job["phone_number"]: job for job in state["jobs"]}


@pytest.mark.parametrize("digits", range(100))
def test_the_last_two_digits_choose_the_outcome(jobs: dict[str, dict[str, Any]], digits: int) -> None:
    number = f"138000001{digits:02d}"
    expected = expected_outcome(number, max_attempts=2)

    job = jobs[number]

    assert tuple(call["status"] for call in job["calls"]) == expected.attempts
    assert (job["status"], job["failure_reason"]) == (expected.status, expected.failure_reason)


def test_every_status_and_reason_of_the_guide_is_reached(jobs: dict[str, dict[str, Any]]) -> None:
    calls = {call["status"] for job in jobs.values() for call in job["calls"]}
    reasons = {job["failure_reason"] for job in jobs.values()}

    assert calls >= CALL_STATUSES
    assert reasons >= FAILURE_REASONS
    assert {job["status"] for job in jobs.values()} == {"Succeeded", "Failed", "Cancelled"}
    assert "FutureStatus" in calls


@pytest.mark.parametrize(
    ("number", "attempts", "calls", "status"),
    [
        pytest.param("13800000000", 1, ("SucceededFinish",), "Succeeded", id="answered"),
        pytest.param("13800000060", 3, ("NoAnswer",) * 3, "Failed", id="never-answered"),
        pytest.param("13800000052", 1, ("NoAnswer",), "Failed", id="no-second-attempt"),
        pytest.param("13800000052", 3, ("NoAnswer", "SucceededFinish"), "Succeeded", id="second-attempt"),
        pytest.param("13800000099", 3, ("NoAnswer", "ContactBlockList"), "Failed", id="blocked-meanwhile"),
        pytest.param("13800000074", 3, (), "Failed", id="never-dialled"),
        pytest.param("", 1, ("SucceededFinish",), "Succeeded", id="no-digits"),
    ],
)
def test_the_judge_knows_attempts(number: str, attempts: int, calls: tuple[str, ...], status: str) -> None:
    outcome = expected_outcome(number, attempts)

    assert (outcome.attempts, outcome.status) == (calls, status)


def test_attempts_that_are_not_dialled_are_last() -> None:
    assert [outcome for outcome in OUTCOMES if set(outcome.attempts[:-1]) & set(NOT_DIALLED)] == []
