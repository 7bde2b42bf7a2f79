"""
The ledger's database: one engine per process, opened, migrated and closed here.

:mod:`.sqlite` and :mod:`.postgresql` say how to connect to each database.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, bindparam, func, insert, inspect, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from airflow_provider_outbound.core.ledger import keys as key_notes
from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.cipher import FieldCipher, Identity
from airflow_provider_outbound.core.ledger.deferred_signals import DeferredSignals
from airflow_provider_outbound.core.ledger.errors import ledger_error, shown_url
from airflow_provider_outbound.core.ledger.postgresql import postgresql_engine
from airflow_provider_outbound.core.ledger.sqlite import sqlite_engine
from airflow_provider_outbound.exceptions import (
    LedgerKeyError,
    LedgerVersionError,
    OutboundBotConfigError,
    OutboundBotError,
)

_VERSION_TABLE = "outbound_version"
#: Key of PostgreSQL's advisory lock around a migration: an arbitrary number of our own.
_MIGRATION_LOCK = 0x6F7574626F756E64
# Built once: building a statement takes longer than running it.
_TAKE_SEQUENCE = (
    update(schema.ledger)
    .values(sequence=schema.ledger.c.sequence + bindparam("count"))
    .returning(schema.ledger.c.sequence)
)
_LOCK = select(schema.ledger.c.id).with_for_update()
#: Alembic keeps its state in globals, so a process migrates one ledger at a time.
_alembic = threading.Lock()


class Database:
    """
    The open database of a ledger. Threads may share it; a forked child must open its own.

    :param url: SQLAlchemy URL: ``sqlite:////path/ledger.db`` or ``postgresql+psycopg://…``.
    :param keys: Fernet keys, newest first.
    :param require_keys: Whether to refuse keys that cannot decrypt every row. ``False`` for what must work without
        them, such as stopping calls.
    :raises LedgerUnavailableError: the database cannot be reached or written now.
    :raises LedgerAccessError: it refuses this user, or is not a ledger.
    :raises LedgerVersionError: its schema is newer than this package.
    :raises LedgerKeyError: the keys do not open it, or do not decrypt every row.
    """

    def __init__(self, url: str, keys: Sequence[str], *, require_keys: bool = True) -> None:
        self.cipher = self._make_cipher(keys)
        self._url = _checked_url(url)
        self.engine = self._create_engine(self._url)
        # Writing threads of this process wait here, because SQLite's own wait for its lock sleeps far too long.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        try:
            #: The schema's revision before it was opened; ``None``: the ledger did not exist.
            self.found_revision = self._migrate()
            with self.read() as connection:
                row = connection.execute(select(schema.ledger)).one()
                needed = key_notes.noted(connection)
            self.identity = self._read_identity(row.identity_key, needed)
            if not needed:
                needed = self._note_first_keys()
            if require_keys:
                key_notes.check_keys(needed, self.cipher, self._shown)
        except BaseException:
            self.engine.dispose()
            raise
        self.ledger_id: str = row.ledger_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file on this machine."""
        return self.engine.dialect.name == "sqlite"

    def now(self) -> datetime:
        """The database's time, aware UTC: one clock for all processes that share this ledger."""
        return self.time(None)

    def time(self, connection: Connection | None) -> datetime:
        """The database's time, read in the caller's transaction; ``None``: in a transaction of its own."""
        if self.is_sqlite:
            # A file has no clock; the processes that share it share the machine's.
            return datetime.now(UTC)
        if connection is None:
            with self.read() as own:
                return self.time(own)
        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """
        One reading transaction.

        :raises LedgerUnavailableError: the database cannot be reached.
        """
        with self._errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """
        One writing transaction, committed at its end; writers wait for each other.

        SQLite has one writer at a time. On PostgreSQL a lock on the ledger's own row has the same effect, so that a
        journal and a collector that write the same jobs cannot deadlock.

        Signals wait until its end, Airflow's ``execution_timeout`` among them, so that none leaves the lock behind.

        :raises LedgerUnavailableError: the database cannot be reached or written; nothing was written.
        """
        with self._errors(), self._turn, DeferredSignals(), self.engine.connect() as connection:
            connection = connection.execution_options(outbound_writes=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(_LOCK)
                # In the writer's own transaction: every reader of its rows also sees which key encrypted them.
                self._note_key(connection)
                yield connection

    def take_sequence(self, connection: Connection, count: int) -> int:
        """
        Take ``count`` numbers of the event sequence for the caller's transaction.

        :return: The first number. Other writers wait until the caller's transaction ends.
        """
        last: int = connection.execute(_TAKE_SEQUENCE, {"count": count}).scalar_one()
        return last - count + 1

    def encrypt_identity(self) -> bool:
        """
        Encrypt the ledger's identity with the first key, so that the others may be dropped; the identity is unchanged.

        :return: Whether it was encrypted with another key before.
        """
        with self.write() as connection:
            table = schema.ledger
            token: bytes = connection.execute(select(table.c.identity_key)).scalar_one()
            if self.cipher.is_newest(token):
                return False
            identity = self._open_identity(token, key_notes.noted(connection))
            connection.execute(table.update().values(identity_key=self.cipher.encrypt(identity)))
        return True

    def _make_cipher(self, keys: Sequence[str]) -> FieldCipher:
        return FieldCipher(keys)

    def _read_identity(self, token: bytes, needed: set[str]) -> Identity:
        return Identity(self._open_identity(token, needed))

    def _note_key(self, connection: Connection) -> None:
        if not key_notes.is_noted(connection, self.cipher.key_ids[0]):
            key_notes.note(connection, self.cipher.key_ids[:1], self.time(connection))

    def _create_engine(self, url: URL) -> Engine:
        return postgresql_engine(url) if url.get_backend_name() == "postgresql" else sqlite_engine(url)

    def _note_first_keys(self) -> set[str]:
        """
        Note the keys of a ledger that has no notes, because an earlier version wrote it.

        Any of the given keys may be needed. A sample of the rows shows whether others are needed too.
        """
        key_ids = list(self.cipher.key_ids)
        with self.read() as connection:
            if key_notes.sample(connection, self.cipher)[None]:
                key_ids.append(key_notes.UNKNOWN)
        with self.write() as connection:
            key_notes.note(connection, key_ids, self.time(connection))
            return key_notes.noted(connection)

    def _open_identity(self, token: bytes, needed: set[str]) -> bytes:
        try:
            return self.cipher.decrypt(token)
        except LedgerKeyError:
            missing = sorted(needed - {*self.cipher.key_ids, key_notes.UNKNOWN})
            which = f" (key {', '.join(missing)})" if missing else ""
            raise LedgerKeyError(
                f"ledger_key: none of the keys given ({', '.join(self.cipher.key_ids)}) opens the ledger {self._shown};"
                f" set the key it was created with{which}, or several, comma separated, newest first"
            ) from None

    @property
    def _shown(self) -> str:
        return shown_url(self._url)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            translated = self.translate(error)
            if translated is None:
                raise
            # Without the driver's error as the cause: its text may quote a statement's values.
            raise translated from None

    def translate(self, error: DBAPIError) -> OutboundBotError | None:
        """Translate an error of this database; ``None`` if it is about a statement, not about the database."""
        return ledger_error(self._shown, error)

    def _migrate(self) -> str | None:
        """
        Upgrade the schema to this package's revision. The first process to open the ledger does it.

        :return: The revision before the upgrade.
        """
        with self.read() as connection:
            revision = self._revision(connection)
        if revision != schema.REVISION:
            import alembic.command  # noqa: F401 - before the lock is taken, because others wait for it for a limited time

            with self._errors(), DeferredSignals(), self.engine.connect() as connection:
                connection = connection.execution_options(outbound_writes=True)
                with connection.begin():
                    self._migrate_locked(connection)
        return revision

    def _migrate_locked(self, connection: Connection) -> None:
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        revision = self._revision(connection)
        if revision is not None and not self.is_sqlite:
            # As every writer does: without it, a writer in the middle of a table and this migration could deadlock.
            connection.execute(_LOCK)
        if revision != schema.REVISION:
            self._upgrade(connection, revision)
        if connection.execute(select(func.count()).select_from(schema.ledger)).scalar_one() == 0:
            identity = insert(schema.ledger).values(
                id=1,
                ledger_id=uuid.uuid4().hex,
                identity_key=self.cipher.encrypt(secrets.token_bytes(32)),
                sequence=0,
                created_at=self.time(connection),
            )
            connection.execute(identity)
            key_notes.note(connection, self.cipher.key_ids[:1], self.time(connection))

    def _revision(self, connection: Connection) -> str | None:
        if not inspect(connection).has_table(_VERSION_TABLE):
            return None
        return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608 - a constant

    def _upgrade(self, connection: Connection, revision: str | None) -> None:
        # Imported here, because a ledger is only upgraded once per version.
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.attributes["connection"] = connection
        if revision is not None:
            try:
                ScriptDirectory.from_config(config).get_revision(revision)
            except CommandError:
                raise LedgerVersionError(
                    f"ledger {self._shown}: its schema {revision} is newer than this package's {schema.REVISION}; "
                    "install the newer airflow-provider-outbound"
                ) from None
        with _alembic:
            command.upgrade(config, "head")


def _checked_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise OutboundBotConfigError(
            "ledger_url: not a database URL such as sqlite:////var/lib/outbound/ledger.db"
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise OutboundBotConfigError(f"ledger_url: {parsed.get_backend_name()} is neither sqlite nor postgresql")
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if not parsed.database or parsed.database == ":memory:":
        raise OutboundBotConfigError("ledger_url: a ledger in memory would forget who was called; set a file")
    return parsed
