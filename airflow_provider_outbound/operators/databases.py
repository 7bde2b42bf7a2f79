"""Databases reached through an Airflow connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def connect(
    sql_conn_id: str, field: str, kind: type[OutboundBotConfigError] = OutboundBotConfigError
) -> Iterator[Connection]:
    """
    Connect to the database of a connection.

    :param sql_conn_id: The connection.
    :param field: Name of the argument that uses it, for errors.
    :param kind: Class of the error if the database refuses something.
    """
    from airflow.sdk import BaseHook
    from sqlalchemy.exc import SQLAlchemyError

    hook = BaseHook.get_hook(sql_conn_id)
    if not hasattr(hook, "get_sqlalchemy_engine"):
        raise OutboundBotConfigError(
            f"sql_conn_id: connection {sql_conn_id!r} ({type(hook).__name__}) is not a database"
        )
    try:
        engine = hook.get_sqlalchemy_engine()
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        # Databases quote the statement, including its values, after the first line.
        text = str(getattr(error, "orig", None) or error).strip()
        reason = redact(text.splitlines()[0]) if text else type(error).__name__
        raise kind(f"{field} on connection {sql_conn_id!r}: {reason}") from None
