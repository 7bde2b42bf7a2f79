"""What strangers write: read as what it is, or refused with a ValueError, whatever it is."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobGroupStatus, JobStatus
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.core.models.job import Job, JobGroup
from airflow_provider_outbound.core.models.wire import (
    MAX_COUNT,
    MAX_DEPTH,
    milliseconds,
    pairs,
    parse_count,
    parse_instant,
    parse_seconds,
    read_json,
    storable,
    text,
)

#: Numbers as JSON can write them, and what stands in a number's place.
NUMBERS: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    10**30,
    10**400,
    -1,
    -(10**400),
    1.5,
    1e308,
    True,
    False,
    None,
    "",
    " ",
    "5",
    "-5",
    "1_000",
    "٣",
    "NaN",
    "Infinity",
    "9" * 500,
    [],
    [5],
    {},
    {"a": {"b": []}},
]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NUMBERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int, *, kind: str = "list") -> bytes:
    """An object whose value has so many levels below it."""
    opening, closing = ("[", "]") if kind == "list" else ('{"a":', "}")
    inner = "1" if kind != "list" else ""
    return f'{{"a": {opening * depth}{inner}{closing * depth}}}'.encode()


@pytest.mark.parametrize("kind", ["list", "object"])
@pytest.mark.parametrize("depth", [MAX_DEPTH, 100, sys.getrecursionlimit() - 60, sys.getrecursionlimit(), 100_000])
def test_what_is_nested_too_deeply_is_refused_long_before_the_interpreter_gives_up(depth: int, kind: str) -> None:
    with pytest.raises(ValueError, match="JSON nested more than 64 deep"):
        read_json(nested(depth, kind=kind))


@pytest.mark.parametrize("kind", ["list", "object"])
def test_what_is_nested_as_deeply_as_allowed_is_read(kind: str) -> None:
    read_json(nested(MAX_DEPTH - 1, kind=kind))


def test_the_bound_on_nesting_does_not_depend_on_the_callers_stack() -> None:
    def at_depth(levels: int, act: Callable[[], Any]) -> Any:
        return act() if levels == 0 else at_depth(levels - 1, act)

    frames = sys.getrecursionlimit() - 300
    assert at_depth(frames, lambda: read_json(nested(MAX_DEPTH - 1)))
    with pytest.raises(ValueError, match="nested"):
        at_depth(frames, lambda: read_json(nested(MAX_DEPTH)))


def test_many_brackets_side_by_side_are_no_nesting() -> None:
    value = [[{"a": [1]}] for _ in range(10_000)]

    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps("[" * 1000).encode()) == "[" * 1000


@settings(max_examples=examples(150), deadline=None)
@given(data=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()))
@example(data=b"\xff\xfe[\x001\x00]\x00")
@example(data=b'{"a": ' + b"9" * 5000 + b"}")
def test_any_bytes_are_read_as_json_reads_them_or_refused(data: bytes) -> None:
    try:
        expected = repr(json.loads(data.decode("utf-8-sig")))
    except ValueError:
        with pytest.raises(ValueError, match=r"^(not UTF-8|not JSON|empty)$"):
            read_json(data)
    else:
        assert repr(read_json(data)) == expected


@settings(max_examples=examples(150), deadline=None)
@given(value=anything)
def test_a_count_is_read_exactly_or_refused(value: Any) -> None:
    try:
        count = parse_count(value)
    except ValueError:
        return
    if value in (None, ""):
        assert count == 0
    else:
        assert not isinstance(value, bool)
        assert count == int(value) == float(value)
    assert 0 <= count <= MAX_COUNT


@settings(max_examples=examples(150), deadline=None)
@given(value=anything)
def test_a_time_is_within_reach_or_none(value: Any) -> None:
    for moment in (milliseconds(value), _instant(value)):
        assert moment is None or datetime(1970, 1, 1, tzinfo=UTC) < moment <= datetime(2100, 1, 1, tzinfo=UTC)
    seconds = parse_seconds(value)
    assert seconds is None or 0 <= seconds <= MAX_COUNT


def _instant(value: Any) -> datetime | None:
    try:
        return parse_instant(value)
    except ValueError:
        return None


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**30, -1, True, "soon", [1], {"a": 1}])
def test_a_time_that_decides_when_people_are_called_is_never_guessed(value: Any) -> None:
    with pytest.raises(ValueError, match="not a time"):
        parse_instant(value)


def test_a_group_that_never_ends_ends_late() -> None:
    assert parse_instant(253_402_271_999_000) == datetime(2100, 1, 1, tzinfo=UTC)
    assert [parse_instant(value) for value in (None, 0, "", "0")] == [None] * 4


@settings(max_examples=examples(200), deadline=None)
@given(value=anything)
def test_a_text_is_a_text_or_a_number_and_nothing_else(value: Any) -> None:
    found = text(value)
    assert found is None or found == str(value)
    assert (found is None) == (value == "" or not isinstance(value, str | int | float) or _is_no_number(value))


def _is_no_number(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value))


def test_what_no_column_holds_is_no_identifier() -> None:
    assert [storable(value, 4) for value in ("a", "abcde", "a\0", "\ud800", "任务", 7)] == [
        "a", None, None, None, "任务", "7",
    ]  # fmt: skip


def test_extras_of_the_service_are_not_the_contacts() -> None:
    mixed = [{"Key": "plan", "Value": "gold"}, {"Key": "TenantId", "Value": "1"}, {"Key": "ServiceId", "Value": "i"}]
    message = {"extras": [{key.lower(): value for key, value in one.items()} for one in mixed]}

    assert Job.from_api({"JobId": "j", "JobGroupId": "g", "Extras": mixed}).extras == {"plan": "gold"}
    named = {"eventType": "Dialing", "eventTime": 1, "groupId": "g", "id": "j", "instanceId": "i"}
    assert Event.from_message(json.dumps({**named, **message}).encode()).extras == {"plan": "gold"}


def test_extras_that_are_no_texts_are_kept_as_json() -> None:
    assert pairs([{"key": "a", "value": {"b": [1, True]}}, {"key": 5, "value": None}, {"key": [], "value": 1}]) == {
        "a": '{"b":[1,true]}',
        "5": "",
    }


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (JobStatus, 2, JobStatus.SUCCEEDED),
        (JobStatus, "4", JobStatus.FAILED),
        (JobStatus, 5.0, JobStatus.CANCELLED),
        (JobStatus, 0, JobStatus.SCHEDULING),
        (JobStatus, " Failed ", JobStatus.FAILED),
        (JobGroupStatus, "2", JobGroupStatus.SUCCEED),
        (FailureReason, 1, FailureReason.NO_ANSWER),
        (FailureReason, 11, FailureReason.CONTACT_SUSPENDED),
        (CallStatus, "2", CallStatus.NO_ANSWER),
        (CallStatus, 20, CallStatus.SUCCEEDED_FINISH),
        (CallStatus, 32, CallStatus.HIGH_RISK_SIP_CODE),
    ],
)
def test_the_services_own_numbers_are_understood(kind: Any, value: Any, read: Any) -> None:
    assert kind.parse(value) is read


@pytest.mark.parametrize("value", [7, "99", -1, 2.5, "1e3", 10**30])
def test_a_number_that_is_not_listed_keeps_its_text(value: Any) -> None:
    status = JobStatus.parse(value)

    assert status == str(value)
    assert status is not None
    assert not status.is_known


@pytest.mark.parametrize("value", [None, "", "  ", True, [], ["Failed"], {}, math.nan, math.inf, "x" * 65, "a\0b"])
def test_what_is_neither_word_nor_number_is_no_status(value: Any) -> None:
    assert JobStatus.parse(value) is None


_FIELDS = (
    "eventType", "eventTime", "instanceId", "groupId", "id", "status", "failureReason", "extras", "contacts", "tasks",
    "recording", "taskId", "fileName", "duration", "planedTime", "actualTime", "endTime", "key", "value",
    "referenceId", "phoneNumber", "name", "JobId", "Id", "JobGroupId", "Progress", "Strategy", "TotalJobs", "Executing",
    "StartTime", "EndTime", "Tasks", "Contacts", "Status", "TaskId", "ActualTime", "LatestTask", "Contact", "CallTime",
)  # fmt: skip
shaped = st.recursive(
    st.sampled_from([*NUMBERS, "JobComplete", "Failed", "g", "\ud800", "a\0b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=8),
    max_leaves=25,
)


@settings(max_examples=examples(80), deadline=None)
@given(fields=st.dictionaries(st.sampled_from(_FIELDS), shaped, max_size=12), is_named=st.booleans())
def test_any_object_is_an_event_or_a_value_error(fields: dict[str, Any], is_named: bool) -> None:
    named = {"eventType": "JobComplete", "groupId": "g", "id": "j"} if is_named else {}
    body = json.dumps(fields | named).encode()
    try:
        event = Event.from_message(body)
    except ValueError:
        assert not is_named
        return
    assert len(event.hash) == 64
    assert len(event.completion) == 16
    json.dumps(event.extras).encode()


@settings(max_examples=examples(80), deadline=None)
@given(fields=st.dictionaries(st.sampled_from(_FIELDS), shaped, max_size=12))
def test_any_answer_is_a_job_or_a_group_or_an_error_that_the_client_translates(fields: dict[str, Any]) -> None:
    for read in (Job.from_api, lambda raw: Job.from_query(raw, "g"), JobGroup.from_api):
        for named in ({}, {"JobId": "j", "Id": "j", "JobGroupId": "g"}):
            try:
                read(fields | named)
            except (ValueError, TypeError):
                continue
