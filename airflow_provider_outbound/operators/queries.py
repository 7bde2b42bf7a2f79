"""Contacts that a query returns."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.contacts import Header, mysql, narrow_columns
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.databases import connect

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Rows of a query held in memory.
_BATCH = 1000
#: How long MySQL waits for a reader that pauses (seconds); its default of 60 ends the query.
_MYSQL_PATIENCE = 28_800

log = logging.getLogger(__name__)


class Query:
    """
    Rows of a query, read with a server-side cursor if the driver has one.

    :param sql: A SELECT statement.
    :param conn_id: The connection.
    """

    label = "contacts_sql"
    name = ""
    is_repeatable = True

    def __init__(self, sql: Any, conn_id: str | None) -> None:
        if not isinstance(sql, str) or not sql.strip():
            raise OutboundBotConfigError("contacts_sql: empty; pass a SELECT statement")
        if not conn_id:
            raise OutboundBotConfigError("sql_conn_id: missing; give the connection for contacts_sql")
        self.sql = sql.strip().rstrip(";")
        self.conn_id = conn_id

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        with connect(self.conn_id, "contacts_sql", OutboundBotContactsError) as connection:
            is_mysql = connection.dialect.name in mysql.DIALECTS
            if is_mysql:
                self._prepare_mysql(connection)
            # Without parameters a percent sign needs no escaping.
            options = {"stream_results": True, "no_parameters": True}
            with closing(connection.execution_options(**options).exec_driver_sql(self.sql)) as result:
                if not result.returns_rows:
                    raise OutboundBotConfigError("contacts_sql: it returns no rows; pass a SELECT statement")
                names = tuple(result.keys())
                twice = [name for name in names if names.count(name) > 1]
                if twice:
                    raise OutboundBotContactsError(
                        f"contacts_sql: column {twice[0]!r} appears twice; rename one with AS"
                    )
                description = result.cursor.description if result.cursor is not None else ()
                yield 0, Header(names, narrow_columns(connection.dialect.name, description))
                readers = mysql.readers(description) if is_mysql else {}
                for row, values in enumerate(_texts(result.yield_per(_BATCH)), start=1):
                    read = dict(zip(names, values, strict=True))
                    for name, reader in readers.items():
                        read[name] = reader(read[name])
                    yield row, read

    def _prepare_mysql(self, connection: Connection) -> None:
        from sqlalchemy.exc import DBAPIError

        if connection.dialect.driver == "mysqlconnector":
            log.warning(
                "contacts_sql: connection %r uses mysql-connector-python, which holds all rows of a query in memory;"
                ' mysqlclient and pymysql stream them (extra: {"client": "pymysql"})',
                self.conn_id,
            )
        try:
            connection.exec_driver_sql(f"SET SESSION net_write_timeout = {_MYSQL_PATIENCE}")
        except DBAPIError:
            # A service that speaks the protocol need not have the setting.
            log.warning("contacts_sql: connection %r does not accept net_write_timeout", self.conn_id)


def _texts(rows: Iterable[Any]) -> Iterator[Any]:
    """
    Yield rows; a text that the driver cannot decode is an error of one line.

    :raises OutboundBotContactsError: a text is not in the connection's character set.
    """
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise OutboundBotContactsError(
            f"contacts_sql: a text is not valid {error.encoding}; convert the column to utf8mb4, or set the"
            " connection's charset"
        ) from None
