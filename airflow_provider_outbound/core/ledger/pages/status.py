"""The state of collectors, topics, quarantine and requests, without the slow counts of :func:`~..health.examine`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import func, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.collectors import Collecting, read_collectors
from airflow_provider_outbound.core.ledger.health import Recovery, ledger_size, read_recovery
from airflow_provider_outbound.core.ledger.instances import TopicInstance, read_instances

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database


@attrs.frozen(kw_only=True)
class Status:
    """The state of everything that belongs to no single campaign."""

    size_bytes: int
    collecting: Collecting
    topics: Sequence[TopicInstance]
    recovery: Recovery
    #: Messages that could not be read.
    quarantined: int
    #: Seconds by which requests are delayed to stay below each connection's rate.
    delays: dict[str, float]


def read_status(database: Database) -> Status:
    """
    Read the state of a ledger.

    :raises LedgerUnavailableError: the database cannot be reached.
    """
    turns = schema.request_turns.c
    with database.read() as connection:
        now: datetime = database.time(connection)
        return Status(
            size_bytes=ledger_size(database, connection),
            collecting=read_collectors(connection, now),
            topics=tuple(read_instances(connection)),
            recovery=read_recovery(connection),
            quarantined=connection.execute(select(func.count()).select_from(schema.quarantine)).scalar_one(),
            delays={
                row.name: max(0.0, (row.free_at - now).total_seconds())
                for row in connection.execute(select(turns.name, turns.free_at).order_by(turns.name))
            },
        )
