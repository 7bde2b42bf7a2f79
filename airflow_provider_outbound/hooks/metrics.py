"""
Metrics that go where Airflow sends its own (StatsD or OpenTelemetry), tagged by DAG and never by phone number.

``outbound.calls_completed`` and ``outbound.calls_answered`` count the jobs of a group when a wait for it ends, and
``outbound.requests_throttled`` the requests that the service refused for their rate. Two gauges are set while a task
waits for a group: ``outbound.collector_lag_seconds`` (since the broker last answered a collector) and
``outbound.quarantined``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.exceptions import OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger


def count_results(summary: Mapping[str, Any], dag_id: str) -> None:
    """Count the jobs of a group whose wait has ended."""
    _count("outbound.calls_completed", summary["completed"], dag_id)
    _count("outbound.calls_answered", summary["answered"], dag_id)


def count_throttled(requests: int, dag_id: str | None = None) -> None:
    """
    Count requests that the service refused for their rate.

    :param dag_id: ``None`` for that of the running task.
    """
    _count("outbound.requests_throttled", requests, dag_id or os.environ.get("AIRFLOW_CTX_DAG_ID"))


def set_collecting(ledger: Ledger, dag_id: str) -> None:
    """Set the gauges of collectors and quarantine: two small reads of the ledger."""
    from airflow.sdk.observability.stats import Stats

    try:
        collecting = ledger.collectors.read()
        quarantined = ledger.quarantine.count()
    except OutboundBotError:
        # The wait itself reports that the ledger is unavailable.
        return
    answered = [one.last_contact_at for one in collecting.running() if one.last_contact_at is not None]
    if answered:
        lag = max(0.0, (collecting.now - max(answered)).total_seconds())
        Stats.gauge("outbound.collector_lag_seconds", lag, tags={"dag_id": dag_id})
    Stats.gauge("outbound.quarantined", quarantined, tags={"dag_id": dag_id})


def _count(name: str, count: int, dag_id: str | None) -> None:
    from airflow.sdk.observability.stats import Stats

    if count:
        Stats.incr(name, count, tags={"dag_id": dag_id} if dag_id else None)
