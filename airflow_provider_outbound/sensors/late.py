"""Cancelling at the end of a wait that cannot use its ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_outbound.exceptions import LedgerError
from airflow_provider_outbound.hooks.stopping import cancel_unless_ended, explain_uncertainty

if TYPE_CHECKING:
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

log = logging.getLogger(__name__)

#: The start of a wait that has timed out, unless its group's window was extended meanwhile.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_WHY = "the wait for it timed out"


def cancel_if_late(
    hook: OutboundBotHook,
    job_group_id: str,
    instance_id: str | None,
    started_at: datetime,
    deadline: Callable[[datetime], datetime],
) -> None:
    """
    Cancel the jobs of a group whose wait has timed out, although the wait itself fails; log it if that fails too.

    :param hook: A hook that needs no key of the ledger.
    :param instance_id: The group's bot instance; ``None``: as the ledger has it, or else the connection's.
    :param started_at: When the wait started, or :data:`LONG_AGO`.
    :param deadline: Returns when a wait that started then times out. Raises if it needs the ledger, and that cannot be
        used.
    """
    try:
        is_late = deadline(started_at) <= datetime.now(UTC)
    except LedgerError:
        is_late = started_at == LONG_AGO
    if not is_late:
        return
    try:
        cancel_unless_ended(hook, job_group_id, instance_id, _WHY)
    except Exception as error:  # noqa: BLE001 - the wait fails for the reason that it had before
        log.error(explain_uncertainty(job_group_id, error, _WHY))  # noqa: TRY400 - its text may contain private data
