"""Descriptions of the ledger's collectors, for ``ledger status`` and ``doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_outbound.core.ledger import Collecting, CollectorRecord


def describe(collecting: Collecting, collector: CollectorRecord) -> str:
    """The state of a collector in one line."""
    who = f"on {collector.host} (process {collector.pid}), topic {collector.topic!r} as consumer group"
    parts = [f"{who} {collector.consumer_group!r}"]
    if not collecting.is_running(collector):
        parts.append(f"ended or not responding; last report: {ago(collecting, collector.seen_at)}")
    parts.append(f"last answer of the broker: {ago(collecting, collector.last_contact_at)}")
    parts.append(f"last message: {ago(collecting, collector.last_message_at)}")
    if collector.last_trouble:
        now = "" if collector.trouble else "resolved: "
        parts.append(f"{now}{collector.last_trouble} ({ago(collecting, collector.last_trouble_at)})")
    return "; ".join(parts)


def ago(collecting: Collecting, moment: datetime | None) -> str:
    """The age of a moment by the ledger's clock."""
    from airflow_provider_outbound.core.ledger import describe_age

    return "never" if moment is None else f"{describe_age(collecting.now - moment)} ago"


def as_json(collecting: Collecting) -> list[dict[str, Any]]:
    """Every collector as JSON."""

    def plain(value: Any) -> Any:
        return value.isoformat(timespec="seconds") if hasattr(value, "isoformat") else value

    return [
        {**{name: plain(value) for name, value in attrs.asdict(one).items()}, "running": collecting.is_running(one)}
        for one in collecting.collectors
    ]
