"""Count distinct ids in constant memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self


class DistinctIds:
    """
    The ids seen so far, in a private temporary database that SQLite moves to a file when it grows.

    Only the thread that created it may use it. It is deleted at the end of the ``with`` block, or with the process.
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
        """Add ids; repeats are ignored."""
        self._db.executemany("INSERT OR IGNORE INTO met VALUES (?)", ((item,) for item in ids))

    def count(self) -> int:
        """The number of distinct ids."""
        return int(self._db.execute("SELECT count(*) FROM met").fetchone()[0])
