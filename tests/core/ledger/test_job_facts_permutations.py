"""
What a job comes to is one, in whatever order, number and portions its facts arrive.

Facts are drawn at random: messages of every kind, with times that coincide, are missing or contradict each other, and
what the API lists with and without the calls' ids. What a listing says of a job that has not ended is no fact that
stays, so the last one stands; everything else must not depend on the order.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from support.examples import examples

from airflow_provider_outbound.core.ledger import Candidate, Incoming, Ledger, TaskKey, open_ledger, schema
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.core.models.phone import normalise

T0 = 1_588_850_490_334
#: Facts are about these jobs of a group; the ledger has assigned the first, others the second.
JOBS = (0, 1)

_times = st.sampled_from([None, T0, T0 + 1, T0 + 500, T0 + 59_000, T0 + 90_000, T0 + 3_600_000])
_call_statuses = st.sampled_from(["Executing", "NoAnswer", "Busy", "SucceededFinish", "FutureStatus", None])
_job_statuses = st.sampled_from(
    ["Scheduling", "Executing", "Paused", "Succeeded", "Failed", "Cancelled", "Future", None]
)
_reasons = st.sampled_from(["NoAnswer", "TimeUp", None])
_calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["t1", "t2", "t3"]),
            "status": _call_statuses,
            "planedTime": _times,
            "actualTime": _times,
            "endTime": _times,
        }
    ),
    max_size=3,
    unique_by=lambda call: call["id"],
)
_messages = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(
            ["Dialing", "CallAnswered", "CallFinished", "JobComplete", "JobComplete", "RecordingReady", "Dreaming"]
        ),
        "eventTime": _times,
        "job": st.sampled_from(JOBS),
        "status": _job_statuses,
        "failureReason": _reasons,
        "tasks": _calls,
    }
)
#: With all calls, as ListJobs tells them, or with the latest alone, as QueryJobsWithResult does.
_listings = st.fixed_dictionaries(
    {
        "listed": st.sampled_from(["calls", "latest"]),
        "job": st.sampled_from(JOBS),
        "status": _job_statuses,
        "failureReason": _reasons,
        "tasks": _calls,
    }
)
Fact = dict[str, Any]


@st.composite
def _orders(draw: st.DrawFn) -> tuple[list[Fact], list[list[Fact]]]:
    """Some facts, and the same ones repeated, shuffled and cut into portions."""
    facts = draw(st.lists(st.one_of(_messages, _listings), min_size=1, max_size=7))
    repeats = draw(st.lists(st.sampled_from(facts), max_size=4))
    shuffled = draw(st.permutations([*facts, *repeats]))
    cuts = sorted(draw(st.sets(st.integers(1, len(shuffled)), max_size=4)))
    edges = [0, *cuts, len(shuffled)]
    return facts, [shuffled[begin:end] for begin, end in itertools.pairwise(edges) if begin < end]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One ledger for all examples, emptied before each."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with open_ledger(f"sqlite:///{path}", [Fernet.generate_key().decode()]) as opened:
        yield opened


@settings(max_examples=examples(100), deadline=None, database=None)
@given(orders=_orders())
def test_the_state_does_not_depend_on_order_number_or_portions(
    shared: Ledger, orders: tuple[list[Fact], list[list[Fact]]]
) -> None:
    facts, portions = orders

    straight = _state_after(shared, [facts])
    mixed = _state_after(shared, portions)

    assert mixed == straight


def _state_after(ledger: Ledger, portions: Sequence[Sequence[Fact]]) -> dict[str, Any]:
    group = "g"  # the same each time: of two messages of one moment the greater hash wins, and the group is part of it
    with ledger.write() as connection:
        for table in (
            schema.jobs,
            schema.assignments,
            schema.job_groups,
            schema.calls,
            schema.events,
            schema.recordings,
        ):
            connection.execute(table.delete())
    _assign_first(ledger, group)
    for portion in portions:
        # Neighbours of one kind come in one transaction, as they do from a collector or a listing's page.
        for is_listing, part in itertools.groupby(portion, key=lambda fact: "listed" in fact):
            if is_listing:
                ledger.results.record_listing(group, [_job(group, fact) for fact in part])
            else:
                bodies = [_body(group, fact) for fact in part]
                ledger.inbox.record([Incoming(body=body, message_id="m", topic="t") for body in bodies])
    return _state(ledger, group)


def _assign_first(ledger: Ledger, group: str) -> None:
    phone = normalise(_phone(JOBS[0]))
    candidate = Candidate(
        reference_id=f"r{JOBS[0]}", phone_key=ledger.identity.phone_key(phone.e164), contact=Contact(phone=phone)
    )
    assignment = ledger.assignments.open(TaskKey("d", "r", "t"), group, owner="o", lease_seconds=600, settle_seconds=1)
    ledger.journal.begin(assignment, [candidate], dedupe_by="phone")


def _phone(job: int) -> str:
    return f"1390000000{job}"


def _body(group: str, fact: Fact) -> bytes:
    job = fact["job"]
    event = {name: value for name, value in fact.items() if value is not None and name != "job"}
    event |= {
        "groupId": group,
        "id": f"{group}-{job}",
        "contacts": [{"phoneNumber": _phone(job), "referenceId": f"r{job}"}],
        "tasks": [{name: value for name, value in task.items() if value is not None} for task in fact["tasks"]],
    }
    if fact["eventType"] == "RecordingReady":
        event["recording"] = {"taskId": f"{group}-{job}-t1", "fileName": "a.wav"}
    return json.dumps(event).encode()


def _job(group: str, fact: Fact) -> Job:
    job, tasks = fact["job"], fact["tasks"]
    if fact["listed"] == "calls":
        return Job.from_api(
            {
                "JobId": f"{group}-{job}",
                "Status": fact["status"],
                "FailureReason": fact["failureReason"],
                "Contacts": [{"PhoneNumber": _phone(job), "ReferenceId": f"r{job}"}],
                "Tasks": [
                    {
                        "TaskId": task["id"],
                        "Status": task["status"],
                        "PlanedTime": task["planedTime"],
                        "ActualTime": task["actualTime"],
                        "EndTime": task["endTime"],
                    }
                    for task in tasks
                ],
            }
        )
    latest = tasks[-1] if tasks else {}
    return Job.from_query(
        {
            "Id": f"{group}-{job}",
            "Status": fact["status"],
            "JobFailureReason": fact["failureReason"],
            "LatestTask": {
                "Status": latest.get("status"),
                "CallTime": latest.get("actualTime"),
                "Contact": {"PhoneNumber": _phone(job), "ReferenceId": f"r{job}"},
            },
        },
        group,
    )


def _state(ledger: Ledger, group: str) -> dict[str, Any]:
    """Everything that facts determine."""
    state: dict[str, Any] = {}
    with ledger.read() as connection:
        for row in connection.execute(select(schema.jobs).where(schema.jobs.c.job_group_id == group)).mappings():
            kept = {name: value for name, value in row.items() if name not in ("contact", "sent_at")}
            if row["source"] == "api" and not row["terminal"]:
                kept |= {"status": None, "failure_reason": None}
            state[row["reference_id"]] = kept
        for table in (schema.calls, schema.recordings):
            rows = connection.execute(select(table).where(table.c.job_group_id == group)).mappings()
            state[table.name] = sorted(
                str({name: value for name, value in row.items() if name not in ("body", "recorded_at")}) for row in rows
            )
    return state
