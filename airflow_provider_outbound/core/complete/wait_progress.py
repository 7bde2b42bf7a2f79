"""The progress of a wait, logged while jobs end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_outbound.core.complete.counts import ReadCounts
from airflow_provider_outbound.core.complete.evaluate import LedgerCounts
from airflow_provider_outbound.core.models.job import JobGroup, Progress
from airflow_provider_outbound.core.progress import ProgressLog
from airflow_provider_outbound.exceptions import OutboundBotError


class WaitProgress:
    """
    Logs the progress of one wait.

    It counts the group's rows once per line, and only if something has changed since the last line.

    :param job_group_id: The group.
    :param read: Reads the group's counts, state and summary from the ledger.
    """

    def __init__(self, job_group_id: str, read: ReadCounts) -> None:
        self._read = read
        self._log = ProgressLog(f"Job group {job_group_id}", "jobs complete")
        self._logged_changes = -1

    def due_in(self) -> float:
        """Seconds until a line may be due."""
        return self._log.due_in()

    def is_due(self, changes: int) -> bool:
        """
        Whether :meth:`log` has a line to log; asks nobody.

        :param changes: A number that differs after the group has changed.
        """
        return self._log.is_due(has_changed=changes != self._logged_changes)

    def log(self, changes: int) -> None:
        """Log a line if one is due. May read the ledger. The argument is that of :meth:`is_due`."""
        if not self.is_due(changes):
            return
        if changes == self._logged_changes:
            self._log.repeat()
            return
        self._count(changes)
        self._log.postpone()

    def _count(self, changes: int) -> None:
        try:
            counts, state, counted = self._read()
        except OutboundBotError:
            # The next check of the group reports it.
            return
        self._logged_changes = changes
        known = state.reconcile_state
        total = max(counts.total, counts.expected, known.listed or 0)
        self._log.offer(
            counts.ended,
            total,
            answered=counted["answered"],
            not_dialled=counted["not_dialled"],
            ends_at=known.ends_at,
            is_suspended=state.suspended_since is not None and counts.ended < total,
        )

    def caught_up(self) -> None:
        """Note that results which no message brought were read at once: they say nothing about the pace."""
        self._log.forget_rate()

    def compared(self, group: JobGroup, counts: LedgerCounts, counted: Mapping[str, Any], *, is_suspended: bool) -> int:
        """
        Log the result of a comparison with the API, if a line is due; the first is.

        :param group: The group as the API reports it.
        :param counts: The ledger's counts.
        :param counted: The ledger's summary.
        :param is_suspended: Whether the group's jobs are suspended.
        :return: The number of jobs that the group has.
        """
        found = group.progress or Progress()
        total = max(counts.total, counts.expected, found.total)
        self._log.offer(
            counts.ended,
            total,
            answered=counted["answered"],
            not_dialled=counted["not_dialled"],
            ends_at=group.ends_at,
            is_suspended=is_suspended,
        )
        return total
