"""Which results are meant: ``only``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus, Outcome
from airflow_provider_outbound.exceptions import JobGroupPurgedError, JobGroupUnknownError, OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

_TAG = "tag:"


def iter_results(ledger: Ledger, job_group_id: str, only: str | None = None) -> Iterator[JobResult]:
    """
    Each job of a group once, ordered by reference id, in constant memory.

    :param only: One of

        * ``answered``, ``unanswered``, ``not_dialled``, ``other``: ended jobs with that outcome;
        * ``failed``: the same as ``Failed``;
        * a status, failure reason or call status of the service, e.g. ``Busy``: jobs that have it;
        * ``tag:NAME=VALUE``: answered jobs whose conversation gave that tag that value, letter by letter;
          ``tag:NAME``: any value. Their details must have been fetched, see :func:`enrich`.
    :raises OutboundBotConfigError: ``only`` is none of these, or details are missing; raised at once, before anything
        is given: somebody who asked not to be called must not be left out unnoticed.
    :raises JobGroupUnknownError: the ledger does not know the group; at once.
    :raises JobGroupPurgedError: the group's rows were purged; at once.
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
    Make sure that the ledger has a group's results.

    :raises JobGroupUnknownError: it does not know the group.
    :raises JobGroupPurgedError: the group's rows were purged.
    """
    if not check_not_purged(ledger, job_group_id):
        raise JobGroupUnknownError(job_group_id)


def check_not_purged(ledger: Ledger, job_group_id: str) -> bool:
    """
    Make sure that nothing was forgotten of a group.

    :return: Whether the ledger knows the group.
    :raises JobGroupPurgedError: its rows were purged.
    """
    record = ledger.groups.get(job_group_id)
    if record is not None and record.purged_at is not None:
        raise JobGroupPurgedError(job_group_id, record.purged_at)
    return record is not None


def needs_details(only: str | None) -> bool:
    """Whether ``only`` asks for what is known once the API was asked for details."""
    return only is not None and only.startswith(_TAG)


def lacks_details(result: JobResult) -> bool:
    """Whether the API has more to tell of a job than is known: it ended, and somebody took a call."""
    return result.details is None and result.answered and result.has_ended and result.job_id is not None


def result_filter(only: str | None) -> Callable[[JobResult], bool]:
    """
    Whether a result is meant.

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
        raise OutboundBotConfigError(f"only {only!r} is unknown: use one of {', '.join(known)}")
    return lambda result: only in (result.status, result.failure_reason, result.call_status)


def _by_tag(only: str) -> Callable[[JobResult], bool]:
    name, equals, value = only.removeprefix(_TAG).partition("=")
    if not name:
        raise OutboundBotConfigError(f"only {only!r} names no tag: write tag:NAME=VALUE, or tag:NAME for any value")

    def matches(result: JobResult) -> bool:
        tags = {} if result.details is None else result.details.tags
        return name in tags and (not equals or tags[name] == value)

    return matches
