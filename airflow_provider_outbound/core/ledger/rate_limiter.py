"""A rate limit of requests, shared by all processes that use this ledger."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.statements import insert

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

log = logging.getLogger(__name__)


class SharedRateLimiter:
    """Reads and writes of ``request_turns``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, count: int, per_second: float) -> float:
        """
        Reserve consecutive slots, after all slots that were reserved before.

        :param name: What is limited: the connection.
        :param count: The number of slots; they are ``1 / per_second`` seconds apart.
        :param per_second: Slots per second.
        :return: Seconds until the first slot. If the clock was set back since the last call, at most one slot's length.
        :raises LedgerUnavailableError: the database cannot be reached or written; no slot was reserved.
        """
        table = schema.request_turns
        with self._database.write() as connection:
            now = self._database.time(connection)
            last = connection.execute(select(table).where(table.c.name == name)).one_or_none()
            first = now if last is None else max(now, last.free_at)
            was_set_back = last is not None and first > now and (last.taken_at is None or last.taken_at > now)
            if was_set_back:
                first = min(first, now + timedelta(seconds=1 / per_second))
            statement = insert(connection, table).values(
                name=name, free_at=first + timedelta(seconds=count / per_second), taken_at=now
            )
            changed = {column: statement.excluded[column] for column in ("free_at", "taken_at")}
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed))
        if was_set_back:
            log.warning("The clock was set back since the last request: requests continue at %g per second", per_second)
        return (first - now).total_seconds()
