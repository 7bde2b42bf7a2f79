"""Messages that could not be read: kept whole, looked at by a person, read again or dropped."""

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
#: Bodies may be megabytes: few at a time are held.
_PAGE = 20


@attrs.frozen(kw_only=True)
class Quarantined:
    """A message that could not be read."""

    #: Its name: SHA-256 of its bytes, hexadecimal; of a message whose head alone is kept, of that with size and id.
    hash: str
    topic: str | None
    message_id: str | None
    #: Why it could not be read.
    reason: str
    recorded_at: datetime
    #: Its bytes as they came, with whatever numbers are in them; ``None``: no key at hand opens them.
    body: bytes | None = attrs.field(repr=False)
    #: If only its head is kept: how many bytes were delivered.
    head_of: int | None = None


class Quarantine:
    """
    Reads and writes of ``quarantine``.

    :param record: Takes a message in, inside the transaction that it is given.
    """

    def __init__(self, database: Database, record: Callable[[Connection, Incoming], Recorded]) -> None:
        self._database = database
        self._record = record

    def iter_messages(self) -> Iterator[Quarantined]:
        """Every message kept here, ordered by hash, read a few at a time."""
        after = ""
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
        One message.

        :param name: Its hash, or so much of the beginning that no other has it.
        :raises LedgerError: none or several begin so.
        """
        with self._database.read() as connection:
            return self._opened(self._one(connection, name))

    def replay(self, name: str) -> Recorded:
        """
        Read a message again, as a newer version of this package or another key may: what can be read is taken in as if
        it had just come, and leaves the quarantine in the same commit; what cannot stays as it is.

        :param name: As for :meth:`get`.
        :raises LedgerError: none or several begin so.
        :raises LedgerKeyError: no key opens it.
        """
        with self._database.write() as connection:
            row = self._one(connection, name)
            message = Incoming(
                body=self._database.cipher.decrypt(row.body),
                message_id=row.message_id or "",
                topic=row.topic or "",
                # A head may look like a message; what stood behind it is not known.
                fault="" if row.head_of is None else row.reason,
                head_of=row.head_of,
            )
            recorded = self._record(connection, message)
            if not recorded.quarantined:
                connection.execute(delete(schema.quarantine).where(_table.hash == row.hash))
        return recorded

    def drop(self, name: str) -> Quarantined:
        """
        Forget a message for good.

        :param name: As for :meth:`get`.
        :return: What was dropped.
        :raises LedgerError: none or several begin so.
        """
        with self._database.write() as connection:
            row = self._one(connection, name)
            connection.execute(delete(schema.quarantine).where(_table.hash == row.hash))
        return self._opened(row)

    def count(self) -> int:
        """How many messages are kept here."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(schema.quarantine)).scalar_one()

    def _one(self, connection: Connection, name: str) -> Row[Any]:
        wanted = name.strip().lower()
        if not wanted or not set(wanted) <= _HEX:
            raise LedgerError(f"quarantine: {name!r} is no hash; `outbound ledger quarantine list` shows them")
        rows = connection.execute(select(schema.quarantine).where(_table.hash.startswith(wanted)).limit(2)).all()
        if not rows:
            raise LedgerError(f"quarantine: no message's hash begins with {wanted}")
        if len(rows) > 1:
            raise LedgerError(f"quarantine: several hashes begin with {wanted}; give more of it")
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
    """Keep a message as it is, inside the caller's transaction."""
    name = hashlib.sha256(message.body)
    if message.head_of is not None:
        # Others may begin so too.
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
    """A producer's text, as a column can hold it."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:256]
