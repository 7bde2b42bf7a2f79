"""Whatever is sent as a message is stored or quarantined, once, and everything beside it is stored."""

from __future__ import annotations

import json
import math
import sys
import tracemalloc
import zlib
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.ledgers import count

from airflow_provider_outbound.core.ledger import Incoming, Ledger, open_ledger
from airflow_provider_outbound.core.models.enums import FailureReason, JobStatus, Outcome
from airflow_provider_outbound.core.models.job import Call, Job
from airflow_provider_outbound.core.rocketmq.bodies import HEAD, MAX_BODY, Body, plain, unpack


def event(job: str = "job-1", **fields: Any) -> bytes:
    known = {"eventType": "JobComplete", "eventTime": 1_700_000_000_000, "groupId": "g1", "id": job}
    contact = {"phoneNumber": "13900000001", "referenceId": f"ref-{job}"}
    return json.dumps(known | {"status": "Succeeded", "contacts": [contact], "tasks": []} | fields).encode()


def incoming(body: bytes, name: str = "m") -> Incoming:
    return Incoming(
        body=body,
        message_id=name,
        topic="t",
        fault=getattr(body, "fault", ""),
        head_of=getattr(body, "head_of", None),
    )


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


LIMIT = sys.getrecursionlimit()


@pytest.mark.parametrize("where", ["novel", "extras", "tasks", "contacts", "recording", "status"])
@pytest.mark.parametrize("depth", [70, LIMIT // 3, LIMIT - 100, LIMIT - 60, LIMIT - 30])
def test_what_is_nested_under_the_interpreters_limit_is_quarantined_and_the_rest_is_stored(
    ledger: Ledger, where: str, depth: int
) -> None:
    brackets = "[" * depth + "]" * depth
    values = {"extras": f'[{{"key": "k", "value": {brackets}}}]', "recording": f'{{"taskId": "t", "x": {brackets}}}'}
    deep = event()[:-1] + f', "{where}": {values.get(where, brackets)}}}'.encode()

    for _ in range(2):
        recorded = ledger.inbox.record([incoming(deep), incoming(event("job-2"))])
        assert recorded.new + recorded.repeated == 1
        assert recorded.quarantined == 1

    (kept,) = ledger.quarantine.iter_messages()
    assert (kept.body, kept.reason) == (deep, "JSON nested more than 64 deep")
    assert count(ledger, "events") == 1
    assert ledger.quarantine.replay(kept.hash).quarantined == 1
    assert ledger.quarantine.count() == 1


def test_what_is_nested_as_deeply_as_allowed_is_stored_with_its_tasks_and_extras(ledger: Ledger) -> None:
    deep = nest(58)
    body = event(
        novel=deep,
        extras=[{"key": "k", "value": deep}],
        tasks=[{"id": "t", "status": "NoAnswer", "novel": deep}],
        recording={"taskId": "t", "fileName": "f", "novel": deep},
    )

    assert ledger.inbox.record([incoming(body)]).new == 1
    (result,) = ledger.results.iter_results("g1")
    assert result.extras == {"k": json.dumps(deep, separators=(",", ":"))}


@pytest.mark.parametrize("field", ["eventTime", "duration", "actualTime", "endTime", "planedTime"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 400, "-5", "true", "[]", '{"a": 1}'])
def test_a_number_that_is_none_costs_no_message(ledger: Ledger, field: str, value: str) -> None:
    told: dict[str, Any] = {
        "recording": {"taskId": "t", "fileName": "f", "duration": 5},
        "tasks": [{"id": "t", "status": "NoAnswer", "planedTime": 1, "actualTime": 1, "endTime": 1}],
    }
    body = event(**told, eventTime=1).replace(f'"{field}": 1'.encode(), f'"{field}": {value}'.encode())
    body = body.replace(f'"{field}": 5'.encode(), f'"{field}": {value}'.encode())
    assert value.encode() in body

    assert ledger.inbox.record([incoming(body)]).new == 1
    (result,) = ledger.results.iter_results("g1")
    assert (result.status, result.attempts, result.outcome) == (JobStatus.SUCCEEDED, 1, Outcome.UNANSWERED)


_words = st.sampled_from(
    ["JobComplete", "Dialing", "Succeeded", "4", "g1", "", "\ud800", "a\0b", "x" * 70, "13800138000", "\u202e"]
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([math.nan, 10**400, 1e308, -1]) | _words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "key", "value", "status", "referenceId", "phoneNumber", "taskId"]), inner
        )
    ),
    max_leaves=12,
)
_fields = st.sampled_from(
    [
        *("eventType", "eventTime", "instanceId", "groupId", "id", "status", "failureReason"),
        *("extras", "contacts", "tasks", "recording", "novel"),
    ]
)
_bodies = (
    st.binary(max_size=40)
    | _values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(_fields, _values, max_size=8).map(lambda fields: event(**cast("dict[str, Any]", fields)))
    | st.binary(max_size=40).map(unpack)
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(_bodies, min_size=1, max_size=8))
def test_any_bytes_are_stored_or_quarantined_once_and_all_behind_them_is_stored(
    tmp_path_factory: pytest.TempPathFactory, batch: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    messages = [incoming(body, f"m{number}") for number, body in enumerate([*batch, event("the-last")])]
    with open_ledger(f"sqlite:///{path}", [Fernet.generate_key().decode()]) as ledger:
        first = ledger.inbox.record(messages)
        kept = count(ledger, "events"), ledger.quarantine.count()
        second = ledger.inbox.record(messages)

        assert first.new + first.repeated + first.quarantined == len(messages)
        assert (second.new, count(ledger, "events"), ledger.quarantine.count()) == (0, *kept)
        assert kept[0] == first.new
        assert kept[1] == len({message.body for message in messages if not _is_read(ledger, message)})
        assert "the-last" in {result.job_id for result in ledger.results.iter_results("g1")}
        ledger.results.summary("g1")


def _is_read(ledger: Ledger, message: Incoming) -> bool:
    recorded = ledger.inbox.record([message])
    return not recorded.quarantined


def test_a_producers_own_message_id_keeps_nothing_from_being_stored(ledger: Ledger) -> None:
    for number, name in enumerate(["a\0b", "\ud800", "x" * 5000]):
        assert ledger.inbox.record([incoming(b"junk %d" % number, name)]).quarantined == 1

    assert ledger.quarantine.count() == 3


def packed(size: int, *, header: int) -> bytes:
    """Zeros behind the beginning of an event, packed; with ``header`` 31 as gzip, with 15 as zlib. Without an end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, header)
    beginning = packer.compress(event()[:-1] + b', "novel": "') + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return beginning + zeros * (size >> 20)


@pytest.mark.parametrize("header", [pytest.param(31, id="gzip"), pytest.param(15, id="zlib")])
def test_a_body_that_unpacks_to_very_much_is_kept_by_its_head_and_size_in_bounded_memory(
    ledger: Ledger, header: int
) -> None:
    bomb = packed(600 << 20, header=header)
    assert len(bomb) < 1 << 20

    tracemalloc.start()
    body = unpack(bomb)
    recorded = ledger.inbox.record([incoming(body), incoming(event("job-2"))])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (recorded.new, recorded.quarantined) == (1, 1)
    (kept,) = ledger.quarantine.iter_messages()
    assert kept.reason == f"decompresses to more than 4 MiB from {len(bomb)} bytes; only the head is kept"
    assert (kept.head_of, len(kept.body or b"")) == (len(bomb), HEAD)
    assert (kept.body or b"").startswith(event()[:-1])
    assert peak < 20 << 20


def test_a_head_that_looks_like_a_message_is_never_taken_for_one(ledger: Ledger) -> None:
    bomb = zlib.compress(event() + b" " * (MAX_BODY + 1))
    ledger.inbox.record([incoming(unpack(bomb))])
    (kept,) = ledger.quarantine.iter_messages()
    assert json.loads(kept.body or b"")["id"] == "job-1"

    assert ledger.quarantine.replay(kept.hash).quarantined == 1
    assert (count(ledger, "events"), ledger.quarantine.count()) == (0, 1)


def test_two_long_messages_with_one_head_are_two(ledger: Ledger) -> None:
    body = unpack(zlib.compress(event() + b" " * (MAX_BODY + 1)))

    ledger.inbox.record([incoming(body, "m1"), incoming(body, "m2"), incoming(body, "m1")])

    assert ledger.quarantine.count() == 2


@pytest.mark.parametrize("size", [MAX_BODY - 1000, MAX_BODY])
def test_the_longest_message_is_read_packed_or_not(ledger: Ledger, size: int) -> None:
    body = event()
    body = body[:-1] + b', "novel": "' + b"x" * (size - len(body) - 14) + b'"}'

    for one in (plain(body), unpack(zlib.compress(body))):
        assert (bytes(one), one.fault) == (body, "")
        assert ledger.inbox.record([incoming(one)]).quarantined == 0


def test_a_longer_message_that_was_not_packed_is_kept_by_its_head(ledger: Ledger) -> None:
    ledger.inbox.record([incoming(plain(event() + b" " * MAX_BODY))])

    (kept,) = ledger.quarantine.iter_messages()
    assert (kept.head_of, len(kept.body or b"")) == (MAX_BODY + len(event()), HEAD)


@pytest.mark.parametrize(
    ("delivered", "words"),
    [
        pytest.param(b"\x28\xb5\x2f\xfd and so on", "compressed with zstd", id="zstd"),
        pytest.param(b"\x04\x22\x4d\x18 and so on", "compressed with lz4", id="lz4"),
        pytest.param(zlib.compress(event())[:-9], "end is missing", id="cut"),
        pytest.param(zlib.compress(event()) + b"more", "followed by other data", id="behind"),
        pytest.param(b"\x78\x9cnothing", "not UTF-8", id="broken"),
    ],
)
def test_what_cannot_be_unpacked_is_kept_as_it_came_and_named(ledger: Ledger, delivered: bytes, words: str) -> None:
    ledger.inbox.record([incoming(unpack(delivered))])

    (kept,) = ledger.quarantine.iter_messages()
    assert (kept.body, kept.head_of) == (delivered, None)
    assert words in kept.reason


@settings(max_examples=examples(150), deadline=None)
@given(data=st.binary(max_size=200), header=st.sampled_from([15, 31]), cut=st.integers(0, 40))
def test_packing_and_unpacking_gives_the_text_or_says_why_not(data: bytes, header: int, cut: int) -> None:
    packer = zlib.compressobj(6, zlib.DEFLATED, header)
    delivered = packer.compress(data) + packer.flush()

    assert unpack(delivered) == data
    body = unpack(delivered[: len(delivered) - cut])
    assert isinstance(body, Body)
    assert cut == 0 or body.fault or body == delivered[: len(delivered) - cut]


def listed(status: JobStatus | None) -> Job:
    return Job(
        job_id="job-1",
        job_group_id="g1",
        status=status,
        failure_reason=FailureReason.NO_ANSWER if status is JobStatus.FAILED else None,
        reference_id="ref-job-1",
        phone_number="13900000001",
        calls=(Call(task_id="t", status=None),),
    )


@pytest.mark.parametrize("status", [None, "", True, [], {"a": 1}, "Executing", 1, "x" * 65])
def test_a_completion_without_a_final_status_leaves_the_job_open_until_the_api_tells_it(
    ledger: Ledger, status: Any
) -> None:
    ledger.inbox.record([incoming(event(status=status))])

    assert [job.job_id for job in ledger.results.unfinished("g1", 9)] == ["job-1"]
    assert ledger.results.summary("g1")["completed"] == 0

    ledger.results.record_listing("g1", [listed(JobStatus.FAILED)])

    assert ledger.results.unfinished("g1", 9) == []
    summary = ledger.results.summary("g1")
    assert (summary["completed"], summary["failed"], summary["recovered"]) == (1, 1, 1)
    (result,) = ledger.results.iter_results("g1")
    assert (result.status, result.failure_reason) == (JobStatus.FAILED, FailureReason.NO_ANSWER)


@pytest.mark.parametrize(("status", "read"), [(2, "succeeded"), ("4", "failed"), ("5", "cancelled"), (4.0, "failed")])
def test_a_completion_with_the_services_number_tells_its_status(ledger: Ledger, status: Any, read: str) -> None:
    ledger.inbox.record([incoming(event(status=status))])

    summary = ledger.results.summary("g1")
    assert (summary["completed"], summary[read], summary["recovered"]) == (1, 1, 0)


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_status_that_is_not_listed_is_counted_once(ledger: Ledger, is_complete: bool) -> None:
    kind = "JobComplete" if is_complete else "CallFinished"
    ledger.inbox.record([incoming(event(status="Expired", eventType=kind)), incoming(event("job-2"))])

    summary = ledger.results.summary("g1")
    assert (summary["completed"], summary["unlisted"]) == ((2, 0) if is_complete else (1, 1))
    assert summary["completed"] + summary["unlisted"] == summary["total"] == 2
