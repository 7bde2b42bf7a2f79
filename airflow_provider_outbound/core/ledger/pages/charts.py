"""The calls of a campaign over time, and the tags of its conversations."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import BigInteger, Connection, Integer, bindparam, case, cast, exists, extract, func, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.details import read_details
from airflow_provider_outbound.core.ledger.job_facts import LATEST
from airflow_provider_outbound.core.ledger.statements import stream
from airflow_provider_outbound.core.models.enums import NOT_DIALLED_CALL_STATUSES, CallStatus

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.cipher import FieldCipher

_calls, _details = schema.calls.c, schema.details.c
_named = schema.calls.alias("named")
#: A listing's call without an id is one of the job's calls that have one, if there are any.
_IS_COUNTED = or_(
    _calls.task_id != LATEST, ~exists().where(_named.c.job_id == _calls.job_id, _named.c.task_id != LATEST)
)
#: The service also reports calls that it did not dial, because of a block list for example.
_WAS_DIALLED = func.coalesce(_calls.status, "").not_in(sorted(NOT_DIALLED_CALL_STATUSES))
_HAS_ENDED = or_(
    _calls.ended_at.is_not(None), func.coalesce(_calls.status, CallStatus.EXECUTING) != CallStatus.EXECUTING
)
_TAGS = (
    select(_details.reference_id, _details.body)
    .where(_details.job_group_id == bindparam("group"))
    .order_by(_details.reference_id)
)
_MINUTE = 60


@attrs.frozen(kw_only=True)
class Minute:
    """The dialled calls that began in one minute."""

    at: datetime
    calls: int
    #: Of these, those that are over: whether one that is not will be answered is unknown.
    ended: int
    #: Of these, those that were answered.
    answered: int


def read_minutes(connection: Connection, job_group_id: str) -> list[Minute]:
    """Count the dialled calls of a group by the minute in which they began, in order. Reads them all."""
    minute = _minute(connection.dialect.name).label("minute")
    rows = connection.execute(
        select(
            minute,
            func.count().label("calls"),
            func.sum(case((_HAS_ENDED, 1), else_=0)).label("ended"),
            func.sum(case((_calls.status.startswith("Succeeded"), 1), else_=0)).label("answered"),
        )
        .where(_calls.job_group_id == job_group_id, _calls.started_at.is_not(None), _IS_COUNTED, _WAS_DIALLED)
        .group_by(minute)
        .order_by(minute)
    )
    return [
        Minute(
            at=datetime.fromtimestamp(row.minute * _MINUTE, UTC),
            calls=row.calls,
            ended=int(row.ended),
            answered=int(row.answered),
        )
        for row in rows
    ]


def _minute(dialect: str) -> Any:
    """Minutes since 1970."""
    if dialect == "sqlite":
        return cast(func.strftime("%s", _calls.started_at), Integer).op("/")(_MINUTE)
    return cast(func.floor(extract("epoch", _calls.started_at) / _MINUTE), BigInteger)


def read_tags(connection: Connection, cipher: FieldCipher, job_group_id: str) -> dict[str, list[str]]:
    """
    The reference ids of the jobs with each tag, in order.

    :return: By tag, as ``NAME=VALUE``. Details that none of the keys opens are left out.
    """
    found: dict[str, list[str]] = defaultdict(list)
    with stream(connection, _TAGS, 500, {"group": job_group_id}) as rows:
        for row in rows:
            details = read_details(cipher, row.body)
            for name, value in (details.tags if details else {}).items():
                found[f"{name}={value}"].append(row.reference_id)
    return dict(found)
