"""A collector beside other work: it stores messages while a task assigns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_outbound.core.collect.child import Child
from airflow_provider_outbound.core.collect.settings import WorkerSettings

#: How long one look at the collector takes at most (seconds).
_LOOK_SECONDS = 0.5

logger = logging.getLogger("airflow_provider_outbound.collect")


@contextmanager
def collecting(settings: WorkerSettings) -> Iterator[None]:
    """
    Keep a collector running while the body runs.

    A thread of this process starts the collector as a child process, and restarts it when it dies. Both end with the
    body. The child also ends when this process is killed, because its standard input closes. Messages that it has
    received and not stored by then are delivered again. What happens to the collector never affects the body.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_keep_running, args=(settings, stop), name="outbound-collect", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep_running(settings: WorkerSettings, stop: threading.Event) -> None:
    child = Child(settings)
    try:
        while not stop.is_set():
            child.keep_running()
            child.wait(_LOOK_SECONDS)
    except Exception as error:  # noqa: BLE001 - messages wait at the broker; the body must go on
        logger.warning("the collector cannot run (%s): messages wait at the broker", type(error).__name__)
    finally:
        child.end()
