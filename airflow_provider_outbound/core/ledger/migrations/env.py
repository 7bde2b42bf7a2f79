"""Run by Alembic on the connection that :mod:`..database` hands over inside its own transaction."""

from __future__ import annotations

from alembic import context

from airflow_provider_outbound.core.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="outbound_version",
    # The transaction, and with it the lock, is the caller's.
    transactional_ddl=False,
)
context.run_migrations()
