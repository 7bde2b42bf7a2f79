"""Turns to send a request, shared by all processes that open this ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.statements import insert

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database


class Turns:
    """Reads and writes of ``request_turns``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, count: int, per_second: float) -> float:
        """
        Take turns in a row, after all that were taken before.

        :param name: What is limited: the connection.
        :param count: Turns to take; they are ``1 / per_second`` seconds apart.
        :param per_second: Turns a second.
        :return: Seconds until the first of them.
        :raises LedgerUnavailableError: the database cannot be reached or written; none were taken.
        """
        table = schema.request_turns
        with self._database.write() as connection:
            now = self._database.time(connection)
            free_at = connection.execute(select(table.c.free_at).where(table.c.name == name)).scalar()
            first = now if free_at is None else max(now, free_at)
            statement = insert(connection, table).values(
                name=name, free_at=first + timedelta(seconds=count / per_second)
            )
            connection.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_={"free_at": statement.excluded.free_at})
            )
        return (first - now).total_seconds()
