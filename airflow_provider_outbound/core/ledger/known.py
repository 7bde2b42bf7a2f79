"""What the ledger knows of candidates: the rows that may conflict with them, and the status that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Row, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import Assignment, Candidate, CandidateStatus, JobState
from airflow_provider_outbound.core.ledger.schema import UNIQUE_PHONE
from airflow_provider_outbound.core.ledger.statements import chunks

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.takeovers import Takeovers

DedupeBy = Literal["phone", "reference_id"]

_jobs = schema.jobs.c
_OWN: Mapping[str, CandidateStatus] = {
    JobState.ACCEPTED: CandidateStatus.ACCEPTED,
    JobState.SENDING: CandidateStatus.DOUBT,
    JobState.IN_DOUBT: CandidateStatus.DOUBT,
    JobState.UNRESOLVED: CandidateStatus.UNRESOLVED,
}


class KnownRows:
    """Rows that may conflict with a batch of candidates."""

    def __init__(self, rows: Iterable[Row[Any]], idle: frozenset[str]) -> None:
        self._idle = idle
        self._by_reference: dict[str, Row[Any]] = {}
        self._by_phone: dict[str, Row[Any]] = {}
        for row in rows:
            self._by_reference[row.reference_id] = row
            if row.phone_key is not None and row.unique_phone:
                self._by_phone[row.phone_key] = row

    def status(
        self, assignment: Assignment, candidate: Candidate, dedupe_by: DedupeBy
    ) -> tuple[CandidateStatus, Row[Any] | None]:
        """The status of a candidate, and the row that it follows from."""
        row = self._by_reference.get(candidate.reference_id)
        if row is not None and row.phone_key not in (None, candidate.phone_key):
            return CandidateStatus.CONFLICT, row
        if row is None and dedupe_by == "phone":
            row = self._by_phone.get(candidate.phone_key)
        if row is None or row.state == JobState.REFUSED:
            return CandidateStatus.FRESH, row
        if row.assignment_id != assignment.assignment_id:
            is_left = row.state == JobState.UNRESOLVED and row.assignment_id in self._idle
            return CandidateStatus.LEFT if is_left else CandidateStatus.DUPLICATE, row
        return _OWN[row.state], row


def find_known(
    connection: Connection,
    takeovers: Takeovers,
    assignment: Assignment,
    candidates: Sequence[Candidate],
    *,
    for_update: bool = False,
) -> KnownRows:
    """
    Look up the rows of a group that may conflict with candidates.

    :param for_update: Lock the assignments that left rows: nobody can resume one until the transaction ends.
    """
    rows = _rows(connection, assignment.job_group_id, candidates)
    others = {row.assignment_id for row in rows if row.state == JobState.UNRESOLVED and row.assignment_id}
    others.discard(assignment.assignment_id)
    return KnownRows(rows, takeovers.idle(connection, others, for_update=for_update))


def _rows(connection: Connection, job_group_id: str, candidates: Sequence[Candidate]) -> list[Row[Any]]:
    found: list[Any] = []
    for part in chunks(candidates):
        found += _look_up(connection, job_group_id, _jobs.reference_id.in_([item.reference_id for item in part]))
        known = {row.reference_id for row in found}
        # A row found by its reference is enough. In a group that was assigned before, every row is found this way.
        phones = [item.phone_key for item in part if item.reference_id not in known]
        if phones:
            # Like status(), this index only covers rows that are unique by their number.
            found += _look_up(connection, job_group_id, UNIQUE_PHONE, _jobs.phone_key.in_(phones))
    return found


def _look_up(connection: Connection, job_group_id: str, *conditions: Any) -> Sequence[Any]:
    # One column at a time, by its index: an OR of two columns would scan the group.
    wanted = (_jobs.reference_id, _jobs.phone_key, _jobs.unique_phone, _jobs.assignment_id, _jobs.state, _jobs.sent_at)
    return connection.execute(select(*wanted).where(_jobs.job_group_id == job_group_id, *conditions)).all()
