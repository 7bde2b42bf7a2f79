"""
What tables of results need on MySQL, MariaDB and databases that speak their protocol.

By default these compare texts without regard to case, accents and trailing spaces, cut or convert values that do not
fit, and replace a row by any of its unique keys. Each of these would make one row of two results, without an error.
Import it only when a table is written, because it imports SQLAlchemy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Column, Connection, DateTime, String, Table, text
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError

#: SQLAlchemy's names of these databases.
DIALECTS = ("mysql", "mariadb")
#: Collations that compare exactly, best first: those of MySQL 8 and of MariaDB, which do not ignore trailing spaces.
_COLLATIONS = ("utf8mb4_0900_bin", "utf8mb4_nopad_bin", "utf8mb4_bin")

log = logging.getLogger(__name__)


def check_server(connection: Connection, name: str) -> None:
    """
    Refuse AnalyticDB for MySQL, whose function of this name other servers do not have.

    It knows no transactions, and one collation besides ``binary``, ``utf8_general_ci``.

    :param name: The table's name, for errors.
    :raises OutboundBotConfigError: the server is AnalyticDB.

    Source: "Other SQL feature differences" in the documentation of AnalyticDB for MySQL.
    """
    try:
        with connection.begin():
            connection.execute(text("SELECT adb_version()"))
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return
    raise OutboundBotConfigError(
        f"table {name!r}: AnalyticDB has no transactions, so that half of an export could stay in it; export to Parquet"
        " in OSS and read it there as an external table, or export to RDS or PolarDB. Nothing was written"
    )


def prepare_session(connection: Connection) -> None:
    """Refuse values that do not fit, and commit only where this package says so, whatever the connection's settings."""
    connection.execute(
        text("SET SESSION autocommit = 0, SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')")
    )


def adapt(connection: Connection, table: Table) -> None:
    """Choose the column types of a new table: keys are compared exactly, and times keep their fractions."""
    collation = _best_collation(connection)
    for column in table.columns:
        if column.primary_key and isinstance(column.type, String):
            column.type = mysql.VARCHAR(column.type.length, charset="utf8mb4", collation=collation)
        elif isinstance(column.type, DateTime):
            column.type = mysql.DATETIME(fsp=6)


def _best_collation(connection: Connection) -> str:
    names = ", ".join(f"'{name}'" for name in _COLLATIONS)
    found = connection.execute(
        text(f"SELECT COLLATION_NAME FROM information_schema.COLLATIONS WHERE COLLATION_NAME IN ({names})")  # noqa: S608 - of constants
    )
    known = {str(name) for name in found.scalars()}
    return next((name for name in _COLLATIONS if name in known), _COLLATIONS[-1])


@attrs.frozen(kw_only=True)
class ExactKey:
    """
    The key of a table, which tells all references apart.

    :param padded: Collation by key column, of those that ignore trailing spaces.
    """

    name: str
    padded: Mapping[str, str]

    def check(self, row: Mapping[str, Any]) -> None:
        """
        Refuse a row that the table could take for another one.

        :raises OutboundBotConfigError: its reference ends with a space, which the column ignores.
        """
        for column, collation in self.padded.items():
            if str(row[column]).endswith(" "):
                raise OutboundBotConfigError(
                    f"table {self.name!r}: {column} {redact(str(row[column]))!r} ends with a space, which {collation}"
                    f" ignores, so that its row could replace another one; change column {column} to VARCHAR with"
                    " COLLATE utf8mb4_0900_bin (MySQL 8) or utf8mb4_nopad_bin (MariaDB). Nothing was written"
                )


def check(connection: Connection, table: Table, name: str) -> ExactKey:
    """
    Check that a table keeps each result as a row of its own.

    :param name: The table's name, for errors.
    :raises OutboundBotConfigError: it could merge rows, or keep half of an export.
    """
    quoted = connection.dialect.identifier_preparer.format_table(table)
    columns = {row["Field"].lower(): row for row in _rows(connection, f"SHOW FULL COLUMNS FROM {quoted}")}
    padded: dict[str, str] = {}
    for column in table.primary_key:
        if isinstance(column.type, String):
            kind, collation = columns[column.name]["Type"].lower(), columns[column.name]["Collation"]
            if not kind.startswith("varbinary") and not (collation or "").endswith("_bin"):
                raise _inexact(connection, name, column, kind, collation)
            if collation and (kind.startswith("char") or not ("_0900_" in collation or "nopad" in collation)):
                padded[column.name] = collation
    _check_keys(name, table, _rows(connection, f"SHOW INDEX FROM {quoted}"), columns)
    _check_engine(connection, table, name)
    rounded = [
        column.name
        for column in table.columns
        if isinstance(column.type, DateTime) and columns[column.name]["Type"].lower() == "datetime"
    ]
    if rounded:
        log.warning(
            "Table %r: %s hold whole seconds, so that times are rounded or cut; change them to DATETIME(6)",
            name,
            ", ".join(rounded),
        )
    return ExactKey(name=name, padded=padded)


def _rows(connection: Connection, statement: str) -> list[dict[str, Any]]:
    """Return the rows of a SHOW statement; some drivers return its texts as bytes."""
    return [
        {str(key): value.decode() if isinstance(value, bytes) else value for key, value in row.items()}
        for row in connection.execute(text(statement)).mappings()
    ]


def _inexact(
    connection: Connection, name: str, column: Column[Any], kind: str, collation: str | None
) -> OutboundBotConfigError:
    length = getattr(column.type, "length", None)
    what = f"has the collation {collation}" if collation else f"is of type {kind}"
    return OutboundBotConfigError(
        f"table {name!r}: column {column.name} {what}, which takes some different references for the same one, so that"
        f" results would be lost; run ALTER TABLE {name} MODIFY {column.name} VARCHAR({length}) CHARACTER SET utf8mb4"
        f" COLLATE {_best_collation(connection)} NOT NULL, or name a table that does not exist yet. Nothing was written"
    )


def _check_keys(
    name: str, table: Table, indexes: Sequence[Mapping[str, Any]], columns: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse a unique key by which a row would replace that of another job."""
    own = {column.name for column in table.primary_key}
    counters = {column for column, row in columns.items() if "auto_increment" in row["Extra"].lower()}
    unique: dict[str, list[Mapping[str, Any]]] = {}
    for part in indexes:
        if not int(part["Non_unique"]):
            unique.setdefault(part["Key_name"], []).append(part)
    for key, parts in unique.items():
        # A prefix of a column, or an expression, is less than the column.
        whole = {str(part["Column_name"]).lower() for part in parts if part["Column_name"] and not part["Sub_part"]}
        is_counter = len(parts) == 1 and any(column in counters for column in whole)
        if not whole.issuperset(own) and not is_counter:
            raise OutboundBotConfigError(
                f"table {name!r}: its unique key {key} could make one row of the results of different jobs; drop it,"
                " or name a table that does not exist yet. Nothing was written"
            )


def _check_engine(connection: Connection, table: Table, name: str) -> None:
    engine = connection.execute(
        text(
            # An engine that is not listed is not known to have transactions.
            "SELECT t.ENGINE FROM information_schema.TABLES t"
            " LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE"
            " WHERE t.TABLE_SCHEMA = COALESCE(:schema, DATABASE()) AND t.TABLE_NAME = :name"
            " AND COALESCE(e.TRANSACTIONS, 'NO') <> 'YES'"
        ),
        {"schema": table.schema, "name": table.name},
    ).scalar()
    if engine is not None:
        raise OutboundBotConfigError(
            f"table {name!r}: its engine {engine} has no transactions, so that half of an export could stay in it;"
            f" run ALTER TABLE {name} ENGINE = InnoDB. Nothing was written"
        )
