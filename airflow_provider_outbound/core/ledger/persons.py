"""
One person in all job groups: what the ledger knows, and erasing it.

What stays after that are keyed hashes, times and outcomes. They keep true that nobody is called twice, how often the
person was called, and whether the person refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, Row, delete, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.forgotten import forgotten_token
from airflow_provider_outbound.core.ledger.job_facts import distinct_calls
from airflow_provider_outbound.core.ledger.mentions import Mentions
from airflow_provider_outbound.core.ledger.records import JobResult, JobState
from airflow_provider_outbound.core.ledger.retention import ON_THE_LINE
from airflow_provider_outbound.core.ledger.statements import chunks
from airflow_provider_outbound.core.models.enums import CallStatus
from airflow_provider_outbound.core.models.job import Call
from airflow_provider_outbound.core.models.phone import holds_number
from airflow_provider_outbound.exceptions import LedgerError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database
    from airflow_provider_outbound.core.ledger.groups import Groups
    from airflow_provider_outbound.core.ledger.results import Results
    from airflow_provider_outbound.core.ledger.retention import Retention

_jobs, _calls, _events = schema.jobs.c, schema.calls.c, schema.events.c
#: States of rows whose contact the service may still dial, unless the group is over.
_UNDECIDED = (JobState.SENDING, JobState.IN_DOUBT, JobState.UNRESOLVED)


@attrs.frozen(kw_only=True)
class PersonCall:
    """One call to a person."""

    task_id: str
    status: str | None
    planned_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


@attrs.frozen(kw_only=True)
class PersonJob:
    """One job of a person."""

    state: JobState
    #: When its request was journalled; ``None``: others assigned it.
    sent_at: datetime | None
    dag_id: str | None
    run_id: str | None
    result: JobResult
    calls: tuple[PersonCall, ...]


@attrs.frozen(kw_only=True)
class Forgotten:
    """What was erased."""

    job_groups: tuple[str, ...]
    jobs: int
    calls: int
    events: int
    recordings: int
    #: Messages that could not be read, contained the number and were deleted.
    quarantined: int
    #: Messages in quarantine that none of the keys opens, so that they could not be searched.
    unreadable: int
    #: Jobs whose reference id was chosen by a list and stays.
    references: int


class Persons:
    """Reads and erasures of everything about one person."""

    def __init__(self, database: Database, groups: Groups, results: Results, retention: Retention) -> None:
        self._database = database
        self._groups = groups
        self._results = results
        self._retention = retention

    def jobs(self, e164: str) -> list[PersonJob]:
        """
        Read a person's jobs in all groups, oldest first, those of refused requests included.

        :param e164: The person's number.
        """
        key = self._database.identity.phone_key(e164)
        with self._database.read() as connection:
            found = [
                PersonJob(
                    state=JobState(row.state),
                    sent_at=row.sent_at,
                    dag_id=row.dag_id,
                    run_id=row.run_id,
                    result=result,
                    calls=tuple(_calls_of(connection, row.job_id)),
                )
                for row, result in self._results.of_person(connection, key)
            ]
        return sorted(found, key=lambda job: str(job.sent_at or job.result.started_at or ""))

    def is_refused(self, e164: str) -> bool:
        """
        Whether the person refused further contact: by :meth:`.FollowUps.refuse`, or as far as a refusal outlived the
        rows that it follows from.
        """
        refusals = schema.refusals.c
        key = self._database.identity.phone_key(e164)
        with self._database.read() as connection:
            return connection.execute(select(refusals.phone_key).where(refusals.phone_key == key)).first() is not None

    def forget(self, e164: str) -> Forgotten:
        """
        Erase a person's data in every table, in one transaction.

        :param e164: The person's number.
        :raises LedgerError: the person has a job that may still be dialled; nothing was erased.
        """
        key = self._database.identity.phone_key(e164)
        with self._database.read() as connection:
            rows = _rows(connection, key)
            # Searched before the write, because writers wait for it and it may take seconds.
            names = [self._database.identity.reference_id(e164), *_job_ids(rows)]
            quarantined, unreadable = Mentions(e164, names).find(connection, self._database.cipher)
            sequences = _sequences(connection, rows, after=0)
        with self._erasing() as connection:
            rows = _rows(connection, key)
            self._check_closed(rows)
            sequences += _sequences(connection, rows, after=max(sequences, default=0))
            forgotten = Forgotten(
                job_groups=tuple(sorted({row.job_group_id for row in rows})),
                jobs=len(rows),
                calls=_erase_calls(connection, rows),
                events=self._erase_events(connection, sorted(set(sequences))),
                recordings=_delete_recordings(connection, rows),
                quarantined=_delete_quarantined(connection, quarantined),
                unreadable=unreadable,
                references=self._erase_jobs(connection, rows, e164),
            )
        if self._database.is_sqlite:
            self._retention.empty_log()
        return forgotten

    @contextmanager
    def _erasing(self) -> Iterator[Connection]:
        """One writing transaction; SQLite overwrites what it frees meanwhile, instead of only unlinking it."""
        with self._database.write() as connection:
            if not self._database.is_sqlite:
                yield connection
                return
            before = connection.exec_driver_sql("PRAGMA secure_delete").scalar()
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
            try:
                yield connection
            finally:
                connection.exec_driver_sql(f"PRAGMA secure_delete={before}")

    def _check_closed(self, rows: Sequence[Row[Any]]) -> None:
        now = self._database.now()
        groups = sorted({row.job_group_id for row in rows if self._is_open(row, now)})
        if groups:
            raise LedgerError(
                f"person: has a job that has not ended in job group {', '.join(groups)}; wait until the group has"
                " ended, or run: outbound person --cancel. Nothing was erased"
            )

    def _is_open(self, row: Row[Any], now: datetime) -> bool:
        """Whether the job may still be dialled or sent."""
        state = self._groups.state(row.job_group_id)
        if state.open_assignments:
            return True
        if row.state not in _UNDECIDED and (row.state != JobState.ACCEPTED or row.terminal):
            return False
        if state.confirmed is not None:
            return False
        cancelled_at = state.reconcile_state.cancelled_at
        ends = [moment for moment in (row.ends_at, state.reconcile_state.ends_at) if moment is not None]
        if cancelled_at is not None and (row.sent_at is None or row.sent_at <= cancelled_at):
            ends.append(cancelled_at)
        return not ends or min(ends) + ON_THE_LINE > now

    def _erase_jobs(self, connection: Connection, rows: Sequence[Row[Any]], e164: str) -> int:
        """Erase the contacts and details. Returns the number of references that a list chose and that stay."""
        identity, cipher = self._database.identity, self._database.cipher
        chosen = 0
        for row in rows:
            reference = row.reference_id
            if row.assignment_id is None and holds_number(reference):
                # Of an older version; newer ones store such an id of other programs in this form.
                reference = identity.foreign_reference(reference)
                _rename(connection, row, reference)
            connection.execute(
                update(schema.jobs)
                .where(_jobs.job_group_id == row.job_group_id, _jobs.reference_id == reference)
                .values(contact=forgotten_token(cipher))
            )
            chosen += row.assignment_id is not None and reference != identity.reference_id(e164)
            details = schema.details
            connection.execute(
                delete(details).where(details.c.job_group_id == row.job_group_id, details.c.reference_id == reference)
            )
        return chosen

    def _erase_events(self, connection: Connection, sequences: Sequence[int]) -> int:
        # The rows stay: a repeated message is recognised by its hash.
        for part in chunks(sequences):
            connection.execute(
                update(schema.events).where(_events.sequence.in_(part)).values(body=self._database.cipher.encrypt(b""))
            )
        return len(sequences)


def _rows(connection: Connection, phone_key: str) -> list[Row[Any]]:
    found: list[Any] = []
    for index in (schema.UNIQUE_PHONE, schema.NOT_UNIQUE_PHONE):
        statement = (
            select(schema.jobs, schema.job_groups.c.ends_at)
            .join_from(
                schema.jobs, schema.job_groups, _jobs.job_group_id == schema.job_groups.c.job_group_id, isouter=True
            )
            .where(index, _jobs.phone_key == phone_key)
        )
        found += connection.execute(statement).all()
    return found


def _job_ids(rows: Sequence[Row[Any]]) -> list[str]:
    return sorted({row.job_id for row in rows if row.job_id is not None})


def _calls_of(connection: Connection, job_id: str | None) -> Iterator[PersonCall]:
    if job_id is None:
        return
    names = [attribute.name for attribute in attrs.fields(PersonCall)]
    statement = select(*(_calls[name] for name in names)).where(_calls.job_id == job_id).order_by(_calls.started_at)
    rows = connection.execute(statement).mappings()
    for call in distinct_calls(Call(**{**row, "status": CallStatus.parse(row["status"])}) for row in rows):
        yield PersonCall(**{name: getattr(call, name) for name in names})


def _sequences(connection: Connection, rows: Sequence[Row[Any]], *, after: int) -> list[int]:
    """The numbers of the events about these jobs."""
    found: list[int] = []
    for group_id in sorted({row.job_group_id for row in rows}):
        for part in chunks(_job_ids([row for row in rows if row.job_group_id == group_id])):
            statement = select(_events.sequence).where(
                _events.job_group_id == group_id, _events.sequence > after, _events.job_id.in_(part)
            )
            found += connection.execute(statement).scalars()
    return found


def _erase_calls(connection: Connection, rows: Sequence[Row[Any]]) -> int:
    return sum(
        connection.execute(update(schema.calls).where(_calls.job_id.in_(part)).values(body=None)).rowcount
        for part in chunks(_job_ids(rows))
    )


def _delete_recordings(connection: Connection, rows: Sequence[Row[Any]]) -> int:
    notices = schema.recordings
    return sum(
        connection.execute(delete(notices).where(notices.c.job_id.in_(part))).rowcount
        for part in chunks(_job_ids(rows))
    )


def _delete_quarantined(connection: Connection, hashes: Sequence[str]) -> int:
    table = schema.quarantine
    return sum(connection.execute(delete(table).where(table.c.hash.in_(part))).rowcount for part in chunks(hashes))


def _rename(connection: Connection, row: Row[Any], reference_id: str) -> None:
    for table in (schema.jobs, schema.details, schema.handled):
        connection.execute(
            update(table)
            .where(table.c.job_group_id == row.job_group_id, table.c.reference_id == row.reference_id)
            .values(reference_id=reference_id)
        )
