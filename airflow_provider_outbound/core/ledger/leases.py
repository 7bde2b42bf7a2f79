"""Leases that a clock, set back since, would keep for longer than they are."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, update

from airflow_provider_outbound.core.ledger import schema

log = logging.getLogger(__name__)

#: No lease was longer in versions that did not note its length, seconds.
_LONGEST = 600.0


def is_too_long(row: Row[Any], now: datetime) -> bool:
    """Whether a lease ends later than it can: the clock has been set back since it was written."""
    return bool(row.lease_until > now + _length(row))


def bound_lease(connection: Connection, row: Row[Any], now: datetime) -> datetime:
    """
    Shorten a lease to its whole length from now, if the clock has been set back since it was written.

    Whoever holds it counts its length by clocks of its own, and from an earlier moment.

    :return: When it ends.
    """
    until: datetime = row.lease_until
    if not is_too_long(row, now):
        return until
    until = now + _length(row)
    table = schema.assignments
    connection.execute(update(table).where(table.c.assignment_id == row.assignment_id).values(lease_until=until))
    log.warning(
        "Job group %s: the clock was set back: the lease of an assignment, which ended at %s, ends at %s",
        row.job_group_id,
        row.lease_until.isoformat(timespec="seconds"),
        until.isoformat(timespec="seconds"),
    )
    return until


def _length(row: Row[Any]) -> timedelta:
    return timedelta(seconds=_LONGEST if row.lease_seconds is None else row.lease_seconds)
