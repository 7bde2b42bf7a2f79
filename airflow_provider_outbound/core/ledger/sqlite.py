"""
How to connect to a ledger in SQLite.

It runs in WAL mode with ``synchronous=FULL`` and takes its write lock when a writing transaction begins, so that two
writers wait for each other instead of failing half way.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event

from airflow_provider_outbound.exceptions import LedgerUnavailableError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

#: How long a writer waits for another one, seconds.
BUSY_TIMEOUT = 30
#: From the creation of a file until the creating handle is closed, no thread of this process may connect to it.
_claiming = threading.Lock()


def sqlite_engine(url: URL) -> Engine:
    """
    Return an engine for SQLite; creates the file.

    :raises LedgerUnavailableError: the file cannot be created or written.
    """
    path = Path(str(url.database))
    _claim_file(path)
    engine = create_engine(url, creator=partial(connect_to, path, BUSY_TIMEOUT), hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", partial(_begin, SameFile(path)))
    return engine


def connect_to(path: Path, timeout: float) -> sqlite3.Connection:
    """Connect to a file that exists. By its URL, SQLAlchemy would create one that was deleted meanwhile."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=timeout, check_same_thread=False)


class SameFile:
    """
    Makes sure that a path names the file that was opened first.

    After a file was moved, open connections go on in it, and nobody else sees what they write: a task would assign
    people to a group that was cancelled in the file that has taken its place.

    :param path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: tuple[int, int] | None = None

    def check(self) -> None:
        """
        Check the file.

        :raises LedgerUnavailableError: the path names another file, or none.
        """
        try:
            status = self._path.stat()
            found = status.st_dev, status.st_ino
        except OSError:
            found = None
        if self._first is None:
            self._first = found
        elif found != self._first:
            what = "is gone" if found is None else "was replaced by another one"
            raise LedgerUnavailableError(
                f"ledger {self._path}: the file that this process has opened {what}; put it back, or restart the"
                " process"
            )


def _claim_file(path: Path) -> None:
    """Create the file as private before anything is written to it: it will hold what people said on the phone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _claiming:
            try:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                # This process may already have it open. Opening and closing it here would release the locks of all its
                # connections, and another process would delete the write-ahead log that they still write to.
                if not os.access(path, os.R_OK | os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    except OSError as error:
        raise LedgerUnavailableError(
            f"ledger {path}: {error.strerror}; allow this user to write there, or set [outbound] ledger_url"
        ) from None


def _prepare(connection: Any, _record: Any) -> None:
    # The driver begins its implicit transactions too late; _begin begins them instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT * 1000}")
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        # Keys are random, so each contact's index entries lie on different pages. A cache that holds the pages of one
        # transaction, and a checkpoint only every few transactions, reduce the writes of a large ledger to a third.
        cursor.execute("PRAGMA cache_size=-16000")
        cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute("PRAGMA foreign_keys=ON")
        # Otherwise the file keeps deleted and replaced data until something else overwrites it.
        cursor.execute("PRAGMA secure_delete=ON")
    finally:
        cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # While another process is switching the same new file, SQLite fails at once, whatever its busy timeout.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin(file: SameFile, connection: Connection) -> None:
    file.check()
    writes = connection.get_execution_options().get("outbound_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
