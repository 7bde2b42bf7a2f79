"""``outbound groups --at-service``: the job groups of a bot instance, whether or not the ledger knows them."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.cli.connections import Connections
from airflow_provider_outbound.cli.options import quiet_logs
from airflow_provider_outbound.cli.output import in_minutes, print_json, print_table
from airflow_provider_outbound.cli.sweep import words_of
from airflow_provider_outbound.exceptions import OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.models.job import JobGroup

_HEADS = ("job group", "name", "created (UTC)", "status")
_COUNTS = {"total": "jobs", "scheduling": "waiting", "executing": "on the line", "paused": "paused"}


def list_at_service(arguments: argparse.Namespace) -> int:
    """Print the job groups of the connection's bot instance, in the service's order."""
    from airflow_provider_outbound.core.ledger import JobGroupRecord

    with quiet_logs(), Connections(arguments.outboundbot_conn_id, arguments.command) as connections:
        client = connections.of(JobGroupRecord(job_group_id="")).client
        known = _known(connections)
        found = client.iter_job_groups()
        rows = [_row(group, known) for group in islice(found, arguments.limit)]
        is_cut = next(found, None) is not None
    if arguments.json:
        print_json(rows)
    else:
        print_table(
            (*_HEADS, "in the ledger"),
            tuple(_COUNTS.values()),
            [
                (
                    *(row["job_group_id"], row["name"], in_minutes(row["created_at"]), row["status"]),
                    {True: "yes", False: "no", None: "?"}[row["in_ledger"]],
                    *(row[name] for name in _COUNTS),
                )
                for row in rows
            ],
        )
    if is_cut:
        print("outbound: the service has more job groups; see --limit", file=sys.stderr)
    return 0


def _known(connections: Connections) -> dict[str, str | None] | None:
    """The names of the ledger's job groups by id; ``None`` if it cannot be read."""
    try:
        ledger = connections.ledger
        records = (*ledger.groups.list_all(), *ledger.groups.list_waited_for())
        return {record.job_group_id: record.name for record in records}
    except OutboundBotError as error:
        print(f"outbound: {words_of(error)}; so which job groups the ledger knows is unknown", file=sys.stderr)
        return None


def _row(group: JobGroup, known: dict[str, str | None] | None) -> dict[str, Any]:
    from airflow_provider_outbound.core.models.phone import redact

    counts = group.progress
    return {
        "job_group_id": group.job_group_id,
        # Others may write a number into a name.
        "name": (known or {}).get(group.job_group_id) or redact(group.name),
        "created_at": group.created_at.isoformat() if group.created_at else None,
        "status": str(group.status) if group.status else None,
        "in_ledger": None if known is None else group.job_group_id in known,
        **{name: getattr(counts, name) if counts else None for name in _COUNTS},
    }
