"""
The ledger: who was sent to which job group, and what came of it.

Importing this package loads SQLAlchemy, so code that a DAG parses imports it inside the function that opens a ledger.
"""

from __future__ import annotations

from airflow_provider_outbound.core.ledger.ledger import Ledger, open_ledger
from airflow_provider_outbound.core.ledger.records import (
    Assignment,
    Begun,
    CallCap,
    Candidate,
    Counts,
    Doubt,
    EventPage,
    GroupState,
    Incoming,
    JobGroupRecord,
    JobResult,
    JobState,
    Listed,
    LoggedEvent,
    OpenAssignment,
    Outcomes,
    Recorded,
    Standing,
    TaskKey,
    Unfinished,
)

__all__ = [
    "Assignment",
    "Begun",
    "CallCap",
    "Candidate",
    "Counts",
    "Doubt",
    "EventPage",
    "GroupState",
    "Incoming",
    "JobGroupRecord",
    "JobResult",
    "JobState",
    "Ledger",
    "Listed",
    "LoggedEvent",
    "OpenAssignment",
    "Outcomes",
    "Recorded",
    "Standing",
    "TaskKey",
    "Unfinished",
    "open_ledger",
]
