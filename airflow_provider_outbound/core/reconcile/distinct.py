"""Counting distinct ids in constant memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self


class DistinctIds:
    """
    Ids met so far: a private temporary database, which SQLite keeps in a file once they are many.

    Belongs to the thread that made it, and is gone at the end of the ``with`` block, or with the process.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("CREATE TABLE met (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._db.close()

    def add(self, ids: Iterable[str]) -> None:
        """Add ids, each once."""
        self._db.executemany("INSERT OR IGNORE INTO met VALUES (?)", ((item,) for item in ids))

    def count(self) -> int:
        """The number of distinct ids."""
        return int(self._db.execute("SELECT count(*) FROM met").fetchone()[0])
