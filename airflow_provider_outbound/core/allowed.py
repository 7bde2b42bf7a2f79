"""The connection's ``allowed_phone_numbers``, where jobs of a group that exists are dialled because of a command."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.core.models.phone import normalise
from airflow_provider_outbound.exceptions import OutboundBotConfigError


def check_allowed(jobs: Iterable[Job], job_group_id: str, allowed: frozenset[str]) -> None:
    """
    Check that nobody else would be called if jobs of a group are dialled, now or at other times.

    :param jobs: The jobs, as the API lists them.
    :param allowed: The only numbers that may be called, E.164.
    :raises OutboundBotConfigError: a job that has not ended has another number, or one that the API does not show.
    """
    others = sum(not _has_ended(job) and not _is_allowed(job.phone_number, allowed) for job in jobs)
    if others:
        raise OutboundBotConfigError(
            f"allowed_phone_numbers: job group {job_group_id} has {others} jobs that have not ended for other numbers,"
            " or for numbers that the service does not show; cancel them, or add them to the connection."
            " Nothing was changed"
        )


def _has_ended(job: Job) -> bool:
    return job.status is not None and job.status.is_terminal


def _is_allowed(number: str | None, allowed: frozenset[str]) -> bool:
    try:
        return normalise(number).e164 in allowed
    except ValueError:
        return False
