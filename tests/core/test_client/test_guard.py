"""What a connection allows of actions by name: nothing that may dial without a word, and nothing outside its hours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.simulated import client_of

from airflow_provider_outbound.core.client import ActionGuard, OutboundBotClient
from airflow_provider_outbound.core.client.guard import may_dial
from airflow_provider_outbound.core.client.requests import action_names
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.windows import Span
from airflow_provider_outbound.core.rules import CallingHours
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError
from airflow_provider_outbound.simulator.testing import Simulator

#: 10:00 and 23:00 in Shanghai, on a Monday.
DAY, NIGHT = datetime(2030, 7, 1, 2, tzinfo=UTC), datetime(2030, 7, 1, 15, tzinfo=UTC)
HOURS = CallingHours.parse({"windows": [["09:00", "20:00"]]})
GUARD = ActionGuard(hours=HOURS)
JOBS = {"JobGroupId": "g", "JobsJson": ["{}"]}


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def strategy(begin: str, end: str) -> dict[str, Any]:
    window = {"startTime": milliseconds(DAY), "endTime": milliseconds(DAY + timedelta(days=5)), "repeatBy": "Day"}
    return window | {"workingTime": [{"beginTime": begin, "endTime": end}]}


def group(begin: str, end: str) -> JobGroup:
    window = {"StartTime": milliseconds(DAY), "EndTime": milliseconds(DAY + timedelta(days=5)), "RepeatBy": "day"}
    window["WorkingTime"] = [{"BeginTime": begin, "EndTime": end}]
    return JobGroup.from_api({"JobGroupId": "g", "Strategy": window})


def check(action: str, now: datetime, described: JobGroup | None = None, **parameters: Any) -> None:
    def describe(job_group_id: str) -> JobGroup:
        assert described is not None, "the API was asked"
        assert job_group_id == "g"
        return described

    GUARD.check_time(action, parameters, describe, now)


WITHIN, OUTSIDE = ("10:00:00", "18:00:00"), ("10:00:00", "21:00:00")


@pytest.mark.parametrize(
    ("action", "now", "described", "parameters"),
    [
        pytest.param("CreateJobGroup", NIGHT, None, {"StrategyJson": json.dumps(strategy(*WITHIN))}, id="own-strategy"),
        pytest.param("AssignJobs", NIGHT, None, JOBS | {"StrategyJson": strategy(*WITHIN)}, id="strategy-as-object"),
        pytest.param("AssignJobs", NIGHT, group(*WITHIN), JOBS, id="window-of-the-group"),
        pytest.param("ResumeJobs", DAY, group(*WITHIN), {"JobGroupId": "g", "All": True}, id="resumed-by-day"),
        pytest.param("StartJob", DAY, None, {"JobJson": "{}"}, id="started-by-day"),
        pytest.param("CancelJobs", NIGHT, None, {"JobGroupId": "g", "All": True}, id="stopped-at-night"),
        pytest.param("PublishScript", NIGHT, None, {"ScriptId": "s"}, id="edited-at-night"),
        pytest.param("ListJobs", NIGHT, None, {"JobId": ["j"]}, id="read-at-night"),
    ],
)
def test_what_dials_within_the_hours_is_allowed(
    action: str, now: datetime, described: JobGroup | None, parameters: dict[str, Any]
) -> None:
    check(action, now, described, **parameters)


@pytest.mark.parametrize(
    ("action", "now", "described", "parameters"),
    [
        pytest.param("CreateJobGroup", DAY, None, {"StrategyJson": strategy(*OUTSIDE)}, id="own-strategy"),
        pytest.param("CreateJobGroup", DAY, None, {}, id="without-a-window"),
        pytest.param("AssignJobs", DAY, group(*WITHIN), JOBS | {"StrategyJson": strategy(*OUTSIDE)}, id="overridden"),
        pytest.param("AssignJobs", DAY, group(*OUTSIDE), JOBS, id="window-of-the-group"),
        pytest.param("AssignJobs", DAY, JobGroup(job_group_id="g"), JOBS, id="group-without-a-window"),
        pytest.param("ResumeJobs", NIGHT, group(*WITHIN), {"JobGroupId": "g"}, id="resumed-at-night"),
        pytest.param("StartJob", NIGHT, None, {"JobJson": "{}"}, id="started-at-night"),
        pytest.param("SaveBaseStrategyPeriod", NIGHT, None, {}, id="changed-at-night"),
    ],
)
def test_what_would_dial_outside_the_hours_is_refused(
    action: str, now: datetime, described: JobGroup | None, parameters: dict[str, Any]
) -> None:
    with pytest.raises(OutboundBotWrongTimeError, match=r"calling_hours.*Nothing was changed$"):
        check(action, now, described, **parameters)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["workingTime", "startTime", "endTime", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
@settings(max_examples=examples(100), deadline=None)
def test_a_strategy_that_cannot_be_read_is_refused(value: Any) -> None:
    for given_as in (json.dumps(value), value):
        if given_as is not None:
            with pytest.raises(OutboundBotConfigError, match=r"Nothing was changed$"):
                check("CreateJobGroup", DAY, StrategyJson=given_as)


def test_the_client_itself_sends_nothing_that_may_dial_without_a_word(
    client: OutboundBotClient, simulator: Simulator
) -> None:
    for action in filter(may_dial, action_names()):
        for word in ({}, {"allow_dialling": False}, {"allow_dialling": "False"}):
            with pytest.raises(OutboundBotConfigError, match=f"{action} (may dial|changes).*Nothing was changed"):
                client.call(action, **word)

    assert simulator.state()["requests"] == {}


def test_the_client_asks_for_the_window_of_a_group_and_sends_nothing_outside_the_hours(simulator: Simulator) -> None:
    # Whatever the time: within the hours, a group without a window would not end with them.
    client = OutboundBotClient(client_of(simulator.ready).settings, guard=GUARD)
    made = client.create_job_group(job_group_name="n", script_id=simulator.script_id)

    with pytest.raises(OutboundBotWrongTimeError, match=r"Nothing was changed$"):
        client.call("AssignJobs", allow_dialling=True, JobGroupId=made.job_group_id, JobsJson=["{}"])

    requests = simulator.state()["requests"]
    assert "AssignJobs" not in requests
    assert requests.get("DescribeJobGroup") == 1


def test_an_action_that_waited_for_its_turn_until_the_hours_were_over_is_not_sent(simulator: Simulator) -> None:
    turns: list[float] = []

    class UntilTheFirstTurn(CallingHours):
        def spans(self, since: datetime, until: datetime) -> Iterator[Span]:
            return iter(()) if turns else super().spans(since, until)

    def wait_long(_count: int, _per_second: float) -> float:
        turns.append(0.0)
        return 0.0

    settings = attrs.evolve(client_of(simulator.ready).settings, max_requests_per_second=100.0)
    guard = ActionGuard(hours=UntilTheFirstTurn.parse({"windows": [["00:00", "24:00"]]}))
    client = OutboundBotClient(settings, wait_long, guard=guard)

    with pytest.raises(OutboundBotWrongTimeError, match=r"Nothing was changed$"):
        client.call("StartJob", allow_dialling=True, JobJson="{}")

    assert turns
    assert simulator.state()["requests"] == {}
