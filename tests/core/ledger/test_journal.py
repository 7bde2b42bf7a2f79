from __future__ import annotations

import threading
from collections.abc import Callable

import attrs
import pytest

from airflow_provider_outbound.core.ledger import Candidate, CandidateStatus, JobGroupRecord, Ledger, Outcomes, TaskKey
from airflow_provider_outbound.core.ledger.known import DedupeBy
from airflow_provider_outbound.core.ledger.records import Assignment
from airflow_provider_outbound.core.models.enums import JobStatus
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.exceptions import LeaseHeldError, LeaseLostError

KEY = TaskKey("campaign", "manual__1", "assign")
OTHER = TaskKey("campaign", "manual__1", "assign_more")


def opened(ledger: Ledger, key: TaskKey = KEY, owner: str = "first", lease: float = 60) -> Assignment:
    return ledger.assignments.open(key, "g1", owner=owner, lease_seconds=lease, settle_seconds=1)


def references(candidates: list[Candidate]) -> list[str]:
    return [candidate.reference_id for candidate in candidates]


def test_the_first_group_of_a_task_stands(ledger: Ledger) -> None:
    first = JobGroupRecord(job_group_id="g1", run_key=KEY.run_key, task_key=KEY, instance_id="i", name="night")

    assert ledger.groups.record(first) == first
    assert ledger.groups.record(attrs.evolve(first, job_group_id="g2")) == first
    assert ledger.groups.find(KEY.run_key) == first


def test_a_mapped_task_is_a_task_of_its_own() -> None:
    assert len({TaskKey("d", "r", "t", index).run_key for index in (-1, 0, 1)}) == 3


def test_a_lease_keeps_others_out_until_it_ends(ledger: Ledger) -> None:
    opened(ledger, owner="first", lease=60)
    with pytest.raises(LeaseHeldError):
        opened(ledger, owner="second")

    # The same owner may open it again, here with a lease that is over at once.
    opened(ledger, owner="first", lease=-1)
    second = opened(ledger, owner="second")

    assert second.reopened


def test_who_lost_the_lease_can_neither_send_nor_seal(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    lost = opened(ledger, owner="first", lease=-1)
    opened(ledger, owner="second")

    for act in (
        lambda: ledger.journal.begin(lost, candidates(1), dedupe_by="phone"),
        lambda: ledger.assignments.renew(lost, 60),
        lambda: ledger.assignments.close(lost, 1),
        lambda: ledger.assignments.abandon(lost),
    ):
        with pytest.raises(LeaseLostError):
            act()
    assert ledger.results.counts("g1").in_doubt == 0


def test_a_contact_is_sent_by_one_of_two_assignments_that_race(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    contacts = candidates(200)
    assignments = [opened(ledger), opened(ledger, OTHER, "second")]
    sent: list[list[str]] = [[], []]

    def send(index: int, order: int) -> None:
        for start in range(0, 200, 10):
            batch = contacts[::order][start : start + 10]
            sent[index] += references(ledger.journal.begin(assignments[index], batch, dedupe_by="phone").candidates)

    threads = [threading.Thread(target=send, args=(0, 1)), threading.Thread(target=send, args=(1, -1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(sent[0] + sent[1]) == sorted(references(contacts))


@pytest.mark.parametrize("dedupe_by", ["phone", "reference_id"])
def test_of_a_chunk_those_are_sent_that_nobody_has(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]], dedupe_by: DedupeBy
) -> None:
    contacts = candidates(6)
    other, mine = opened(ledger, OTHER, "second"), opened(ledger)
    ledger.journal.begin(other, contacts[1:3], dedupe_by=dedupe_by)
    ledger.journal.begin(mine, contacts[3:5], dedupe_by=dedupe_by)
    ledger.journal.record_outcomes(mine, Outcomes(refused=references(contacts[3:4])))
    another_number = attrs.evolve(contacts[1], phone_key="another")

    begun = ledger.journal.begin(mine, [*contacts, contacts[0], another_number], dedupe_by=dedupe_by)

    # One refused is free again, one on its way is not; and none is sent twice for being named twice.
    assert sorted(references(begun.candidates)) == sorted(references([contacts[0], contacts[3], contacts[5]]))


def test_standings_follow_what_happened_to_a_row(ledger: Ledger, candidates: Callable[[int], list[Candidate]]) -> None:
    contacts = candidates(5)
    assignment = opened(ledger)
    ledger.journal.begin(assignment, contacts[:4], dedupe_by="phone")
    ledger.journal.record_outcomes(
        assignment,
        Outcomes(
            accepted=references(contacts[:1]),
            refused=references(contacts[1:2]),
            in_doubt=references(contacts[2:3]),
        ),
    )
    ledger.journal.mark_unresolved(assignment, references(contacts[2:3]))

    standings = ledger.journal.classify(assignment, contacts, dedupe_by="phone")
    others = ledger.journal.classify(opened(ledger, OTHER), contacts, dedupe_by="phone")

    assert standings == [
        CandidateStatus.ACCEPTED,
        CandidateStatus.FRESH,
        CandidateStatus.UNRESOLVED,
        CandidateStatus.DOUBT,
        CandidateStatus.FRESH,
    ]
    assert others == [
        CandidateStatus.DUPLICATE,
        CandidateStatus.FRESH,
        CandidateStatus.DUPLICATE,
        CandidateStatus.DUPLICATE,
        CandidateStatus.FRESH,
    ]


def test_a_number_under_a_fresh_reference_is_known(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    contacts = candidates(2)
    assignment = opened(ledger)
    ledger.journal.begin(assignment, contacts, dedupe_by="phone")
    ledger.journal.record_outcomes(assignment, Outcomes(accepted=references(contacts)))
    renamed = [attrs.evolve(contact, reference_id=f"fresh-{n}") for n, contact in enumerate(contacts)]

    assert ledger.journal.classify(assignment, renamed, dedupe_by="phone") == [CandidateStatus.ACCEPTED] * 2
    assert ledger.journal.classify(assignment, renamed, dedupe_by="reference_id") == [CandidateStatus.FRESH] * 2
    assert ledger.journal.begin(assignment, renamed, dedupe_by="phone").candidates == []


def test_a_known_reference_with_another_number_is_a_conflict(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    one, two = candidates(2)
    assignment = opened(ledger)
    ledger.journal.begin(assignment, [one], dedupe_by="phone")

    swapped = attrs.evolve(two, reference_id=one.reference_id)

    assert ledger.journal.classify(assignment, [swapped], dedupe_by="phone") == [CandidateStatus.CONFLICT]
    assert ledger.journal.begin(assignment, [swapped], dedupe_by="phone").candidates == []


def test_an_unresolved_row_is_sent_again_under_the_reference_it_had(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    (contact,) = candidates(1)
    assignment = opened(ledger)
    ledger.journal.begin(assignment, [contact], dedupe_by="phone")
    ledger.journal.mark_unresolved(assignment, [contact.reference_id])

    again = ledger.journal.begin(
        assignment, [attrs.evolve(contact, reference_id="fresh")], dedupe_by="phone"
    ).candidates

    assert references(again) == [contact.reference_id]
    assert ledger.journal.stored_candidates(assignment, [contact.reference_id]) == [contact]


def test_a_listing_settles_doubt_and_a_late_mark_does_not_undo_it(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    contacts = candidates(3)
    assignment = opened(ledger)
    ledger.journal.begin(assignment, contacts, dedupe_by="phone")
    listed = [
        # Not by position: the reference and the number say whose job it is.
        Job(
            job_id=f"job-{contact.reference_id[:4]}",
            job_group_id="g1",
            status=JobStatus.SCHEDULING,
            reference_id=contact.reference_id,
            phone_number=contact.contact.phone.wire,
        )
        for contact in reversed(contacts[:2])
    ]

    outcome = ledger.results.record_listing("g1", listed)
    ledger.journal.record_outcomes(assignment, Outcomes(in_doubt=references(contacts)))
    ledger.journal.mark_unresolved(assignment, references(contacts))

    assert (outcome.matched, outcome.foreign) == (2, 0)
    assert ledger.journal.unresolved(assignment) == [contacts[2].reference_id]
    assert {(row.reference_id, row.job_id) for row in ledger.results.unfinished("g1", 9)} == {
        (contact.reference_id, f"job-{contact.reference_id[:4]}") for contact in contacts[:2]
    }


def test_a_job_that_others_assigned_is_not_assigned_again(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    contacts = candidates(2)
    job = Job(
        job_id="theirs",
        job_group_id="g1",
        status=JobStatus.EXECUTING,
        reference_id="their-reference",
        phone_number=contacts[0].contact.phone.e164,
    )

    assert ledger.results.record_listing("g1", [job]).foreign == 1

    assignment = opened(ledger)
    assert ledger.journal.classify(assignment, contacts, dedupe_by="phone") == [
        CandidateStatus.DUPLICATE,
        CandidateStatus.FRESH,
    ]
    batch = ledger.journal.begin(assignment, contacts, dedupe_by="phone")
    assert references(batch.candidates) == references(contacts[1:])


def test_one_caller_an_interval_may_look(ledger: Ledger) -> None:
    assert [ledger.groups.claim_reconcile("g1", 60) for _ in range(3)] == [True, False, False]
    assert ledger.groups.claim_reconcile("g2", -1)
    assert ledger.groups.claim_reconcile("g2", -1)


def test_a_waiter_sees_each_change_once_and_none_too_late(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    sequence, _ = ledger.groups.changed_since(0)
    assignment = opened(ledger)
    sequence, groups = ledger.groups.changed_since(sequence)
    assert groups.keys() == {"g1"}
    assert ledger.groups.changed_since(sequence) == (sequence, {})

    ledger.assignments.close(assignment, 0)

    assert ledger.groups.changed_since(sequence)[1].keys() == {"g1"}
    assert ledger.groups.state("g1").closed_assignments == 1


def test_a_suspension_wakes_waits_and_other_changes_before_the_end_do_not(ledger: Ledger) -> None:
    opened(ledger)
    sequence, groups = ledger.groups.changed_since(0)
    assert groups == {"g1": False}

    ledger.groups.note_suspended("g1", suspended=True)
    sequence, groups = ledger.groups.changed_since(sequence)
    assert groups == {"g1": True}

    ledger.groups.note_suspended("g1", suspended=False)
    assert ledger.groups.changed_since(sequence)[1] == {"g1": False}
