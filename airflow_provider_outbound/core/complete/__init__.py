"""Whether a job group is complete: one implementation for the trigger, poke and reschedule."""

from __future__ import annotations

from airflow_provider_outbound.core.complete.abandoned import ABANDONED_AFTER
from airflow_provider_outbound.core.complete.completion import Completion
from airflow_provider_outbound.core.complete.counts import Summary
from airflow_provider_outbound.core.complete.endings import check_assigned, describe
from airflow_provider_outbound.core.complete.evaluate import evaluate_completion

__all__ = [
    "ABANDONED_AFTER",
    "Completion",
    "Summary",
    "check_assigned",
    "describe",
    "evaluate_completion",
]
