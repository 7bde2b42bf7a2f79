"""What the API reports about ended jobs beyond their outcome, and which of their calls were answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, exists, select, tuple_

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.forgotten import is_forgotten
from airflow_provider_outbound.core.ledger.job_facts import LATEST
from airflow_provider_outbound.core.ledger.records import JobResult, RecordedCall
from airflow_provider_outbound.core.ledger.statements import chunks, insert
from airflow_provider_outbound.core.models.job_details import JobDetails
from airflow_provider_outbound.core.models.wire import text
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.cipher import FieldCipher
    from airflow_provider_outbound.core.ledger.database import Database


class Details:
    """Reads and writes of ``details``, and reads of ``recordings`` with their calls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, told: Sequence[tuple[JobResult, JobDetails]]) -> None:
        """
        Store details, unless the person was forgotten after the API was asked.

        :param told: Details, each with the job's result as it was when the API was asked.
        """
        if not told:
            return
        with self._database.write() as connection:
            now = self._database.time(connection)
            forgotten = self._forgotten(connection, [result for result, _ in told])
            told = [(result, details) for result, details in told if _key(result) not in forgotten]
            if not told:
                return
            statement = insert(connection, schema.details)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["job_group_id", "reference_id"],
                    set_={name: statement.excluded[name] for name in ("state", "body", "fetched_at")},
                ),
                [
                    {
                        "job_group_id": result.job_group_id,
                        "reference_id": result.reference_id,
                        "state": result.state,
                        "body": self._database.cipher.encrypt_json(details.to_json()),
                        "fetched_at": now,
                    }
                    for result, details in told
                ],
            )

    def _forgotten(self, connection: Connection, results: Sequence[JobResult]) -> set[tuple[str, str]]:
        """Keys of the jobs whose contacts were erased."""
        key = tuple_(schema.jobs.c.job_group_id, schema.jobs.c.reference_id)
        found: set[tuple[str, str]] = set()
        for part in chunks([_key(result) for result in results]):
            rows = connection.execute(select(schema.jobs).where(key.in_(part)))
            found |= {_key(row) for row in rows if is_forgotten(self._database.cipher, row.contact)}
        return found

    def exist(self, job_group_id: str) -> bool:
        """Whether any details of a group are stored."""
        with self._database.read() as connection:
            found = select(exists().where(schema.details.c.job_group_id == job_group_id))
            return bool(connection.execute(found).scalar())

    def recorded_calls(self, job_group_id: str) -> list[RecordedCall]:
        """
        Every call of a group that has a recording or will have one: it was answered, or a notice arrived.

        A job that only the API has reported has one call here without an id, until the API is asked for that id.
        """
        calls, notices = schema.calls.c, schema.recordings.c
        taken = select(calls.job_id, calls.task_id).where(
            calls.job_group_id == job_group_id, calls.status.startswith("Succeeded")
        )
        noticed = select(notices.job_id, notices.task_id).where(notices.job_group_id == job_group_id).distinct()
        with self._database.read() as connection:
            found = {(row.job_id, row.task_id): False for row in connection.execute(taken)}
            found |= {(row.job_id, row.task_id): True for row in connection.execute(noticed)}
        named = {job_id for job_id, task_id in found if task_id != LATEST}
        return [
            RecordedCall(job_id=job_id, task_id=None if task_id == LATEST else task_id, has_notice=has_notice)
            for (job_id, task_id), has_notice in sorted(found.items())
            if task_id != LATEST or job_id not in named
        ]

    def has_messages(self, job_group_id: str) -> bool:
        """Whether any message about a group has arrived, so that more may follow."""
        with self._database.read() as connection:
            found = select(exists().where(schema.events.c.job_group_id == job_group_id))
            return bool(connection.execute(found).scalar())

    def recording_url(self, task_id: str, field: str = "url") -> str | None:
        """
        The URL of a call's recording from the latest notice; it may have expired. ``None``: that notice has none.

        :param field: ``url``, or ``mkvUrl``.
        """
        notices = schema.recordings.c
        statement = select(notices.body).where(notices.task_id == task_id).order_by(notices.recorded_at.desc())
        with self._database.read() as connection:
            body = connection.execute(statement.limit(1)).scalar()
        if body is None:
            return None
        try:
            return text(self._database.cipher.decrypt_json(body).get(field))
        except LedgerKeyError:
            return None


def read_details(cipher: FieldCipher, body: bytes) -> JobDetails | None:
    """Stored details; ``None`` if no key fits, so that the API is asked again."""
    try:
        return JobDetails.from_json(cipher.decrypt_json(body))
    except LedgerKeyError:
        return None


def _key(job: Any) -> tuple[str, str]:
    return job.job_group_id, job.reference_id
