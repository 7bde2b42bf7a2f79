"""Single jobs and their calls. Numbers are masked here, so that no caller can show a complete one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.details import read_details
from airflow_provider_outbound.core.ledger.job_facts import LATEST
from airflow_provider_outbound.core.ledger.records import JobState
from airflow_provider_outbound.core.ledger.statements import CHUNK
from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus, Outcome, outcome
from airflow_provider_outbound.core.models.job import Call
from airflow_provider_outbound.core.models.job_details import JobDetails
from airflow_provider_outbound.core.models.phone import mask, normalise
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.cipher import FieldCipher, Identity

_jobs, _details, _calls = schema.jobs.c, schema.details.c, schema.calls.c
_JOBS = (
    select(schema.jobs, _details.state.label("details_state"), _details.body.label("details_body"))
    .outerjoin(
        schema.details,
        and_(_details.job_group_id == _jobs.job_group_id, _details.reference_id == _jobs.reference_id),
    )
    .where(_jobs.state != JobState.REFUSED)
)
#: Most jobs of one person that are shown.
_MOST_OF_PERSON = 200


@attrs.frozen(kw_only=True)
class JobView:
    """One job, with its number masked."""

    job_group_id: str
    reference_id: str
    job_id: str | None
    state: JobState
    #: Masked; ``None``: not known, or none of the keys opens it.
    phone_number: str | None
    status: JobStatus | None
    call_status: CallStatus | None
    failure_reason: FailureReason | None
    #: ``None`` while it is open.
    outcome: Outcome | None
    attempts: int
    sent_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    details: JobDetails | None


@attrs.frozen(kw_only=True)
class CallView:
    """One call, with the caller's number masked."""

    status: CallStatus | None
    started_at: datetime | None
    ended_at: datetime | None
    hung_up_by: str | None
    end_reason: str | None
    caller: str | None


@attrs.frozen(kw_only=True)
class JobFilter:
    """
    Which jobs of a group are wanted.

    :param condition: A condition on the rows of ``jobs``; ``None``: all.
    :param attempts: The number of known calls; ``None``: any.
    :param reference_ids: Only these, in order; ``None``: all.
    """

    condition: ColumnElement[bool] | None = None
    attempts: int | None = None
    reference_ids: Sequence[str] | None = None

    def apply(self, statement: Select[Any]) -> Select[Any]:
        """Add the conditions, except :attr:`reference_ids`."""
        if self.condition is not None:
            statement = statement.where(self.condition)
        return statement if self.attempts is None else statement.where(_jobs.attempts == self.attempts)


def read_jobs(
    connection: Connection, cipher: FieldCipher, job_group_id: str, wanted: JobFilter, after: str, limit: int
) -> list[JobView]:
    """Read a page of a group's jobs, ordered by reference id."""
    statement = wanted.apply(_JOBS.where(_jobs.job_group_id == job_group_id)).order_by(_jobs.reference_id)
    if wanted.reference_ids is None:
        rows: list[Any] = [*connection.execute(statement.where(_jobs.reference_id > after).limit(limit))]
        return [_view(cipher, row) for row in rows]
    rows = []
    start = bisect_right(wanted.reference_ids, after) if after else 0
    while len(rows) < limit and start < len(wanted.reference_ids):
        part = wanted.reference_ids[start : start + CHUNK]
        rows += connection.execute(statement.where(_jobs.reference_id.in_(part)).limit(limit - len(rows)))
        start += CHUNK
    return [_view(cipher, row) for row in rows]


def read_job(connection: Connection, cipher: FieldCipher, job_group_id: str, reference_id: str) -> JobView | None:
    """Read one job."""
    here = _JOBS.where(_jobs.job_group_id == job_group_id, _jobs.reference_id == reference_id)
    row = connection.execute(here).one_or_none()
    return None if row is None else _view(cipher, row)


def find_jobs(
    connection: Connection, cipher: FieldCipher, identity: Identity, job_group_id: str, text: str
) -> list[JobView]:
    """Find jobs of a group by a complete number or a reference id."""
    by_reference = read_job(connection, cipher, job_group_id, text)
    if by_reference is not None:
        return [by_reference]
    try:
        jobs = read_person(connection, cipher, identity, text)
    except ValueError:
        return []
    # Not by the statement: a planner without statistics would search by the group, and read it all.
    return [job for job in jobs if job.job_group_id == job_group_id]


def read_person(connection: Connection, cipher: FieldCipher, identity: Identity, phone_number: str) -> list[JobView]:
    """
    Read a person's jobs in all groups.

    :raises ValueError: it is not a phone number.
    """
    statement = _JOBS.where(_of_person(identity.phone_key(normalise(phone_number).e164)))
    return [_view(cipher, row) for row in connection.execute(statement.limit(_MOST_OF_PERSON))]


def _of_person(phone_key: str) -> ColumnElement[bool]:
    # One condition for each of the two partial indexes, literally: a planner does not recognise bound parameters.
    here = _jobs.phone_key == phone_key
    return or_(and_(here, schema.UNIQUE_PHONE), and_(here, schema.NOT_UNIQUE_PHONE))


def read_calls(connection: Connection, cipher: FieldCipher, job: JobView) -> list[CallView]:
    """Read the known calls of a job, in order."""
    if job.job_id is None:
        return []
    here = select(schema.calls).where(_calls.job_id == job.job_id, _calls.job_group_id == job.job_group_id)
    rows = connection.execute(here.order_by(_calls.started_at, _calls.task_id)).all()
    named = [row for row in rows if row.task_id != LATEST]
    return [_call(cipher, row) for row in named or rows]


def _call(cipher: FieldCipher, row: Any) -> CallView:
    told = Call(task_id=None, status=None)
    if row.body is not None:
        try:
            raw = cipher.decrypt_json(row.body)
        except LedgerKeyError:
            raw = {}
        told = Call.from_api(raw) if "TaskId" in raw else Call.from_message(raw)
    return CallView(
        status=CallStatus.parse(row.status),
        started_at=row.started_at,
        ended_at=row.ended_at,
        hung_up_by=told.hang_up_direction,
        end_reason=told.end_reason,
        caller=mask(told.calling_number) if told.calling_number else None,
    )


def _view(cipher: FieldCipher, row: Any) -> JobView:
    contact: dict[str, Any] = {}
    if row.contact is not None:
        try:
            contact = cipher.decrypt_json(row.contact)
        except LedgerKeyError:
            contact = {}
    number = contact.get("e164") or contact.get("phone_number")
    state, status = JobState(row.state), JobStatus.parse(row.status)
    reason, call_status = FailureReason.parse(row.failure_reason), CallStatus.parse(row.call_status)
    is_done = state is JobState.ACCEPTED and row.terminal
    # As JobResult.state writes it: details of an earlier state are outdated.
    is_current = row.details_state == f"{max(1, len(row.completions or ()))}/{row.attempts}"
    return JobView(
        job_group_id=row.job_group_id,
        reference_id=row.reference_id,
        job_id=row.job_id,
        state=state,
        phone_number=mask(number) if number else None,
        status=status,
        call_status=call_status,
        failure_reason=reason,
        outcome=outcome(status, reason, call_status, answered=row.answered) if is_done else None,
        attempts=row.attempts,
        sent_at=row.sent_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        details=read_details(cipher, row.details_body) if is_current else None,
    )
