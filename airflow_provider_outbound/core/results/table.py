"""Writes rows to a table through SQLAlchemy. Import it only when a table is written, because it imports SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    MetaData,
    String,
    Table,
    Text,
    Time,
    and_,
    delete,
    inspect,
    or_,
)
from sqlalchemy.exc import DBAPIError

from airflow_provider_outbound.core.results import mysql
from airflow_provider_outbound.core.results.columns import CALL_KEY, KEY, KINDS, PERSONAL_COLUMNS, Kind
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

T = TypeVar("T")

#: Number of rows in one statement.
_BATCH = 500
#: How long SQLite waits for another writer (seconds).
_BUSY_SECONDS = 60
#: As in the ledger: some databases cannot index text of unlimited length.
_KEY_TYPES = {"job_group_id": String(128), "reference_id": String(256)}


class Target:
    """
    A table with one row per job, or per call.

    :param connection: Connection to its database.
    :param name: ``table`` or ``schema.table``.
    :param columns: The columns of the rows. If the table also has phone numbers and names, they are cleared.
    """

    def __init__(self, connection: Connection, name: str, columns: Sequence[str]) -> None:
        schema, _, plain = name.strip().rpartition(".")
        if not plain:
            raise OutboundBotConfigError(f"table: {name!r} does not name a table")
        self._name = name
        self._connection = connection
        #: Rows of calls have a number within their job.
        self._key = CALL_KEY if set(CALL_KEY) <= set(columns) else KEY
        parts = (_column(column, is_key=column in self._key) for column in columns)
        charset: dict[str, Any] = {f"{dialect}_charset": "utf8mb4" for dialect in mysql.DIALECTS}
        self._table = Table(plain, MetaData(), *parts, schema=schema or None, **charset)
        self._is_mysql = connection.dialect.name in mysql.DIALECTS
        #: On MySQL: refuses rows that the key cannot tell apart.
        self._exact_key: mysql.ExactKey | None = None
        #: Timestamp columns without a time zone: UTC is written there.
        self._naive: set[str] = set()
        #: Columns of phone numbers and names that the rows do not have.
        self._cleared: list[str] = []

    def prepare(self) -> None:
        """
        Create the table, or check an existing one; committed.

        :raises OutboundBotConfigError: the table lacks a column or the unique key, takes different references for the
            same one, a column does not store times in UTC, or phone numbers in it cannot be cleared.
        """
        if self._is_mysql:
            mysql.check_server(self._connection, self._name)
            with self._connection.begin():
                mysql.prepare_session(self._connection)
        if not self._exists():
            try:
                with self._connection.begin():
                    if self._is_mysql:
                        mysql.adapt(self._connection, self._table)
                    self._table.create(self._connection)
            except DBAPIError:
                # Another export may have created it at the same time.
                if not self._exists():
                    raise
        with self._connection.begin():
            self._check()

    def _exists(self) -> bool:
        with self._connection.begin():
            if self._connection.dialect.name == "sqlite":
                # The driver's default is short; with this timeout two concurrent exports wait for each other.
                self._connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
            return inspect(self._connection).has_table(self._table.name, schema=self._table.schema)

    def _check(self) -> None:
        table, inspector = self._table, inspect(self._connection)
        found = inspector.get_columns(table.name, schema=table.schema)
        present = {column["name"].lower(): column for column in found}
        lacking = [name for name in table.columns.keys() if name not in present]  # noqa: SIM118 - not a dictionary
        if lacking:
            raise OutboundBotConfigError(
                f"table {self._name!r} lacks the columns {', '.join(lacking)}; add them, or name a table that does not"
                " exist yet"
            )
        keys: list[Any] = [inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"]]
        keys += [item["column_names"] for item in inspector.get_unique_constraints(table.name, schema=table.schema)]
        for index in inspector.get_indexes(table.name, schema=table.schema):
            keys += [index["column_names"]] if index["unique"] else []
        if not any({str(column).lower() for column in key} == set(self._key) for key in keys):
            raise OutboundBotConfigError(
                f"table {self._name!r} has no unique key of {' and '.join(self._key)}; add one, or name a table that"
                " does not exist yet"
            )

        if self._is_mysql:
            self._exact_key = mysql.check(self._connection, table, self._name)
        self._check_times({name: present[name]["type"] for name in table.columns.keys()})  # noqa: SIM118
        self._clear({name: column["nullable"] for name, column in present.items()})

    def _check_times(self, types: Mapping[str, Any]) -> None:
        """Check that timestamp columns store UTC, whatever the session's time zone."""
        if self._connection.dialect.name == "sqlite":
            # SQLite has no timestamp type: SQLAlchemy writes text without a time zone.
            self._naive = {name for name in types if KINDS[name] is Kind.TIMESTAMP}
            return
        for name, found in types.items():
            if KINDS[name] is not Kind.TIMESTAMP:
                continue
            # MySQL converts TIMESTAMP values from and to the session's time zone.
            moves = self._is_mysql and found.__visit_name__ == "TIMESTAMP"
            if moves or isinstance(found, (Date, Time)):
                wanted = "DATETIME(6)" if self._is_mysql else "TIMESTAMP WITH TIME ZONE"
                raise OutboundBotConfigError(
                    f"table {self._name!r}: column {name} is a {found}, which does not store UTC; change it to"
                    f" {wanted}. Nothing was written"
                )
            if isinstance(found, DateTime) and not found.timezone:
                self._naive.add(name)
                self._table.c[name].type = DateTime()

    def _clear(self, nullable: Mapping[str, bool]) -> None:
        """Clear phone numbers and names of an earlier export in rows that are written without them."""
        self._cleared = [name for name in PERSONAL_COLUMNS if name in nullable and name not in self._table.c]
        for name in self._cleared:
            if not nullable[name]:
                raise OutboundBotConfigError(
                    f"table {self._name!r}: column {name} is NOT NULL, so it cannot be cleared; allow NULL, or"
                    " export with include_phone_number=True. Nothing was written"
                )
            self._table.append_column(_column(name, is_key=False))

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """
        Insert rows, replacing those with the same key.

        :param rows: Those of a job follow each other, in the order of their attempts.
        """
        iterator = iter(rows)
        while part := list(islice(iterator, _BATCH)):
            if self._key == CALL_KEY:
                self._delete_later_attempts(part)
            self._upsert([self._values(row) for row in part])

    def _delete_later_attempts(self, rows: Sequence[dict[str, Any]]) -> None:
        """Delete what an earlier export took for further calls of these jobs: two reports may be of one call."""
        last = {(row["job_group_id"], row["reference_id"]): row["attempt"] for row in rows}
        columns = self._table.c
        for part in _chunks(list(last.items()), 100):
            later = (
                and_(columns.job_group_id == group, columns.reference_id == reference, columns.attempt > attempt)
                for (group, reference), attempt in part
            )
            self._connection.execute(delete(self._table).where(or_(*later)))

    def _values(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._exact_key is not None:
            self._exact_key.check(row)
        values = {
            name: value.replace(tzinfo=None) if name in self._naive and value else value for name, value in row.items()
        }
        return values | dict.fromkeys(self._cleared)

    def _upsert(self, rows: Sequence[dict[str, Any]]) -> None:
        if self._is_mysql:
            self._connection.execute(self._replace(rows))
            return
        statement = self._insert_or_update()
        if statement is None:
            keys = [self._table.c[name] for name in self._key]
            for part in _chunks(rows, 100):
                same = or_(*(and_(*(column == row[column.name] for column in keys)) for row in part))
                self._connection.execute(delete(self._table).where(same))
            statement = self._table.insert()
        self._connection.execute(statement, rows)

    def _insert_or_update(self) -> Any:
        """Return the dialect's upsert statement; ``None`` if it has none."""
        name = self._connection.dialect.name
        others = [column.name for column in self._table.columns if column.name not in self._key]
        if name in ("postgresql", "sqlite"):
            from sqlalchemy.dialects import postgresql, sqlite

            statement: Any = (postgresql if name == "postgresql" else sqlite).insert(self._table)
            statement = statement.on_conflict_do_update(
                index_elements=list(self._key), set_={other: statement.excluded[other] for other in others}
            )
            # psycopg2 sends one statement per row unless the statement returns something.
            is_slow = self._connection.dialect.driver == "psycopg2"
            return statement.returning(self._table.c.reference_id) if is_slow else statement
        return None

    def _replace(self, rows: Sequence[dict[str, Any]]) -> Any:
        """Return MySQL's upsert of all rows: its drivers send a statement of one row for each of them."""
        from sqlalchemy.dialects.mysql import insert

        statement = insert(self._table).values(list(rows))
        return statement.on_duplicate_key_update(
            {other.name: statement.inserted[other.name] for other in self._table.columns if other.name not in self._key}
        )


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _column(name: str, *, is_key: bool) -> Column[Any]:
    types: dict[Kind, TypeEngine[Any]] = {
        Kind.TEXT: Text(),
        Kind.BOOLEAN: Boolean(),
        Kind.INTEGER: BigInteger(),
        Kind.NUMBER: Double(),
        Kind.TIMESTAMP: DateTime(timezone=True),
        # Otherwise a missing object would be the JSON value null, which is not NULL.
        Kind.OBJECT: JSON(none_as_null=True),
    }
    return Column(name, _KEY_TYPES.get(name) or types[KINDS[name]], primary_key=is_key, nullable=not is_key)
