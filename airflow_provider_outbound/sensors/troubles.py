"""Log lines of a sensor that does not defer, each written once in a process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_outbound.exceptions import LedgerUnavailableError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger

log = logging.getLogger(__name__)


class Troubles:
    """What was logged about one wait."""

    def __init__(self) -> None:
        self._silence = self._outage = ""

    def report_silence(self, job_group_id: str, ledger: Ledger, rocketmq_conn_id: str) -> None:
        """Log why no messages come."""
        try:
            trouble = ledger.collectors.read().why_nothing_comes(rocketmq_conn_id)
        except LedgerUnavailableError:
            # Already logged by the check of the group.
            return
        if trouble and trouble != self._silence:
            log.warning("Job group %s: no messages come: %s", job_group_id, trouble)
        self._silence = trouble

    def report_outage(self, job_group_id: str, error: LedgerUnavailableError) -> None:
        """Log that the ledger could not be opened."""
        if str(error) != self._outage:
            log.warning("Job group %s: %s; will try again", job_group_id, error)
        self._outage = str(error)
