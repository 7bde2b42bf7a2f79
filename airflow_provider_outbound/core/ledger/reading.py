"""
A ledger that is only read, by a process that must neither create it nor migrate it nor wait for it.

Airflow's api-server shows campaigns: its requests share few threads, so a slow statement is ended, and few connections
are used.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.collectors import Collectors
from airflow_provider_outbound.core.ledger.database import Database
from airflow_provider_outbound.core.ledger.groups import Groups
from airflow_provider_outbound.core.ledger.inbox import Inbox
from airflow_provider_outbound.core.ledger.pages import Pages
from airflow_provider_outbound.core.ledger.postgresql import postgresql_engine
from airflow_provider_outbound.core.ledger.quarantine import Quarantine
from airflow_provider_outbound.core.ledger.results import Results
from airflow_provider_outbound.core.ledger.sqlite import SameFile, connect_to
from airflow_provider_outbound.exceptions import LedgerMissingError, LedgerVersionError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

#: Most connections of one process.
POOL_SIZE = 5
#: How long a request waits for one of them, or for the server (seconds).
_CONNECT_TIMEOUT = 5
#: How long a statement may take (seconds).
STATEMENT_TIMEOUT = 10.0
#: Steps of SQLite between two looks at the clock.
_STEPS = 10_000
_POOL: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": _CONNECT_TIMEOUT}


class ReadOnlyLedger(Database):
    """
    The parts of a ledger that are read to show campaigns. Threads may share it.

    Rows that none of the keys opens are shown without what is encrypted.

    :param url: As for :class:`Database`.
    :param keys: As for :class:`Database`.
    :raises LedgerMissingError: there is no ledger yet.
    :raises LedgerVersionError: its schema is older or newer than this package.
    """

    def __init__(self, url: str, keys: Sequence[str]) -> None:
        super().__init__(url, keys, require_keys=False)
        self.groups = Groups(self)
        self.results = Results(self, self.groups)
        self.collectors = Collectors(self)
        self.quarantine = Quarantine(self, Inbox(self, self.groups).record_within)
        self.pages = Pages(self)

    def _create_engine(self, url: URL) -> Engine:
        if url.get_backend_name() == "postgresql":
            engine = postgresql_engine(url, connect_timeout=_CONNECT_TIMEOUT, **_POOL)
            event.listen(engine, "begin", _begin_postgresql)
            return engine
        path = Path(str(url.database))
        if not path.is_file():
            raise LedgerMissingError(f"ledger {path}: there is no such file; the first task creates it")

        creator = partial(connect_to, path, _CONNECT_TIMEOUT)
        engine = create_engine(url, creator=creator, hide_parameters=True, **_POOL)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", partial(_begin_sqlite, SameFile(path)))
        return engine

    def _migrate(self) -> str | None:
        with self.read() as connection:
            revision = self._revision(connection)
        check_revision(revision, self._shown)
        return revision

    def _note_first_keys(self) -> set[str]:
        # Nothing is written, and without notes no key is known to be needed.
        return set()


def check_revision(revision: str | None, shown_url: str) -> None:
    """
    Refuse a ledger that this package would have to create or to migrate.

    :param revision: The revision of its schema; ``None``: there is no ledger.
    :raises LedgerMissingError: there is no ledger.
    :raises LedgerVersionError: its schema is older or newer than this package.
    """
    if revision is None:
        raise LedgerMissingError(f"ledger {shown_url}: the database has no ledger; the first task creates it")
    if revision < schema.REVISION:
        raise LedgerVersionError(
            f"ledger {shown_url}: its schema {revision} is older than this package's {schema.REVISION}; "
            "run: outbound ledger migrate"
        )
    if revision > schema.REVISION:
        raise LedgerVersionError(
            f"ledger {shown_url}: its schema {revision} is newer than this package's {schema.REVISION}; "
            "install the newer airflow-provider-outbound"
        )


def _begin_postgresql(connection: Connection) -> None:
    # In each transaction, because PgBouncer may give each another server connection.
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT * 1000:.0f}")


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    # The driver begins its implicit transactions too late; _begin_sqlite begins them instead.
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA cache_size=-16000")
    info = record.info
    connection.set_progress_handler(lambda: time.monotonic() > info.get("deadline", float("inf")), _STEPS)


def _begin_sqlite(file: SameFile, connection: Connection) -> None:
    file.check()
    connection.info["deadline"] = time.monotonic() + STATEMENT_TIMEOUT
    connection.exec_driver_sql("BEGIN")
