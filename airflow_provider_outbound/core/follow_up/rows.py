"""
Rows of a job group that a follow-up has not handled yet.

A follow-up has a name. The ledger records under that name which rows were handled, so that the next task, the next try
and the next run of the DAG get only the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.follow_up.foreign import ListJobs, unconfirmed
from airflow_provider_outbound.core.models.enums import CallStatus, Outcome
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.results import iter_results
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

log = logging.getLogger(__name__)

#: Rows read at a time. Few, because a consumer may take a second for each, and they should not be stale by then.
PAGE = 100
MAX_NAME_LENGTH = 128

#: Values of ``only`` that select people to contact again: those on a block list are left out.
_UNREACHED = {str(Outcome.UNANSWERED), *(str(status) for status in CallStatus if status.is_unanswered)}


def follow_up(
    ledger: Ledger,
    job_group_id: str,
    name: str,
    only: str | None = Outcome.UNANSWERED,
    list_jobs: ListJobs | None = None,
) -> Iterator[JobResult]:
    """
    Yield the ended jobs of a group that were not handled yet under ``name``, ordered by reference id.

    A row counts as handled once the consumer asks for the next one: handle each row inside the loop, and do not collect
    rows to handle them afterwards. The row that a consumer was handling when it failed or was killed is yielded again.
    So each row is yielded at least once; use its ``reference_id`` (with the name) as the key for exactly once.

    A job that completes again later is not yielded again: somebody who was sent a text message does not get another
    one. Two consumers that use the same name at the same time may get the same rows.

    :param job_group_id: The group.
    :param name: Name of the follow-up, of your choice, e.g. ``text-message``.
    :param only: As in :func:`~airflow_provider_outbound.core.results.iter_results`; ``None`` for all ended jobs. With
        ``unanswered`` (and NoAnswer, Busy, NotConnected, PoweredOff), contacts known from any group to be, or to have
        been, on a block list are skipped; ``outbound ledger allow`` reverses that.
    :param list_jobs: Asks the API for jobs that this ledger did not assign. Those that it does not confirm are left
        out, and logged. ``None``: they are used unchecked.
    :raises OutboundBotConfigError: ``name`` or ``only`` cannot be used. Raised by the call itself, before anything is
        read.
    :raises LedgerError: the ledger does not know the group, or its rows were purged. Raised by the call itself.
    """
    from airflow_provider_outbound.core.ledger.follow_ups import OWN_NAMES

    if not name or len(name) > MAX_NAME_LENGTH or name.startswith(OWN_NAMES):
        raise OutboundBotConfigError(
            f"name: {name!r} cannot be a follow-up's; give a name of 1 to {MAX_NAME_LENGTH} characters that does not"
            f" begin with {OWN_NAMES!r}"
        )
    pages = _unhandled_pages(ledger, job_group_id, name, only)
    if list_jobs is not None:
        pages = (_confirmed(page, list_jobs) for page in pages)
    return _handed(ledger, name, (row for page in pages for row in page))


def _handed(ledger: Ledger, name: str, rows: Iterator[JobResult]) -> Iterator[JobResult]:
    for row in rows:
        yield row
        ledger.follow_ups.mark(name, [row])


def unhandled(ledger: Ledger, job_group_id: str, name: str, only: str | None) -> Iterator[JobResult]:
    """
    Return the rows of :func:`follow_up` without recording anything.

    :raises OutboundBotConfigError: ``only`` is unknown. Raised by the call itself.
    """
    return (row for page in _unhandled_pages(ledger, job_group_id, name, only) for row in page)


def _unhandled_pages(ledger: Ledger, job_group_id: str, name: str, only: str | None) -> Iterator[list[JobResult]]:
    pages = ended_jobs(ledger, job_group_id, only)
    return (ledger.follow_ups.unhandled(name, job_group_id, page) for page in pages)


def _confirmed(page: Sequence[JobResult], list_jobs: ListJobs) -> list[JobResult]:
    doubtful = unconfirmed(page, list_jobs)
    if doubtful:
        log.warning(
            "Job group %s: %s left out: this ledger did not assign them, and the service does not list them in"
            " the group, so messages that name them may be forged",
            page[0].job_group_id,
            count_of(len(doubtful), "job is", "jobs are"),
        )
    return [result for result in page if result.reference_id not in doubtful]


def ended_jobs(
    ledger: Ledger, job_group_id: str, only: str | None, *, to_call: bool = False, is_told: bool = False
) -> Iterator[list[JobResult]]:
    """
    Return the ended jobs of a group in pages, without people on a block list if they are to be contacted again.

    :param to_call: Leave out people on a block list whatever ``only`` is, because the jobs are to be called.
    :param is_told: Whether the log has the number of people left out already.
    :raises OutboundBotConfigError: ``only`` is unknown. Raised by the call itself.
    :raises LedgerError: the ledger does not know the group, or its rows were purged. Raised by the call itself.
    """
    results = (result for result in iter_results(ledger, job_group_id, only) if result.has_ended)
    pages = iter(lambda: list(islice(results, PAGE)), [])
    if not to_call and only not in _UNREACHED:
        return pages
    return _without_blocked(ledger, job_group_id, pages, is_told=is_told)


def _without_blocked(
    ledger: Ledger, job_group_id: str, pages: Iterator[list[JobResult]], *, is_told: bool
) -> Iterator[list[JobResult]]:
    left_out = 0
    for page in pages:
        kept = ledger.follow_ups.without_blocked(job_group_id, page)
        left_out += len(page) - len(kept)
        yield kept
    if left_out and not is_told:
        log.info(
            "Job group %s: %s left out, whatever the result: on a block list, suspended as a contact, named in outbound"
            " person --cancel, or with a number that does not exist",
            job_group_id,
            count_of(left_out, "person is", "people are"),
        )
