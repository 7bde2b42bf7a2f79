"""The recordings of a group's answered calls, as they become ready."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.results.fetch import Fetcher, RecordingUnavailableError
from airflow_provider_outbound.core.results.wanted import Wanted, Watched, passes
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError, OutboundBotNotFoundError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import Ledger

log = logging.getLogger(__name__)

#: How long a notice may be under way before the API is asked instead, where messages come at all, seconds.
NOTICE_PATIENCE = 60.0


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
) -> dict[str, Any]:
    """
    Fetch the recording of every answered call of a group into a folder.

    Waits until each has its own and no job of the group is open, or until ``timeout``. A file that is in the folder
    already is not fetched again. The link comes from the notice, or from the API where none came or it has expired.

    :param folder: Where to write, local or in a store. Missing folders are made.
    :param instance_id: The group's; ``None`` leaves it to the client.
    :param timeout: Seconds.
    :param poll_interval: Seconds between two looks at the ledger.
    :param notice_patience: Seconds from here, or from when a call is known, until the API is asked for want of a
        notice; at once where no message about the group ever came.
    :return: ``path``, ``answered`` (calls), ``downloaded``, ``present`` (from earlier), ``missing``, ``bytes``.
    :raises OutboundBotConfigError: a file cannot be written.
    :raises OutboundBotError: the API refuses; files fetched until then stay.
    """
    if isinstance(max_parallel_requests, bool) or max_parallel_requests < 1:
        raise OutboundBotConfigError(f"max_parallel_requests: {max_parallel_requests!r} is not 1 or more")
    present = _stems(folder)
    deadline = time.monotonic() + timeout
    watched = Watched(
        ledger,
        client,
        job_group_id,
        instance_id=instance_id,
        present=present,
        poll_interval=poll_interval,
        notice_patience=notice_patience,
    )
    stop = threading.Event()

    def go_on() -> None:
        if stop.is_set():
            raise RecordingUnavailableError("time is up")

    fetcher = Fetcher(client.settings, connections=max_parallel_requests, go_on=go_on)
    get = _getter(ledger, client, fetcher, folder, instance_id)
    size, reasons = 0, dict[str, str]()
    running: dict[Future[int], Wanted] = {}
    try:
        with ThreadPoolExecutor(max_parallel_requests) as pool:
            try:
                while time.monotonic() < deadline:
                    watched.look()
                    for wanted in watched.due(max_parallel_requests - len(running)):
                        running[pool.submit(get, wanted)] = wanted
                    if not running and watched.is_over:
                        break
                    pause = max(0.0, min(poll_interval, deadline - time.monotonic()))
                    if not running:
                        time.sleep(pause)
                    for future in wait(running, timeout=pause, return_when=FIRST_COMPLETED).done:
                        wanted = running.pop(future)
                        try:
                            size += future.result()
                        except RecordingUnavailableError as error:
                            reasons[wanted.stem] = error.reason
                            watched.put_off(wanted)
                        else:
                            watched.has(wanted)
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
            for future, wanted in running.items():
                if not future.cancelled() and future.exception() is None:
                    size += future.result()
                    watched.has(wanted)
    finally:
        fetcher.close()
    missing = watched.missing
    if missing:
        why = Counter(reasons.get(stem, "not ready") for stem in missing)
        log.warning(
            "Job group %s: %d recordings are missing: %s",
            job_group_id,
            len(missing),
            "; ".join(f"{count} × {reason}" for reason, count in why.most_common(5)),
        )
    log.info("Job group %s: %d recordings fetched into %s", job_group_id, watched.downloaded, folder)
    return {
        "path": str(folder),
        "answered": watched.answered,
        "downloaded": watched.downloaded,
        "present": watched.answered - watched.downloaded - len(missing),
        "missing": len(missing),
        "bytes": size,
    }


def _getter(
    ledger: Ledger, client: OutboundBotClient, fetcher: Fetcher, folder: Any, instance_id: str | None
) -> Callable[[Wanted], int]:
    def by_notice(wanted: Wanted) -> int | None:
        url = ledger.details.recording_url(wanted.task_id) if wanted.has_notice else None
        try:
            return None if url is None else fetcher.fetch(url, folder, wanted.stem)
        except RecordingUnavailableError:
            # Its link may have expired.
            return None

    def get(wanted: Wanted) -> int:
        size = by_notice(wanted)
        if size is not None:
            return size
        try:
            found = client.download_recording(task_id=wanted.task_id, instance_id=instance_id)
        except OutboundBotNotFoundError as error:
            if error.code.startswith("NotExist.Instance"):
                raise
            raise RecordingUnavailableError(f"not ready ({error.code})") from None
        except OutboundBotError as error:
            if not passes(error):
                raise
            raise RecordingUnavailableError(f"the API does not answer ({type(error).__name__})") from None
        return fetcher.fetch(found.url, folder, wanted.stem)

    return get


def _stems(folder: Any) -> set[str]:
    """What is in the folder, without suffixes; a file that is there is whole."""
    try:
        # In a store there is no folder before there is a file in it.
        found = folder.iterdir() if folder.exists() else ()
        return {path.name.rpartition(".")[0] for path in found if not path.name.startswith(".")}
    except OSError as error:
        raise OutboundBotConfigError(
            f"path {str(folder)!r} cannot be read: {error.strerror or type(error).__name__}; give a folder"
        ) from None
