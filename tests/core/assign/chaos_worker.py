"""Tries of a campaign's tasks, each in a process of its own, for the chaos suite."""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_outbound.core.assign import AssignOptions, GroupSpec, Request, assign, create_group
from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import TaskKey, open_ledger
from airflow_provider_outbound.exceptions import AssignmentUnresolvedError

#: Exit code of a try that failed because contacts stayed unresolved.
UNRESOLVED = 3


def run_create(shared: dict[str, Any], keys: list[str]) -> None:
    """The task that creates the job group."""
    with open_ledger(shared["ledger_url"], keys) as ledger:
        _create(shared, ledger)


def run_assign(shared: dict[str, Any], keys: list[str], map_index: int, contacts: list[Any]) -> None:
    """One mapped task that assigns its part."""
    logging.disable(logging.ERROR)
    try:
        with open_ledger(shared["ledger_url"], keys) as ledger:
            assign(
                _client(shared),
                ledger,
                TaskKey("dag", "run", "assign", map_index),
                from_items(contacts),
                request=Request(job_group_id=_create(shared, ledger).job_group_id),
                options=AssignOptions(**shared["options"]),
                guard=lambda _: None,
            )
    except AssignmentUnresolvedError:
        raise SystemExit(UNRESOLVED) from None


def _create(shared: dict[str, Any], ledger: Any) -> Any:
    return create_group(
        _client(shared),
        ledger,
        TaskKey("dag", "run", "create"),
        lambda: GroupSpec(name=shared["name"], script_id=shared["script_id"]),
        instance_id=shared["settings"]["instance_id"],
        settle_seconds=shared["options"]["settle_seconds"],
    )


def _client(shared: dict[str, Any]) -> OutboundBotClient:
    return OutboundBotClient(ClientSettings(**shared["settings"]))
