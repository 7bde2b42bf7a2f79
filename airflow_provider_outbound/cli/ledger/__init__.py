"""
``outbound ledger``: inspect the ledger, migrate its schema, copy it into another database, rotate its key, purge old
data, allow people to be contacted again, and handle unreadable messages.

Each subcommand is a module with ``configure(subparsers)``.
"""

from __future__ import annotations

import argparse
from importlib import import_module

SUBCOMMANDS = ("status", "migrate", "copy", "rekey", "purge", "allow", "quarantine")


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "ledger",
        help="inspect, migrate, copy and purge the ledger, rotate its key, allow people, handle unreadable messages",
    )
    names = parser.add_subparsers(title="subcommands", dest="subcommand", metavar="SUBCOMMAND", required=True)
    for name in SUBCOMMANDS:
        import_module(f"{__name__}.{name}").configure(names)
