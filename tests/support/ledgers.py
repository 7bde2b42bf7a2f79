"""Ledgers as tests find them: of an earlier version, and with a collector that has reported."""

from __future__ import annotations

from sqlalchemy import Connection, text

from airflow_provider_outbound.core.ledger import CollectorReport, Ledger

#: A collector that the broker has just answered.
REPORT = CollectorReport(
    collector_id="1" * 32,
    endpoints="grpc://broker:8081",
    topic="calls",
    consumer_group="GID_ours",
    host="alpha",
    pid=7,
    running_for=30.0,
    contact_ago=0.0,
)


def count(ledger: Ledger, table: str) -> int:
    """How many rows a table has."""
    with ledger.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def go_back_to_0005(connection: Connection) -> None:
    """Make the ledger one of revision 0005, for its next opening to bring up."""
    connection.execute(text("UPDATE outbound_version SET version_num = '0005'"))
    connection.execute(text("DROP INDEX ix_jobs_unresolved"))
    for table in ("topic_instances", "refusals", "collectors"):
        connection.execute(text(f"DROP TABLE {table}"))
    for table, column in (
        ("quarantine", "head_of"),
        ("request_turns", "taken_at"),
        ("assignments", "lease_seconds"),
        ("assignments", "strategy"),
        ("assignments", "query_result"),
        ("job_groups", "conn_id"),
        ("job_groups", "suspended_at"),
    ):
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
