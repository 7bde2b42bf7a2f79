"""The number of calls per person, over all job groups of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, and_, case, func, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import CallCap, Candidate, JobState
from airflow_provider_outbound.core.ledger.statements import chunks

_jobs = schema.jobs.c

#: Jobs that have ended without a call.
NEVER_RANG = and_(_jobs.terminal, _jobs.attempts == 0, _jobs.call_status.is_(None), _jobs.started_at.is_(None))
_CALLS = case((NEVER_RANG, 0), (_jobs.attempts > 1, _jobs.attempts), else_=1)


def count_calls(connection: Connection, phone_keys: Sequence[str], since: datetime) -> Counter[str]:
    """
    Count calls by phone key: the known calls of each job, or one for a job without a known call.

    :param since: Jobs that ended or were sent earlier do not count.
    """
    calls: Counter[str] = Counter()
    for part in chunks(phone_keys):
        for index in (schema.UNIQUE_PHONE, schema.NOT_UNIQUE_PHONE):
            rows = connection.execute(
                select(_jobs.phone_key, func.sum(_CALLS).label("calls"))
                .where(
                    index,
                    _jobs.phone_key.in_(part),
                    _jobs.state != JobState.REFUSED,
                    func.coalesce(_jobs.ended_at, _jobs.started_at, _jobs.sent_at) >= since,
                )
                .group_by(_jobs.phone_key)
            )
            calls.update({row.phone_key: int(row.calls) for row in rows})
    return calls


class CallsLeft:
    """
    Whom a cap lets be called once more.

    :param calls: Calls within the cap's period by phone key, counted under the writers' lock before anybody is sent.
    """

    def __init__(self, cap: CallCap, since: datetime, calls: Counter[str]) -> None:
        self._cap = cap
        self._since = since
        self._calls = calls

    @classmethod
    def of(cls, connection: Connection, cap: CallCap, candidates: Sequence[Candidate], now: datetime) -> Self:
        """Count the calls of the candidates' persons."""
        since = now - cap.period
        return cls(cap, since, count_calls(connection, [candidate.phone_key for candidate in candidates], since))

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
        return int(row is not None and row.state != JobState.REFUSED and row.sent_at >= self._since)
