"""
Jobs that other programs assigned, or that only a message names.

A message is no proof that a job exists: whoever may publish to the topic could have made it up. Before the person of
such a job is called or contacted, the API is asked for it. Jobs that this ledger assigned are known from its journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.client import MAX_JOBS_PER_REQUEST
from airflow_provider_outbound.core.ledger.listed_numbers import is_same_number
from airflow_provider_outbound.core.models.phone import normalise_or_digits

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult
    from airflow_provider_outbound.core.models.job import Job

#: Asks the API for jobs by their ids, up to 99; those that it does not know are left out.
ListJobs = Callable[[Sequence[str]], Iterable["Job"]]


def unconfirmed(results: Sequence[JobResult], list_jobs: ListJobs) -> set[str]:
    """
    Return which of a group's jobs this ledger did not assign and the API does not list with the same number in it.

    :return: Their reference ids.
    """
    foreign = {result.job_id or "": result for result in results if result.is_foreign}
    missing = {result.reference_id for result in results if result.is_foreign}
    ids = list(foreign)
    for start in range(0, len(ids), MAX_JOBS_PER_REQUEST):
        for job in list_jobs(ids[start : start + MAX_JOBS_PER_REQUEST]):
            result = foreign.get(job.job_id)
            if result is not None and _is_same(job, result):
                missing.discard(result.reference_id)
    return missing


def _is_same(job: Job, result: JobResult) -> bool:
    if job.job_group_id != result.job_group_id:
        return False
    if not job.phone_number or not result.phone_number:
        return True
    return is_same_number(job.phone_number, normalise_or_digits(result.phone_number))
