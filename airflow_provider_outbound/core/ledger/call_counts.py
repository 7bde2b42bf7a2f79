"""How many people were called, by DAG and hour, and how long calls take."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import and_, exists, func, not_, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import JobState
from airflow_provider_outbound.core.ledger.statements import stream
from airflow_provider_outbound.core.models.enums import NOT_DIALLED_CALL_STATUSES

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

_jobs, _groups, _calls = schema.jobs.c, schema.job_groups.c, schema.calls.c
#: How many groups, and of how many of their calls, the mean length of a call is taken from.
_RECENT_GROUPS, _RECENT_CALLS = 5, 2_000
#: Jobs with a call that began, or ended: those that wait to be dialled have none.
_WAS_CALLED = or_(_jobs.started_at.is_not(None), _jobs.ended_at.is_not(None), _jobs.call_status.is_not(None))
#: Jobs whose only call the service reports as one that it did not dial, because of a block list for example.
NEVER_DIALLED = and_(_jobs.attempts <= 1, func.coalesce(_jobs.call_status, "").in_(sorted(NOT_DIALLED_CALL_STATUSES)))
#: When a job was last called; when it was sent, if no call has a time.
_last_call_at = func.coalesce(_jobs.ended_at, _jobs.started_at, _jobs.sent_at, type_=_jobs.ended_at.type)


@attrs.frozen(kw_only=True)
class HourOfCalls:
    """The jobs of a DAG whose latest call was in one hour."""

    #: ``None``: others assigned them, or made their group.
    dag_id: str | None
    #: When the hour begins, UTC.
    hour: datetime
    #: Jobs that were called, each once.
    called: int
    #: Of these, those with an answered call.
    answered: int
    #: All their calls, earlier hours included.
    calls: int


def calls_by_hour(database: Database, since: datetime, *, dag_id: str | None = None) -> list[HourOfCalls]:
    """
    Count the jobs whose latest call was since a time, by DAG and hour, ordered by both. Purged groups have none.

    :param since: Aware.
    :param dag_id: Only this DAG.
    """
    statement = (
        select(_groups.dag_id, _last_call_at.label("last"), _jobs.answered, _jobs.attempts)
        .join_from(schema.jobs, schema.job_groups, _jobs.job_group_id == _groups.job_group_id)
        .where(_last_call_at >= since, _WAS_CALLED, not_(NEVER_DIALLED), _jobs.state == JobState.ACCEPTED)
    )
    if dag_id is not None:
        statement = statement.where(_groups.dag_id == dag_id)
    called: Counter[tuple[str | None, datetime]] = Counter()
    answered: Counter[tuple[str | None, datetime]] = Counter()
    calls: Counter[tuple[str | None, datetime]] = Counter()
    with (
        database.read() as connection,
        stream(connection, statement, 1000) as rows,
    ):
        # Hours are cut here, because databases have no common function for it.
        for row in rows:
            key = row.dag_id, row.last.replace(minute=0, second=0, microsecond=0)
            called[key] += 1
            answered[key] += row.answered
            calls[key] += max(1, row.attempts)
    return [
        HourOfCalls(dag_id=key[0], hour=key[1], called=called[key], answered=answered[key], calls=calls[key])
        for key in sorted(called, key=lambda key: (key[0] or "", key[1]))
    ]


def mean_call_seconds(database: Database) -> float | None:
    """
    The mean length of recent calls, answered or not (seconds).

    :return: ``None`` if the ledger knows of no call.
    """
    newest = (
        select(_groups.job_group_id)
        .where(exists().where(_calls.job_group_id == _groups.job_group_id))
        .order_by(_groups.changed.desc())
        .limit(_RECENT_GROUPS)
    )
    with database.read() as connection:
        groups = list(connection.execute(newest).scalars())
        statement = (
            select(_calls.started_at, _calls.ended_at)
            .where(_calls.job_group_id.in_(groups), _calls.started_at.is_not(None), _calls.ended_at.is_not(None))
            .limit(_RECENT_CALLS)
        )
        lengths = [(row.ended_at - row.started_at).total_seconds() for row in connection.execute(statement)]
    lengths = [length for length in lengths if length > 0]
    return sum(lengths) / len(lengths) if lengths else None
