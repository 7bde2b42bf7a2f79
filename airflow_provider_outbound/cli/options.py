"""Arguments and uses of Airflow that several commands share."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

#: The connection of job groups whose own one is not recorded.
DEFAULT_CONNECTION = "outboundbot_default"
LEDGER_HELP = """\
Ledger: --ledger-url or OUTBOUND_LEDGER_URL, and OUTBOUND_LEDGER_KEY (several keys are comma separated, newest first).
Values that are not given are read from Airflow's [outbound] section.
"""


def add_ledger_url(parser: argparse.ArgumentParser) -> None:
    """Add ``--ledger-url``."""
    parser.add_argument("--ledger-url", metavar="URL", help="SQLAlchemy URL, e.g. sqlite:////var/lib/ledger.db")


def ledger_location(args: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """
    URL of the ledger, and its keys, newest first; see :data:`LEDGER_HELP`.

    :raises OutboundBotConfigError: the URL cannot be used, or Airflow's configuration is needed and invalid.
    """
    from airflow_provider_outbound import config

    url = args.ledger_url or os.environ.get("OUTBOUND_LEDGER_URL", "")
    keys = tuple(key.strip() for key in os.environ.get("OUTBOUND_LEDGER_KEY", "").split(",") if key.strip())
    if url:
        config.check_ledger_url(url, "ledger_url (--ledger-url or OUTBOUND_LEDGER_URL)")
        if url.startswith("sqlite"):
            config.check_shared_ledger(url, config.executor())
    if not (url and keys):
        configured = config.load()
        url, keys = url or configured.ledger_url, keys or configured.ledger_keys
    return url, keys


def read_airflow_connections() -> None:
    """Let hooks find the connections in Airflow's database, as Airflow's own commands do."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def confirmed(question: str) -> bool:
    """Whether a person answers a question with yes."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, OSError):
        # There is no input, or the terminal is gone.
        print()
        return False


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Silence logs up to warnings: Airflow writes them to standard output, which is for the command."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def connection_of(named: str | None, recorded: str | None) -> str:
    """
    Return the id of the connection through which a command reaches a job group.

    :param named: The one that the command names for all job groups.
    :param recorded: The group's own; earlier versions did not record it.
    """
    return named or recorded or DEFAULT_CONNECTION
