"""Details of many jobs from pages of ``QueryJobsWithResult``, each row matched and verified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_outbound.core.models.job import Call, Job, last_call
from airflow_provider_outbound.core.models.job_details import Depth
from airflow_provider_outbound.core.results.filters import lacks_details
from airflow_provider_outbound.core.results.parse_details import details_of_row

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobDetails, JobResult, Ledger

    #: A job and its details.
    Found: TypeAlias = tuple[JobResult, JobDetails]

#: Jobs in one page.
PAGE_SIZE = 100
#: Two reports of one call agree on its start, up to this difference.
_SAME_START = timedelta(seconds=1)
#: Two reports of a duration agree up to this difference: one of them may be in whole seconds.
_SAME_SECONDS = 1.0
#: Number of jobs without tags that are compared with ``DescribeJob``.
_WITHOUT_TAGS = 3


class PageDetails:
    """
    Reads details from pages of one group.

    A row counts only if it has the reference id and the job id of a job in the ledger, and its call is the last one
    that the ledger knows. All other jobs are left to be asked for one by one.

    :param depth: How detailed a row must be.
    """

    def __init__(self, ledger: Ledger, job_group_id: str, depth: Depth) -> None:
        self._ledger = ledger
        self._job_group_id = job_group_id
        self._depth = depth
        #: The combinations of tag names of jobs that were compared with ``DescribeJob``; empty until one had tags.
        self._verified: set[frozenset[str]] = set()

    def may_have(self, result: JobResult) -> bool:
        """Whether a page can have a job's details: it has no durations unless a message has reported the call's end."""
        return self._depth < Depth.DURATIONS or result.ended_at is not None

    def read(self, rows: Sequence[Job]) -> list[Found]:
        """Return the jobs of a page that lack details, with the details that it has."""
        times = Counter(row.job_id for row in rows)
        wanted = {row.reference_id: row for row in rows if row.reference_id is not None and times[row.job_id] == 1}
        known = self._ledger.results.find(self._job_group_id, list(wanted))
        results = {name: r for name, r in known.items() if lacks_details(r, self._depth)}
        calls = self._ledger.calls.of_jobs(str(result.job_id) for result in results.values())
        found = []
        for reference_id, result in results.items():
            last = last_call(tuple(calls.get(str(result.job_id), ())))
            row = wanted[reference_id]
            if last is None or row.job_id != result.job_id or not _is_same_call(row, last):
                continue
            details = details_of_row(row, last.ended_at)
            if details is not None and details.depth >= self._depth:
                found.append((result, details))
        return found

    def suffices(self, found: Sequence[Found]) -> bool:
        """
        Return whether jobs can be compared with ``DescribeJob``.

        A service that reports no tags in its pages looks like one whose people have none, so at least one job with tags
        must agree.
        """
        return bool(found) and (bool(self._verified) or any(details.tags for _, details in found))

    def sample(self, found: Sequence[Found]) -> list[Found]:
        """Return one job for each new combination of tag names, and some without tags."""
        left = Counter({frozenset(details.tags): 1 for _, details in found})
        left[frozenset()] = _WITHOUT_TAGS
        chosen = []
        for result, details in found:
            names = frozenset(details.tags)
            if names not in self._verified and left[names] > 0:
                left[names] -= 1
                chosen.append((result, details))
        return chosen

    def trust(self, found: Sequence[Found]) -> None:
        """Note that jobs with the same tag names as these agree with ``DescribeJob``."""
        self._verified |= {frozenset(details.tags) for _, details in found}

    def trusted(self, found: Sequence[Found]) -> list[Found]:
        """Return the jobs whose combination of tag names was verified."""
        return [(result, details) for result, details in found if frozenset(details.tags) in self._verified]


def _is_same_call(row: Job, last: Call) -> bool:
    """Whether the call of a row was answered and is the last one that the ledger knows."""
    if row.status is None or not row.status.is_terminal or not row.calls:
        return False
    (call,) = row.calls
    if call.status is None or not call.status.is_answered or call.status != last.status:
        return False
    if call.started_at is None or last.started_at is None:
        return False
    return abs(call.started_at - last.started_at) <= _SAME_START


def differ(page: JobDetails, described: JobDetails) -> str:
    """Return what a page and ``DescribeJob`` report differently about a job; empty if they agree."""
    if dict(page.tags) != dict(described.tags):
        return "tags"
    for name in ("hang_up_side", "conversation_end"):
        if getattr(page, name) != getattr(described, name):
            return name
    for name in ("call_seconds", "ringing_seconds", "talk_seconds"):
        of_page, of_job = getattr(page, name), getattr(described, name)
        if of_page is not None and of_job is not None and abs(of_page - of_job) > _SAME_SECONDS:
            return name
    return ""
