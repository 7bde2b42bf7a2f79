"""Opens the ledger that a subcommand works on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_outbound.cli.options import LEDGER_HELP, add_ledger_url, ledger_location, quiet_logs
from airflow_provider_outbound.exceptions import LedgerUnavailableError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger


#: What to do if a command does not find the ledger of the tasks: its terminal may have another AIRFLOW_HOME.
WRONG_HOME = (
    "If this is not the ledger of Airflow's services, set AIRFLOW_HOME or [outbound] ledger_url as they have it"
)


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str, *, brief: str, description: str
) -> argparse.ArgumentParser:
    """Add the parser of a subcommand that works on a ledger."""
    parser = subparsers.add_parser(
        name,
        help=brief,
        description=f"{description}\n\n{LEDGER_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_ledger_url(parser)
    return parser


def open_named(args: argparse.Namespace, *, make: bool = False, require_keys: bool = True) -> Ledger:
    """
    Open the ledger that the arguments name.

    :param make: Whether to create a ledger where there is none; otherwise a mistyped path is refused.
    :param require_keys: Whether to refuse keys that cannot read everything in the ledger.
    :raises LedgerUnavailableError: there is no such file, or the database cannot be reached.
    :raises LedgerKeyError: a key is missing.
    """
    from airflow_provider_outbound.core.ledger import open_ledger

    url, keys = ledger_location(args)
    if not make and (missing := missing_file(url)):
        raise LedgerUnavailableError(
            f"ledger {missing}: there is no such file; give the right --ledger-url, restore a lost ledger, or create a"
            " new one, which does not know who was called, with: outbound ledger migrate"
        )
    with quiet_logs():
        return open_ledger(url, keys, require_keys=require_keys)


def missing_file(url: str) -> str | None:
    """The missing file of a SQLite ledger; ``None`` if it exists, or if opening the ledger will explain more."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").is_file():
            return None
    except (ArgumentError, OSError):
        return None
    return parsed.database or ""
