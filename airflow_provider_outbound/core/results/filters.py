"""Selects results by the argument ``only``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus, Outcome
from airflow_provider_outbound.core.models.job_details import Depth
from airflow_provider_outbound.exceptions import JobGroupPurgedError, JobGroupUnknownError, OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

_TAG = "tag:"


def iter_results(ledger: Ledger, job_group_id: str, only: str | None = None) -> Iterator[JobResult]:
    """
    Yield each job of a group once, ordered by reference id, in constant memory.

    :param only: One of

        * ``answered``, ``unanswered``, ``not_dialled``, ``other``: ended jobs with that outcome;
        * ``failed``: the same as ``Failed``;
        * a status, failure reason or call status of the service, e.g. ``Busy``: jobs that have it;
        * ``tag:NAME=VALUE``: answered jobs whose conversation set that tag to exactly that value; ``tag:NAME``: to any
          value. Their details must have been fetched, see :func:`enrich`.
    :raises OutboundBotConfigError: ``only`` is unknown, or details are missing. Raised by the call itself, before
        anything is yielded: somebody who asked not to be called must not be missed silently.
    :raises JobGroupUnknownError: the ledger does not know the group. Raised by the call itself.
    :raises JobGroupPurgedError: the group's rows were purged. Raised by the call itself.
    """
    matches = result_filter(only)
    check_group(ledger, job_group_id)
    if needs_details(only):
        lacking = sum(lacks_details(result) for result in ledger.results.iter_results(job_group_id))
        if lacking:
            raise OutboundBotConfigError(
                f"only {only!r}: the tags of {lacking} answered jobs of job group {job_group_id} are not known;"
                " export with enrich=True first"
            )
    return (result for result in ledger.results.iter_results(job_group_id) if matches(result))


def check_group(ledger: Ledger, job_group_id: str) -> None:
    """
    Check that the ledger has a group's results.

    :raises JobGroupUnknownError: the ledger does not know the group.
    :raises JobGroupPurgedError: the group's rows were purged.
    """
    if not check_not_purged(ledger, job_group_id):
        raise JobGroupUnknownError(job_group_id)


def check_not_purged(ledger: Ledger, job_group_id: str) -> bool:
    """
    Check that a group's rows were not purged.

    :return: Whether the ledger knows the group.
    :raises JobGroupPurgedError: the group's rows were purged.
    """
    record = ledger.groups.get(job_group_id)
    if record is not None and record.purged_at is not None:
        raise JobGroupPurgedError(job_group_id, record.purged_at)
    return record is not None


def needs_details(only: str | None) -> bool:
    """Return whether ``only`` needs details fetched from the API."""
    return only is not None and only.startswith(_TAG)


def lacks_details(result: JobResult, depth: Depth | None = None, *, all_calls: bool = False) -> bool:
    """
    Return whether a job has ended, but the details that it must have were not fetched and may be.

    :param depth: How detailed they must be; ``None``: any.
    :param all_calls: Whether jobs that were dialled and not answered must have details too.
    """
    if result.job_id is None or not result.has_ended or result.is_forgotten:
        return False
    if not result.answered and not (all_calls and result.attempts and result.outcome is not Outcome.NOT_DIALLED):
        return False
    return result.details is None or (depth is not None and result.details.depth < depth)


def result_filter(only: str | None) -> Callable[[JobResult], bool]:
    """
    Return a function that tells whether ``only`` selects a result.

    :raises OutboundBotConfigError: ``only`` is unknown.
    """
    if only is None:
        return lambda _: True
    if only in set(Outcome):
        return lambda result: result.outcome == only and result.has_ended
    if only == "failed":
        return lambda result: result.status is JobStatus.FAILED
    if needs_details(only):
        return _by_tag(only)
    words: list[str] = [str(word) for kind in (JobStatus, FailureReason, CallStatus) for word in kind]
    if only not in words:
        known = [*sorted({*map(str, Outcome), "failed"}), "tag:NAME=VALUE", *sorted(set(words))]
        raise OutboundBotConfigError(f"only: {only!r} is not one of {', '.join(known)}")
    return lambda result: only in (result.status, result.failure_reason, result.call_status)


def _by_tag(only: str) -> Callable[[JobResult], bool]:
    name, equals, value = only.removeprefix(_TAG).partition("=")
    if not name:
        raise OutboundBotConfigError(f"only {only!r} names no tag: write tag:NAME=VALUE, or tag:NAME for any value")

    def matches(result: JobResult) -> bool:
        tags = {} if result.details is None else result.details.tags
        return name in tags and (not equals or tags[name] == value)

    return matches
