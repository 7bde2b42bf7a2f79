"""Details of ended jobs beyond their outcome, fetched once from the API and stored in the ledger."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from airflow_provider_outbound.core.models.job_details import Depth, JobDetails
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.parallel import BoundedMap, check_limit
from airflow_provider_outbound.core.results.filters import check_group, lacks_details, needs_details, result_filter
from airflow_provider_outbound.core.results.page_details import PAGE_SIZE, PageDetails, differ
from airflow_provider_outbound.core.results.parse_details import details_of
from airflow_provider_outbound.exceptions import (
    OutboundBotConfigError,
    OutboundBotNotFoundError,
    OutboundBotThrottlingError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.client.answers import Page
    from airflow_provider_outbound.core.ledger import JobResult, Ledger
    from airflow_provider_outbound.core.models.job import Job

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MAX_PARALLEL_REQUESTS = 8
#: How long a throttled request is retried before the task fails (seconds); what was fetched until then is stored.
PATIENCE_SECONDS = 600.0
#: Number of answers in one commit, and the longest time between two commits (seconds).
_BATCH, _BATCH_SECONDS = 50, 2.0
#: Up to this number, jobs are asked for one by one.
FEW = 20


def enrich(
    ledger: Ledger,
    client: OutboundBotClient,
    job_group_id: str,
    *,
    only: str | None = None,
    level: str = "job",
    conversation: bool = False,
    tags_only: bool = False,
    instance_id: str | None = None,
    max_parallel_requests: int = MAX_PARALLEL_REQUESTS,
    cancelled: threading.Event | None = None,
) -> int:
    """
    Fetch tags, durations, hang-up side and end of the conversation of answered jobs from the API.

    Asks for the jobs that have ended since their details were last fetched, at the client's rate limit: in pages of
    ``QueryJobsWithResult``, and with one ``DescribeJob`` for each job that they do not describe completely. Answers are
    stored soon after they arrive, so an interrupted call continues where it stopped.

    :param only: Select jobs, see :func:`iter_results`. The tags of all jobs are fetched to select some by tag.
    :param level: With ``call``, also fetch each call, including those of unanswered jobs: one ``DescribeJob`` per job.
    :param conversation: Also fetch what was said in answered calls: one ``DescribeJob`` per job.
    :param tags_only: Durations are not needed. A page never has the end of a call, so where no message has reported it,
        they would need one ``DescribeJob`` per job.
    :param instance_id: The group's bot instance; ``None`` for the client's.
    :param cancelled: Once it is set, nothing more is asked, and the call returns soon.
    :return: The number of jobs whose details were fetched.
    :raises OutboundBotConfigError: ``max_parallel_requests`` or ``only`` cannot be used, or the bot instance does not
        have the group.
    :raises LedgerError: the ledger does not know the group, or its rows were purged.
    :raises OutboundBotError: the API does not answer, or refuses; what was fetched until then is stored.
    """
    check_limit(max_parallel_requests)
    wanted = _wanted(only, level=level, conversation=conversation, tags_only=tags_only)
    check_group(ledger, job_group_id)
    fetch = _Fetch(ledger, client, job_group_id, instance_id, max_parallel_requests, cancelled or threading.Event())
    fetched = sum(fetch.run(part) for part in wanted)
    fetch.report_gone()
    if fetched:
        log.info("Job group %s: details of %s were fetched", job_group_id, count_of(fetched, "job"))
    return fetched


def lacks_many(
    ledger: Ledger, job_group_id: str, *, only: str | None = None, level: str = "job", conversation: bool = False
) -> bool:
    """
    Return whether :func:`enrich` would ask for more jobs than a few, which takes longer than some seconds.

    Parameters and errors are those of :func:`enrich`.
    """
    check_group(ledger, job_group_id)
    return any(
        sum(1 for _ in islice(part.lacking(ledger, job_group_id), FEW + 1)) > FEW
        for part in _wanted(only, level=level, conversation=conversation)
    )


@attrs.frozen
class _Wanted:
    """
    Details that are needed of some jobs.

    :param all_calls: Whether of dialled jobs that were not answered too.
    """

    matches: Callable[[JobResult], bool]
    depth: Depth
    all_calls: bool = False

    def lacking(self, ledger: Ledger, job_group_id: str) -> Iterator[JobResult]:
        """Yield the jobs that lack them."""
        for result in ledger.results.iter_results(job_group_id):
            if lacks_details(result, self.depth, all_calls=self.all_calls) and self.matches(result):
                yield result


def _wanted(only: str | None, *, level: str, conversation: bool, tags_only: bool = False) -> list[_Wanted]:
    """Return what :func:`enrich` fetches, in this order."""
    matches = result_filter(only)
    wants_calls = conversation or level == "call"
    found = []
    if needs_details(only) or not wants_calls:
        # Which jobs have a tag is only known when all tags are.
        selected = result_filter(None) if needs_details(only) else matches
        found.append(_Wanted(selected, Depth.TAGS if tags_only else Depth.DURATIONS))
    if wants_calls:
        found.append(_Wanted(matches, Depth.CONVERSATIONS if conversation else Depth.CALLS, level == "call"))
    return found


@attrs.frozen
class _Fetch:
    """Fetches details of one group's jobs."""

    ledger: Ledger
    client: OutboundBotClient
    job_group_id: str
    instance_id: str | None
    max_parallel_requests: int
    cancelled: threading.Event
    #: Ids of jobs that the service does not have, although it has the group.
    _gone: set[str] = attrs.field(factory=set, init=False)

    def run(self, wanted: _Wanted) -> int:
        """Fetch what is lacking, from pages as far as possible; return the number of jobs."""

        def lacking() -> Iterator[JobResult]:
            return wanted.lacking(self.ledger, self.job_group_id)

        by_pages = 0
        if wanted.depth <= Depth.DURATIONS:
            by_pages = self._by_pages(lacking, PageDetails(self.ledger, self.job_group_id, wanted.depth))
        return by_pages + self._one_by_one(lacking(), wanted.depth)

    def _by_pages(self, lacking: Callable[[], Iterator[JobResult]], pages: PageDetails) -> int:
        """
        Read the listing of answered jobs as long as that takes fewer requests than asking for each job.

        A listing whose order changes while it is read repeats some jobs and leaves out others; another reading finds
        most of these.
        """
        answered = self.ledger.results.summary(self.job_group_id)["answered"]
        worth = max(FEW, -(-answered // PAGE_SIZE))
        fetched = 0
        while (
            not self.cancelled.is_set() and sum(1 for _ in islice(filter(pages.may_have, lacking()), worth + 1)) > worth
        ):
            found = self._read_pages(pages)
            fetched += found
            if found < worth:
                break
        return fetched

    def _read_pages(self, pages: PageDetails) -> int:
        """Read the listing once, if a sample of it agrees with ``DescribeJob``; return the number of jobs found."""
        stop = threading.Event()

        def ask(number: int) -> Page[Job]:
            return self._patiently(
                stop,
                self.client.query_jobs_with_result,
                job_group_id=self.job_group_id,
                answered=True,
                page_number=number,
                page_size=PAGE_SIZE,
            )

        number, last = 0, 1
        found: list[tuple[JobResult, JobDetails]] = []
        while number < last and not pages.suffices(found):
            number += 1
            page = ask(number)
            last, found = -(-page.total // PAGE_SIZE), pages.read(page.items)
        if not pages.suffices(found) or not self._agrees(found, pages, stop):
            return 0
        with _Keeper(self.ledger) as keeper:
            keeper.add_all(found)
            rest = range(number + 1, last + 1)
            self._ask_all(ask, rest, lambda page: keeper.add_all(pages.trusted(pages.read(page.items))), stop)
            return keeper.count

    def _agrees(self, found: Sequence[tuple[JobResult, JobDetails]], pages: PageDetails, stop: threading.Event) -> bool:
        """
        Compare a sample of what a page says with ``DescribeJob``.

        No document says that the two actions report the same tags and durations.
        """
        for result, details in pages.sample(found):
            _, described = self._describe(result, stop, conversations=False)
            if difference := differ(details, described):
                log.warning(
                    "Job group %s: QueryJobsWithResult and DescribeJob report different %s; each job is asked for",
                    self.job_group_id,
                    difference,
                )
                return False
        pages.trust(found)
        return True

    def _one_by_one(self, wanted: Iterator[JobResult], depth: Depth) -> int:
        stop = threading.Event()

        def ask(result: JobResult) -> tuple[JobResult, JobDetails]:
            return self._describe(result, stop, conversations=depth is Depth.CONVERSATIONS)

        with _Keeper(self.ledger) as keeper:
            self._ask_all(ask, wanted, lambda answer: keeper.add(*answer), stop)
            return keeper.count

    def _ask_all(
        self,
        ask: Callable[[Item], Answer],
        items: Iterable[Item],
        take: Callable[[Answer], None],
        stop: threading.Event,
    ) -> None:
        """Ask in parallel. Also take the answers to what was asked before an error."""
        limit = self.max_parallel_requests
        with BoundedMap(ask, limit=limit, ahead=limit, stop=stop, name="outbound-enrich") as asked:
            try:
                for answer in asked.map(takewhile(lambda _: not self.cancelled.is_set(), items)):
                    take(answer)
            except BaseException:
                for _, future in asked.drain():
                    if future.exception() is None:
                        take(future.result())
                raise

    def _describe(
        self, result: JobResult, stop: threading.Event, *, conversations: bool
    ) -> tuple[JobResult, JobDetails]:
        try:
            job = self._patiently(stop, self.client.describe_job, job_id=str(result.job_id))
        except OutboundBotNotFoundError as error:
            if error.code.startswith("NotExist.Instance"):
                raise
            self._check_group(stop)
            # The service does not keep jobs forever; asking again would not help.
            self._gone.add(str(result.job_id))
            return result, attrs.evolve(result.details or JobDetails(), depth=Depth.CONVERSATIONS)
        return result, details_of(job, conversations=conversations)

    def _check_group(self, stop: threading.Event) -> None:
        """
        Make sure that a job that was not found was looked for in the right place.

        Otherwise it would be stored as a job without tags for good, and who asked not to be called would be missed.
        """
        if self._gone:
            return
        try:
            self._patiently(stop, self.client.describe_job_group, job_group_id=self.job_group_id)
        except OutboundBotNotFoundError:
            raise OutboundBotConfigError(
                f"instance_id: bot instance {self.instance_id or self.client.settings.instance_id} does not have job"
                f" group {self.job_group_id}, so the details of its jobs cannot be fetched; give the instance and the"
                " connection of the group, or, if it was deleted there, leave out enrich and select by no tag. Nothing"
                " was written"
            ) from None

    def report_gone(self) -> None:
        """Log how many jobs the service does not have."""
        if self._gone:
            log.warning(
                "Job group %s: the service does not have %s any more, so that tags and durations are unknown for good",
                self.job_group_id,
                count_of(len(self._gone), "job"),
            )

    def _patiently(self, stop: threading.Event, action: Callable[..., Answer], **arguments: Any) -> Answer:
        """Call an action of the client, and wait while the service throttles it."""
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            sleep_using_event,
            stop_after_delay,
            stop_when_event_set,
            wait_random_exponential,
        )

        retrying = Retrying(
            stop=stop_after_delay(PATIENCE_SECONDS) | stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            wait=wait_random_exponential(multiplier=1, max=30),
            retry=retry_if_exception_type(OutboundBotThrottlingError),
            reraise=True,
        )
        return retrying(action, instance_id=self.instance_id, **arguments)


class _Keeper:
    """Stores answers in batches, and the remaining ones on exit, even after an error."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._told: list[tuple[JobResult, JobDetails]] = []
        self._since = time.monotonic()
        #: The number of answers.
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def add(self, result: JobResult, details: JobDetails) -> None:
        self._told.append((result, details))
        self.count += 1
        if len(self._told) >= _BATCH or time.monotonic() - self._since > _BATCH_SECONDS:
            self.save()

    def add_all(self, answers: Iterable[tuple[JobResult, JobDetails]]) -> None:
        """Add answers and store them at once, so that a page that repeats a job does not count it again."""
        for answer in answers:
            self.add(*answer)
        self.save()

    def save(self) -> None:
        self._ledger.details.save(self._told)
        self._told, self._since = [], time.monotonic()
