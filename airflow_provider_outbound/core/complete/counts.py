"""The ledger's counts of a waiting job group, and the summary that the wait returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_outbound.core.complete.evaluate import LedgerCounts
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import GroupState, Ledger

#: Counts, and times as ISO 8601 text: small, and JSON serialisable.
Summary: TypeAlias = dict[str, Any]

#: Reads a group's counts, state and summary from the ledger.
ReadCounts: TypeAlias = Callable[[], "tuple[LedgerCounts, GroupState, Mapping[str, Any]]"]


def read_counts(
    ledger: Ledger, job_group_id: str, expected_jobs: int | None
) -> tuple[LedgerCounts, GroupState, Mapping[str, Any]]:
    """
    Read a group's counts, state and summary.

    :param expected_jobs: The number of jobs that the group must have, if others assign.
    """
    state = ledger.groups.state(job_group_id)
    counted = ledger.results.summary(job_group_id)
    counts = LedgerCounts(
        total=counted["total"],
        terminal=counted["completed"],
        unlisted=counted["unlisted"],
        expected=max(state.closed, expected_jobs or 0),
        deliberate=state.closed_assignments > 0 or expected_jobs is not None,
        assigning=state.is_assigning,
        gave_up=state.abandoned_assignments > 0,
        assignments=state.finished_assignments,
    )
    return counts, state, counted


def summarise(
    job_group_id: str, counted: Mapping[str, Any], state: ReconcileState, *, mismatch: bool, timed_out: bool = False
) -> Summary:
    """
    Return what a wait returns.

    :param counted: The ledger's summary of the group.
    :param state: What comparisons with the API have shown.
    :param mismatch: Whether the ledger and the API disagree on the number of jobs.
    :param timed_out: Whether the wait ended before the group.
    """
    # In a group that has ended, a status that this package does not know is final too.
    counts = dict(counted)
    unlisted = counts.pop("unlisted")
    if timed_out:
        unlisted = 0
    completed = counts["completed"] + unlisted
    return {
        "job_group_id": job_group_id,
        **counts,
        "completed": completed,
        "other": counts["other"] + unlisted,
        "answer_rate": round(counts["answered"] / completed, 4) if completed else 0.0,
        "mismatch": mismatch,
        "timed_out": timed_out,
        "group_cancelled": state.cancelled,
    }
