"""
``outbound ledger``: look at the ledger, bring its schema up, rotate its key, purge what is over, let people be
contacted again, deal with unreadable messages.

Each subcommand is a module with ``configure(subparsers)``.
"""

from __future__ import annotations

import argparse
from importlib import import_module

SUBCOMMANDS = ("status", "migrate", "rekey", "purge", "allow", "quarantine")


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("ledger", help="look at the ledger, migrate it, rotate its key, purge it")
    names = parser.add_subparsers(title="subcommands", dest="subcommand", metavar="SUBCOMMAND", required=True)
    for name in SUBCOMMANDS:
        import_module(f"{__name__}.{name}").configure(names)
