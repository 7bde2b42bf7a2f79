"""
Key rotation: everything encrypted is encrypted again with the first key, while other processes keep working.

A row is replaced only if it has not changed since it was read, in transactions of a few rows, so no other process's
write is lost. A rekey that is killed has done a part of the work, and the next one does the rest.

Phone keys do not change: they are computed with the ledger's identity, a separate key, of which only the encryption
changes. So nobody is called twice after a rekey, and call caps and refusals stay in force.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Column, bindparam, delete, func, select, tuple_, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.collectors import Collectors
from airflow_provider_outbound.core.ledger.keys import UNKNOWN, note, noted
from airflow_provider_outbound.core.ledger.statements import stream

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

#: Rows encrypted in one transaction; other writers wait for its commit.
BATCH = 500
#: Bytes read at a time, unless a single row has more: quarantined messages may have megabytes.
MAX_BYTES = 4_000_000
#: Interval between two looks at which collectors have reported (seconds).
_LOOK_SECONDS = 0.5
#: Tables whose rows are useless without their encrypted part.
_DISPOSABLE = (schema.details, schema.quarantine)

_keys = schema.ledger_keys.c


@attrs.frozen(kw_only=True)
class Progress:
    """The progress of a rekey, or of a copy, within a table."""

    table: str
    done: int
    total: int


@attrs.frozen(kw_only=True)
class Rekeyed:
    """What a rekey did, or would do."""

    #: Identifier of the key that everything is encrypted with afterwards.
    first_key: str
    #: Rows by the identifier of the key that they were encrypted with; ``None``: none of the keys opens them.
    rows: dict[str | None, int]
    #: Rows that were encrypted again.
    encrypted: int
    #: Unreadable rows whose encrypted part was deleted.
    discarded: int
    #: Keys that no row needs after it.
    dropped: tuple[str, ...]
    #: Keys other than the first that rows may still need.
    needed: tuple[str, ...]

    @property
    def unreadable(self) -> int:
        """The number of rows that none of the keys opens and that were kept."""
        return self.rows.get(None, 0) - self.discarded


class Rekey:
    """
    One pass over everything that is encrypted.

    :param database: A ledger, which may have been opened without some of its keys.
    :param dry_run: Only count.
    :param discard_unreadable: Delete what none of the keys opens: contacts and messages. Who was called stays known.
    :param report: Called with the progress after each batch.
    """

    def __init__(
        self,
        database: Database,
        *,
        dry_run: bool = False,
        discard_unreadable: bool = False,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._cipher = database.cipher
        self._first = database.cipher.key_ids[0]
        self._dry_run = dry_run
        self._discards = discard_unreadable and not dry_run
        self._report = report
        self._id = uuid.uuid4().hex
        self._rows: Counter[str | None] = Counter()
        self._encrypted = self._discarded = 0
        #: When the other keys were marked, by the database's clock.
        self._marked_at = datetime.now(UTC)

    def run(self) -> Rekeyed:
        """
        Encrypt all rows with the first key, and delete the notes of keys that no row needs afterwards.

        :raises LedgerUnavailableError: the database cannot be reached; the work until then is kept.
        """
        if not self._dry_run:
            self._mark()
        # The identity first: without it the ledger cannot be opened at all.
        for column in sorted(schema.ENCRYPTED, key=lambda column: column.table is not schema.ledger):
            self._pass(column)
        if not self._dry_run:
            self._wait_for_collectors()
        dropped = () if self._dry_run else self._drop()
        return Rekeyed(
            first_key=self._first,
            rows=dict(self._rows),
            encrypted=self._encrypted,
            discarded=self._discarded,
            dropped=dropped,
            needed=self._needed(),
        )

    def _mark(self) -> None:
        """Mark the other keys; a writer that uses one of them at any time removes its mark."""
        with self._database.write() as connection:
            self._marked_at = self._database.time(connection)
            connection.execute(update(schema.ledger_keys).where(_keys.key_id != self._first).values(rekey_id=self._id))

    def _wait_for_collectors(self) -> None:
        """
        Wait until each running collector has written since the keys were marked, so that none is overlooked for being
        idle: a collector writes at least a report of itself every few seconds.
        """
        collectors = Collectors(self._database)
        while self._has_marked() and any(one.seen_at <= self._marked_at for one in collectors.read().running()):
            time.sleep(_LOOK_SECONDS)

    def _has_marked(self) -> bool:
        with self._database.read() as connection:
            return connection.execute(select(_keys.key_id).where(_keys.rekey_id == self._id)).first() is not None

    def _drop(self) -> tuple[str, ...]:
        """
        Delete the notes of keys whose rows were all encrypted again and that no process has used meanwhile.

        While there are unreadable rows, keys that were not given stay needed, because the rows may be theirs.
        """
        unreadable = self._rows[None] - self._discarded
        with self._database.write() as connection:
            unused = delete(schema.ledger_keys).where(_keys.rekey_id == self._id)
            if unreadable:
                unused = unused.where(_keys.key_id.in_(self._cipher.key_ids))
            dropped = connection.execute(unused.returning(_keys.key_id)).scalars().all()
            if unreadable and noted(connection) <= set(self._cipher.key_ids):
                note(connection, [UNKNOWN], self._database.time(connection))
        return tuple(sorted(set(dropped) - {UNKNOWN}))

    def _needed(self) -> tuple[str, ...]:
        with self._database.read() as connection:
            needed = noted(connection)
        if self._dry_run:  # an earlier version noted no keys
            needed |= {key_id for key_id in self._rows if key_id is not None}
        return tuple(sorted(needed - {self._first}))

    def _pass(self, column: Column[bytes]) -> None:
        with self._database.read() as connection:
            total = connection.execute(select(func.count(column))).scalar_one()
        done = 0
        for page in self._pages(column):
            begun = time.monotonic()
            if self._work_through(column, page):
                # Leave other writers as much time as this took.
                time.sleep(time.monotonic() - begun)
            done += len(page)
            self._report(Progress(table=column.table.name, done=done, total=max(done, total)))

    def _pages(self, column: Column[bytes]) -> Iterator[list[Any]]:
        """Pages of rows, of a limited number of bytes: the columns of the primary key, then the encrypted column."""
        keys = [*column.table.primary_key.columns]
        statement = select(*keys, column).where(column.is_not(None)).order_by(*keys).limit(BATCH)
        here = statement
        while True:
            page: list[Any] = []
            size = 0
            with (
                self._database.read() as connection,
                stream(connection, here, 50) as rows,
            ):
                for row in rows:
                    page.append(row)
                    size += len(row[-1])
                    if size >= MAX_BYTES:
                        break
            if not page:
                return
            yield page
            last = tuple_(*page[-1][:-1], types=[key.type for key in keys])
            here = statement.where(tuple_(*keys) > last)

    def _work_through(self, column: Column[bytes], page: Sequence[Any]) -> bool:
        """
        Encrypt the rows of a page again that another key opens.

        :return: Whether anything was written.
        """
        changed: list[dict[str, Any]] = []
        unreadable: list[dict[str, Any]] = []
        for *key, token in page:
            at = {"at_token": token} | {f"at_{index}": value for index, value in enumerate(key)}
            found = self._cipher.find(token)
            self._rows[None if found is None else found[0]] += 1
            if found is None:
                unreadable.append(at)
            elif found[0] != self._first:
                changed.append(at | {"to_token": self._cipher.encrypt(found[1])})
        if not self._discards:
            unreadable = []
        if self._dry_run or not (changed or unreadable):
            return False
        with self._database.write() as connection:
            if changed:
                replaced = connection.execute(_replace(column, bindparam("to_token")), changed)
                self._encrypted += replaced.rowcount
            if unreadable:
                self._discarded += connection.execute(self._discard(column), unreadable).rowcount
        return True

    def _discard(self, column: Column[bytes]) -> Any:
        if column.nullable:
            return _replace(column, None)
        if column.table in _DISPOSABLE:
            return delete(column.table).where(*_is_as_read(column))
        # An event keeps its row in the log, by which a repeated message is recognised.
        return _replace(column, self._cipher.encrypt(b""))


def _is_as_read(column: Column[bytes]) -> list[Any]:
    """Conditions that a row has not changed since it was read."""
    keys = column.table.primary_key.columns
    at_key = [key == bindparam(f"at_{index}", type_=key.type) for index, key in enumerate(keys)]
    return [*at_key, column == bindparam("at_token", type_=column.type)]


def _replace(column: Column[bytes], value: Any) -> Any:
    return update(column.table).where(*_is_as_read(column)).values({column.name: value})
