"""Details of answered jobs beyond their outcome, fetched once from the API and stored in the ledger."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_outbound.core.models.job import Call, Job, last_call
from airflow_provider_outbound.core.models.wire import MAX_COUNT, text, written
from airflow_provider_outbound.core.parallel import BoundedMap, check_limit
from airflow_provider_outbound.core.results.filters import check_group, lacks_details, needs_details, result_filter
from airflow_provider_outbound.exceptions import OutboundBotNotFoundError, OutboundBotThrottlingError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import JobDetails, JobResult, Ledger

log = logging.getLogger(__name__)

MAX_PARALLEL_REQUESTS = 8
#: How long a throttled request is retried before the task fails (seconds); what was fetched until then is stored.
PATIENCE_SECONDS = 600.0
#: Number of answers in one commit, and the longest time between two commits (seconds).
_BATCH, _BATCH_SECONDS = 50, 2.0

#: EndReason of DescribeJob, a number as text. Source: documentation of the newer SDK.
_END_REASONS = {
    "1": "FINISHED",
    "2": "CHATBOT_HANGUP_AFTER_NOANSWER",
    "3": "CHATBOT_HANGUP_AFTER_SILENCE",
    "4": "CLIENT_HANGUP_AFTER_NOANSWER",
    "5": "CLIENT_HANGUP",
    "6": "TRANSFER_BY_INTENT",
    "7": "TRANSFER_AFTER_NOANSWER",
    "8": "INO_INTERACTION",
    "9": "ERROR",
}


def enrich(
    ledger: Ledger,
    client: OutboundBotClient,
    job_group_id: str,
    *,
    only: str | None = None,
    instance_id: str | None = None,
    max_parallel_requests: int = MAX_PARALLEL_REQUESTS,
) -> int:
    """
    Fetch tags, durations, hang-up side and end of the conversation of answered jobs from the API.

    Sends one ``DescribeJob`` for each job that has ended since its details were last fetched, at the client's rate
    limit. Answers are stored soon after they arrive, so an interrupted call continues where it stopped.

    :param only: Select jobs, see :func:`iter_results`; a tag selects all.
    :param instance_id: The group's bot instance; ``None`` for the client's.
    :return: The number of jobs whose details were fetched.
    :raises OutboundBotConfigError: ``max_parallel_requests`` or ``only`` cannot be used.
    :raises LedgerError: the ledger does not know the group, or its rows were purged.
    :raises OutboundBotError: the API does not answer, or refuses; what was fetched until then is stored.
    """
    check_limit(max_parallel_requests)
    matches = result_filter(None if needs_details(only) else only)
    check_group(ledger, job_group_id)
    wanted = (r for r in ledger.results.iter_results(job_group_id) if lacks_details(r) and matches(r))
    kept, stop = 0, threading.Event()

    def ask(result: JobResult) -> tuple[JobResult, JobDetails]:
        return _ask(client, result, instance_id, stop)

    with (
        _Keeper(ledger) as keeper,
        BoundedMap(
            ask, limit=max_parallel_requests, ahead=max_parallel_requests, stop=stop, name="outbound-enrich"
        ) as asked,
    ):
        try:
            for answer in asked.map(wanted):
                keeper.add(*answer)
                kept += 1
        except BaseException:
            for _, future in asked.drain():
                if future.exception() is None:
                    keeper.add(*future.result())
            raise
    if kept:
        log.info("Job group %s: details of %d answered jobs were fetched", job_group_id, kept)
    return kept


class _Keeper:
    """Stores answers in batches, and the remaining ones on exit, even after an error."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._told: list[tuple[JobResult, JobDetails]] = []
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def add(self, result: JobResult, details: JobDetails) -> None:
        self._told.append((result, details))
        if len(self._told) >= _BATCH or time.monotonic() - self._since > _BATCH_SECONDS:
            self._save()

    def _save(self) -> None:
        self._ledger.details.save(self._told)
        self._told, self._since = [], time.monotonic()


def _ask(
    client: OutboundBotClient, result: JobResult, instance_id: str | None, stop: threading.Event
) -> tuple[JobResult, JobDetails]:
    from tenacity import (
        Retrying,
        retry_if_exception_type,
        sleep_using_event,
        stop_after_delay,
        stop_when_event_set,
        wait_random_exponential,
    )

    from airflow_provider_outbound.core.ledger import JobDetails

    retrying = Retrying(
        stop=stop_after_delay(PATIENCE_SECONDS) | stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        wait=wait_random_exponential(multiplier=1, max=30),
        retry=retry_if_exception_type(OutboundBotThrottlingError),
        reraise=True,
    )
    try:
        job = retrying(client.describe_job, job_id=str(result.job_id), instance_id=instance_id)
    except OutboundBotNotFoundError as error:
        if error.code.startswith("NotExist.Instance"):
            raise
        # The service does not keep jobs forever; asking again would not help.
        return result, JobDetails()
    return result, details_of(job)


def details_of(job: Job) -> JobDetails:
    """Read the details of a job from the answer of ``DescribeJob``."""
    from airflow_provider_outbound.core.ledger import JobDetails

    tags = _tags(job.raw.get("Summary"))
    call = last_call(tuple(call for call in job.calls if call.status is not None and call.status.is_answered))
    if call is None:
        return JobDetails(tags=tags)
    whole = _whole_seconds(call)
    ringing = _seconds(call.raw.get("RealRingingDuration"), whole)
    return JobDetails(
        tags=tags,
        call_seconds=whole,
        ringing_seconds=ringing,
        talk_seconds=None if whole is None or ringing is None else round(max(0.0, whole - ringing), 3),
        hang_up_side=call.hang_up_direction,
        conversation_end=_END_REASONS.get(call.end_reason or "", call.end_reason),
    )


def _tags(summary: Any) -> dict[str, str]:
    items: Iterator[Any] = iter(summary if isinstance(summary, list) else ())
    return {
        name: written(item.get("Content"))
        for item in items
        if isinstance(item, Mapping) and (name := text(item.get("SummaryName"))) is not None
    }


def _whole_seconds(call: Call) -> float | None:
    if call.started_at is None or call.ended_at is None:
        return None
    return round(max(0.0, (call.ended_at - call.started_at).total_seconds()), 3)


def _seconds(value: Any, most: float | None) -> float | None:
    """Read the duration of a part of a call. The API names no unit: if it exceeds the call's, it is milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or most is None or not 0 <= value <= MAX_COUNT:
        return None
    return round(value if value <= most else min(value / 1000, most), 3)
