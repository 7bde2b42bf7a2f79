"""Leases that last too long because the clock was set back."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, update

from airflow_provider_outbound.core.ledger import schema

log = logging.getLogger(__name__)

#: The longest lease in versions that did not store its length, seconds.
_LONGEST = 600.0


def is_too_long(row: Row[Any], now: datetime) -> bool:
    """Whether a lease ends later than its length allows: the clock was set back after it was written."""
    return bool(row.lease_until > now + _length(row))


def bound_lease(connection: Connection, row: Row[Any], now: datetime) -> datetime:
    """
    Shorten a lease to its full length from now if the clock was set back after it was written.

    The holder measures the length by its own clocks and from an earlier moment, so it ends the lease first.

    :return: When the lease ends.
    """
    until: datetime = row.lease_until
    if not is_too_long(row, now):
        return until
    until = now + _length(row)
    table = schema.assignments
    connection.execute(update(table).where(table.c.assignment_id == row.assignment_id).values(lease_until=until))
    log.warning(
        "Job group %s: the clock was set back: the lease of an assignment is shortened from %s to %s",
        row.job_group_id,
        row.lease_until.isoformat(timespec="seconds"),
        until.isoformat(timespec="seconds"),
    )
    return until


def _length(row: Row[Any]) -> timedelta:
    return timedelta(seconds=_LONGEST if row.lease_seconds is None else row.lease_seconds)
