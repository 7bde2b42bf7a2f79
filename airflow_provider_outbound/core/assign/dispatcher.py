"""Send batches: journal each one first, keep a few in flight, and record every outcome."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice

import attrs

from airflow_provider_outbound.core.assign.left_out import IN_GROUP, OVER_CAP, LeaveOut
from airflow_provider_outbound.core.assign.options import AssignOptions
from airflow_provider_outbound.core.assign.rate_limiter import AdaptiveRateLimiter
from airflow_provider_outbound.core.assign.work_queue import Batch, WorkQueue
from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import Candidate, Ledger, Outcomes
from airflow_provider_outbound.core.ledger.assignments import Stop
from airflow_provider_outbound.core.progress import ProgressLog
from airflow_provider_outbound.core.reconcile import Lease
from airflow_provider_outbound.exceptions import (
    LeaseLostError,
    OutboundBotError,
    OutboundBotThrottlingError,
    StoppedError,
)

#: Consecutive requests in doubt, without an accepted one, after which the task stops sending.
MAX_DOUBTS_IN_A_ROW = 40
#: Maximum bytes of contacts in one request, all of which travel in its URL: enough for 99 typical contacts in Chinese.
#: The gateway's limit is not documented.
MAX_URL_BYTES = 128_000

#: Shortest time between two questions whether the group's calls were stopped (seconds). Requests may be sent in it.
STOP_SECONDS = 0.2

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Request:
    """What all requests of an assignment have in common."""

    job_group_id: str
    instance_id: str | None = None
    strategy_json: str | None = None
    calling_numbers: tuple[str, ...] = ()


class BatchDispatcher:
    """
    Sends candidates to a job group.

    It does not use :class:`~airflow_provider_outbound.core.parallel.BoundedMap`, which fits work that may be abandoned:
    its threads are daemons, and closing it does not wait. Here every request must have ended before the task does, and
    its outcome must be in the journal. Besides, a throttled batch goes back to the queue, and the limit changes while
    batches are sent.

    :param guard: Called before batches are journalled, and by the sending thread right before each request; raises if
        calling is not allowed now.
    :param since: Until when earlier processes may have sent, by the ledger's clock.
    """

    def __init__(
        self,
        *,
        client: OutboundBotClient,
        ledger: Ledger,
        lease: Lease,
        request: Request,
        options: AssignOptions,
        guard: Callable[[], None],
        since: datetime,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._lease = lease
        self._request = request
        self._options = options
        self._guard = guard
        self._check_stop_at = 0.0
        self._stop_found: Stop | None = None
        self._limiter = AdaptiveRateLimiter(options.max_parallel_requests)
        self._lock = threading.Lock()
        self._queue = WorkQueue()
        #: Outcomes not journalled yet. If the process dies, their rows are in doubt, and the listing settles them.
        self._outcomes = Outcomes()
        self._failure: BaseException | None = None
        self._doubts_in_a_row = 0
        self._accepted = 0
        self._progress = ProgressLog(f"Job group {request.job_group_id}", "contacts assigned", from_zero=True)
        #: When the last request in doubt ended, by the ledger's clock.
        self.doubt_since = since

    def send(self, candidates: Iterable[Candidate], leave_out: LeaveOut) -> None:
        """
        Send all candidates. On return, and on failure too, nothing is in flight and every outcome is journalled.

        :param leave_out: Called with candidates that belong to another assignment, or have reached the call cap.
        :raises StoppedError: a person stopped the group's calls.
        :raises OutboundBotError: the first failure that a retry of the request would not fix, or the last of too many
            requests in a row without a usable answer.
        """
        self._queue = WorkQueue()
        begun_at = self._ledger.now()
        try:
            # Leaving the pool waits for the requests in flight.
            threads = self._options.max_parallel_requests
            with ThreadPoolExecutor(threads, thread_name_prefix="outbound-assign") as pool:
                try:
                    for _ in range(threads):
                        pool.submit(self._send_from_queue)
                    self._journal(iter(candidates), leave_out)
                    self._queue.finish()
                except BaseException:
                    self._stop()
                    raise
        finally:
            self._put_down()
            stop = self._repeat_stop(begun_at)
        if self._failure is not None:
            raise self._failure
        if stop is not None:
            # Whoever was assigned is not called, so this is no success.
            raise self._stopped(stop)

    def _journal(self, candidates: Iterator[Candidate], leave_out: LeaveOut) -> None:
        """
        Journal batches ahead of the sending threads, so that these do not wait for a commit.

        One commit holds twice as many batches as are in flight: a commit for each batch would take longer than its
        request. It holds no more, because every journalled contact must be searched for in the group if this process
        is killed.
        """
        while self._queue.wait_for_room(self._limiter.pace):
            ahead = list(islice(candidates, 2 * self._limiter.pace * self._options.batch_size))
            if not ahead:
                break
            self._check_stop()
            self._guard()
            self._begin(ahead, leave_out)

    def _check_stop(self) -> None:
        """Make sure that no command has stopped the group's calls; asks the ledger once per :data:`STOP_SECONDS`."""
        if time.monotonic() >= self._check_stop_at:
            self._check_stop_at = time.monotonic() + STOP_SECONDS
            self._stop_found = self._find_stop()
        # Kept, because other threads have their turn before the ledger is asked again.
        if self._stop_found is not None:
            raise self._stopped(self._stop_found)

    def _stopped(self, stop: Stop) -> StoppedError:
        group = self._request.job_group_id
        again = (
            "this holds after the task was cleared, too. A new DAG run calls its whole list again;"
            " max_calls_per_contact leaves out who was called in this one"
        )
        what, advice = (
            ("cancelled", again)
            if stop.is_final
            else ("suspended", f"to call the others, run 'outbound resume {group}', then clear this task")
        )
        when = stop.at.isoformat(timespec="seconds")
        return StoppedError(
            f"job group {group}: all its jobs were {what} at {when}, so this task assigns nobody else; {advice}"
        )

    def _find_stop(self) -> Stop | None:
        return self._ledger.assignments.find_stop(self._lease.assignment, self._options.run_started_at)

    def _repeat_stop(self, since: datetime) -> Stop | None:
        """
        Repeat a command that stopped the group's calls meanwhile: the last requests may have come after it.

        :return: The command, if there was one.
        """
        request = self._request
        stop = None
        try:
            stop = self._find_stop()
            if stop is None or stop.at < since:
                return None
            repeat = self._client.cancel_jobs if stop.is_final else self._client.suspend_jobs
            repeat(job_group_id=request.job_group_id, all_jobs=True, instance_id=request.instance_id)
        except OutboundBotError as error:
            log.error(  # noqa: TRY400 - its own text is enough
                "Job group %s: if somebody suspended or cancelled it, do so again: contacts sent meanwhile may be"
                " called (%s)",
                request.job_group_id,
                error,
            )
        return stop

    def _begin(self, ahead: Sequence[Candidate], leave_out: LeaveOut) -> None:
        outcomes = self._take_outcomes()
        try:
            begun = self._ledger.journal.begin(
                self._lease.assignment,
                ahead,
                dedupe_by=self._options.dedupe_by,
                cap=self._options.cap,
                outcomes=outcomes,
            )
        except BaseException:
            self._note(outcomes)
            raise
        for candidates, reason in ((begun.capped, OVER_CAP), (begun.lost, IN_GROUP)):
            for candidate in candidates:
                leave_out(reason, candidate.contact)
        self._queue.add(_batched(begun.candidates, self._options.batch_size))

    def _note(self, outcomes: Outcomes) -> None:
        with self._lock:
            self._outcomes.add(outcomes)

    def _take_outcomes(self) -> Outcomes:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, Outcomes()
        return outcomes

    def _put_down(self) -> None:
        """Journal every outcome, and free candidates that were journalled but never sent."""
        self._note(Outcomes(refused=[candidate.reference_id for candidate in self._queue.unsent()]))
        self._ledger.journal.record_outcomes(self._lease.assignment, self._take_outcomes())

    def _stop(self) -> None:
        self._queue.stop()
        self._limiter.close()

    def _send_from_queue(self) -> None:
        try:
            while (batch := self._queue.take()) is not None:
                self._send_one(batch)
        except BaseException as error:  # noqa: BLE001 - a thread's errors are raised by the thread that waits for it
            with self._lock:
                self._failure = self._failure or error
            self._stop()

    def _send_one(self, batch: Batch) -> None:
        entered = self._limiter.enter()
        if entered is None:
            self._queue.give_back(batch)
            return
        is_unsent = False
        try:
            is_unsent = self._attempt(batch, entered)
        finally:
            self._limiter.leave()
            if is_unsent:
                self._queue.give_back(batch)
            else:
                self._queue.done()

    def _check_request(self) -> None:
        """Check whether a request may still be sent, which may have waited long for its turn. The lease comes last."""
        self._check_stop()
        self._guard()
        self._lease.check()

    def _attempt(self, batch: Batch, entered: float) -> bool:
        """
        Send a batch and note the outcome.

        :return: Whether the batch must be sent again, because the API throttled the request.
        """
        references = [candidate.reference_id for candidate in batch]
        request = self._request
        try:
            self._client.assign_jobs(
                job_group_id=request.job_group_id,
                jobs=[candidate.contact.job_json(candidate.reference_id) for candidate in batch],
                strategy_json=request.strategy_json,
                calling_numbers=request.calling_numbers,
                instance_id=request.instance_id,
                before_request=self._check_request,
            )
        except LeaseLostError:
            # Nothing was sent, but only the new holder of the lease may free or settle these rows.
            raise
        except OutboundBotError as error:
            if error.in_doubt:
                self._note(Outcomes(in_doubt=references))
                self._doubt(error)
            elif not isinstance(error, OutboundBotThrottlingError):
                self._note(Outcomes(refused=references))
                raise
            else:
                # The service did not act on it. It is journalled already, and only has to be sent again.
                self._limiter.throttled(entered)
                return True
        except BaseException:
            self._note(Outcomes(in_doubt=references))
            raise
        else:
            self._note(Outcomes(accepted=references))
            self._took(len(batch))
        return False

    def _doubt(self, error: OutboundBotError) -> None:
        self._limiter.failed()
        now = self._ledger.now()
        with self._lock:
            self.doubt_since = max(self.doubt_since, now)
            self._doubts_in_a_row += 1
            in_a_row = self._doubts_in_a_row
        if in_a_row == 1:
            log.warning("A request may or may not have taken effect; the group's listing will show it: %s", error)
        if in_a_row >= MAX_DOUBTS_IN_A_ROW:
            raise error

    def _took(self, count: int) -> None:
        self._limiter.succeeded()
        with self._lock:
            self._doubts_in_a_row = 0
            self._accepted += count
            self._progress.offer(self._accepted)


def _batched(candidates: Iterable[Candidate], size: int) -> Iterator[list[Candidate]]:
    batch: list[Candidate] = []
    room = MAX_URL_BYTES
    for candidate in candidates:
        needed = candidate.contact.url_bytes
        if batch and (len(batch) == size or needed > room):
            yield batch
            batch, room = [], MAX_URL_BYTES
        batch.append(candidate)
        room -= needed
    if batch:
        yield batch
