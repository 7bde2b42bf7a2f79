"""
Sending exactly once.

The API has no idempotency token and does not say of a failed request what it did. So every contact is journalled in the
ledger before its request, an answer that is neither a clean success nor a refusal leaves it in doubt, and doubt is
settled by reading the group's jobs, with nothing in flight.
"""

from __future__ import annotations

from airflow_provider_outbound.core.assign.dispatcher import Request
from airflow_provider_outbound.core.assign.groups import GroupSpec, create_group
from airflow_provider_outbound.core.assign.options import AssignOptions
from airflow_provider_outbound.core.assign.protocol import abandon, assign, preflight
from airflow_provider_outbound.core.assign.results import AssignResult, Preflight

__all__ = [
    "AssignOptions",
    "AssignResult",
    "GroupSpec",
    "Preflight",
    "Request",
    "abandon",
    "assign",
    "create_group",
    "preflight",
]
