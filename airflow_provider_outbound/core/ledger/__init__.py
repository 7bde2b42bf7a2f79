"""
The ledger: who was assigned to which job group, and the results.

Importing this package loads SQLAlchemy. Code that is loaded when a DAG is parsed imports it inside functions.
"""

from __future__ import annotations

from airflow_provider_outbound.core.ledger.call_counts import HourOfCalls, calls_by_hour, mean_call_seconds
from airflow_provider_outbound.core.ledger.collectors import (
    Collecting,
    CollectorRecord,
    CollectorReport,
    describe_age,
)
from airflow_provider_outbound.core.ledger.errors import shown_url
from airflow_provider_outbound.core.ledger.health import Health, examine
from airflow_provider_outbound.core.ledger.ledger import Ledger, open_ledger
from airflow_provider_outbound.core.ledger.persons import Forgotten, PersonCall, PersonJob
from airflow_provider_outbound.core.ledger.quarantine import Quarantined
from airflow_provider_outbound.core.ledger.records import (
    Assignment,
    Begun,
    CallCap,
    Candidate,
    CandidateStatus,
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
    RecordedCall,
    TaskKey,
    UndecidedAssignment,
    Unfinished,
)
from airflow_provider_outbound.core.ledger.retention import Purge
from airflow_provider_outbound.core.ledger.tombstones import DeletableGroup
from airflow_provider_outbound.core.models.job_details import CallDetails, Depth, JobDetails, Turn

__all__ = [
    "Assignment",
    "Begun",
    "CallCap",
    "CallDetails",
    "Candidate",
    "CandidateStatus",
    "Collecting",
    "CollectorRecord",
    "CollectorReport",
    "Counts",
    "DeletableGroup",
    "Depth",
    "Doubt",
    "EventPage",
    "Forgotten",
    "GroupState",
    "Health",
    "HourOfCalls",
    "Incoming",
    "JobDetails",
    "JobGroupRecord",
    "JobResult",
    "JobState",
    "Ledger",
    "Listed",
    "LoggedEvent",
    "OpenAssignment",
    "Outcomes",
    "PersonCall",
    "PersonJob",
    "Purge",
    "Quarantined",
    "Recorded",
    "RecordedCall",
    "TaskKey",
    "Turn",
    "UndecidedAssignment",
    "Unfinished",
    "calls_by_hour",
    "describe_age",
    "examine",
    "mean_call_seconds",
    "open_ledger",
    "shown_url",
]
