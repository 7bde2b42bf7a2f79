"""Whether others can read, or pretend to be, the other end of a connection to a database."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

#: Values of libpq's ``sslmode`` with which the server's certificate is checked.
_CHECKED = ("verify-ca", "verify-full")


def is_own_machine(host: str | Sequence[str] | None) -> bool:
    """Whether a database's host is always the machine that connects. Without a host, it is a local socket."""
    hosts = [host] if isinstance(host, str) else host or [""]
    return any(one in ("", "localhost", "::1") or one.startswith(("127.", "/")) for one in hosts)


def is_readable(connection: Connection) -> bool:
    """Whether data crosses a network without encryption; ``False`` if the driver does not show it."""
    return _crosses_network(connection.engine.url) and _is_encrypted(connection) is False


def is_unchecked(url: URL) -> bool:
    """Whether an encrypted connection to PostgreSQL does not check the server's certificate."""
    if url.get_backend_name() != "postgresql" or not _crosses_network(url):
        return False
    mode = url.query.get("sslmode") or os.environ.get("PGSSLMODE")
    has_authority = "sslrootcert" in url.query or "PGSSLROOTCERT" in os.environ
    # With an authority, "require" checks the certificate as "verify-ca" does.
    return mode not in _CHECKED and not (mode == "require" and has_authority)


def _crosses_network(url: URL) -> bool:
    hosts = url.host or url.query.get("host") or ""
    return not all(map(is_own_machine, [hosts] if isinstance(hosts, str) else hosts))


def _is_encrypted(connection: Connection) -> bool | None:
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "postgresql":
        # psycopg has it on its libpq connection, psycopg2 on its information.
        places: tuple[Any, ...] = (getattr(driver, "pgconn", None), getattr(driver, "info", None))
        shown = [place.ssl_in_use for place in places if hasattr(place, "ssl_in_use")]
        return bool(shown[0]) if shown else None
    if connection.dialect.name not in ("mysql", "mariadb"):
        return None
    # By the driver itself: SQLAlchemy would begin a transaction.
    with closing(driver.cursor()) as cursor:
        try:
            cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            row = cursor.fetchone()
        except connection.dialect.loaded_dbapi.Error:
            # A service that speaks the protocol need not have the variable.
            return None
    return None if row is None else bool(row[1])
