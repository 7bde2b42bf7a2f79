"""How to connect to a ledger in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import NoSuchModuleError

from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def postgresql_engine(url: URL, *, connect_timeout: int | None = None, **pool: Any) -> Engine:
    """
    Return an engine for PostgreSQL.

    :param connect_timeout: Seconds; ``None``: as in the URL, or the driver's default.
    :param pool: Options of the pool of connections.
    :raises OutboundBotConfigError: the driver is not installed.
    """
    # Prepared statements belong to a server connection, and PgBouncer may give each transaction another one.
    options: dict[str, Any] = {"prepare_threshold": None}
    if connect_timeout is not None and "connect_timeout" not in url.query:
        options["connect_timeout"] = connect_timeout
    try:
        return create_engine(
            url.difference_update_query(options),
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=options,
            **pool,
        )
    except (NoSuchModuleError, ModuleNotFoundError):
        raise OutboundBotConfigError(
            'ledger_url: PostgreSQL needs psycopg; run: pip install "airflow-provider-outbound[postgresql]"'
        ) from None
