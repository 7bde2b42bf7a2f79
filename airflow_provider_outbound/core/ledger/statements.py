"""Helpers for statements on both SQLite and PostgreSQL: INSERT … ON CONFLICT, and look-ups of many keys in parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


T = TypeVar("T")
#: Keys per statement: databases limit the number of its parameters.
CHUNK = 400


def insert(connection: Connection, table: Table) -> Any:
    """The dialect's insert, which has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return insert_of(connection.dialect.name, table)


def insert_of(dialect: str, table: Table) -> Any:
    """Like :func:`insert`, by the dialect's name, for a statement that is built once."""
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)


def chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    """Split a sequence into parts small enough for one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
