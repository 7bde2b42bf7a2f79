"""What becomes of a group whose wait fails although it should cancel the group when its time is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.hooks.stopping import cancel_unless_ended, explain_uncertainty

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.complete import Completion
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

log = logging.getLogger(__name__)

#: The start of a wait that has timed out, unless its group's window was extended meanwhile.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_WHY = "the wait for it timed out"
#: How long to try to cancel a group's jobs, then to wait for its end, since calls in progress are not interrupted; and
#: the pause between two requests (seconds).
CANCEL_SECONDS, CANCEL_PAUSE = 300.0, 2.0


def read_end(client: OutboundBotClient, job_group_id: str, instance_id: str | None) -> datetime | None:
    """
    Ask the API when a group's window ends.

    :return: ``None`` if it has no end, or if the API does not answer now.
    """
    try:
        return client.describe_job_group(job_group_id=job_group_id, instance_id=instance_id).ends_at
    except OutboundBotError as error:
        if not error.is_transient:
            raise
        return None


def cancel_and_wait(completion: Completion) -> None:
    """
    Cancel the jobs of a group whose wait has timed out, and wait until it has ended.

    A service that does not answer now is asked again: the task is not tried again after its time, or would first wait
    as long as before.

    :raises OutboundBotError: the jobs could not be cancelled.
    """
    until = time.monotonic() + CANCEL_SECONDS
    while True:
        try:
            if not completion.cancel():
                return
            break
        except OutboundBotError as error:
            if not error.is_transient or time.monotonic() >= until:
                raise
            log.warning("Job group %s: not cancelled yet: %s; will try again", completion.job_group_id, error)
        time.sleep(CANCEL_PAUSE)
    log.warning("Job group %s: timed out, so its jobs are cancelled", completion.job_group_id)
    until = time.monotonic() + CANCEL_SECONDS
    while (progress := completion.describe().progress) is not None and progress.unfinished:
        if time.monotonic() >= until:
            running = count_of(progress.unfinished, "job is", "jobs are")
            log.warning("Job group %s: %s still running", completion.job_group_id, running)
            return
        time.sleep(CANCEL_PAUSE)


def cancel_if_late(
    hook: OutboundBotHook,
    job_group_id: str,
    instance_id: str | None,
    started_at: datetime,
    deadline: Callable[[datetime], datetime],
) -> None:
    """
    Cancel the jobs of a group whose wait has timed out, although the wait itself fails; log it if that fails too.

    A wait that fails before its time cancels nothing: its calls are wanted until then, and a retry of the task waits
    for them. This is logged.

    :param hook: A hook that needs no key of the ledger.
    :param instance_id: The group's bot instance; ``None``: as the ledger has it, or else the connection's.
    :param started_at: When the wait started, or :data:`LONG_AGO`.
    :param deadline: Returns when a wait that started then times out. Raises if it needs the ledger, or the API, and
        that cannot be used.
    """
    try:
        is_late = deadline(started_at) <= datetime.now(UTC)
    except OutboundBotError:
        is_late = started_at == LONG_AGO
    if not is_late:
        log.warning(
            "Job group %s: the wait for it fails before its time, so its jobs are not cancelled, and their calls"
            " continue. A retry waits for them again; to stop them, run: outbound cancel %s",
            job_group_id,
            job_group_id,
        )
        return
    try:
        cancel_unless_ended(hook, job_group_id, instance_id, _WHY)
    except Exception as error:  # noqa: BLE001 - the wait fails for the reason that it had before
        log.error(explain_uncertainty(job_group_id, error, _WHY))  # noqa: TRY400 - its text may contain private data
