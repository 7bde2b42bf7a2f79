"""The number of calls per person, over all job groups of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, and_, case, func, not_, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.call_counts import NEVER_DIALLED
from airflow_provider_outbound.core.ledger.records import CallCap, Candidate, JobState
from airflow_provider_outbound.core.ledger.statements import chunks

_jobs, _groups = schema.jobs.c, schema.job_groups.c

#: Jobs that have ended without a dialled call.
_NEVER_RANG = and_(
    _jobs.terminal,
    or_(NEVER_DIALLED, and_(_jobs.attempts == 0, _jobs.call_status.is_(None), _jobs.started_at.is_(None))),
)
#: When a job was last called, or sent. One that was read back from the service has no such time before its first call.
_last_at = func.coalesce(_jobs.ended_at, _jobs.started_at, _jobs.sent_at, _groups.created_at)
_CALLS = case((_NEVER_RANG, 0), (_jobs.attempts > 1, _jobs.attempts), else_=1)


def count_calls(connection: Connection, phone_keys: Sequence[str], since: datetime) -> Counter[str]:
    """
    Count calls by phone key: the known calls of each job, or one for a job without a known call.

    :param since: Jobs that ended or were sent earlier do not count, unless they may still be dialled because the window
        of their group ends later.
    """
    may_be_dialled = and_(not_(_jobs.terminal), _groups.ends_at >= since)
    calls: Counter[str] = Counter()
    for part in chunks(phone_keys):
        for index in (schema.UNIQUE_PHONE, schema.NOT_UNIQUE_PHONE):
            rows = connection.execute(
                select(_jobs.phone_key, func.sum(_CALLS).label("calls"))
                .join_from(schema.jobs, schema.job_groups, _jobs.job_group_id == _groups.job_group_id)
                .where(
                    index,
                    _jobs.phone_key.in_(part),
                    _jobs.state != JobState.REFUSED,
                    or_(_last_at >= since, may_be_dialled),
                )
                .group_by(_jobs.phone_key)
            )
            calls.update({row.phone_key: int(row.calls) for row in rows})
    return calls


class CallsLeft:
    """
    Whom a cap lets be called once more.

    :param calls: Calls within the cap's period by phone key, counted under the writers' lock before anybody is sent.
    :param may_be_dialled: Whether all open jobs of the candidates' group are among them, whenever they were sent.
    """

    def __init__(self, cap: CallCap, since: datetime, calls: Counter[str], *, may_be_dialled: bool) -> None:
        self._cap = cap
        self._since = since
        self._may_be_dialled = may_be_dialled
        self._calls = calls

    @classmethod
    def of(
        cls, connection: Connection, cap: CallCap, job_group_id: str, candidates: Sequence[Candidate], now: datetime
    ) -> Self:
        """Count the calls of the candidates' persons."""
        since = now - cap.period
        ends_at = connection.execute(select(_groups.ends_at).where(_groups.job_group_id == job_group_id)).scalar()
        return cls(
            cap,
            since,
            count_calls(connection, [candidate.phone_key for candidate in candidates], since),
            may_be_dialled=ends_at is not None and ends_at >= since,
        )

    def has(self, candidate: Candidate, row: Row[Any] | None) -> bool:
        """
        Whether a candidate's person has a call left.

        :param row: The candidate's own row, which is not counted against it.
        """
        return self._calls[candidate.phone_key] - self._counted(row) < self._cap.most

    def take(self, candidate: Candidate, row: Row[Any] | None) -> bool:
        """The same, and count this call for the candidates that follow."""
        has_one = self.has(candidate, row)
        if has_one:
            self._calls[candidate.phone_key] += 1 - self._counted(row)
        return has_one

    def _counted(self, row: Row[Any] | None) -> int:
        if row is None or row.state == JobState.REFUSED:
            return 0
        return int(row.sent_at >= self._since or self._may_be_dialled)
