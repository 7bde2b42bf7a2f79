"""
Assign every contact exactly once.

The API has no idempotency token, and a failed request does not show whether it took effect. So every contact is
journalled in the ledger before its request. An answer that is neither a clear success nor a refusal leaves it in doubt.
Contacts in doubt are settled by reading the group's jobs while nothing is in flight.
"""

from __future__ import annotations

from airflow_provider_outbound.core.assign.dispatcher import Request
from airflow_provider_outbound.core.assign.groups import GroupSpec, create_group
from airflow_provider_outbound.core.assign.options import AssignOptions
from airflow_provider_outbound.core.assign.protocol import abandon, assign, preflight
from airflow_provider_outbound.core.assign.results import (
    AssignResult,
    Preflight,
    log_left_out,
    warn_of_missing_references,
)

__all__ = [
    "AssignOptions",
    "AssignResult",
    "GroupSpec",
    "Preflight",
    "Request",
    "abandon",
    "assign",
    "create_group",
    "log_left_out",
    "preflight",
    "warn_of_missing_references",
]
