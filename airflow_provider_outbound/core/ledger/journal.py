"""The journal: every job is written to the ledger, and committed, before its request is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import Connection, exists, func, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.caps import CallsLeft
from airflow_provider_outbound.core.ledger.known import DedupeBy, find_known
from airflow_provider_outbound.core.ledger.records import (
    Assignment,
    Begun,
    CallCap,
    Candidate,
    CandidateStatus,
    Doubt,
    JobState,
    Outcomes,
)
from airflow_provider_outbound.core.ledger.statements import chunks, insert
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import LeaseLostError, LedgerError, LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.assignments import Assignments
    from airflow_provider_outbound.core.ledger.database import Database
    from airflow_provider_outbound.core.ledger.takeovers import Takeovers

#: States in which the assignment that owns a row may send its contact (again).
_SENDABLE = (JobState.REFUSED, JobState.UNRESOLVED)
#: States of a row on whose request the service may have acted.
_UNKNOWN = (JobState.SENDING, JobState.IN_DOUBT)
#: Statuses of candidates that would add a call, and of those that :meth:`Journal.begin` sends.
_NEW = (CandidateStatus.FRESH, CandidateStatus.LEFT)
_TO_SEND = (CandidateStatus.FRESH, CandidateStatus.UNRESOLVED)

_jobs = schema.jobs.c


class Journal:
    """Reads and writes of the columns of ``jobs`` that belong to the journal."""

    def __init__(self, database: Database, assignments: Assignments, takeovers: Takeovers) -> None:
        self._database = database
        self._assignments = assignments
        self._takeovers = takeovers

    def classify(
        self,
        assignment: Assignment,
        candidates: Sequence[Candidate],
        *,
        dedupe_by: DedupeBy,
        cap: CallCap | None = None,
    ) -> list[CandidateStatus]:
        """
        Report whether each candidate may be sent. This only reads; :meth:`begin` decides.

        :return: One status per candidate, in their order.
        """
        with self._database.read() as connection:
            known = find_known(connection, self._takeovers, assignment, candidates)
            found = [known.status(assignment, candidate, dedupe_by) for candidate in candidates]
            if cap is None:
                return [status for status, _ in found]
            left = CallsLeft.of(connection, cap, assignment.job_group_id, candidates, self._database.time(connection))
        return [
            CandidateStatus.CAPPED if status in _NEW and not left.has(candidate, row) else status
            for candidate, (status, row) in zip(candidates, found, strict=True)
        ]

    def begin(
        self,
        assignment: Assignment,
        candidates: Sequence[Candidate],
        *,
        dedupe_by: DedupeBy,
        cap: CallCap | None = None,
        outcomes: Outcomes | None = None,
    ) -> Begun:
        """
        Record candidates as ``sending``, in one commit that also checks the lease.

        :param candidates: Fresh candidates, or unresolved ones that are to be sent again. The rows of those whose
            persons have had enough calls meanwhile are freed.
        :param outcomes: Outcomes of earlier requests, written in the same commit.
        :return: The candidates that this process must send, each with the reference to send it with, and the others.
        :raises LeaseLostError: the lease expired; nothing was written.
        """
        with self._database.write() as connection:
            now = self._assignments.check_lease(connection, assignment)
            if outcomes:
                self._write_outcomes(connection, assignment, outcomes)
            if cap is not None:
                return self._begin_known(connection, assignment, candidates, now, dedupe_by, cap)
            # Usually none of them has a row, and then no look-up is needed.
            mine, others = self._insert(connection, assignment, candidates, now, dedupe_by)
            if not others:
                return Begun(candidates=mine, capped=[], lost=[])
            known = self._begin_known(connection, assignment, others, now, dedupe_by, cap)
            return attrs.evolve(known, candidates=mine + known.candidates)

    def _insert(
        self,
        connection: Connection,
        assignment: Assignment,
        candidates: Sequence[Candidate],
        now: datetime,
        dedupe_by: DedupeBy,
    ) -> tuple[list[Candidate], list[Candidate]]:
        """
        Insert rows for candidates that conflict with no existing row.

        :return: Those candidates, and the others.
        """
        rows = [
            {
                "job_group_id": assignment.job_group_id,
                "reference_id": candidate.reference_id,
                "phone_key": candidate.phone_key,
                "unique_phone": dedupe_by == "phone",
                "assignment_id": assignment.assignment_id,
                "state": JobState.SENDING,
                "sent_at": now,
                "contact": self._encrypt_contact(candidate),
            }
            for candidate in candidates
        ]
        # The rows as parameters, so that the statement is compiled once and the database handles all rows in one step
        # while other threads continue.
        statement = insert(connection, schema.jobs).on_conflict_do_nothing().returning(_jobs.reference_id)
        written = set(connection.execute(statement, rows).scalars())
        mine: list[Candidate] = []
        others: list[Candidate] = []
        for candidate in candidates:
            if candidate.reference_id in written:
                # Of two candidates with one reference, the first was written.
                written.remove(candidate.reference_id)
                mine.append(candidate)
            else:
                others.append(candidate)
        return mine, others

    def _begin_known(
        self,
        connection: Connection,
        assignment: Assignment,
        candidates: Sequence[Candidate],
        now: datetime,
        dedupe_by: DedupeBy,
        cap: CallCap | None,
    ) -> Begun:
        mine: dict[str, Candidate] = {}
        capped: list[Candidate] = []
        lost: list[Candidate] = []
        known = find_known(connection, self._takeovers, assignment, candidates)
        # Counted under the writers' lock, so that two groups cannot both take a person's last call.
        left = None if cap is None else CallsLeft.of(connection, cap, assignment.job_group_id, candidates, now)
        fresh: dict[str, Candidate] = {}
        phones: set[str] = set()
        for candidate in candidates:
            status, row = known.status(assignment, candidate, dedupe_by)
            if left is not None and status in _TO_SEND and not left.take(candidate, row):
                capped.append(candidate)
                if row is not None:
                    self._move(connection, assignment, [row.reference_id], JobState.REFUSED, (JobState.UNRESOLVED,))
                continue
            if row is None and status is CandidateStatus.FRESH:
                if candidate.reference_id not in fresh and (dedupe_by != "phone" or candidate.phone_key not in phones):
                    fresh[candidate.reference_id] = candidate
                    phones.add(candidate.phone_key)
                else:
                    lost.append(candidate)
            elif (
                row is not None
                and status in _TO_SEND
                and self._resume_row(connection, assignment, candidate, row.reference_id, now)
            ):
                mine[row.reference_id] = attrs.evolve(candidate, reference_id=row.reference_id)
            else:
                lost.append(candidate)
        if fresh:
            written, faster = self._insert(connection, assignment, [*fresh.values()], now, dedupe_by)
            mine |= {candidate.reference_id: candidate for candidate in written}
            lost += faster
        return Begun(candidates=list(mine.values()), capped=capped, lost=lost)

    def _resume_row(
        self, connection: Connection, assignment: Assignment, candidate: Candidate, reference_id: str, now: datetime
    ) -> bool:
        """Record a row that was refused or unresolved as ``sending`` again; return whether it still was either."""
        taken = connection.execute(
            update(schema.jobs)
            .where(
                _jobs.job_group_id == assignment.job_group_id,
                _jobs.reference_id == reference_id,
                _jobs.state.in_(_SENDABLE),
            )
            .values(
                state=JobState.SENDING,
                sent_at=now,
                assignment_id=assignment.assignment_id,
                contact=self._encrypt_contact(candidate),
            )
        )
        return bool(taken.rowcount)

    def adopt(self, assignment: Assignment, candidates: Sequence[Candidate], *, dedupe_by: DedupeBy) -> list[Candidate]:
        """
        Take over contacts that other tasks left unresolved. They become unresolved contacts of this assignment.

        :param candidates: Contacts whose status was ``LEFT``.
        :return: Contacts that could not be taken over, because another task was faster.
        :raises LeaseLostError: the lease expired; nothing was written.
        """
        lost: list[Candidate] = []
        with self._database.write() as connection:
            self._assignments.check_lease(connection, assignment)
            known = find_known(connection, self._takeovers, assignment, candidates, for_update=True)
            for candidate in candidates:
                status, row = known.status(assignment, candidate, dedupe_by)
                if row is None or status is not CandidateStatus.LEFT:
                    lost.append(candidate)
                    continue
                taken = connection.execute(
                    update(schema.jobs)
                    .where(
                        _jobs.job_group_id == assignment.job_group_id,
                        _jobs.reference_id == row.reference_id,
                        _jobs.assignment_id == row.assignment_id,
                        _jobs.state == JobState.UNRESOLVED,
                    )
                    .values(assignment_id=assignment.assignment_id, contact=self._encrypt_contact(candidate))
                )
                if not taken.rowcount:
                    lost.append(candidate)
        return lost

    def record_outcomes(self, assignment: Assignment, outcomes: Outcomes) -> None:
        """
        Record the outcomes of requests.

        Refused rows are only freed under the lease: another holder may already be sending them again.
        """
        if not outcomes:
            return
        with self._database.write() as connection:
            try:
                self._assignments.check_lease(connection, assignment)
            except LeaseLostError:
                outcomes = attrs.evolve(outcomes, refused=[])
            self._write_outcomes(connection, assignment, outcomes)

    def mark_unresolved(self, assignment: Assignment, reference_ids: Sequence[str]) -> None:
        """Mark rows as unresolved: the service has not listed them for long enough, and no message mentioned them."""
        with self._database.write() as connection:
            self._move(connection, assignment, reference_ids, JobState.UNRESOLVED, _UNKNOWN)

    def withdraw(self, assignment: Assignment, reference_ids: Sequence[str]) -> None:
        """Free rows that are unresolved and must not be sent again, as if their requests had been refused."""
        with self._database.write() as connection:
            self._assignments.check_lease(connection, assignment)
            self._move(connection, assignment, reference_ids, JobState.REFUSED, (JobState.UNRESOLVED,))

    def in_doubt(self, assignment: Assignment) -> list[Doubt]:
        """
        This assignment's rows whose status is unknown. Call it while no request is in flight.

        Includes rows that a dead process left as ``sending``.
        """
        with self._database.read() as connection:
            rows = connection.execute(
                select(_jobs.reference_id, _jobs.sent_at).where(
                    _jobs.assignment_id == assignment.assignment_id,
                    _jobs.state.in_(_UNKNOWN),
                )
            )
            return [Doubt(reference_id=row.reference_id, sent_at=row.sent_at) for row in rows]

    def stored_candidates(self, assignment: Assignment, reference_ids: Iterable[str]) -> list[Candidate]:
        """
        Contacts from the journal, to be sent again.

        :raises LedgerKeyError: a row cannot be decrypted, or was discarded with its key.
        """
        found: list[Candidate] = []
        with self._database.read() as connection:
            for part in chunks(list(reference_ids)):
                rows = connection.execute(
                    select(_jobs.reference_id, _jobs.phone_key, _jobs.contact).where(
                        _jobs.job_group_id == assignment.job_group_id, _jobs.reference_id.in_(part)
                    )
                )
                found += [
                    Candidate(
                        reference_id=row.reference_id,
                        phone_key=row.phone_key,
                        contact=self._stored_contact(row.reference_id, row.contact),
                    )
                    for row in rows
                ]
        return found

    def _stored_contact(self, reference_id: str, token: bytes | None) -> Contact:
        if token is None:
            raise LedgerKeyError(
                f"ledger: the contact with the reference id {reference_id} was discarded with a lost key, so it cannot"
                " be sent again; pass on_unresolved='hold' and clear the task, which then goes on without it"
            )
        stored = self._database.cipher.decrypt_json(token)
        if not stored:
            raise LedgerError(
                f"ledger: the contact with the reference id {reference_id} was forgotten on request, so it cannot be"
                " sent again; pass on_unresolved='hold' and clear the task, which then goes on without it"
            )
        return Contact.from_dict(stored)

    def unresolved(self, assignment: Assignment) -> list[str]:
        """References of this assignment's rows whose status stays unknown."""
        with self._database.read() as connection:
            return list(
                connection.execute(
                    select(_jobs.reference_id).where(
                        _jobs.assignment_id == assignment.assignment_id, _jobs.state == JobState.UNRESOLVED
                    )
                ).scalars()
            )

    def has_jobs(self, job_group_id: str) -> bool:
        """Whether the ledger has any job of the group."""
        with self._database.read() as connection:
            return bool(connection.execute(select(exists().where(_jobs.job_group_id == job_group_id))).scalar_one())

    def has_nameless_jobs(self, job_group_id: str) -> bool:
        """Whether the group has jobs that others assigned and whose numbers are unknown."""
        nameless = exists().where(
            _jobs.job_group_id == job_group_id, _jobs.assignment_id.is_(None), _jobs.phone_key.is_(None)
        )
        with self._database.read() as connection:
            return bool(connection.execute(select(nameless)).scalar_one())

    def count_held(self, assignment: Assignment) -> int:
        """The number of jobs that this assignment has, or may have, in the group."""
        with self._database.read() as connection:
            return connection.execute(
                select(func.count())
                .select_from(schema.jobs)
                .where(_jobs.assignment_id == assignment.assignment_id, _jobs.state != JobState.REFUSED)
            ).scalar_one()

    def count_settled(self, assignment: Assignment) -> tuple[int, int]:
        """The numbers of accepted and of unresolved jobs of this assignment, at one moment."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(_jobs.state, func.count().label("jobs"))
                .where(_jobs.assignment_id == assignment.assignment_id)
                .group_by(_jobs.state)
            )
            counts = {row.state: int(row.jobs) for row in rows}
        return counts.get(JobState.ACCEPTED, 0), counts.get(JobState.UNRESOLVED, 0)

    def _encrypt_contact(self, candidate: Candidate) -> bytes:
        return self._database.cipher.encrypt_json(candidate.contact.to_dict())

    def _write_outcomes(self, connection: Connection, assignment: Assignment, outcomes: Outcomes) -> None:
        self._move(connection, assignment, outcomes.accepted, JobState.ACCEPTED, _UNKNOWN)
        self._move(connection, assignment, outcomes.refused, JobState.REFUSED, (JobState.SENDING,))
        self._move(connection, assignment, outcomes.in_doubt, JobState.IN_DOUBT, (JobState.SENDING,))

    def _move(
        self,
        connection: Connection,
        assignment: Assignment,
        reference_ids: Sequence[str],
        state: JobState,
        come_from: tuple[JobState, ...],
    ) -> None:
        """Change states that are among ``come_from``, so that nothing from a message or listing is undone."""
        for part in chunks(reference_ids):
            connection.execute(
                update(schema.jobs)
                .where(
                    _jobs.job_group_id == assignment.job_group_id,
                    _jobs.reference_id.in_(part),
                    _jobs.assignment_id == assignment.assignment_id,
                    _jobs.state.in_(come_from),
                )
                .values(state=state)
            )
