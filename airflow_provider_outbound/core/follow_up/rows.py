"""
Rows of a job group that a follow-up has not handled yet.

A follow-up has a name. What it is done with is remembered in the ledger under that name, so that the next task, the
next try and the next run of the DAG are given the rest only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.models.enums import CallStatus, Outcome
from airflow_provider_outbound.core.results import iter_results
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

#: Rows looked up at a time. Few, because a consumer may take a second for each, and they should not be stale by then.
PAGE = 100
MAX_NAME_LENGTH = 128

#: What to ask for when people are to be contacted again: nobody on a block list is among these.
_UNREACHED = {str(Outcome.UNANSWERED), *(str(status) for status in CallStatus if status.is_unanswered)}


def follow_up(
    ledger: Ledger, job_group_id: str, name: str, only: str | None = Outcome.UNANSWERED
) -> Iterator[JobResult]:
    """
    Ended jobs of a group that were not handled yet under ``name``, ordered by reference id.

    A row counts as handled once the consumer comes back for the next one: handle each inside the loop, and do not
    gather rows to handle them after it. What a consumer was busy with when it failed or was killed is given again, so
    each row comes at least once, and its ``reference_id`` (with the name) is the key by which to make that once.

    A job that completes again later is not given again: somebody who was sent a text message does not get another
    one. Two that iterate under one name at the same time may be given the same rows.

    :param job_group_id: The group.
    :param name: Name of the follow-up, yours to choose: ``text-message``.
    :param only: As in :func:`~airflow_provider_outbound.core.results.iter_results`; ``None`` for all that ended. Of
        ``unanswered`` (and NoAnswer, Busy, NotConnected, PoweredOff) those are left out of whom the ledger knows, by
        this or another group, that they are or were on a block list; ``outbound ledger allow`` takes that back.
    :raises OutboundBotConfigError: ``name`` or ``only`` cannot be used; at once, before anything is read.
    :raises LedgerError: the ledger does not know the group, or its rows were purged; at once.
    """
    from airflow_provider_outbound.core.ledger.follow_ups import OWN_NAMES

    if not name or len(name) > MAX_NAME_LENGTH or name.startswith(OWN_NAMES):
        raise OutboundBotConfigError(
            f"name {name!r} of the follow-up: give one of 1 to {MAX_NAME_LENGTH} characters that does not begin with"
            f" {OWN_NAMES!r}"
        )
    return _handed(ledger, name, unhandled(ledger, job_group_id, name, only))


def _handed(ledger: Ledger, name: str, rows: Iterator[JobResult]) -> Iterator[JobResult]:
    for row in rows:
        yield row
        ledger.follow_ups.mark(name, [row])


def unhandled(ledger: Ledger, job_group_id: str, name: str, only: str | None) -> Iterator[JobResult]:
    """
    The rows of :func:`follow_up`, without remembering anything.

    :raises OutboundBotConfigError: ``only`` is unknown; at once.
    """
    pages = ended_jobs(ledger, job_group_id, only)
    return (row for page in pages for row in ledger.follow_ups.unhandled(name, job_group_id, page))


def ended_jobs(
    ledger: Ledger, job_group_id: str, only: str | None, *, to_call: bool = False
) -> Iterator[list[JobResult]]:
    """
    Ended jobs of a group, some at a time; of those to be contacted again, whoever may be.

    :param to_call: Whether they are to be called, whatever ``only`` is.
    :raises OutboundBotConfigError: ``only`` is unknown; at once.
    :raises LedgerError: the ledger does not know the group, or its rows were purged; at once.
    """
    results = (result for result in iter_results(ledger, job_group_id, only) if result.has_ended)
    pages = iter(lambda: list(islice(results, PAGE)), [])
    if not to_call and only not in _UNREACHED:
        return pages
    return (ledger.follow_ups.without_blocked(job_group_id, page) for page in pages)
