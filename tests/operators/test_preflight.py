"""What would only fail when the service dials stops the campaign before its first call; what is unknown stops none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.core.preflight import Capacity, check_capacity, dialling_seconds
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
READS = ["DescribeScript", "ListOutboundCallNumbers", "DescribeInstance", "ListScriptPublishHistories"]


def create(context: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    operator = OutboundBotCreateJobGroupOperator(**{"task_id": "create", "strategy": ALL_DAY, **arguments})
    return operator.execute(context("create"))


def assign(context: Callable[..., Any], group: dict[str, Any], count: int = 1, **arguments: Any) -> dict[str, Any]:
    operator = OutboundBotAssignJobsOperator(
        task_id="assign",
        job_group_id=group,
        contacts=[f"138{index:08d}" for index in range(count)],
        settle_seconds=0.3,
        **arguments,
    )
    return operator.execute(context("assign"))


def placed(simulator: Simulator) -> int:
    return sum(len(group["jobs"]) for group in simulator.state()["groups"].values())


def test_no_group_is_created_with_a_script_that_was_never_published(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    simulator.faults(script_unpublished=True)

    with pytest.raises(OutboundBotConfigError, match=r"script_id: script '\S+' is not published .*Nobody was called"):
        create(context)

    assert not simulator.state()["groups"]


def test_nobody_is_assigned_once_the_script_was_withdrawn(simulator: Simulator, context: Callable[..., Any]) -> None:
    group = create(context)
    simulator.faults(script_unpublished=True)

    with pytest.raises(OutboundBotConfigError, match="is not published"):
        assign(context, group)

    assert not placed(simulator)


@pytest.mark.parametrize("field", ["calling_numbers", "recall_calling_numbers"])
def test_a_foreign_number_is_named_and_masked(simulator: Simulator, context: Callable[..., Any], field: str) -> None:
    with pytest.raises(OutboundBotConfigError) as error:
        create(context, **{field: ["02100000000", "02112345678"]})

    assert f"{field}: " in str(error.value)
    assert "021******78" in str(error.value)
    assert "02112345678" not in str(error.value)
    assert not simulator.state()["groups"]


def test_a_number_of_the_instance_is_known_in_every_form(simulator: Simulator, context: Callable[..., Any]) -> None:
    group = create(context, calling_numbers=["02100000000"], recall_calling_numbers=["021-0000 0000"])

    with pytest.raises(OutboundBotConfigError, match="calling_numbers"):
        assign(context, group, calling_numbers=["02112345678"])

    assert assign(context, group, calling_numbers=["02100000000"])["assigned"] == 1


def test_what_the_api_does_not_say_stops_nobody(
    simulator: Simulator, context: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    simulator.faults(success_false={"actions": READS, "acts": False})

    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        group = create(context, calling_numbers=["02112345678"])
        result = assign(context, group, 2)

    assert result["assigned"] == 2
    assert "script_id could not be checked" in caplog.text


def test_too_little_time_is_a_warning_with_figures(
    simulator: Simulator, context: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    # 100 people × 60 s on 50 lines: two minutes, in a window that ends sooner.
    group = create(context, strategy=_ends_in(timedelta(seconds=90)))

    with caplog.at_level(logging.WARNING, "airflow_provider_outbound"):
        assert assign(context, group, 100)["assigned"] == 100

    assert "100 contacts × 60 s per call (assumed) on 50 lines take 2 min" in caplog.text


@pytest.mark.parametrize(
    ("strategy", "warning"),
    [
        pytest.param({"max_attempts_per_day": 1}, "", id="once"),
        pytest.param({"max_attempts_per_day": 3}, "up to 3 times a day:", id="attempts"),
        pytest.param({}, "as often a day as the bot instance allows:", id="the-service's-own"),
        pytest.param(
            {"max_attempts_per_day": 1, "end": datetime.now(UTC) + timedelta(days=2)},
            "up to 1 times a day, on",
            id="several-days",
        ),
    ],
)
@pytest.mark.parametrize("is_own", [False, True])
def test_a_call_cap_that_the_strategy_may_exceed_is_a_warning(
    context: Callable[..., Any], caplog: pytest.LogCaptureFixture, strategy: Any, warning: str, is_own: Any
) -> None:
    """The cap is checked before contacts are assigned, and the service dials each as often as the strategy says."""
    when = Strategy(working_time=[("00:00", "24:00")], **strategy)
    group = create(context, strategy=ALL_DAY if is_own else when)
    own: dict[str, Any] = {"strategy": when} if is_own else {}

    with caplog.at_level(logging.WARNING, "airflow_provider_outbound"):
        assign(context, group, max_calls_per_contact=2, period=timedelta(days=7), **own)

    (told,) = [text for text in caplog.messages if "max_calls_per_contact=2" in text] or [""]
    assert bool(told) == bool(warning)
    assert warning in told
    caplog.clear()
    assign(context, group, 2, **own)
    assert "max_calls_per_contact" not in caplog.text


def test_required_capacity_calls_nobody_if_not_all_calls_fit(simulator: Simulator, context: Callable[..., Any]) -> None:
    group = create(context, strategy=_ends_in(timedelta(seconds=90)))

    with pytest.raises(OutboundBotConfigError, match=r"require_capacity: 100 contacts .*Nobody was called"):
        assign(context, group, 100, require_capacity=True)

    assert not placed(simulator)
    assert assign(context, group, 2, require_capacity=True)["assigned"] == 2


def test_required_capacity_that_is_unknown_calls_nobody(simulator: Simulator, context: Callable[..., Any]) -> None:
    group = create(context)
    simulator.faults(concurrency_missing=True)

    with pytest.raises(OutboundBotConfigError, match=r"require_capacity: .*number of lines"):
        assign(context, group, require_capacity=True)

    assert not placed(simulator)
    assert assign(context, group)["assigned"] == 1


def test_capacity_cannot_be_required_if_contacts_are_not_counted_in_advance(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    group = create(context)

    with pytest.raises(OutboundBotConfigError, match=r"require_capacity: .* only with on_invalid='fail'"):
        assign(context, group, require_capacity=True, on_invalid="skip")

    assert not placed(simulator)


def _ends_in(left: timedelta) -> Strategy:
    """A window of all hours that ends soon."""
    return Strategy(working_time=[("00:00", "23:59:59")], end=datetime.now(UTC) + left)


@settings(max_examples=examples(200), deadline=None)
@given(
    people=st.integers(1, 10**7),
    lines=st.integers(1, 10**4),
    call_seconds=st.floats(0.5, 600),
    window_seconds=st.floats(0, 10**6),
)
def test_more_people_never_fit_better(people: int, lines: int, call_seconds: float, window_seconds: float) -> None:
    one = Capacity(people=people, lines=lines, call_seconds=call_seconds, window_seconds=window_seconds)
    more = Capacity(people=people * 2, lines=lines, call_seconds=call_seconds, window_seconds=window_seconds)

    assert one.fits or not more.fits
    if one.fits:
        check_capacity(one, required=True)
    else:
        with pytest.raises(OutboundBotConfigError, match="require_capacity: "):
            check_capacity(one, required=True)
        check_capacity(one, required=False)


@settings(max_examples=examples(40), deadline=None)
@given(after=st.integers(-36, 36))
def test_the_time_left_is_that_of_the_windows(after: int) -> None:
    start = datetime(2026, 5, 4, tzinfo=UTC)
    strategy = Strategy(
        working_time=[("09:00", "12:00"), ("14:00", "18:00")], start=start, end=start + timedelta(days=2)
    )
    schedule = strategy.resolve(run_at=start, now=start).schedule

    left = dialling_seconds(schedule, start + timedelta(hours=after))

    expected = sum(
        max(0.0, (end - max(begin, start + timedelta(hours=after))).total_seconds()) for begin, end in schedule.spans()
    )
    assert left == pytest.approx(expected)
    assert left <= dialling_seconds(schedule, start - timedelta(days=2))
