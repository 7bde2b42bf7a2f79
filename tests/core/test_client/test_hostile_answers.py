"""Whatever the API answers is a typed result or an error of this package, never anything else."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.scripted import Scripted

from airflow_provider_outbound.core.client import BlockedNumber, OutboundBotClient
from airflow_provider_outbound.exceptions import OutboundBotAnswerError, OutboundBotApiError

_PROGRESS = dict.fromkeys(("TotalJobs", "TotalCompleted", "Scheduling", "Executing", "Failed", "Paused"), 1)
_GROUP = {
    "JobGroupId": "g", "JobGroupName": "n", "Status": "Executing", "CreationTime": 1_700_000_000_000,
    "Strategy": {"StartTime": 1_700_000_000_000, "EndTime": 1_700_000_100_000}, "Progress": _PROGRESS,
}  # fmt: skip
_JOB = {
    "JobId": "j", "JobGroupId": "g", "Status": "Failed", "FailureReason": "NoAnswer",
    "Contacts": [{"ReferenceId": "r", "PhoneNumber": "13800000000", "ContactName": "n"}],
    "Extras": [{"Key": "k", "Value": "v"}],
    "Tasks": [{"TaskId": "t", "Status": "NoAnswer", "ActualTime": 1_700_000_000_000, "EndTime": 1_700_000_001_000}],
}  # fmt: skip
_TASK = {"Status": "NoAnswer", "CallTime": 1_700_000_000_000, "Contact": {"ReferenceId": "r", "PhoneNumber": "138"}}
_QUERIED = {"Id": "j", "Status": "Failed", "JobFailureReason": "NoAnswer", "LatestTask": _TASK}

#: Each action with a good answer to it.
CALLS: dict[str, tuple[Callable[[OutboundBotClient], Any], dict[str, Any]]] = {
    "CreateJobGroup": (lambda c: c.create_job_group(job_group_name="n", script_id="s"), {"JobGroup": _GROUP}),
    "AssignJobs": (lambda c: c.assign_jobs(job_group_id="g", jobs=["{}"]), {"JobsId": ["j"]}),
    "DescribeJobGroup": (lambda c: c.describe_job_group(job_group_id="g"), {"JobGroup": _GROUP}),
    "ListJobGroups": (lambda c: c.list_job_groups(), {"JobGroups": {"TotalCount": 1, "List": [_GROUP]}}),
    "ListJobsByGroup": (
        lambda c: c.list_jobs_by_group(job_group_id="g"), {"Jobs": {"TotalCount": 1, "List": [_JOB]}},
    ),
    "QueryJobsWithResult": (
        lambda c: c.query_jobs_with_result(job_group_id="g"), {"Jobs": {"RowCount": 1, "List": [_QUERIED]}},
    ),
    "ListJobs": (lambda c: c.list_jobs(job_ids=["j"]), {"Jobs": [_JOB]}),
    "DescribeJob": (lambda c: c.describe_job(job_id="j"), {"Job": _JOB}),
    "DownloadRecording": (
        lambda c: c.download_recording(task_id="t"),
        {"DownloadParams": {"SignatureUrl": "https://a/b", "FileName": "b"}},
    ),
    "SaveContactBlockList": (
        lambda c: c.save_contact_block_list([BlockedNumber(phone_number="13800000000")]), {"AffectedRows": 1},
    ),
    "DescribeScript": (lambda c: c.describe_script(script_id="s"), {"Script": {"ScriptId": "s"}}),
    "CancelJobs": (lambda c: c.cancel_jobs(job_group_id="g", all_jobs=True), {}),
}  # fmt: skip
_OK = {"Code": "OK", "Success": True, "HttpStatusCode": 200, "RequestId": "r", "Message": "m"}
NOT_NUMBERS = [math.nan, math.inf, -math.inf, 10**30, 10**400, -1, 1.5, True, "many", [], [1], {}, {"a": 1}]


def outcome(client: OutboundBotClient, action: str) -> Any:
    """What a call gives: its result, or an error of the API's kind. Anything else is raised."""
    try:
        return CALLS[action][0](client)
    except OutboundBotApiError as error:
        return error


@pytest.mark.parametrize("action", CALLS)
def test_a_good_answer_is_read(scripted: Scripted, action: str) -> None:
    scripted.answer(200, _OK | CALLS[action][1])

    assert not isinstance(outcome(scripted.client(), action), Exception)


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("name", _PROGRESS)
def test_a_count_that_is_none_makes_the_answer_unusable(scripted: Scripted, name: str, value: Any) -> None:
    scripted.answer(200, _OK | {"JobGroup": _GROUP | {"Progress": _PROGRESS | {name: value}}})

    with pytest.raises(OutboundBotAnswerError) as refusal:
        scripted.client().describe_job_group(job_group_id="g")
    assert refusal.value.in_doubt
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("value", [b"1e400", b"Infinity", b"NaN", b"9" * 400, b"9" * 5000])
@pytest.mark.parametrize("name", [b"TotalJobs", b"AffectedRows", b"TotalCount", b"RowCount", b"EndTime"])
def test_numbers_that_python_writes_otherwise_are_refused_too(scripted: Scripted, name: bytes, value: bytes) -> None:
    for action in ("DescribeJobGroup", "SaveContactBlockList", "ListJobGroups", "QueryJobsWithResult"):
        body = json.dumps(_OK | CALLS[action][1]).encode()
        at = body.find(b'"' + name + b'": ')
        if at < 0:
            continue
        begin = at + len(name) + 4
        end = min(found for found in (body.find(b",", begin), body.find(b"}", begin)) if found >= 0)
        scripted.answers.clear()
        scripted.answer(200, body[:begin] + value + body[end:])

        assert isinstance(outcome(scripted.client(), action), OutboundBotAnswerError), action


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("depth", [100, sys.getrecursionlimit() - 60, 100_000])
def test_an_answer_that_is_nested_too_deeply_is_unusable(scripted: Scripted, status: int, depth: int) -> None:
    deep = b'{"Code": "OK", "Success": true, "JobGroup": ' + b"[" * depth + b"]" * depth + b"}"
    scripted.answer(status, deep)

    found = outcome(scripted.client(), "CreateJobGroup")

    assert isinstance(found, OutboundBotApiError)
    assert found.in_doubt


_leaves = st.sampled_from([*NOT_NUMBERS, None, "", "13800138000", "\ud800", "a\0b", "OK", "x" * 300, 0, 5])
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _places(item, (*path, key))


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(action=st.sampled_from(sorted(CALLS)), data=st.data())
def test_any_value_in_any_place_of_an_answer_gives_a_result_or_an_error_of_the_api(
    scripted: Scripted, action: str, data: st.DataObject
) -> None:
    answer = copy.deepcopy(_OK | CALLS[action][1])
    for _ in range(data.draw(st.integers(1, 3))):
        *path, key = data.draw(st.sampled_from(list(_places(answer))))
        holder: Any = answer
        for step in path:
            holder = holder[step]
        holder[key] = copy.deepcopy(data.draw(_values))  # the next place may lie inside it
    scripted.answers.clear()
    scripted.answer(200, answer)

    outcome(scripted.client(), action)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    action=st.sampled_from(["AssignJobs", "CreateJobGroup"]),
    body=st.binary(max_size=60) | _values.map(lambda value: json.dumps(value).encode()),
    status=st.sampled_from([200, 400, 404, 503]),
)
def test_any_body_is_a_result_or_an_error_of_the_api(scripted: Scripted, action: str, body: bytes, status: int) -> None:
    scripted.answers.clear()
    scripted.answer(status, body)

    assert isinstance(outcome(scripted.client(), action), OutboundBotApiError)
