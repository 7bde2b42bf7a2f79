"""Messages that could not be read: stored unchanged, for a person to inspect, replay or drop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import Connection, Row, delete, func, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.records import Incoming, Recorded
from airflow_provider_outbound.core.ledger.statements import insert
from airflow_provider_outbound.exceptions import LedgerError, LedgerKeyError

if TYPE_CHECKING:
    from typing import Any

    from airflow_provider_outbound.core.ledger.database import Database

_table = schema.quarantine.c
_HEX = frozenset("0123456789abcdef")
#: Messages read at a time. Few, because a body may have megabytes.
_PAGE = 20


@attrs.frozen(kw_only=True)
class Quarantined:
    """A message that could not be read."""

    #: SHA-256 in hexadecimal: of its bytes, or of its head, size and message id if only the head is kept.
    hash: str
    topic: str | None
    message_id: str | None
    #: Why it could not be read.
    reason: str
    recorded_at: datetime
    #: Its bytes as delivered, which may contain phone numbers; ``None``: none of the keys opens them.
    body: bytes | None = attrs.field(repr=False)
    #: If only its head is kept: the number of bytes delivered.
    head_of: int | None = None


class Quarantine:
    """
    Reads and writes of ``quarantine``.

    :param record: Records a message in the transaction that it is given.
    """

    def __init__(self, database: Database, record: Callable[[Connection, Incoming], Recorded]) -> None:
        self._database = database
        self._record = record

    def iter_messages(self, after: str = "") -> Iterator[Quarantined]:
        """
        Iterate over all messages, ordered by hash; a few are read at a time.

        :param after: Only those with a greater hash.
        """
        while True:
            statement = select(schema.quarantine).where(_table.hash > after).order_by(_table.hash).limit(_PAGE)
            with self._database.read() as connection:
                rows = connection.execute(statement).all()
            yield from map(self._opened, rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1].hash

    def get(self, name: str) -> Quarantined:
        """
        Return one message.

        :param name: Its hash, or an unambiguous prefix of it.
        :raises LedgerError: no hash or several hashes have this prefix.
        """
        with self._database.read() as connection:
            return self._opened(self._one(connection, name))

    def replay(self, name: str) -> Recorded:
        """
        Try to read a message again, for example with a newer version of this package or with another key.

        A readable message is recorded as if it had just arrived, and leaves the quarantine in the same commit. An
        unreadable one stays unchanged.

        :param name: As for :meth:`get`.
        :raises LedgerError: no hash or several hashes have this prefix.
        :raises LedgerKeyError: no key opens it.
        """
        with self._database.write() as connection:
            row = self._one(connection, name)
            message = Incoming(
                body=self._database.cipher.decrypt(row.body),
                message_id=row.message_id or "",
                topic=row.topic or "",
                # A head may look like a complete message, but the rest of it is unknown.
                fault="" if row.head_of is None else row.reason,
                head_of=row.head_of,
            )
            recorded = self._record(connection, message)
            if not recorded.quarantined:
                connection.execute(delete(schema.quarantine).where(_table.hash == row.hash))
        return recorded

    def drop(self, name: str) -> Quarantined:
        """
        Delete a message.

        :param name: As for :meth:`get`.
        :return: The deleted message.
        :raises LedgerError: no hash or several hashes have this prefix.
        """
        with self._database.write() as connection:
            row = self._one(connection, name)
            connection.execute(delete(schema.quarantine).where(_table.hash == row.hash))
        return self._opened(row)

    def count(self) -> int:
        """The number of messages."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(schema.quarantine)).scalar_one()

    def _one(self, connection: Connection, name: str) -> Row[Any]:
        wanted = name.strip().lower()
        if not wanted or not set(wanted) <= _HEX:
            raise LedgerError(f"quarantine: {name!r} is not a hash; `outbound ledger quarantine list` shows them")
        rows = connection.execute(select(schema.quarantine).where(_table.hash.startswith(wanted)).limit(2)).all()
        if not rows:
            raise LedgerError(f"quarantine: no message's hash begins with {wanted}")
        if len(rows) > 1:
            raise LedgerError(f"quarantine: several hashes begin with {wanted}; give more digits")
        return rows[0]

    def _opened(self, row: Row[Any]) -> Quarantined:
        try:
            body = self._database.cipher.decrypt(row.body)
        except LedgerKeyError:
            body = None
        return Quarantined(
            hash=row.hash,
            topic=row.topic,
            message_id=row.message_id,
            reason=row.reason,
            recorded_at=row.recorded_at,
            body=body,
            head_of=row.head_of,
        )


def quarantine(database: Database, connection: Connection, message: Incoming, reason: str) -> None:
    """Store a message unchanged, in the caller's transaction."""
    name = hashlib.sha256(message.body)
    if message.head_of is not None:
        # Other messages may have the same head.
        name.update(f"{message.head_of} {message.message_id}".encode("utf-8", "surrogatepass"))
    row = {
        "hash": name.hexdigest(),
        "topic": _cut(message.topic),
        "message_id": _cut(message.message_id),
        "reason": reason,
        "recorded_at": database.time(connection),
        "body": database.cipher.encrypt(message.body),
        "head_of": message.head_of,
    }
    connection.execute(insert(connection, schema.quarantine).values(row).on_conflict_do_nothing())


def _cut(text: str) -> str:
    """A producer's text, in a form that a column can store."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:256]
