from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.ledger import Candidate, Incoming, JobResult, Ledger, TaskKey, open_ledger
from airflow_provider_outbound.core.models.enums import CallStatus, JobStatus, Outcome
from airflow_provider_outbound.core.models.job import Call, Job
from airflow_provider_outbound.exceptions import LedgerKeyError

T0 = 1_588_850_490_334


def body(
    job: int = 1, *, kind: str = "JobComplete", status: str = "Failed", at: int = T0, attempts: int = 1, **more: Any
) -> bytes:
    tasks = [
        {
            "id": f"task-{job}-{attempt}",
            "callId": f"call-{job}-{attempt}",
            "planedTime": T0 + attempt * 1000,
            "actualTime": T0 + attempt * 1000,
            "endTime": T0 + attempt * 1000 + 500,
            "callingNumber": "02100000000",
            "calledNumber": f"1390000{job:04d}",
            "status": "NoAnswer" if status != "Succeeded" or attempt + 1 < attempts else "SucceededFinish",
        }
        for attempt in range(attempts)
    ]
    message = {
        "eventType": kind,
        "eventTime": at,
        "instanceId": "i",
        "groupId": "g1",
        "id": f"job-{job}",
        "status": status,
        "failureReason": "NoAnswer" if status == "Failed" else "",
        "extras": [{"key": "custom", "value": "aaa"}],
        "contacts": [
            {
                "id": "c",
                "honorific": "先生",
                "name": "李四",
                "phoneNumber": f"1390000{job:04d}",
                "referenceId": f"ref-{job}",
            }
        ],
        "tasks": tasks,
        **more,
    }
    return json.dumps(message, ensure_ascii=False).encode()


def incoming(*bodies: bytes) -> list[Incoming]:
    return [Incoming(body=one, message_id=f"m{index}", topic="t") for index, one in enumerate(bodies)]


def results(ledger: Ledger) -> list[JobResult]:
    return list(ledger.results.iter_results("g1"))


def test_a_repeat_is_counted_once(ledger: Ledger) -> None:
    first = ledger.inbox.record(incoming(body(), body()))
    second = ledger.inbox.record(incoming(body()))

    assert (first.new, first.repeated) == (1, 1)
    assert (second.new, second.repeated) == (0, 1)
    assert ledger.results.summary("g1")["total"] == 1


def test_a_producers_repeat_under_a_new_time_is_the_same_completion(ledger: Ledger) -> None:
    ledger.inbox.record(incoming(body(at=T0), body(at=T0 + 9)))

    assert [(row.revision, row.attempts) for row in results(ledger)] == [(1, 1)]


def test_a_job_that_ran_again_is_a_new_revision_with_the_later_outcome(ledger: Ledger) -> None:
    again = body(status="Succeeded", attempts=2, at=T0 + 60_000)
    for order in ([body(), again], [again, body()]):
        ledger.inbox.record(incoming(*order))

    (row,) = results(ledger)
    assert (row.revision, row.status, row.outcome, row.attempts) == (2, JobStatus.SUCCEEDED, Outcome.ANSWERED, 2)


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"\xff\xfe{}", "not UTF-8", id="encoding"),
        pytest.param(b"{'a': 1}", "not JSON", id="not-json"),
        pytest.param(b"[]", "not a JSON object", id="shape"),
        pytest.param(b'{"order": 1}', "groupId is missing", id="another-product"),
        pytest.param(body(id="a\x00b"), "id is not an identifier", id="nul-in-id"),
        pytest.param(b'{"eventType": 5, "groupId": "g", "id": "j"}', "eventType is missing", id="type"),
        pytest.param(b"[" * 100_000, "JSON nested more than 64 deep", id="deep"),
    ],
)
def test_what_cannot_be_read_is_kept_and_the_rest_goes_on(ledger: Ledger, poison: bytes, reason: str) -> None:
    from airflow_provider_outbound.core.ledger import schema

    recorded = ledger.inbox.record(incoming(poison, body()))

    assert (recorded.new, recorded.quarantined) == (1, 1)
    with ledger.read() as connection:
        row = connection.execute(schema.quarantine.select()).one()
    assert row.reason == reason
    assert ledger.cipher.decrypt(row.body) == poison


def test_what_the_database_refuses_is_kept_and_the_rest_goes_on(ledger: Ledger) -> None:
    # A NUL inside a status cannot be stored by PostgreSQL; SQLite keeps it.
    recorded = ledger.inbox.record(incoming(body(1, status="Fu\x00ture"), body(2)))

    assert recorded.new + recorded.quarantined == 2
    assert [row.job_id for row in results(ledger) if row.job_id == "job-2"] == ["job-2"]


def test_unknown_types_statuses_and_fields_are_kept(ledger: Ledger) -> None:
    ledger.inbox.record(incoming(body(1, status="Sleeping", novel=1), body(2, kind="Dreaming", status="Executing")))

    rows = {row.job_id: row for row in results(ledger)}
    assert rows["job-1"].status == "Sleeping"
    assert rows["job-1"].status is not None
    assert not rows["job-1"].status.is_known
    assert ledger.results.summary("g1")["by_status"] == {"Executing": 1, "Sleeping": 1}
    assert ledger.results.summary("g1")["completed"] == 1


def test_a_message_settles_doubt(ledger: Ledger, candidates: Callable[[int], list[Candidate]]) -> None:
    (contact,) = candidates(1)
    assignment = ledger.assignments.open(TaskKey("d", "r", "t"), "g1", owner="o", lease_seconds=60, settle_seconds=1)
    ledger.journal.begin(assignment, [contact], dedupe_by="phone")
    told = body(7, contacts=[{"phoneNumber": contact.contact.phone.e164, "referenceId": contact.reference_id}])

    ledger.inbox.record(incoming(told))

    assert ledger.journal.in_doubt(assignment) == []
    assert ledger.journal.count_settled(assignment)[0] == 1
    assert [(row.job_id, row.is_foreign) for row in results(ledger)] == [("job-7", False)]


def test_a_message_overrules_what_the_api_said(ledger: Ledger) -> None:
    listed = Job(
        job_id="job-1",
        job_group_id="g1",
        status=JobStatus.FAILED,
        reference_id="ref-1",
        phone_number="13900000001",
        calls=(Call(task_id=None, status=CallStatus.BUSY),),
    )
    ledger.results.record_listing("g1", [listed])
    assert ledger.results.summary("g1")["recovered"] == 1

    ledger.inbox.record(incoming(body(status="Succeeded")))
    ledger.results.record_listing("g1", [listed])

    summary = ledger.results.summary("g1")
    assert (summary["recovered"], summary["succeeded"], summary["answered"]) == (0, 1, 1)


def test_nothing_in_the_file_tells_a_number_or_a_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(f"sqlite:///{path}", [Fernet.generate_key().decode()]) as ledger:
        ledger.inbox.record(incoming(body(), b"not json 13900000001"))
        stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())

    assert b"139000" not in stored
    assert "李四".encode() not in stored


def test_a_row_under_a_lost_key_is_refused_or_where_calls_are_stopped_flagged(url: str, key: str) -> None:
    newer = Fernet.generate_key().decode()
    open_ledger(url, [key]).close()
    with open_ledger(url, [newer, key]) as ledger:
        ledger.inbox.record(incoming(body(1)))
    with pytest.raises(LedgerKeyError, match="not among the keys given"):
        open_ledger(url, [key])
    with open_ledger(url, [key], require_keys=False) as ledger:
        ledger.inbox.record(incoming(body(2)))
        rows = results(ledger)

    assert [(row.reference_id, row.decrypted, row.phone_number) for row in rows] == [
        ("ref-1", False, None),
        ("ref-2", True, "13900000002"),
    ]


FACTS: Sequence[tuple[str, Any]] = (
    ("message", body(1, kind="Dialing", status="Executing", at=T0 - 900)),
    ("message", body(1, kind="CallFinished", status="Executing", at=T0 - 500)),
    ("message", body(1, at=T0)),
    ("message", body(1, at=T0 + 3)),
    ("message", body(1, status="Succeeded", attempts=2, at=T0 + 60_000)),
    ("message", body(2, status="Cancelled", attempts=0, at=T0 + 7)),
    (
        "api",
        Job(
            job_id="job-1",
            job_group_id="g1",
            status=JobStatus.FAILED,
            reference_id="ref-1",
            phone_number="13900000001",
            calls=(Call(task_id=None, status=CallStatus.BUSY),),
        ),
    ),
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_the_folded_state_is_one_whatever_the_order_and_number_of_facts(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    result_filter = random.Random(seed)
    facts = [*FACTS, *result_filter.choices(FACTS, k=4)]
    result_filter.shuffle(facts)
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with open_ledger(f"sqlite:///{path}", [Fernet.generate_key().decode()]) as ledger:
        while facts:
            size = result_filter.randint(1, len(facts))
            batch, facts = facts[:size], facts[size:]
            ledger.inbox.record(incoming(*(fact for kind, fact in batch if kind == "message")))
            ledger.results.record_listing("g1", [fact for kind, fact in batch if kind == "api"])
        told = [
            (row.job_id, row.status, row.outcome, row.call_status, row.attempts, row.revision, row.source)
            for row in results(ledger)
        ]

    assert told == [
        (
            "job-1",
            JobStatus.SUCCEEDED,
            Outcome.ANSWERED,
            CallStatus.SUCCEEDED_FINISH,
            2,
            2,
            "message",
        ),
        ("job-2", JobStatus.CANCELLED, Outcome.NOT_DIALLED, None, 0, 1, "message"),
    ]


def test_a_lot_of_many_groups_comes_to_the_same_as_its_messages_one_by_one(
    ledger: Ledger, key: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    result_filter = random.Random(seed)
    groups = [f"g{number}" for number in range(12)]
    # Numbers and references recur from group to group; what is known of a job in one says nothing of another.
    bodies = [
        body(
            job,
            kind=kind,
            status="Succeeded" if kind == "JobComplete" else "Executing",
            at=T0 + result_filter.randrange(5),
            groupId=group,
            id=f"{group}-job-{job}",
        )
        for group in groups
        for job in range(1, 5)
        for kind in ("Dialing", "CallFinished", "JobComplete")
    ]
    result_filter.shuffle(bodies)
    ledger.inbox.record(incoming(*bodies))

    with open_ledger(f"sqlite:///{tmp_path}/singly.db", [key]) as singly:
        for one in bodies:
            singly.inbox.record(incoming(one))
        for group in groups:
            assert told(ledger, group) == told(singly, group)
            assert ledger.results.summary(group) == singly.results.summary(group)
            assert ledger.results.summary(group)["completed"] == 4


def told(ledger: Ledger, group: str) -> list[tuple[Any, ...]]:
    return [(row.reference_id, row.job_id, row.status, row.attempts) for row in ledger.results.iter_results(group)]


def test_a_waiter_is_told_whether_anything_is_left_to_wait_for(ledger: Ledger) -> None:
    start = ledger.groups.newest()
    ledger.inbox.record(incoming(body(1, kind="Dialing", status="Executing"), body(2)))

    middle, groups = ledger.groups.changed_since(start)
    assert middle > start
    assert groups == {"g1": False}

    ledger.inbox.record(incoming(body(1)))
    newest, groups = ledger.groups.changed_since(middle)
    assert groups == {"g1": True}
    assert ledger.groups.changed_since(newest) == (newest, {})


def test_a_group_that_somebody_still_assigns_to_is_not_quiet(ledger: Ledger) -> None:
    assignment = ledger.assignments.open(
        TaskKey("dag", "run", "task"), "g1", owner="me", lease_seconds=60, settle_seconds=1
    )
    start, groups = ledger.groups.changed_since(0)
    assert groups == {"g1": False}

    ledger.inbox.record(incoming(body(1)))
    start, groups = ledger.groups.changed_since(start)
    assert groups == {"g1": False}

    ledger.assignments.close(assignment, 1)
    assert ledger.groups.changed_since(start)[1] == {"g1": True}
