"""Which contacts a follow-up has processed, and which must not be contacted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, delete, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import JobResult
from airflow_provider_outbound.core.ledger.statements import chunks, insert
from airflow_provider_outbound.core.models.enums import (
    DO_NOT_CONTACT_FAILURE_REASONS,
    CallStatus,
    FailureReason,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

#: Prefix of the follow-up names that this package uses itself.
OWN_NAMES = "outbound:"
#: Follow-up of contacts that were put on the block list; a bot instance follows.
BLOCK_LIST = f"{OWN_NAMES}block_list:"
#: Follow-up of contacts whose refusal was withdrawn. It applies up to the job's revision at that time.
TAKEN_BACK = f"{OWN_NAMES}taken_back"
#: Rows read at a time.
_PAGE = 500

_jobs = schema.jobs.c
_handled = schema.handled.c
_refusals = schema.refusals.c
_taken_back = schema.handled.alias("taken_back")

_REFUSED = or_(
    _jobs.failure_reason.in_(DO_NOT_CONTACT_FAILURE_REASONS), _jobs.call_status == CallStatus.CONTACT_BLOCK_LIST
)
#: Refusals by a person. A number that is not in service is not one.
_OF_A_PERSON = or_(
    _jobs.failure_reason.in_(DO_NOT_CONTACT_FAILURE_REASONS - {FailureReason.EMPTY_NUMBER}),
    _jobs.call_status == CallStatus.CONTACT_BLOCK_LIST,
)
_SAVED = (
    select(_handled.name)
    .where(
        _handled.job_group_id == _jobs.job_group_id,
        _handled.reference_id == _jobs.reference_id,
        _handled.name.startswith(BLOCK_LIST, autoescape=True),
    )
    .exists()
)


class FollowUps:
    """Reads and writes of ``handled`` and ``refusals``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self, name: str, results: Sequence[JobResult]) -> None:
        """Record that the follow-up has processed these jobs; a repeat changes nothing."""
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
            if name.startswith(BLOCK_LIST):
                self._block(connection, results)

    def _block(self, connection: Connection, results: Sequence[JobResult]) -> None:
        """Record which contacts were put on a block list; an earlier withdrawal of their refusal becomes void."""
        references: dict[str, list[str]] = defaultdict(list)
        for result in results:
            references[result.job_group_id].append(result.reference_id)
        for job_group_id, ids in references.items():
            for part in chunks(ids):
                here = _jobs.job_group_id == job_group_id, _jobs.reference_id.in_(part)
                self._keep(connection, list(connection.execute(select(_jobs.phone_key).where(*here)).scalars()))
                connection.execute(
                    delete(schema.handled).where(
                        _handled.job_group_id == job_group_id,
                        _handled.reference_id.in_(part),
                        _handled.name == TAKEN_BACK,
                    )
                )

    def _keep(self, connection: Connection, phone_keys: Sequence[str | None]) -> None:
        rows = [{"phone_key": key, "refused_at": self._database.time(connection)} for key in set(phone_keys) if key]
        if rows:
            connection.execute(insert(connection, schema.refusals).values(rows).on_conflict_do_nothing())

    def keep_refusals(self, job_group_id: str) -> None:
        """Record which persons of a group must not be contacted, before its rows are deleted."""
        after = ""
        while True:
            statement = (
                _with_taken_back(_jobs.reference_id)
                .where(_jobs.job_group_id == job_group_id, _jobs.reference_id > after, or_(_OF_A_PERSON, _SAVED))
                .order_by(_jobs.reference_id)
                .limit(_PAGE)
            )
            with self._database.read() as connection:
                rows = connection.execute(statement).all()
            kept = [row.phone_key for row in rows if _holds(row)]
            if kept:
                with self._database.write() as connection:
                    self._keep(connection, kept)
            if len(rows) < _PAGE:
                return
            after = rows[-1].reference_id

    def refuse(self, phone_keys: Sequence[str]) -> None:
        """Record that persons refuse further contact, until :meth:`take_back`."""
        with self._database.write() as connection:
            self._keep(connection, phone_keys)

    def take_back(self, phone_keys: Sequence[str]) -> int:
        """
        Allow persons to be contacted again, whatever refusals the ledger holds.

        :return: The number of persons among them that had been blocked.
        """
        found: set[str] = set()
        with self._database.write() as connection:
            now = self._database.time(connection)
            for part in chunks(sorted(set(phone_keys))):
                kept = delete(schema.refusals).where(_refusals.phone_key.in_(part)).returning(_refusals.phone_key)
                found.update(connection.execute(kept).scalars())
                for row in list(_refused_jobs(connection, part)):
                    found.add(row.phone_key)
                    statement = insert(connection, schema.handled).values(
                        job_group_id=row.job_group_id,
                        reference_id=row.reference_id,
                        name=TAKEN_BACK,
                        revision=_revision(row),
                        handled_at=now,
                    )
                    changed = {"revision": statement.excluded.revision, "handled_at": now}
                    keys = ["job_group_id", "reference_id", "name"]
                    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
        return len(found)

    def refused(self, phone_keys: Sequence[str]) -> set[str]:
        """
        The persons among these whom this package put on a block list, and those who refused and whose jobs were purged.

        Persons that were on the service's block list when they were to be called are not among them: who put them there
        may also remove them.
        """
        found: set[str] = set()
        with self._database.read() as connection:
            for part in chunks(phone_keys):
                kept = select(_refusals.phone_key).where(_refusals.phone_key.in_(part))
                found.update(connection.execute(kept).scalars())
        return found

    def unhandled(self, name: str, job_group_id: str, results: Sequence[JobResult]) -> list[JobResult]:
        """The jobs of a group that the follow-up has not processed."""
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
        The jobs of a group whose persons may be contacted, as far as the ledger knows.

        It leaves out persons whom this package put on the block list, and persons of whom any job of any group was
        refused for a reason that forbids further contact, until :meth:`take_back`. A later call does not withdraw a
        refusal: another bot has its own block list, and the clocks of two machines do not show which came first.
        """
        references: dict[str, list[str]] = defaultdict(list)
        blocked: set[str] = set()
        with self._database.read() as connection:
            for part in chunks([result.reference_id for result in results]):
                rows = connection.execute(
                    select(_jobs.reference_id, _jobs.phone_key).where(
                        _jobs.job_group_id == job_group_id,
                        _jobs.reference_id.in_(part),
                        _jobs.phone_key.is_not(None),
                    )
                )
                for row in rows:
                    references[row.phone_key].append(row.reference_id)
            for part in chunks(list(references)):
                kept = select(_refusals.phone_key).where(_refusals.phone_key.in_(part))
                refused = {*connection.execute(kept).scalars()}
                refused |= {row.phone_key for row in _refused_jobs(connection, part)}
                blocked.update(reference for key in refused for reference in references[key])
        return [result for result in results if result.reference_id not in blocked]


def _with_taken_back(*columns: Any) -> Any:
    """Jobs, each with its revision when a refusal was withdrawn, if one was."""
    same_job = and_(
        _taken_back.c.job_group_id == _jobs.job_group_id,
        _taken_back.c.reference_id == _jobs.reference_id,
        _taken_back.c.name == TAKEN_BACK,
    )
    return select(_jobs.phone_key, _jobs.completions, _taken_back.c.revision, *columns).select_from(
        schema.jobs.outerjoin(_taken_back, same_job)
    )


def _refused_jobs(connection: Connection, phone_keys: Sequence[str]) -> Iterator[Any]:
    """Jobs that forbid contacting one of these persons."""
    for index in (schema.UNIQUE_PHONE, schema.NOT_UNIQUE_PHONE):
        statement = _with_taken_back(_jobs.job_group_id, _jobs.reference_id).where(
            index, _jobs.phone_key.in_(phone_keys), or_(_REFUSED, _SAVED)
        )
        yield from (row for row in connection.execute(statement) if _holds(row))


def _holds(row: Any) -> bool:
    return row.revision is None or row.revision < _revision(row)


def _revision(row: Any) -> int:
    return max(1, len(row.completions or ()))
