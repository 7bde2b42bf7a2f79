"""Cancelling a job group whose waiting task a person has ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_outbound.exceptions import OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

log = logging.getLogger(__name__)


def cancel_unless_ended(
    hook: OutboundBotHook, job_group_id: str, instance_id: str | None, why: str = "the waiting task was ended"
) -> None:
    """
    Cancel all jobs of a group, unless every one has ended, and close the hook.

    :param hook: A hook that nothing else uses.
    :param instance_id: The group's bot instance; ``None``: as the ledger has it, or else the connection's.
    :param why: The reason, for the log.
    :raises OutboundBotNotFoundError: there is no such group in the bot instance.
    :raises LedgerError: the command was sent, but the ledger could not record it.
    """
    from airflow_provider_outbound.core.control import Action, JobCommand

    with hook:
        command = JobCommand.for_group(Action.CANCEL, job_group_id, lambda: hook.ledger, instance_id)
        if command.send_unless_ended(hook.client, lambda: hook.ledger):
            log.info("Job group %s: its jobs are cancelled, because %s", job_group_id, why)


def explain_uncertainty(job_group_id: str, error: BaseException | str, why: str = "the waiting task was ended") -> str:
    """Return what a person has to know if a cancellation failed."""
    if isinstance(error, BaseException):
        # The text of other errors may contain private data.
        error = str(error) if isinstance(error, OutboundBotError) else type(error).__name__
    return (
        f"Job group {job_group_id}: {why}, but it is not certain that its jobs are cancelled:"
        f" {error}. Run: outbound cancel {job_group_id}"
    )
