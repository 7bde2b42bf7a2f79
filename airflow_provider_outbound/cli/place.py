"""Which Airflow, database and ledger ``outbound doctor`` checks."""

from __future__ import annotations

import os
from contextlib import closing
from enum import StrEnum

import attrs

from airflow_provider_outbound.cli.ledger.opening import missing_file
from airflow_provider_outbound.exceptions import OutboundBotError


class State(StrEnum):
    """Severity of a finding."""

    GOOD = "good"
    WARNING = "warning"
    WRONG = "wrong"


@attrs.frozen
class Finding:
    """Result of one check."""

    name: str
    state: State
    text: str


def look_around() -> Finding:
    """
    Report Airflow's home, its database and the ledger, without passwords.

    :return: ``WRONG`` if no Airflow has ever run there: all other findings would be about another Airflow.
    """
    from airflow.configuration import conf

    from airflow_provider_outbound import config

    name = "airflow"
    home = config.airflow_home()
    origin = "" if "AIRFLOW_HOME" in os.environ else " (the default: AIRFLOW_HOME is not set)"
    database = conf.get("database", "sql_alchemy_conn", fallback="") or ""
    has_tables = _has_tables(database)
    if not has_tables and not _is_configured():
        text = (
            f"no Airflow has run with home {home}{origin}: there is neither an airflow.cfg nor an Airflow database;"
            " set AIRFLOW_HOME as Airflow's services have it and run this again"
        )
        return Finding(name, State.WRONG, text)
    try:
        url = config.load().ledger_url
    except OutboundBotError:
        ledger, missing = "unknown, see below", None
    else:
        ledger, missing = _masked(url), missing_file(url)
    if not has_tables and missing:
        text = (
            f"no Airflow has run with home {home}{origin}: Airflow has no tables in {_masked(database)}, and there is"
            f" no ledger {missing}; set AIRFLOW_HOME as Airflow's services have it, or start Airflow; then run this"
            " again"
        )
        return Finding(name, State.WRONG, text)
    text = f"home {home}{origin}; database {_masked(database)}; ledger {ledger}"
    if has_tables:
        return Finding(name, State.GOOD, text)
    advice = "set AIRFLOW_HOME and [database] sql_alchemy_conn as Airflow's services have them"
    text += f". Airflow has no tables there, so its connections cannot be read: unless this is intended, {advice}"
    return Finding(name, State.WARNING, text)


def _is_configured() -> bool:
    """Whether an Airflow is configured here, by a file or by environment variables."""
    from airflow_provider_outbound import config

    by_variables = any(name.startswith(("AIRFLOW__", "AIRFLOW_CONN_")) for name in os.environ)
    return by_variables or (config.airflow_home() / "airflow.cfg").is_file()


def _has_tables(database: str) -> bool:
    """Whether a SQLite file has Airflow's tables; true for other databases, which nobody gets by default."""
    import sqlite3
    from pathlib import Path

    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(database)
    except ArgumentError:
        return False
    if url.get_backend_name() != "sqlite":
        return True
    file = Path(url.database or "")
    if not file.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    except sqlite3.Error:
        return False
    return found is not None


def _masked(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from airflow_provider_outbound.core.ledger import shown_url

    try:
        return shown_url(make_url(url))
    except ArgumentError:
        return "unknown: its URL cannot be read"
