"""INSERT … ON CONFLICT, which SQLite and PostgreSQL share and SQLAlchemy writes a construct for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


def insert(connection: Connection, table: Table) -> Any:
    """The dialect's own insert, which has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
