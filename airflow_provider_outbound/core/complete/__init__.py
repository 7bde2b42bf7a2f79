"""Is a job group done? One answer for the trigger, for poke and for reschedule."""

from __future__ import annotations

from airflow_provider_outbound.core.complete.abandoned import ABANDONED_AFTER
from airflow_provider_outbound.core.complete.completion import Completion, Summary, note_cancelled
from airflow_provider_outbound.core.complete.endings import check_assigned, describe
from airflow_provider_outbound.core.complete.judge import Verdict, judge

__all__ = [
    "ABANDONED_AFTER",
    "Completion",
    "Summary",
    "Verdict",
    "check_assigned",
    "describe",
    "judge",
    "note_cancelled",
]
