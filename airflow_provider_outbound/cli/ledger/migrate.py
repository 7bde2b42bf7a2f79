"""``outbound ledger migrate``: migrate the ledger to this version's schema, or create a ledger."""

from __future__ import annotations

import argparse

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named

_DESCRIPTION = """\
Migrate the ledger to the schema of this version of the package, or create a new ledger. Opening the ledger does the
same; this command does it at a moment of your choice, while other processes continue.

The ledger's identity, by which it recognises phone numbers, is encrypted again with the first key. All other data is
encrypted again by: outbound ledger rekey. Drop no older key before that."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(subparsers, "migrate", brief="migrate the schema to this version", description=_DESCRIPTION)
    parser.set_defaults(run=_migrate)


def _migrate(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger import schema

    with open_named(args, make=True) as ledger:
        print(f"schema: {ledger.found_revision or 'none'} → {schema.REVISION}")
        if ledger.encrypt_identity():
            print("identity: encrypted again with the first key")
    return 0
