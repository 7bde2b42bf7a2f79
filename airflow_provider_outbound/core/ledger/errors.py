"""
Translation of database errors: whether the error may pass by itself, or a person has to change something.

PostgreSQL reports this by its SQLSTATE. The class of the driver's exception is not enough: a server that is read-only
during a failover raises the same class as a bug in a statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError, ProgrammingError

from airflow_provider_outbound.exceptions import (
    LedgerAccessError,
    LedgerError,
    LedgerUnavailableError,
    OutboundBotConfigError,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

#: SQLSTATEs, or their prefixes, that may pass by themselves: connection lost, out of resources (disk, memory,
#: connections), lock or transaction aborted, shutting down or starting, read-only during a failover, I/O.
_PASSING = ("08", "40", "53", "55", "57", "58", "25006", "25P03")
#: What a person has to change, by SQLSTATE.
_ACCESS = {
    "28": "the server refuses this user; correct the user and password in ledger_url",
    "3D": "there is no such database; correct its name in ledger_url, or create it",
    "3F": "there is no such schema; correct the search_path of this user, or create it",
    "42501": (
        "this user lacks a privilege; grant SELECT, INSERT, UPDATE and DELETE on the ledger's tables. To create or"
        " migrate the ledger, run 'outbound ledger migrate' as the user who owns them"
    ),
    "42P01": "a table of the ledger is missing; correct ledger_url, or restore a backup",
    "42703": "a column of the ledger is missing; correct ledger_url, or restore a backup",
}
#: Texts of servers and PgBouncer for refused connections, which have no SQLSTATE in the driver.
_REFUSED_CONNECTIONS = {
    "password authentication failed": "28",
    "SASL authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    "role": "28",
    "no such user": "28",
    "permission denied for database": "42501",
    "no such database": "3D",
    "database": "3D",
}
_SQLITE_HINTS = {
    "locked": "another process held its write lock too long",
    "readonly": "allow this user to write the file and its folder",
    "disk is full": "free some space",
    "No space left": "free some space",
    "disk I/O error": "free some space, unless its disk fails or its file was moved while it was open",
    "no such table": "it is not a ledger of this package",
    "not a database": "the file is not a ledger, or it is damaged",
}


def shown_url(url: URL) -> str:
    """Return a database's URL for people: without its password and options, because an option may be a password too."""
    return url.set(query={}).render_as_string(hide_password=True)


def ledger_error(shown_url: str, error: DBAPIError) -> LedgerError | OutboundBotConfigError | None:
    """
    Translate an error of the database.

    :param shown_url: The ledger's URL, without its password.
    :return: ``None`` if the error is about a statement, not about the database.
    """
    state = getattr(error.orig, "sqlstate", None)
    reason = _first_line(error)
    where = f"ledger {shown_url}: {reason}"
    if state is None and isinstance(error, ProgrammingError) and "connection option" in reason:
        return OutboundBotConfigError(f"ledger_url: {reason}; remove that option")
    code = state or _refused_connection(reason)
    hint = next((hint for prefix, hint in _ACCESS.items() if code.startswith(prefix)), None)
    if hint is not None:
        return LedgerAccessError(f"{where}; {hint}")
    if code.startswith(_PASSING) or error.connection_invalidated:
        return LedgerUnavailableError(where)
    # SQLite raises the base class for a file that it cannot read as a database.
    is_unreadable = type(error) is DatabaseError and shown_url.startswith("sqlite")
    if state is None and (is_unreadable or isinstance(error, OperationalError | InterfaceError)):
        hint = next((hint for words, hint in _SQLITE_HINTS.items() if words in reason), None)
        kind = LedgerAccessError if is_unreadable else LedgerUnavailableError
        return kind(f"{where}; {hint}" if hint else where)
    return None


def _first_line(error: DBAPIError) -> str:
    """The first line of the driver's message; later lines may quote a statement's values."""
    return next(iter(str(error.orig or "").strip().splitlines()), "no answer")


def _refused_connection(reason: str) -> str:
    if "FATAL" not in reason:
        return ""
    refused = reason.partition("FATAL")[2]
    is_missing = "does not exist" in refused
    for words, code in _REFUSED_CONNECTIONS.items():
        if words in refused and (is_missing or words not in ("role", "database")):
            return code
    return ""
