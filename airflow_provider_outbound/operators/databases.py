"""Databases reached through an Airflow connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.tls import is_readable
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger(__name__)


@contextmanager
def connect(
    sql_conn_id: str, field: str, kind: type[OutboundBotConfigError] = OutboundBotConfigError
) -> Iterator[Connection]:
    """
    Connect to the database of a connection.

    :param sql_conn_id: The connection.
    :param field: Name of the argument that uses it, for errors.
    :param kind: Class of the error if the database refuses something.
    :raises OutboundBotConfigError: the connection is not one to a database, or cannot be used.
    """
    from airflow.sdk import BaseHook
    from sqlalchemy.exc import SQLAlchemyError

    hook = BaseHook.get_hook(sql_conn_id)
    if not hasattr(hook, "get_sqlalchemy_engine"):
        raise OutboundBotConfigError(
            f"sql_conn_id: connection {sql_conn_id!r} ({type(hook).__name__}) is not a database; give the connection of"
            " one"
        )
    place = f"{field} on connection {sql_conn_id!r}"
    try:
        with _opened(hook, place, kind) as connection:
            if is_readable(connection):
                log.warning(
                    "%s: the connection crosses a network without encryption, so phone numbers can be read there; turn"
                    " on TLS in the connection's extra (PostgreSQL: sslmode, MySQL: ssl)",
                    place,
                )
            yield connection
    except SQLAlchemyError as error:
        # Databases quote the statement, including its values, after the first line.
        text = str(getattr(error, "orig", None) or error).strip()
        reason = redact(text.splitlines()[0]) if text else type(error).__name__
        raise kind(f"{place}: {reason}") from None


@contextmanager
def _opened(hook: Any, place: str, kind: type[OutboundBotConfigError]) -> Iterator[Connection]:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = hook.get_sqlalchemy_engine()
        connection = engine.connect()
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - drivers raise anything if they cannot use a setting
        raise kind(f"{place}: {_why_unusable(error)}") from None
    try:
        with connection:
            yield connection
    finally:
        engine.dispose()


def _why_unusable(error: Exception) -> str:
    """Return why a connection cannot even be tried: a missing driver, or a setting that the driver does not have."""
    text = redact((str(error).strip() or type(error).__name__).splitlines()[0])
    if isinstance(error, ImportError):
        return f"its driver is not installed: {text}; install it, or choose another one in the connection's extra"
    if "cursor" in text:
        return (
            f"its driver does not accept the setting cursor of its extra ({text}); remove it: rows are streamed anyway"
        )
    return f"it cannot be used: {type(error).__name__}: {text}; correct the connection's settings and its extra"
