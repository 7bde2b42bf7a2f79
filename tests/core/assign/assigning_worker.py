"""A task's try in a process of its own, for tests that kill it."""

from __future__ import annotations

from typing import Any

from airflow_provider_outbound.core.assign import AssignOptions, Request, assign
from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import TaskKey, open_ledger


def run_try(
    settings: dict[str, Any],
    ledger_url: str,
    keys: list[str],
    job_group_id: str,
    task: str,
    contacts: list[str],
    options: dict[str, Any],
) -> None:
    """Assign, as a worker would."""
    with open_ledger(ledger_url, keys) as ledger:
        assign(
            OutboundBotClient(ClientSettings(**settings)),
            ledger,
            TaskKey("dag", "run", task),
            from_items(contacts),
            request=Request(job_group_id=job_group_id),
            options=AssignOptions(**options),
            guard=lambda _: None,
        )
