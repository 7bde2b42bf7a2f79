"""One person in all groups: found completely, and forgotten without a trace but with every promise kept."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import LargeBinary, select
from support.examples import examples
from support.messages import encoded, job_complete, store

from airflow_provider_outbound.core.ledger import (
    Assignment,
    CallCap,
    Candidate,
    CandidateStatus,
    JobDetails,
    Ledger,
    Outcomes,
    TaskKey,
    schema,
)
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import normalise
from airflow_provider_outbound.exceptions import LedgerError, LedgerKeyError

ONCE = CallCap(most=1, period=timedelta(days=365))
NUMBER, OTHER = "13812345678", "13912345678"


@attrs.define(kw_only=True)
class Called:
    """A person who was assigned and called, and everything that a ledger learns from that."""

    ledger: Ledger
    number: str = NUMBER
    name: str = "张三丰"
    extras: dict[str, str] = attrs.field(factory=lambda: {"address": "西湖大道一号"})
    reference_id: str | None = None
    group: str = attrs.field(factory=lambda: f"group-{uuid.uuid4().hex}")
    job_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))

    @property
    def e164(self) -> str:
        return f"+86{self.number}"

    def candidate(self) -> Candidate:
        identity = self.ledger.identity
        return Candidate(
            reference_id=self.reference_id or identity.reference_id(self.e164),
            phone_key=identity.phone_key(self.e164),
            contact=Contact(phone=normalise(self.number), name=self.name, extras=self.extras),
        )

    def open(self, group: str | None = None) -> Assignment:
        return self.ledger.assignments.open(
            TaskKey("dag", "run", "assign"), group or self.group, owner="me", lease_seconds=600, settle_seconds=0
        )

    def assign(self) -> Called:
        assignment = self.open()
        candidate = self.candidate()
        self.ledger.journal.begin(assignment, [candidate], dedupe_by="phone")
        outcomes = Outcomes(accepted=[candidate.reference_id])
        self.ledger.journal.record_outcomes(assignment, outcomes)
        self.ledger.assignments.close(assignment, 1)
        return self

    def body(self, event_type: str, **more: Any) -> bytes:
        called = {"id": f"t-{self.job_id}", "status": "SucceededFinish", "calledNumber": self.number}
        message = job_complete(
            self.group,
            self.job_id,
            self.number,
            self.candidate().reference_id,
            called,
            name=self.name,
            extras=self.extras,
            eventType=event_type,
            **more,
        )
        return encoded(message)

    def tell(self, *bodies: bytes) -> None:
        store(self.ledger, *bodies)

    def finish(self) -> Called:
        recording = {"taskId": f"t-{self.job_id}", "fileName": "a.wav", "url": f"https://x/{self.number}"}
        self.tell(
            self.body("JobComplete"),
            self.body("RecordingReady", recording=recording),
            f"not JSON: {self.number[:3]}-{self.number[3:7]} {self.number[7:]} {self.name}".encode(),
            f"also not: {self.number}".encode("utf-16"),
        )
        (result,) = self.ledger.results.iter_results(self.group)
        self.ledger.details.save([(result, JobDetails(tags={"wish": f"call {self.name} at {self.number}"}))])
        return self


def everything(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Every value of every table, decrypted: its column and text."""
    with ledger.read() as connection:
        for table in schema.metadata.sorted_tables:
            for row in connection.execute(select(table)):
                for column, value in zip(table.c, row, strict=True):
                    if value is None:
                        continue
                    if isinstance(column.type, LargeBinary) and table is not schema.ledger:
                        try:
                            value = ledger.cipher.decrypt(value).replace(b"\0", b"").decode("utf-8", "replace")
                        except LedgerKeyError:
                            value = "?"
                    yield f"{table.name}.{column.name}", str(value)


def traces(ledger: Ledger, *secrets: str) -> list[str]:
    """Columns that contain one of these texts, however it is written."""
    found = []
    for column, text in everything(ledger):
        plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
        digits = plain.replace("-", "").replace(" ", "")
        found += [column for secret in secrets if secret in plain or secret in digits]
    return found


def test_everything_about_a_person_is_found(ledger: Ledger) -> None:
    person = Called(ledger=ledger).assign().finish()
    Called(ledger=ledger, number=OTHER, name="somebody else").assign().finish()
    again = Called(ledger=ledger).assign()

    jobs = ledger.persons.jobs(person.e164)

    assert {job.result.job_group_id for job in jobs} == {person.group, again.group}
    done = next(job for job in jobs if job.result.job_group_id == person.group)
    assert (done.result.name, done.result.extras, done.result.answered) == (person.name, person.extras, True)
    assert done.result.details is not None
    assert [call.task_id for call in done.calls] == [f"t-{person.job_id}"]


def test_the_test_finds_what_it_looks_for(ledger: Ledger) -> None:
    person = Called(ledger=ledger).assign().finish()

    found = set(traces(ledger, person.number, person.name))

    assert found >= {"jobs.contact", "calls.body", "events.body", "recordings.body", "details.body", "quarantine.body"}


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.integers(0, 99_999_999).map(lambda tail: f"138{tail:08d}"),
    name=st.text(st.characters(categories=["L"], max_codepoint=0xFFFF), min_size=3, max_size=12),
    reference_id=st.one_of(st.none(), st.from_regex(r"[a-z]{3}", fullmatch=True)),
    late=st.booleans(),
)
def test_nothing_is_left_of_a_person_who_was_forgotten(
    ledger: Ledger, number: str, name: str, reference_id: str | None, late: bool
) -> None:
    # Unique, because examples share the ledger.
    unique = f"{name}{uuid.uuid4().hex}"
    person = Called(ledger=ledger, number=number, name=unique, extras={"key": f"v{unique}"}, reference_id=reference_id)
    person.assign().finish()

    ledger.persons.forget(person.e164)
    if late:
        # Messages that come after that, and a listing's facts.
        person.tell(person.body("CallFinished", eventTime=1_800_000_000_000), person.body("JobComplete"))

    assert traces(ledger, number, unique, f"86{number}") == []
    (job,) = [job for job in ledger.persons.jobs(person.e164) if job.result.job_group_id == person.group]
    assert (job.result.phone_number, job.result.is_forgotten, job.result.answered) == (None, True, True)


def test_details_that_were_asked_for_before_are_not_stored_afterwards(ledger: Ledger) -> None:
    person, other = Called(ledger=ledger).assign().finish(), Called(ledger=ledger, number=OTHER).assign().finish()
    told = [
        (result, JobDetails(tags={"wish": f"call {person.name} at {result.phone_number}, it is urgent"}))
        for group in (person.group, other.group)
        for result in ledger.results.iter_results(group)
    ]

    ledger.persons.forget(person.e164)
    ledger.details.save(told)

    assert traces(ledger, person.number) == []
    (kept,) = ledger.results.iter_results(other.group)
    assert kept.details is not None
    assert "urgent" in kept.details.tags["wish"]


def test_forgetting_calls_nobody_twice(ledger: Ledger) -> None:
    person = Called(ledger=ledger).assign().finish()
    elsewhere = Called(ledger=ledger)

    ledger.persons.forget(person.e164)

    same = person.open()
    assert ledger.journal.begin(same, [person.candidate()], dedupe_by="phone").candidates == []
    assignment = elsewhere.open()
    statuses = ledger.journal.classify(assignment, [elsewhere.candidate()], dedupe_by="phone", cap=ONCE)
    assert statuses == [CandidateStatus.CAPPED]
    candidate = elsewhere.candidate()
    begun = ledger.journal.begin(assignment, [candidate], dedupe_by="phone", cap=ONCE)
    assert (begun.candidates, begun.capped) == ([], [candidate])


def test_a_refusal_outlives_forgetting(ledger: Ledger) -> None:
    refused = Called(ledger=ledger).assign()
    refused.tell(refused.body("JobComplete", status="Failed", failureReason="ContactBlockList", tasks=[]))

    ledger.persons.forget(refused.e164)

    again = Called(ledger=ledger).assign()
    results = list(ledger.results.iter_results(again.group))
    assert ledger.follow_ups.without_blocked(again.group, results) == []


def test_a_person_with_an_open_job_is_not_forgotten(ledger: Ledger) -> None:
    done = Called(ledger=ledger).assign().finish()
    waiting = Called(ledger=ledger).assign()

    with pytest.raises(LedgerError, match=f"not ended in job group {waiting.group}.*Nothing was erased"):
        ledger.persons.forget(done.e164)

    assert set(traces(ledger, done.name)) >= {"jobs.contact", "quarantine.body"}


def test_a_task_that_is_assigning_keeps_its_people(ledger: Ledger) -> None:
    person = Called(ledger=ledger).assign().finish()
    person.open()

    with pytest.raises(LedgerError, match=person.group):
        ledger.persons.forget(person.e164)


def test_others_keep_everything(ledger: Ledger) -> None:
    person = Called(ledger=ledger).assign().finish()
    other = Called(ledger=ledger, number=OTHER, name="somebody else").assign().finish()
    before = sorted(traces(ledger, other.number, other.name))

    forgotten = ledger.persons.forget(person.e164)

    assert sorted(traces(ledger, other.number, other.name)) == before
    assert (forgotten.jobs, forgotten.job_groups, forgotten.quarantined) == (1, (person.group,), 2)


def test_a_short_reference_deletes_no_message_about_somebody_else(ledger: Ledger) -> None:
    person = Called(ledger=ledger, reference_id="7").assign().finish()
    Called(ledger=ledger).tell(b'{"eventType": 7, "note": "7"}')

    ledger.persons.forget(person.e164)

    assert ledger.quarantine.count() == 1


def test_the_file_keeps_no_encrypted_copy(ledger: Ledger) -> None:
    if not ledger.is_sqlite:
        pytest.skip("PostgreSQL removes old versions of rows by its own vacuum")
    person = Called(ledger=ledger).assign().finish()
    with ledger.read() as connection:
        tokens = [
            bytes(value)
            for column in schema.ENCRYPTED
            if column.table is not schema.ledger
            for value in connection.execute(select(column).where(column.is_not(None))).scalars()
        ]

    ledger.persons.forget(person.e164)

    path = Path(str(ledger.engine.url.database))
    left = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert len(tokens) >= 6
    assert not [token for token in tokens if token in left]


def test_a_forgotten_person_is_not_called_by_a_follow_up(ledger: Ledger) -> None:
    person = Called(ledger=ledger).assign()
    person.tell(person.body("JobComplete", status="Failed", failureReason="NoAnswer", tasks=[]))
    ledger.persons.forget(person.e164)

    (result,) = ledger.results.iter_results(person.group)

    assert (result.is_forgotten, result.details) == (True, None)
