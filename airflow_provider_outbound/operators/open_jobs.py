"""Warns tasks that use the results of a job group before its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger

log = logging.getLogger(__name__)


def warn_of_open_jobs(ledger: Ledger, job_group_id: str, what: str) -> None:
    """
    Warn if a group has not ended. Call it before the rows are read, so that no open job goes unnoticed.

    :param what: What the task makes of the results, e.g. "this export".
    """
    counted = ledger.results.summary(job_group_id)
    total, open_jobs = counted["total"], counted["total"] - counted["completed"] - counted["unlisted"]
    state = ledger.groups.state(job_group_id)
    if state.is_assigning:
        log.warning(
            "Job group %s: a task is still assigning contacts to it, or did not finish that, so %s may lack some. Clear"
            " this task when OutboundBotJobCompleteSensor has ended",
            job_group_id,
            what,
        )
    elif open_jobs and state.confirmed is None:
        log.warning(
            "Job group %s: %d of %d jobs have not ended; their results are not in %s. Clear this task when"
            " OutboundBotJobCompleteSensor has ended",
            job_group_id,
            open_jobs,
            total,
            what,
        )
