"""
Copies a ledger into the empty ledger of another database: from a SQLite file to PostgreSQL, for example.

The copy has the same identity, so it recognises everybody who was called, or refused to be called.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Table, delete, func, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.collectors import Collectors
from airflow_provider_outbound.core.ledger.errors import shown_url
from airflow_provider_outbound.core.ledger.records import OPEN
from airflow_provider_outbound.core.ledger.rekey import Progress
from airflow_provider_outbound.core.ledger.statements import stream
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import LedgerError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

#: Rows inserted by one statement.
_BATCH = 500
#: What opening a ledger writes into a new one.
_FIRST = (schema.ledger, schema.ledger_keys)


def copy_ledger(source: Database, target: Database, report: Callable[[Progress], None] = lambda _: None) -> int:
    """
    Copy every row, in one transaction of the target.

    :param source: A ledger that nobody writes to.
    :param target: A ledger that nothing was written to since it was created.
    :param report: Called with the progress.
    :return: The number of rows.
    :raises LedgerError: the source is in use, the target is, or the copy lacks rows; the target then stays empty.
    :raises LedgerUnavailableError: one of the databases cannot be reached.
    """
    _refuse_in_use(source)
    copied = 0
    with source.read() as old, target.write() as new:
        _refuse_filled(new, target)
        for table in reversed(_FIRST):
            new.execute(delete(table))
        for table in schema.metadata.sorted_tables:
            total = _count(old, table)
            done = 0
            with stream(old, select(table), _BATCH) as rows:
                for part in rows.partitions():
                    _insert(new, table, part)
                    done += len(part)
                    report(Progress(table=table.name, done=done, total=total))
            found = _count(new, table)
            if found != total:
                raise LedgerError(f"ledger: {found} of {total} rows of {table.name} were copied, so nothing was kept")
            copied += total
    return copied


def _refuse_in_use(source: Database) -> None:
    if running := Collectors(source).read().running():
        raise LedgerError(
            f"ledger: a collector on {running[0].host} (process {running[0].pid}) used the one to copy within the last"
            " minute; stop the collectors and Airflow's services first, and run this a minute later"
        )
    table = schema.assignments.c
    with source.read() as connection:
        now = source.time(connection)
        held = select(func.count()).where(table.state == OPEN, table.lease_until > now)
        assigning = connection.execute(held).scalar_one()
    if assigning:
        raise LedgerError(
            f"ledger: {count_of(assigning, 'task is', 'tasks are')} assigning contacts with the one to copy; stop"
            " Airflow's services first"
        )


def _refuse_filled(connection: Connection, target: Database) -> None:
    filled = [
        table.name for table in schema.metadata.sorted_tables if table not in _FIRST and _count(connection, table)
    ]
    if filled:
        raise LedgerError(
            f"ledger {shown_url(target.engine.url)} is in use: it has rows in {', '.join(filled)}, so nothing was"
            " copied. Give an empty database, before Airflow's services use it"
        )


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _insert(connection: Connection, table: Table, rows: Iterable[Row[Any]]) -> None:
    # Without the columns that are NULL: JSON would store its own null in them.
    alike: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        values = {name: value for name, value in row._asdict().items() if value is not None}
        alike[tuple(values)].append(values)
    for part in alike.values():
        connection.execute(table.insert(), part)
