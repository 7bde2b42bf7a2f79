"""
Which keys the ledger needs.

A row does not name its key, so keys can only be tried, and nothing identifies a missing one. Therefore every writer
notes the identifier of its key in the transaction that uses it. Opening the ledger compares the notes with the keys
given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, bindparam, select, tuple_

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.statements import insert, stream
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.cipher import FieldCipher

#: Stands for keys whose identifiers were not noted, of rows that none of the keys opened.
UNKNOWN = "unknown"
#: The number of rows tried at either end of each encrypted column's table.
TRIALS = 5_000

_keys = schema.ledger_keys.c
# Built once: building a statement takes longer than running it.
_IS_NOTED = select(_keys.key_id).where(_keys.key_id == bindparam("key_id"), _keys.rekey_id.is_(None))


def noted(connection: Connection) -> set[str]:
    """Identifiers of the keys that rows may be encrypted with."""
    return set(connection.execute(select(_keys.key_id)).scalars())


def note(connection: Connection, key_ids: Iterable[str], now: datetime) -> None:
    """Note, in a writing transaction, that rows may be encrypted with these keys."""
    for key_id in key_ids:
        statement = insert(connection, schema.ledger_keys).values(key_id=key_id, noted_at=now, rekey_id=None)
        connection.execute(statement.on_conflict_do_update(index_elements=["key_id"], set_={"rekey_id": None}))


def is_noted(connection: Connection, key_id: str) -> bool:
    """Whether this key is noted, so that a writer may use it."""
    return connection.execute(_IS_NOTED, {"key_id": key_id}).first() is not None


def check_keys(needed: Collection[str], cipher: FieldCipher, shown_url: str) -> None:
    """
    Refuse keys that cannot decrypt every row.

    :param needed: Identifiers of the keys that rows may be encrypted with.
    :raises LedgerKeyError: some of them were not given.
    """
    missing = sorted(set(needed) - set(cipher.key_ids))
    if not missing:
        return
    named = [key_id for key_id in missing if key_id != UNKNOWN]
    which = f"key {', '.join(named)}" if named else "a key whose identifier is not known"
    raise LedgerKeyError(
        f"ledger_key: rows of the ledger {shown_url} are encrypted with {which}, which is not among the keys given"
        f" ({', '.join(cipher.key_ids)}); add it after the others, in [outbound] ledger_key or, where that is not set,"
        " in [core] fernet_key, and keep it until 'outbound ledger rekey' reports that it may be dropped. If no row"
        " needs it, or it is lost for good, see: outbound ledger rekey --help"
    )


def sample(connection: Connection, cipher: FieldCipher) -> Counter[str | None]:
    """
    Try the keys on the first and the last :data:`TRIALS` rows of each encrypted column, in primary key order.

    :return: The number of rows by the identifier of the key that opens them; ``None``: no key does.
    """
    found: Counter[str | None] = Counter()
    for column in schema.ENCRYPTED:
        if column.table is schema.ledger:  # its key was found when it was opened
            continue
        for token in _ends(connection, column):
            opened = cipher.find(token)
            found[None if opened is None else opened[0]] += 1
    return found


def _ends(connection: Connection, column: Column[bytes]) -> Iterable[bytes]:
    """Values at both ends of a column, without reading those between."""
    keys = [*column.table.primary_key.columns]
    rows: Any = select(*keys, column).where(column.is_not(None)).limit(TRIALS)
    last: list[Any] = []
    count = 0
    with stream(connection, rows.order_by(*keys), 100) as first:
        for row in first:
            *last, token = row
            count += 1
            yield token
    if count < TRIALS:
        return
    behind = tuple_(*keys) > tuple_(*last, types=[key.type for key in keys])
    backwards = rows.where(behind).order_by(*(key.desc() for key in keys))
    with stream(connection, backwards, 100) as rest:
        for row in rest:
            yield row[-1]
