"""The number of calls per person, over all job groups of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, case, func, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import JobState
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
