"""Downloads the recordings of a group's answered calls as they become ready."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.parallel import BoundedMap, check_limit
from airflow_provider_outbound.core.progress import ProgressLog
from airflow_provider_outbound.core.results.fetch import TOO_SLOW, Fetcher, RecordingUnavailableError
from airflow_provider_outbound.core.results.filters import check_not_purged
from airflow_provider_outbound.core.results.tracker import PendingRecording, Present, RecordingTracker
from airflow_provider_outbound.exceptions import OutboundBotError, OutboundBotNotFoundError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import Ledger

log = logging.getLogger(__name__)

#: How long to wait for the notice of a recording before asking the API, if messages arrive at all (seconds).
NOTICE_PATIENCE = 60.0
#: Longest duration of one download (seconds): 256 MiB at 7 Mbit/s.
DOWNLOAD_SECONDS = 300.0
#: Grace period for downloads that are just ending when the time is up (seconds).
_LAST_SECONDS = 0.5


def download_recordings(
    ledger: Ledger,
    client: OutboundBotClient,
    job_group_id: str,
    folder: Any,
    *,
    instance_id: str | None = None,
    max_parallel_requests: int = 8,
    timeout: float = 1800.0,
    poll_interval: float = 1.0,
    notice_patience: float = NOTICE_PATIENCE,
    mkv: bool = False,
) -> dict[str, Any]:
    """
    Download the recording of every answered call of a group to a folder.

    Waits until each call has its recording and no job of the group is open, or until ``timeout``. A recording that
    already exists in the folder is not downloaded again. The link comes from the notice, or from the API if there was
    no notice or its link has expired.

    :param folder: The folder to write to, local or in an object store. Missing folders are created.
    :param instance_id: The group's bot instance; ``None`` for the client's.
    :param timeout: Longest duration (seconds).
    :param poll_interval: Interval between two polls of the ledger (seconds).
    :param notice_patience: How long to wait for the notice of a call before asking the API (seconds). If no message
        about the group ever arrived, the API is asked at once.
    :param mkv: Download from ``mkvUrl`` of the notices instead. The API returns no such link: a call whose notice has
        none counts as missing.
    :return: ``path``, ``answered`` (calls), ``downloaded``, ``present`` (from earlier), ``missing``, ``bytes``.
    :raises OutboundBotConfigError: a file cannot be written.
    :raises JobGroupPurgedError: the ledger's rows of the group were purged.
    :raises OutboundBotError: the API refuses; files downloaded until then stay.
    """
    source = _Source(ledger=ledger, client=client, folder=folder, instance_id=instance_id, mkv=mkv)
    pace = _Pace(
        limit=max_parallel_requests,
        deadline=time.monotonic() + timeout,
        poll_interval=poll_interval,
        notice_patience=notice_patience,
    )
    found = _run(job_group_id, source, pace)
    found.report(job_group_id)
    return found.summary


@attrs.frozen(kw_only=True)
class Available:
    """
    The recordings of a group after those that were available have been downloaded.

    :param summary: As :func:`download_recordings` returns it.
    :param is_over: Whether no recording is missing, no job is open, and none may still be added.
    :param has_unfinished: Whether a job is open, or may still be added.
    :param missing: The missing recordings, by the names of their files.
    :param reasons: Why they are missing, if they were tried.
    """

    summary: dict[str, Any]
    is_over: bool
    has_unfinished: bool
    missing: Sequence[str]
    reasons: Mapping[str, str]

    def report(self, job_group_id: str) -> None:
        """Log how many are missing, and why, and whether there may be more."""
        _report_missing(job_group_id, self.missing, self.reasons)
        if self.has_unfinished:
            log.warning(
                "Job group %s: the time is up, and the group has not ended: recordings of its other calls are not among"
                " these. Clear this task after the group has ended",
                job_group_id,
            )


def download_available(
    ledger: Ledger,
    client: OutboundBotClient,
    job_group_id: str,
    folder: Any,
    *,
    instance_id: str | None = None,
    max_parallel_requests: int = 8,
    timeout: float = 1800.0,
    notice_patience: float = NOTICE_PATIENCE,
    mkv: bool = False,
) -> Available:
    """
    Download the recordings that are available now, without waiting for others.

    Parameters and errors are those of :func:`download_recordings`. A call whose notice may still come within
    ``notice_patience`` is left for later.
    """
    source = _Source(ledger=ledger, client=client, folder=folder, instance_id=instance_id, mkv=mkv)
    pace = _Pace(
        limit=max_parallel_requests,
        deadline=time.monotonic() + timeout,
        poll_interval=1.0,
        notice_patience=notice_patience,
        waits=False,
    )
    return _run(job_group_id, source, pace)


def _run(job_group_id: str, source: _Source, pace: _Pace) -> Available:
    check_limit(pace.limit)
    check_not_purged(source.ledger, job_group_id)
    tracker = RecordingTracker(
        source.ledger,
        source.client,
        job_group_id,
        instance_id=source.instance_id,
        present=Present(source.folder),
        poll_interval=pace.poll_interval,
        notice_patience=pace.notice_patience,
        suffix="_mkv" if source.mkv else "",
    )
    reasons: dict[str, str] = {}
    size = _download(tracker, source, reasons, pace)
    downloaded = count_of(tracker.downloaded, "recording")
    log.info("Job group %s: %s downloaded to %s", job_group_id, downloaded, source.folder)
    return Available(
        summary=_summary(tracker, source.folder, size),
        is_over=tracker.is_over,
        has_unfinished=tracker.has_unfinished,
        missing=tracker.missing,
        reasons=reasons,
    )


@attrs.frozen(kw_only=True)
class _Source:
    """Where recordings come from, and the folder that they go to."""

    ledger: Ledger
    client: OutboundBotClient
    folder: Any
    instance_id: str | None
    mkv: bool


@attrs.frozen(kw_only=True)
class _Pace:
    """
    How recordings are downloaded.

    :param limit: The maximum number of concurrent downloads.
    :param deadline: When to give up, on the monotonic clock.
    :param waits: Whether to wait for recordings that are not available yet.
    """

    limit: int
    deadline: float
    poll_interval: float
    notice_patience: float
    waits: bool = True


@attrs.frozen(kw_only=True)
class _Download:
    """A download in progress, and its deadline on the monotonic clock."""

    pending: PendingRecording
    until: float


def _summary(tracker: RecordingTracker, folder: Any, size: int) -> dict[str, Any]:
    missing = len(tracker.missing)
    return {
        "path": str(folder),
        "answered": tracker.answered,
        "downloaded": tracker.downloaded,
        "present": tracker.answered - tracker.downloaded - missing,
        "missing": missing,
        "bytes": size,
    }


def _report_missing(job_group_id: str, missing: Collection[str], reasons: Mapping[str, str]) -> None:
    if not missing:
        return
    why = Counter(reasons.get(stem, "not ready") for stem in missing)
    log.warning(
        "Job group %s: %s missing: %s. To try again, clear this task",
        job_group_id,
        count_of(len(missing), "recording is", "recordings are"),
        "; ".join(f"{count} × {reason}" for reason, count in why.most_common(5)),
    )


def _download(
    tracker: RecordingTracker,
    source: _Source,
    reasons: dict[str, str],
    pace: _Pace,
) -> int:
    """
    Download in parallel, until none is missing or the time is up.

    :param reasons: Filled with why recordings are missing, by their stems.
    :return: The number of bytes downloaded.
    """
    stop = threading.Event()

    def go_on() -> None:
        if stop.is_set():
            raise RecordingUnavailableError("time is up")

    fetcher = Fetcher(source.client.settings, connections=pace.limit, go_on=go_on)
    get = _getter(source, fetcher, go_on)
    try:
        # Leaving the block does not wait for downloads, so that the task can end at once.
        with BoundedMap(get, limit=pace.limit, stop=stop, name="outbound-download") as downloads:
            size = _follow(tracker, downloads, reasons, pace)
            for download, future in downloads.drain(_LAST_SECONDS):
                if future.exception() is None:
                    size += future.result()
                    tracker.has(download.pending)
    finally:
        fetcher.close()
    return size


def _follow(
    tracker: RecordingTracker,
    downloads: BoundedMap[_Download, int],
    reasons: dict[str, str],
    pace: _Pace,
) -> int:
    """
    Download recordings as they become ready, until none is missing, none is available, or the time is up.

    A server that sends a byte now and then blocks its reader without a socket timeout. So a download is abandoned here
    when its deadline has passed.

    :param reasons: Filled with why recordings are missing, by their stems.
    :return: The number of bytes downloaded.
    """
    size, deadline = 0, pace.deadline
    progress = ProgressLog(f"Job group {tracker.job_group_id}", "recordings present", from_zero=True)
    while time.monotonic() < deadline:
        tracker.look()
        progress.offer(tracker.answered - len(tracker.missing), tracker.answered)
        for pending in tracker.due(downloads.free):
            until = min(deadline, time.monotonic() + DOWNLOAD_SECONDS)
            downloads.start(_Download(pending=pending, until=until))
        if downloads.is_idle and (tracker.is_over or not (pace.waits or tracker.has_more)):
            break
        pause = max(0.0, min(pace.poll_interval, deadline - time.monotonic()))
        if downloads.is_idle:
            time.sleep(pause)
        for download, future in downloads.finished(pause):
            try:
                size += future.result()
            except RecordingUnavailableError as error:
                _note(reasons, download.pending, error.reason)
                tracker.put_off(download.pending)
            else:
                tracker.has(download.pending)
        for download in downloads.started:
            if download.until <= time.monotonic():
                downloads.give_up(download)
                _note(reasons, download.pending, TOO_SLOW)
                tracker.put_off(download.pending)
    return size


def _note(reasons: dict[str, str], pending: PendingRecording, reason: str) -> None:
    """Record why a recording is missing; an earlier reason says more than a download that was too slow."""
    if reason == TOO_SLOW:
        reasons.setdefault(pending.stem, reason)
    else:
        reasons[pending.stem] = reason


def _getter(source: _Source, fetcher: Fetcher, go_on: Callable[[], None]) -> Callable[[_Download], int]:
    def by_notice(pending: PendingRecording, until: float) -> int | None:
        field = "mkvUrl" if source.mkv else "url"
        url = source.ledger.details.recording_url(pending.task_id, field) if pending.has_notice else None
        if source.mkv:
            if url is None:
                raise RecordingUnavailableError("no notice reported its mkvUrl")
            return fetcher.fetch(url, source.folder, pending.stem, until=until)
        try:
            return None if url is None else fetcher.fetch(url, source.folder, pending.stem, until=until)
        except RecordingUnavailableError:
            # The link may have expired.
            return None

    def get(download: _Download) -> int:
        pending, until = download.pending, download.until
        size = by_notice(pending, until)
        if size is not None:
            return size
        go_on()
        try:
            found = source.client.download_recording(task_id=pending.task_id, instance_id=source.instance_id)
        except OutboundBotNotFoundError as error:
            if error.code.startswith("NotExist.Instance"):
                raise
            raise RecordingUnavailableError(f"not ready ({error.code})") from None
        except OutboundBotError as error:
            if not error.is_transient:
                raise
            raise RecordingUnavailableError(f"the API does not answer ({type(error).__name__})") from None
        return fetcher.fetch(found.url, source.folder, pending.stem, until=until)

    return get
