"""
Helpers for statements on both SQLite and PostgreSQL: INSERT … ON CONFLICT, look-ups of many keys in parts, and results
that are read while the database sends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Executable, Table


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


def stream(
    connection: Connection, statement: Executable, rows: int, parameters: Mapping[str, Any] | None = None
) -> closing[CursorResult[Any]]:
    """
    Execute a statement whose result may be large. The result is closed at the end of the block, however that is left.

    :param rows: Rows that are held in memory at a time.
    """
    return closing(connection.execute(statement, parameters, execution_options={"yield_per": rows}))
