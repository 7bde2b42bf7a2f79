"""Whom a follow-up has reached, and whom none may reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, func, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import JobResult
from airflow_provider_outbound.core.ledger.statements import chunks, insert
from airflow_provider_outbound.core.models.enums import DO_NOT_CONTACT_FAILURE_REASONS, CallStatus

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

#: Names that begin so are this package's own.
OWN_NAMES = "outbound:"
#: Follow-up of those who were put on the block list; a bot instance follows.
BLOCK_LIST = f"{OWN_NAMES}block_list:"

_jobs = schema.jobs.c
_handled = schema.handled.c


class FollowUps:
    """Reads and writes of ``handled``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self, name: str, results: Sequence[JobResult]) -> None:
        """Remember that the follow-up is done with these jobs; a repeat changes nothing."""
        with self._database.write() as connection:
            now = self._database.time(connection)
            for part in chunks(results):
                statement = insert(connection, schema.handled).values(
                    [
                        {
                            "job_group_id": result.job_group_id,
                            "reference_id": result.reference_id,
                            "name": name,
                            "revision": result.revision,
                            "handled_at": now,
                        }
                        for result in part
                    ]
                )
                connection.execute(statement.on_conflict_do_nothing())

    def unhandled(self, name: str, job_group_id: str, results: Sequence[JobResult]) -> list[JobResult]:
        """Those jobs of a group that the follow-up is not done with."""
        done: set[str] = set()
        with self._database.read() as connection:
            for part in chunks([result.reference_id for result in results]):
                statement = select(_handled.reference_id).where(
                    _handled.job_group_id == job_group_id, _handled.reference_id.in_(part), _handled.name == name
                )
                done.update(connection.execute(statement).scalars())
        return [result for result in results if result.reference_id not in done]

    def without_blocked(self, job_group_id: str, results: Sequence[JobResult]) -> list[JobResult]:
        """
        Those jobs of a group whose persons may be contacted, by all that the ledger knows of them.

        Left out is whoever was refused for a reason that forbids to contact them, by whichever job of whichever group,
        or was put on the block list by us, unless the job in question began after that: then they were off it again.
        """
        begun: dict[str, list[tuple[str, datetime | None]]] = defaultdict(list)
        blocked: set[str] = set()
        with self._database.read() as connection:
            for part in chunks([result.reference_id for result in results]):
                rows = connection.execute(
                    select(
                        _jobs.reference_id,
                        _jobs.phone_key,
                        func.coalesce(_jobs.started_at, _jobs.sent_at, type_=schema.UtcDateTime).label("begun"),
                    ).where(
                        _jobs.job_group_id == job_group_id,
                        _jobs.reference_id.in_(part),
                        _jobs.phone_key.is_not(None),
                    )
                )
                for row in rows:
                    begun[row.phone_key].append((row.reference_id, row.begun))
            for phone_key, moment in _blocks(connection, list(begun)):
                for reference_id, at in begun[phone_key]:
                    # What has no time counts: to leave somebody out in vain is the lesser mistake.
                    if moment is None or at is None or moment >= at:
                        blocked.add(reference_id)
        return [result for result in results if result.reference_id not in blocked]


def _blocks(connection: Connection, phone_keys: Sequence[str]) -> Iterator[tuple[str, datetime | None]]:
    """Whose numbers may not be contacted, and as of when it is known."""
    refused = or_(
        _jobs.failure_reason.in_(DO_NOT_CONTACT_FAILURE_REASONS), _jobs.call_status == CallStatus.CONTACT_BLOCK_LIST
    )
    saved = and_(
        _handled.job_group_id == _jobs.job_group_id,
        _handled.reference_id == _jobs.reference_id,
        _handled.name.startswith(BLOCK_LIST, autoescape=True),
    )
    moment: Any = func.coalesce(
        _handled.handled_at, _jobs.ended_at, _jobs.started_at, _jobs.sent_at, type_=schema.UtcDateTime
    )
    for part in chunks(phone_keys):
        for index in (schema.UNIQUE_PHONE, schema.NOT_UNIQUE_PHONE):
            rows = connection.execute(
                select(_jobs.phone_key, moment.label("moment"))
                .select_from(schema.jobs.outerjoin(schema.handled, saved))
                .where(index, _jobs.phone_key.in_(part), or_(refused, _handled.name.is_not(None)))
            )
            yield from ((row.phone_key, row.moment) for row in rows)
