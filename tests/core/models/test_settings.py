"""The settings of a group are read completely, or the group is not changed."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.settings import is_same, merged_strategy, same_strategy, settings_of
from airflow_provider_outbound.exceptions import OutboundBotError

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("Priority", "RingingDuration", "MinConcurrency", "CallingNumbers", "RecallCallingNumbers", "RecallStrategy")


def group(**raw: Any) -> JobGroup:
    return JobGroup(job_group_id="g", ends_at=NOW, starts_at=NOW, raw=raw)


def milliseconds(hours: float) -> int:
    return round((NOW + timedelta(hours=hours)).timestamp() * 1000)


@example(raw={}, strategy={"WorkingTime": None, "RepeatBy": None, "EndTime": [None, []]})
@given(
    raw=st.dictionaries(st.sampled_from(FIELDS), ANYTHING),
    strategy=ANYTHING | st.fixed_dictionaries({"WorkingTime": ANYTHING, "RepeatBy": ANYTHING, "EndTime": ANYTHING}),
)
@settings(max_examples=examples(200), deadline=None)
def test_whatever_the_api_reports_is_read_or_refused(raw: dict[str, Any], strategy: Any) -> None:
    found: dict[str, Any] = {}
    with contextlib.suppress(OutboundBotError):
        found = settings_of(group(**raw, Strategy=strategy))

    assert found.keys() <= {
        *("priority", "ringing_duration", "min_concurrency", "calling_numbers", "recall_calling_numbers"),
        *("recall_strategy", "strategy"),
    }
    assert is_same(found, found)


@pytest.mark.parametrize(
    ("reported", "wanted", "same"),
    [
        pytest.param({"endTime": milliseconds(1)}, {"endTime": str(milliseconds(1))}, True, id="number-as-text"),
        pytest.param({}, {"endTime": milliseconds(1)}, False, id="no-end"),
        pytest.param({"endTime": milliseconds(1)}, {"endTime": milliseconds(2)}, False, id="other-end"),
        pytest.param(
            {"endTime": 5, "startTime": milliseconds(-2)},
            {"endTime": 5, "startTime": milliseconds(-1)},
            True,
            id="past",
        ),
        pytest.param(
            {"endTime": 5, "startTime": milliseconds(-2)},
            {"endTime": 5, "startTime": milliseconds(1)},
            False,
            id="later",
        ),
        pytest.param({"endTime": 5, "repeatBy": "week"}, {"endTime": 5, "repeatBy": "Week"}, True, id="case"),
        pytest.param(
            {"endTime": 5, "repeatDays": ["2", "1"]}, {"endTime": 5, "repeatDays": ["1", "2"]}, True, id="order"
        ),
        pytest.param(
            {"endTime": 5, "maxAttemptsPerDay": 1}, {"endTime": 5, "maxAttemptsPerDay": 3}, False, id="attempts"
        ),
        pytest.param({"endTime": 5}, {"endTime": 5, "maxAttemptsPerDay": 3}, True, id="not-reported"),
    ],
)
def test_two_strategies_are_the_same_if_people_are_called_at_the_same_times(
    reported: dict[str, Any], wanted: dict[str, Any], same: bool
) -> None:
    assert same_strategy(reported, wanted, NOW) is same


def test_a_new_strategy_keeps_what_it_does_not_name() -> None:
    before = group(Strategy={"StrategyId": "s-1", "MaxAttemptsPerDay": 3, "RepeatBy": "week", "RepeatDays": ["1"]})

    merged = merged_strategy(before, {"id": "another", "endTime": 5, "repeatBy": "Once"})

    assert merged == {"id": "s-1", "maxAttemptsPerDay": 3, "endTime": 5, "repeatBy": "Once"}
