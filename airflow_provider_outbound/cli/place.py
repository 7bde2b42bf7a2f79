"""Where ``outbound doctor`` looks: which Airflow, which database, which ledger."""

from __future__ import annotations

import os
from contextlib import closing
from enum import StrEnum

import attrs

from airflow_provider_outbound.exceptions import OutboundBotError


class State(StrEnum):
    """How a finding is meant."""

    GOOD = "good"
    WARNING = "warning"
    WRONG = "wrong"


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    text: str


def look_around() -> Finding:
    """
    Name Airflow's home, its database and the ledger, without passwords.

    :return: Wrong if no Airflow has ever run there: whatever else could be said would be about another one.
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
            f"no Airflow has run with home {home}{origin}: there is neither airflow.cfg nor a database of Airflow's;"
            " set AIRFLOW_HOME to the home of your Airflow, as its services have it, and look again"
        )
        return Finding(name, State.WRONG, text)
    try:
        ledger = _masked(config.load().ledger_url)
    except OutboundBotError:
        ledger = "unknown, see below"
    text = f"home {home}{origin}; database {_masked(database)}; ledger {ledger}"
    if has_tables:
        return Finding(name, State.GOOD, text)
    advice = "set AIRFLOW_HOME and [database] sql_alchemy_conn as Airflow's services have them"
    text += f". Airflow has no tables there, so its connections are not seen: unless that is meant so, {advice}"
    return Finding(name, State.WARNING, text)


def _is_configured() -> bool:
    """Whether somebody has configured an Airflow here: by a file, or by variables."""
    from airflow_provider_outbound import config

    by_variables = any(name.startswith(("AIRFLOW__", "AIRFLOW_CONN_")) for name in os.environ)
    return by_variables or (config.airflow_home() / "airflow.cfg").is_file()


def _has_tables(database: str) -> bool:
    """Whether Airflow has made its tables in a SQLite file; other databases were chosen by somebody."""
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
    """A database's URL without its password, which may stand among the options too."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except ArgumentError:
        return "unknown, for its URL cannot be read"
