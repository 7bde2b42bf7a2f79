"""When a wait asks the API about its job group: once per interval, and sooner to confirm that all jobs have ended."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.complete.counts import ReadCounts
from airflow_provider_outbound.core.ledger.reconcile_state import Question

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import GroupState, Ledger

#: First pause before the API is asked again to confirm that all jobs have ended, seconds; it doubles each time.
CONFIRM_DELAY = 1.0


class ComparisonTimes:
    """
    Decides when one wait compares the ledger with the API.

    The ledger grants one comparison per interval over all processes that wait for the group.

    :param ledger: The ledger.
    :param job_group_id: The group.
    :param interval: Seconds between two comparisons.
    :param read: Reads the group's counts, state and summary from the ledger.
    """

    def __init__(self, ledger: Ledger, job_group_id: str, interval: float, read: ReadCounts) -> None:
        self._ledger = ledger
        self._job_group_id = job_group_id
        self._interval = interval
        self._read = read
        # By this process's clock.
        self._claim_at = 0.0
        self._confirm_at: float | None = None

    @property
    def due(self) -> float:
        """When to ask the API next, by this process's clock."""
        return self._claim_at if self._confirm_at is None else min(self._claim_at, self._confirm_at)

    def claim(self) -> bool:
        """Claim this interval's comparison; the ledger is only asked when it may grant it."""
        if time.monotonic() < self._claim_at:
            return False
        claimed = self._ledger.groups.claim_reconcile(self._job_group_id, self._interval)
        wait = self._interval if claimed else self._until_due()
        # Counted from now: by the ledger's clock the interval began earlier.
        self._claim_at = time.monotonic() + wait
        return claimed

    def _until_due(self) -> float:
        """Seconds until the next comparison may be claimed, at most an interval."""
        due_at = self._ledger.groups.next_look_at(self._job_group_id)
        if due_at is None:
            return 0.0
        return min(self._interval, max(0.0, (due_at - self._ledger.now()).total_seconds()))

    def may_confirm(self, state: GroupState) -> Question | None:
        """
        Check whether all jobs have ended by the ledger and the API must confirm it now: at once, then less and less
        often.

        :return: The question, for later checks; ``None`` if the API need not be asked now.
        """
        self._confirm_at = None
        if not state.known or state.has_unfinished or state.is_assigning:
            return None
        about: tuple[int, ...] = state.finished_assignments
        if not state.closed_assignments:
            # No assignment is closed, so the number of jobs is not in the ledger: take it from an earlier comparison.
            counts, _, _ = self._read()
            if not counts.has_ended or counts.total < max(1, state.reconcile_state.listed or 0):
                return None
            about = (*about, counts.total)
        now = self._ledger.now()
        asked = state.reconcile_state.question
        delay = CONFIRM_DELAY
        if asked is not None and asked.about == about:
            wait = (asked.next_at - now).total_seconds()
            # A longer wait means that the clock was set back.
            if 0 < wait <= max(self._interval, CONFIRM_DELAY):
                self._confirm_at = time.monotonic() + wait
                return None
            delay = min(asked.delay * 2, self._interval)
        self._confirm_at = time.monotonic() + delay
        return Question(about=about, next_at=now + timedelta(seconds=delay), delay=delay)
