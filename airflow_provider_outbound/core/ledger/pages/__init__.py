"""
What a person who watches campaigns sees: lists, counts, charts and single jobs.

Every query reads one campaign by an index, or one small table. Counts read all jobs of a campaign, so callers keep
them for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.ledger.pages.campaigns import Campaign, read_campaigns
from airflow_provider_outbound.core.ledger.pages.charts import Minute, read_minutes, read_tags
from airflow_provider_outbound.core.ledger.pages.jobs import (
    CallView,
    JobFilter,
    JobView,
    find_jobs,
    read_calls,
    read_job,
    read_jobs,
    read_person,
)
from airflow_provider_outbound.core.ledger.pages.numbers import Numbers, read_numbers
from airflow_provider_outbound.core.ledger.pages.status import Status, read_status

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

__all__ = [
    "CallView",
    "Campaign",
    "JobFilter",
    "JobView",
    "Minute",
    "Numbers",
    "Pages",
    "Status",
]


class Pages:
    """Reads of all tables, for people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        """The ledger's time."""
        return self._database.now()

    def campaigns(self) -> list[Campaign]:
        """All job groups that are not purged, and that have a task or a job."""
        with self._database.read() as connection:
            return read_campaigns(connection)

    def numbers(self, job_group_id: str) -> Numbers:
        """Count a group's jobs. Reads them all."""
        with self._database.read() as connection:
            return read_numbers(connection, job_group_id)

    def minutes(self, job_group_id: str) -> list[Minute]:
        """The calls of a group by minute, in order. Reads them all."""
        with self._database.read() as connection:
            return read_minutes(connection, job_group_id)

    def tags(self, job_group_id: str) -> dict[str, list[str]]:
        """The reference ids of the jobs with each tag, as ``NAME=VALUE``. Decrypts all details of the group."""
        with self._database.read() as connection:
            return read_tags(connection, self._database.cipher, job_group_id)

    def jobs(self, job_group_id: str, wanted: JobFilter, *, after: str = "", limit: int = 50) -> list[JobView]:
        """
        A page of a group's jobs, ordered by reference id.

        :param after: The reference id that ends the page before.
        """
        with self._database.read() as connection:
            return read_jobs(connection, self._database.cipher, job_group_id, wanted, after, limit)

    def job(self, job_group_id: str, reference_id: str) -> JobView | None:
        """One job; ``None``: the group has no such job."""
        with self._database.read() as connection:
            return read_job(connection, self._database.cipher, job_group_id, reference_id)

    def calls(self, job: JobView) -> list[CallView]:
        """The known calls of a job, in order."""
        with self._database.read() as connection:
            return read_calls(connection, self._database.cipher, job)

    def find(self, job_group_id: str, text: str) -> list[JobView]:
        """The jobs of a group with this complete phone number or this reference id."""
        with self._database.read() as connection:
            return find_jobs(connection, self._database.cipher, self._database.identity, job_group_id, text)

    def person(self, phone_number: str) -> Sequence[JobView]:
        """
        A person's jobs in all groups.

        :param phone_number: The complete number.
        :raises ValueError: it is not a phone number; the text says why.
        """
        with self._database.read() as connection:
            return read_person(connection, self._database.cipher, self._database.identity, phone_number)

    def status(self) -> Status:
        """The state of the collectors, the queue and the ledger."""
        return read_status(self._database)
