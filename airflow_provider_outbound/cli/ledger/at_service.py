"""Deletes purged job groups at the service too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_provider_outbound.cli.options import connection_of, quiet_logs, read_airflow_connections
from airflow_provider_outbound.cli.sweep import Sweep, undisturbed
from airflow_provider_outbound.exceptions import (
    OutboundBotConfigError,
    OutboundBotError,
    OutboundBotNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import DeletableGroup, Ledger


def delete_at_service(ledger: Ledger, groups: Sequence[DeletableGroup], conn_id: str | None) -> int:
    """
    Delete job groups at the service, and record on their tombstones that it does not have them any more.

    Each is tried, even if another one fails. What fails is named, and tried again by the next purge.

    :param conn_id: The connection to use; ``None``: the one through which each group was controlled.
    :return: Exit code: 0 only if every job group is deleted.
    """
    read_airflow_connections()
    clients: dict[str, OutboundBotClient] = {}
    by_id = {group.job_group_id: group for group in groups}

    def act(job_group_id: str) -> Mapping[str, int]:
        group = by_id[job_group_id]
        name = connection_of(conn_id, group.conn_id)
        if name not in clients:
            clients[name] = _client(ledger, name)
        jobs = _delete(clients[name], group)
        ledger.tombstones.note_deleted(job_group_id)
        return {"jobs": jobs}

    with undisturbed(), quiet_logs():
        return Sweep(action="deleted at the service", group_ids=list(by_id)).run(act)


def _client(ledger: Ledger, conn_id: str) -> OutboundBotClient:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

    settings = OutboundBotHook(conn_id).settings
    if settings.dry_run:
        raise OutboundBotConfigError(f"connection {conn_id!r}: dry_run: is on, so nothing is deleted at the service")
    # Not the hook's own client, which would open the configured ledger.
    return OutboundBotClient(settings.client, lambda *slots: ledger.turns.take(settings.client.origin, *slots))


def _delete(client: OutboundBotClient, group: DeletableGroup) -> int:
    """
    Delete a group all of whose jobs have ended.

    :return: The number of its jobs; 0 if the service does not have the group any more.
    """
    try:
        progress = client.describe_job_group(job_group_id=group.job_group_id, instance_id=group.instance_id).progress
        if progress is None or progress.unfinished:
            left = "an unknown number of" if progress is None else progress.unfinished
            raise OutboundBotError(
                f"has {left} jobs that have not ended; cancel them in the console, and purge again. It was not deleted"
                " at the service"
            )
        jobs = progress.total
        client.delete_job_group(job_group_id=group.job_group_id, instance_id=group.instance_id)
    except OutboundBotNotFoundError as error:
        # With another code the instance does not exist, and the group may be in another one.
        if not error.code.startswith("NotExist.JobGroup"):
            raise
        return 0
    return jobs
