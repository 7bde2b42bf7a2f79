"""The calls of jobs, as messages and listings reported them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.job_facts import distinct_calls
from airflow_provider_outbound.core.ledger.statements import chunks
from airflow_provider_outbound.core.models.enums import CallStatus
from airflow_provider_outbound.core.models.job import Call
from airflow_provider_outbound.core.models.wire import text
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

_calls = schema.calls.c


class Calls:
    """Reads of ``calls``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_jobs(self, job_ids: Iterable[str], *, with_numbers: bool = False) -> dict[str, list[Call]]:
        """
        Return the calls of jobs by job id; jobs without a call are left out.

        :param with_numbers: Decrypt the number that was called from.
        :return: A call that only a listing has reported has the task id :data:`~.job_facts.LATEST`.
        """
        found: dict[str, list[Call]] = defaultdict(list)
        with self._database.read() as connection:
            for part in chunks(sorted(set(job_ids))):
                for row in connection.execute(select(schema.calls).where(_calls.job_id.in_(part))):
                    found[row.job_id].append(
                        Call(
                            task_id=row.task_id,
                            status=CallStatus.parse(row.status),
                            planned_at=row.planned_at,
                            started_at=row.started_at,
                            ended_at=row.ended_at,
                            calling_number=self._caller(row.body) if with_numbers else None,
                        )
                    )
        return {job_id: distinct_calls(calls) for job_id, calls in found.items()}

    def _caller(self, body: bytes | None) -> str | None:
        if body is None:
            return None
        try:
            task = self._database.cipher.decrypt_json(body)
        except LedgerKeyError:
            return None
        # Messages and answers of the API spell names differently.
        return text(task.get("callingNumber")) or text(task.get("CallingNumber"))
