"""A summary as text, and whether a campaign may end with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import JobGroupFailedError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger


def describe(summary: Mapping[str, Any]) -> str:
    """Format the counts of a summary: the outcomes, which add up to the completed jobs, and why jobs failed."""
    completed = summary["completed"]
    outcomes = {name: summary[name] for name in ("answered", "unanswered", "not_dialled")}
    outcomes["other"] = completed - sum(outcomes.values())
    parts = [f"{count} {name.replace('_', ' ')}" for name, count in outcomes.items()]
    reasons = ", ".join(f"{reason}: {count}" for reason, count in summary["by_failure_reason"].items())
    why = f" (failure reasons: {reasons})" if reasons else ""
    return f"{completed} of {summary['total']} jobs complete: {', '.join(parts)}{why}"


def check_assigned(ledger: Ledger, summary: Mapping[str, Any], *, accept_unresolved: bool) -> None:
    """
    Check that the contacts of an ended group were assigned as its author asked.

    :param accept_unresolved: Whether to accept contacts whose status is unknown.
    :raises JobGroupFailedError: there are such contacts, or none were assigned because the task that assigns failed.
    """
    group_id, unresolved = summary["job_group_id"], summary["unresolved"]
    if unresolved and not accept_unresolved:
        tasks = ledger.takeovers.unresolved_tasks(group_id)
        which = ", ".join(map(str, tasks)) or "the task that assigns"
        raise JobGroupFailedError(
            f"job group {group_id}: {count_of(unresolved, 'contact is', 'contacts are')} unresolved: whether they were"
            f" assigned is unknown, and they may never be called ({describe(summary)}). Clear {which}, which looks for"
            " them and, unless on_unresolved is 'hold', sends them again; or accept them with"
            " on_unresolved_jobs='accept'"
        )
    if summary["mismatch"] and not summary["total"]:
        raise JobGroupFailedError(
            f"job group {group_id}: no contacts were assigned to it, although some were expected; clear the task that"
            " assigns"
        )
