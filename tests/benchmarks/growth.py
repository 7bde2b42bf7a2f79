"""
Compares a ledger of many events with one of few.

Both start with one job group, recorded as the collector does it. The rest are copies of its rows with other keys, made
inside the database, and the indexes are created again afterwards. The result is the same, but faster. Then both are
measured alternately.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from benchmarks.common import KEY, say

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from airflow_provider_outbound.core.ledger import Incoming, Ledger

#: Jobs of a group, which determine the size of a query; four events each.
JOBS = 500
EVENTS = 4 * JOBS
#: Events in a batch, and how often a waiting task's queries run for each batch.
_LOT, _QUERIES = 256, 8
#: The first runs fill caches and are not counted.
_WARM_UP = 3
#: The number of groups copied by one statement.
_GROUPS_AT_ONCE = 250


@attrs.frozen(kw_only=True)
class Sizes:
    """
    Sizes of the ledgers that are compared.

    :param url: URL of the ledgers, with ``{name}`` for ``few`` and ``many``.
    :param few: The number of events in the small ledger.
    :param many: The number of events in the large ledger.
    :param lots: The number of measured batches for each ledger.
    """

    url: str
    few: int
    many: int
    lots: int


def measure(sizes: Sizes) -> dict[str, Any]:
    """Insert rate and query time of both, and how much slower the large one is."""
    from airflow_provider_outbound.core.ledger import open_ledger

    with (
        open_ledger(sizes.url.format(name="few"), [KEY]) as few,
        open_ledger(sizes.url.format(name="many"), [KEY]) as many,
    ):
        ledgers = {"few": few, "many": many}
        groups: dict[str, list[str]] = {}
        for name, count in (("few", sizes.few), ("many", sizes.many)):
            begun = time.perf_counter()
            with in_haste(ledgers[name]):
                groups[name] = fill(ledgers[name], max(1, count // EVENTS))
            say(f"{len(groups[name]) * EVENTS:,} events: filled in {time.perf_counter() - begun:.0f} s")
        inserts = _in_turns({name: _inserts(ledger, sizes.lots) for name, ledger in ledgers.items()}, sizes.lots)
        queries = _in_turns(
            {name: _queries(ledger, groups[name]) for name, ledger in ledgers.items()}, sizes.lots * _QUERIES
        )
    return {
        "many": len(groups["many"]) * EVENTS,
        "inserts_per_second_few": round(_LOT / inserts["few"], 1),
        "inserts_per_second_many": round(_LOT / inserts["many"], 1),
        "query_ms_few": round(1000 * queries["few"], 3),
        "query_ms_many": round(1000 * queries["many"], 3),
        "insert_slowdown": round(inserts["many"] / inserts["few"], 3),
        "query_slowdown": round(queries["many"] / queries["few"], 3),
    }


def _in_turns(acts: Mapping[str, Callable[[], object]], times: int) -> dict[str, float]:
    """The median seconds of each; they alternate, so that other load on the machine affects all of them."""
    taken: dict[str, list[float]] = {name: [] for name in acts}
    for number in range(times + _WARM_UP):
        for name, act in acts.items():
            begun = time.perf_counter()
            act()
            if number >= _WARM_UP:
                taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _inserts(ledger: Ledger, count: int) -> Callable[[], object]:
    """Returns a function that records another batch of messages at each call."""
    lots = _lots(_LOT * (count + _WARM_UP))
    return lambda: ledger.inbox.record(next(lots))


def _queries(ledger: Ledger, groups: list[str]) -> Callable[[], object]:
    """Returns a function that runs a waiting task's queries: changed groups, a group's state, its summary."""
    newest = ledger.groups.newest()

    def ask() -> None:
        group = random.choice(groups)
        ledger.groups.changed_since(newest - 1)
        ledger.groups.state(group)
        ledger.results.summary(group)

    return ask


def _lots(count: int, jobs: int = JOBS) -> Iterator[list[Incoming]]:
    from airflow_provider_outbound.core.ledger import Incoming
    from benchmarks.collect import bodies

    lot: list[Incoming] = []
    for body in bodies(count, jobs_per_group=jobs):
        lot.append(Incoming(body=body, message_id="", topic="outbound-bench"))
        if len(lot) == _LOT:
            yield lot
            lot = []
    if lot:
        yield lot


@contextmanager
def in_haste(ledger: Ledger) -> Iterator[None]:
    """Switch off SQLite's durability, which a temporary ledger does not need: everything is written only once."""
    from sqlalchemy import event

    if ledger.engine.dialect.name != "sqlite":
        yield
        return

    def relax(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")

    ledger.engine.dispose()
    event.listen(ledger.engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(ledger.engine, "connect", relax)
        ledger.engine.dispose()


def fill(ledger: Ledger, count: int, jobs: int = JOBS) -> list[str]:
    """Create ``count`` groups with this number of jobs, and four events for each; returns their ids."""
    from sqlalchemy import select, text, update

    from airflow_provider_outbound.core.ledger import schema

    events = 4 * jobs
    for lot in _lots(events, jobs):
        ledger.inbox.record(lot)
    with ledger.read() as connection:
        (first,) = connection.execute(select(schema.job_groups.c.job_group_id)).scalars()
    tables = (schema.job_groups, schema.jobs, schema.calls, schema.events)
    indexes = [index for table in tables for index in table.indexes] if count > _GROUPS_AT_ONCE else []
    with ledger.write() as connection:
        for index in indexes:
            index.drop(connection)
        # Copied from tables of their own: without indexes, each statement would search all rows for these.
        for table in tables:
            connection.execute(text(f"CREATE TABLE first_{table.name} AS SELECT * FROM {table.name}"))
    for start in range(1, count, _GROUPS_AT_ONCE):
        end = min(count, start + _GROUPS_AT_ONCE)
        with ledger.write() as connection:
            for table in tables:
                _copy(connection, table, start, end, events)
        if end % 1000 < _GROUPS_AT_ONCE:
            say(f"{end:,} of {count:,} groups")
    with ledger.write() as connection:
        for table in tables:
            connection.execute(text(f"DROP TABLE first_{table.name}"))
        for index in indexes:
            index.create(connection)
        connection.execute(update(schema.ledger).values(sequence=count * events))
    sqlite = ledger.engine.dialect.name == "sqlite"
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # PostgreSQL would do this on its own otherwise, while the ledgers are measured.
        connection.exec_driver_sql("ANALYZE" if sqlite else "VACUUM (ANALYZE)")
    return [first, *(f"{first}-{number}" for number in range(1, count))]


def _copy(connection: Connection, table: Table, start: int, end: int, events: int) -> None:
    """Copy the first group's rows of one table, with the keys of the groups ``start`` to ``end``."""
    from sqlalchemy import text

    sqlite = connection.dialect.name == "sqlite"
    # Random keys are as scattered as real ones.
    scattered = "lower(hex(randomblob(32)))" if sqlite else "encode(sha256((n.n::text || hash)::bytea), 'hex')"
    scattered_key = "lower(hex(randomblob(16)))" if sqlite else "md5(n.n::text || phone_key)"
    numbers = (
        "WITH RECURSIVE n(n) AS (SELECT :start UNION ALL SELECT n + 1 FROM n WHERE n + 1 < :end)"
        if sqlite
        else "WITH n AS (SELECT generate_series(:start, :end - 1) AS n)"
    )
    made: dict[str, str] = {
        "job_group_id": "job_group_id || '-' || n.n",
        "job_id": "job_id || '-' || n.n",
        "task_id": "task_id || '-' || n.n",
        "sequence": "sequence + n.n * :events",
        "changed": "changed + n.n * :events",
        "hash": scattered,
        "phone_key": scattered_key,
    }
    columns = [column.name for column in table.columns]
    values = ", ".join(made.get(column, column) for column in columns)
    statement = f"{numbers} INSERT INTO {table.name} ({', '.join(columns)}) SELECT {values} FROM n, first_{table.name}"
    if sqlite:
        statement = statement.replace(numbers, "", 1).replace("SELECT ", f"{numbers} SELECT ", 1)
    connection.execute(text(statement), {"start": start, "end": end, "events": events})
