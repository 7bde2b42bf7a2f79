"""The jobs of a group: recording listings, counts, the summary, the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, Row, and_, bindparam, case, func, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.details import read_details
from airflow_provider_outbound.core.ledger.projector import JobProjector
from airflow_provider_outbound.core.ledger.records import Counts, JobResult, JobState, Listed, Unfinished
from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus, Outcome, outcome
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.exceptions import JobGroupPurgedError, LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database
    from airflow_provider_outbound.core.ledger.groups import Groups

#: Rows read or recorded per transaction.
PAGE = 500

_jobs = schema.jobs.c
_KINDS = (
    _jobs.state,
    _jobs.status,
    _jobs.terminal,
    _jobs.failure_reason,
    _jobs.call_status,
    _jobs.answered,
    _jobs.source,
)
# Built once: for a small group, building the statement takes longer than running it.
_SUMMARY = (
    select(
        *_KINDS,
        func.count().label("jobs"),
        func.min(_jobs.started_at).label("first"),
        func.max(_jobs.ended_at).label("last"),
    )
    .where(_jobs.job_group_id == bindparam("group"), _jobs.state.in_((JobState.ACCEPTED, JobState.UNRESOLVED)))
    .group_by(*_KINDS)
)
_details = schema.details.c
_JOBS_WITH_DETAILS = select(
    schema.jobs, _details.state.label("details_state"), _details.body.label("details_body")
).outerjoin(
    schema.details, and_(_details.job_group_id == _jobs.job_group_id, _details.reference_id == _jobs.reference_id)
)
_WITH_DETAILS = _JOBS_WITH_DETAILS.where(
    _jobs.state == JobState.ACCEPTED,
)


class Results:
    """The state that messages and listings give the rows of ``jobs``."""

    def __init__(self, database: Database, groups: Groups) -> None:
        self._database = database
        self._groups = groups

    def record_listing(self, job_group_id: str, jobs: Iterable[Job], *, includes_calls: bool = True) -> Listed:
        """
        Record a group's jobs as the API lists them. Jobs of this ledger are matched by reference and number; jobs that
        others assigned get rows too.

        :param jobs: From ``ListJobs`` or ``QueryJobsWithResult``, or from ``ListJobsByGroup``, which has no calls.
        :param includes_calls: Whether the listing has the calls. If not, statuses are not recorded, because an ended
            job without a known call would look unanswered.
        :raises JobGroupPurgedError: the group's rows were purged; nothing is recorded.
        """
        matched = foreign = 0
        iterator = iter(jobs) if includes_calls else (attrs.evolve(job, status=None) for job in jobs)
        while part := list(islice(iterator, PAGE)):
            with self._database.write() as connection:
                self._groups.ensure_unpurged(connection, job_group_id)
                sequence = self._database.take_sequence(connection, 1)
                ours, others = JobProjector(self._database, connection).take(job_group_id, part)
                self._groups.touch(connection, job_group_id, sequence)
            matched += ours
            foreign += others
        return Listed(matched=matched, foreign=foreign)

    def counts(self, job_group_id: str) -> Counts:
        """Count a group's rows. Reads them all, so do not call it at every poll."""
        accepted = _jobs.state == JobState.ACCEPTED
        with self._database.read() as connection:
            row = (
                connection.execute(
                    select(
                        _count(accepted).label("total"),
                        _count(and_(accepted, _jobs.terminal)).label("terminal"),
                        _count(_jobs.state.in_((JobState.SENDING, JobState.IN_DOUBT))).label("in_doubt"),
                        _count(_jobs.state == JobState.UNRESOLVED).label("unresolved"),
                        _count(_jobs.assignment_id.is_(None)).label("foreign"),
                    ).where(_jobs.job_group_id == job_group_id)
                )
                .mappings()
                .one()
            )
        return Counts(**row)

    def lacks_jobs(self, job_group_id: str, total: int) -> bool:
        """
        Whether a group has more jobs than the ledger has rows that may be among them. Reads them all.

        :param total: The number of jobs that the service has.
        """
        known = self.counts(job_group_id)
        return total > known.total + known.in_doubt + known.unresolved

    def unfinished(self, job_group_id: str, limit: int) -> list[Unfinished]:
        """Up to ``limit`` jobs in the group that have no final status."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(_jobs.reference_id, _jobs.job_id)
                .where(_jobs.job_group_id == job_group_id, schema.UNFINISHED)
                .limit(limit)
            )
            return [Unfinished(reference_id=row.reference_id, job_id=row.job_id) for row in rows]

    def job_ids(self, job_group_id: str, reference_ids: Iterable[str]) -> dict[str | None, str]:
        """The service's id of each of these jobs, by reference; jobs whose id is not known yet are left out."""
        iterator = iter(reference_ids)
        found: dict[str | None, str] = {}
        with self._database.read() as connection:
            while part := list(islice(iterator, PAGE)):
                rows = connection.execute(
                    select(_jobs.reference_id, _jobs.job_id).where(
                        _jobs.job_group_id == job_group_id, _jobs.reference_id.in_(part), _jobs.job_id.is_not(None)
                    )
                )
                found |= {row.reference_id: row.job_id for row in rows}
        return found

    def summary(self, job_group_id: str) -> dict[str, Any]:
        """
        The result of a campaign, in counts.

        :return: ``total``, ``completed``, ``succeeded``, ``failed``, ``cancelled``, ``answered``, ``unanswered``,
            ``not_dialled``, ``other`` (these four add up to ``completed``), ``by_status``, ``by_failure_reason``,
            ``by_call_status`` (of the last call), ``started_at``, ``ended_at`` (ISO 8601, UTC, or ``None``),
            ``recovered``, ``unresolved``, and ``unlisted``: jobs that are not completed, with a status that this
            package does not know.
        """
        with self._database.read() as connection:
            found = connection.execute(_SUMMARY, {"group": job_group_id}).all()
        rows = [row for row in found if row.state == JobState.ACCEPTED]
        unresolved = sum(row.jobs for row in found if row.state == JobState.UNRESOLVED)
        by_status: Counter[str] = Counter()
        by_reason: Counter[str] = Counter()
        by_call: Counter[str] = Counter()
        outcomes: Counter[Outcome] = Counter()
        for row in rows:
            by_status[row.status or "Unknown"] += row.jobs
            if row.failure_reason:
                by_reason[row.failure_reason] += row.jobs
            if row.call_status:
                by_call[row.call_status] += row.jobs
            if row.terminal:
                outcomes[_outcome(row)] += row.jobs
        return {
            "total": sum(row.jobs for row in rows),
            "completed": sum(row.jobs for row in rows if row.terminal),
            "succeeded": by_status[JobStatus.SUCCEEDED],
            "failed": by_status[JobStatus.FAILED],
            "cancelled": by_status[JobStatus.CANCELLED],
            "answered": outcomes[Outcome.ANSWERED],
            "unanswered": outcomes[Outcome.UNANSWERED],
            "not_dialled": outcomes[Outcome.NOT_DIALLED],
            "other": outcomes[Outcome.OTHER],
            "by_status": _sorted(by_status),
            "by_failure_reason": _sorted(by_reason),
            "by_call_status": _sorted(by_call),
            "started_at": _iso(min((row.first for row in rows if row.first), default=None)),
            "ended_at": _iso(max((row.last for row in rows if row.last), default=None)),
            "recovered": sum(row.jobs for row in rows if row.terminal and row.source == "api"),
            "unresolved": unresolved,
            "unlisted": sum(row.jobs for row in rows if not row.terminal and _is_unlisted(row.status)),
        }

    def iter_results(self, job_group_id: str) -> Iterator[JobResult]:
        """
        Iterate over the jobs in the group, ordered by reference id.

        The rows are read page by page: a job that changes meanwhile is returned as it is when its page is read.

        :raises JobGroupPurgedError: the group's rows were purged.
        """
        group = self._groups.get(job_group_id)
        if group is not None and group.purged_at is not None:
            raise JobGroupPurgedError(job_group_id, group.purged_at)
        after: str | None = None
        while True:
            statement = _WITH_DETAILS.where(_jobs.job_group_id == job_group_id).order_by(_jobs.reference_id).limit(PAGE)
            if after is not None:
                statement = statement.where(_jobs.reference_id > after)
            with self._database.read() as connection:
                rows = connection.execute(statement).all()
            for row in rows:
                yield self._result(row)
            if len(rows) < PAGE:
                return
            after = rows[-1].reference_id

    def find(self, job_group_id: str, reference_ids: Sequence[str]) -> dict[str, JobResult]:
        """Return the jobs in the group with these reference ids, at most one page of them, by reference id."""
        statement = _WITH_DETAILS.where(_jobs.job_group_id == job_group_id, _jobs.reference_id.in_(reference_ids))
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return {row.reference_id: self._result(row) for row in rows}

    def of_person(self, connection: Connection, phone_key: str) -> Iterator[tuple[Row[Any], JobResult]]:
        """
        A person's jobs in all groups, in whatever state; each with its row and its group's DAG and run.

        :param phone_key: The ledger's key for the person's number.
        """
        groups = schema.job_groups.c
        for index in (schema.UNIQUE_PHONE, schema.NOT_UNIQUE_PHONE):
            statement = (
                _JOBS_WITH_DETAILS.add_columns(groups.dag_id, groups.run_id)
                .join(schema.job_groups, groups.job_group_id == _jobs.job_group_id)
                .where(index, _jobs.phone_key == phone_key)
            )
            for row in connection.execute(statement).all():
                yield row, self._result(row)

    def _result(self, row: Row[Any]) -> JobResult:
        contact: dict[str, Any] = {}
        decrypted = True
        if row.contact is not None:
            try:
                contact = self._database.cipher.decrypt_json(row.contact)
            except LedgerKeyError:
                # A row whose key is lost must not prevent reading the others.
                decrypted = False
        result = JobResult(
            job_group_id=row.job_group_id,
            reference_id=row.reference_id,
            job_id=row.job_id,
            status=JobStatus.parse(row.status),
            failure_reason=FailureReason.parse(row.failure_reason),
            call_status=CallStatus.parse(row.call_status),
            outcome=_outcome(row),
            answered=row.answered,
            attempts=row.attempts,
            started_at=row.started_at,
            ended_at=row.ended_at,
            revision=max(1, len(row.completions or ())),
            source=row.source,
            is_foreign=row.assignment_id is None,
            is_forgotten=row.contact is not None and decrypted and not contact,
            decrypted=decrypted,
            phone_number=contact.get("phone_number"),
            name=contact.get("name"),
            honorific=contact.get("honorific"),
            role=contact.get("role"),
            extras=contact.get("extras") or {},
        )
        if row.details_state != result.state:
            return result
        return attrs.evolve(result, details=read_details(self._database.cipher, row.details_body))


def _outcome(row: Row[Any]) -> Outcome:
    return outcome(
        JobStatus.parse(row.status),
        FailureReason.parse(row.failure_reason),
        CallStatus.parse(row.call_status),
        answered=row.answered,
    )


def _is_unlisted(status: str | None) -> bool:
    return status is not None and not JobStatus(status).is_known


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counter.items()) if count}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
