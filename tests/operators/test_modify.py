"""A job group is changed as asked, within the rules of time, or the task fails and the group is as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import (
    OutboundBotConfigError,
    OutboundBotError,
    OutboundBotNotFoundError,
    OutboundBotTransportError,
    OutboundBotWrongTimeError,
)
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotModifyJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

#: Every day of a week, all day, so that the tests do not depend on the hour.
WORKING_TIME = [("00:00", "23:59:59")]
NOW = datetime.now(UTC).replace(microsecond=0)


def until(days: int, **more: Any) -> Strategy:
    return Strategy(working_time=WORKING_TIME, start=NOW - timedelta(hours=1), end=NOW + timedelta(days=days), **more)


@pytest.fixture
def slow(simulator_factory: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Its clock stands still, so that jobs wait."""
    simulator = simulator_factory(concurrency=1, clock_speed=0)
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    return simulator


@pytest.fixture
def group(slow: Simulator, context: Callable[..., Any]) -> str:
    """A group until tomorrow, with three attempts a day, and ten jobs."""
    create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=until(1, max_attempts_per_day=3))
    made = create.execute(context("create"))
    people = [f"138000{index:02}000" for index in range(10)]
    OutboundBotAssignJobsOperator(task_id="assign", job_group_id=made, contacts=people).execute(context("assign"))
    return str(made["job_group_id"])


def modify(group: str, **arguments: Any) -> OutboundBotModifyJobGroupOperator:
    return OutboundBotModifyJobGroupOperator(
        **{"task_id": "modify", "job_group_id": group, "settle_seconds": 0.3, **arguments}
    )


def requests(simulator: Simulator) -> int:
    count: int = simulator.state()["requests"].get("ModifyJobGroup", 0)
    return count


def recorded_end(operator: OutboundBotModifyJobGroupOperator, group: str) -> datetime | None:
    with operator.hook as hook:
        recorded = hook.ledger.groups.get(group)
    assert recorded is not None
    return recorded.ends_at


def test_a_longer_window_applies_to_jobs_that_wait_and_to_the_ledger(
    slow: Simulator, context: Callable[..., Any], group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = slow.state()["groups"][group]
    operator = modify(group, strategy=until(3), priority="Urgent", min_concurrency=2)

    result = operator.execute(context())
    again = modify(group, strategy=until(3), priority="Urgent", min_concurrency=2).execute(context(try_number=2))

    assert result["changed"] == ["priority", "min_concurrency", "strategy"]
    assert datetime.fromisoformat(result["ends_at"]) == NOW + timedelta(days=3)
    assert (again["changed"], again["ends_at"]) == ([], result["ends_at"])
    assert requests(slow) == 1
    assert recorded_end(operator, group) == NOW + timedelta(days=3)
    after = slow.state()["groups"][group]
    # What the group is found by, and what nobody asked to change.
    assert (after["name"], after["description"]) == (before["name"], before["description"])
    assert after["strategy"]["maxAttemptsPerDay"] == 3
    assert slow.run(lambda cloud: {job.strategy.end for job in cloud.groups[group].jobs}) == {
        (NOW + timedelta(days=3)).timestamp()
    }
    assert "priority: Urgent" in capsys.readouterr().out


def test_jobs_are_dialled_after_the_end_of_the_old_window(
    slow: Simulator, context: Callable[..., Any], group: str
) -> None:
    modify(group, strategy=until(3)).execute(context())

    slow.advance(timedelta(days=2).total_seconds())
    slow.set_clock(speed=10_000)

    deadline = datetime.now(UTC) + timedelta(seconds=60)
    while slow.state()["groups"][group]["counts"].get("Succeeded") != 10:
        assert datetime.now(UTC) < deadline, slow.state()["groups"][group]["counts"]


def test_a_lost_answer_is_looked_at_before_it_is_said_to_have_failed(
    slow: Simulator, context: Callable[..., Any], group: str, caplog: pytest.LogCaptureFixture
) -> None:
    slow.faults(answer_lost={"actions": ["ModifyJobGroup"]})

    result = modify(group, priority="Urgent").execute(context())

    assert result["changed"] == ["priority"]
    assert "it was changed, although the request failed" in caplog.text


def test_a_request_that_never_arrived_fails_and_the_ledger_keeps_the_later_end(
    slow: Simulator, context: Callable[..., Any], group: str
) -> None:
    slow.faults(reset={"actions": ["ModifyJobGroup"]})
    operator = modify(group, strategy=until(3))

    with pytest.raises(OutboundBotTransportError):
        operator.execute(context())

    # It may still arrive, so nobody may take the group for over after the first window.
    assert recorded_end(operator, group) == NOW + timedelta(days=3)
    slow.faults()
    operator = modify(group, strategy=until(2))
    operator.execute(context(try_number=2))
    assert recorded_end(operator, group) == NOW + timedelta(days=2)


def test_a_refusal_leaves_group_and_ledger_as_they_were(
    slow: Simulator, context: Callable[..., Any], group: str
) -> None:
    slow.run(lambda cloud: setattr(cloud.groups[group], "script_id", "deleted"))
    operator = modify(group, strategy=until(3))

    with pytest.raises(OutboundBotNotFoundError, match=r"NotExist\.Script"):
        operator.execute(context())

    assert recorded_end(operator, group) == NOW + timedelta(days=1)


def test_a_service_that_says_yes_and_does_nothing_fails_the_task(
    slow: Simulator, context: Callable[..., Any], group: str
) -> None:
    slow.faults(change_ignored=True)

    with pytest.raises(OutboundBotError, match=r"still reports another priority; a retry sends it again"):
        modify(group, priority="Urgent").execute(context())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        pytest.param({}, OutboundBotConfigError, "nothing is to be changed", id="nothing"),
        pytest.param({"priority": "High"}, OutboundBotConfigError, "priority: 'High'", id="priority"),
        pytest.param({"ringing_duration": 0}, OutboundBotConfigError, "ringing_duration: 0", id="ringing"),
        pytest.param({"calling_numbers": []}, OutboundBotConfigError, "calling_numbers: empty", id="no-numbers"),
        pytest.param(
            {"calling_numbers": ["02199999999"]}, OutboundBotConfigError, "does not belong to instance", id="foreign"
        ),
        pytest.param({"settle_seconds": "5"}, OutboundBotConfigError, "settle_seconds: '5'", id="seconds"),
        pytest.param(
            {"strategy": Strategy(working_time=WORKING_TIME, start=NOW - timedelta(days=2), end=NOW - timedelta(1))},
            OutboundBotWrongTimeError,
            "over",
            id="past",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    slow: Simulator,
    context: Callable[..., Any],
    group: str,
    arguments: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        modify(group, **arguments).execute(context())

    assert requests(slow) == 0


def test_the_rules_of_time_are_those_of_creating_and_assigning(
    slow: Simulator,
    context: Callable[..., Any],
    group: str,
    connection: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = {"run_after": datetime.now(UTC) - timedelta(days=2)}
    with pytest.raises(OutboundBotWrongTimeError, match="longer ago than max_run_age"):
        modify(group, priority="Urgent").execute(context(**late))
    with pytest.raises(OutboundBotWrongTimeError, match="backfill"):
        modify(group, priority="Urgent").execute(context(run_type="backfill"))
    value = json.loads(slow.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"]["calling_hours"] = {"timezone": "Asia/Shanghai", "windows": [["09:00", "18:00"]]}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))
    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
        modify(group, strategy=until(3)).execute(context())
    assert requests(slow) == 0

    within = Strategy(working_time=[("10:00", "17:00")], start=NOW, end=NOW + timedelta(days=3))
    assert modify(group, strategy=within).execute(context())["changed"] == ["strategy"]


def test_nobody_but_the_allowed_is_called_at_other_times(
    slow: Simulator, context: Callable[..., Any], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = json.loads(slow.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"]["allowed_phone_numbers"] = ["13800000000"]
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))

    with pytest.raises(OutboundBotConfigError, match=r"allowed_phone_numbers: .* has 9 jobs"):
        modify(group, strategy=until(3)).execute(context())

    assert requests(slow) == 0


def test_a_dry_run_checks_and_sends_nothing(
    slow: Simulator, context: Callable[..., Any], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = json.loads(slow.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"]["dry_run"] = True
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))

    with pytest.raises(AirflowSkipException, match=r"dry run: .*; to be changed: priority: Urgent"):
        modify(group, priority="Urgent").execute(context())

    assert requests(slow) == 0


def test_jobs_with_a_strategy_of_their_own_keep_it(
    slow: Simulator, context: Callable[..., Any], group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    OutboundBotAssignJobsOperator(
        task_id="more", job_group_id=group, contacts=["13900000000"], strategy=until(2)
    ).execute(context("more"))

    modify(group, strategy=until(3)).execute(context())

    assert "jobs that were assigned with a strategy of their own keep it" in capsys.readouterr().out
    ends = slow.run(lambda cloud: {job.phone_number: job.strategy.end for job in cloud.groups[group].jobs})
    assert ends["13900000000"] == (NOW + timedelta(days=2)).timestamp()
