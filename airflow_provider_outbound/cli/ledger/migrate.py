"""``outbound ledger migrate``: bring the ledger's schema up to this package, or make a ledger."""

from __future__ import annotations

import argparse

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named

_DESCRIPTION = """\
Bring the ledger's schema up to this version of the package, or make a new ledger. Whoever opens the ledger does the
same; this does it at a moment of your choice, while others go on working.

The ledger's identity, by which it knows phone numbers, is encrypted anew with the first key. Everything else is by:
outbound ledger rekey, before which no older key may be dropped."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(subparsers, "migrate", brief="bring the schema up to this version", description=_DESCRIPTION)
    parser.set_defaults(run=_migrate)


def _migrate(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger import schema

    with open_named(args, make=True) as ledger:
        print(f"schema: {ledger.found_revision or 'none'} → {schema.REVISION}")
        if ledger.encrypt_identity():
            print("identity: encrypted anew with the first key")
    return 0
