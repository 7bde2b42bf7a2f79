"""``outbound ledger copy``: move a ledger from a SQLite file into the database that is configured now."""

from __future__ import annotations

import argparse
from pathlib import Path

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.options import ledger_location, quiet_logs
from airflow_provider_outbound.cli.progress import CommandProgress
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import LedgerError, LedgerUnavailableError

_DESCRIPTION = """\
Copy a ledger from a SQLite file into the empty database that ledger_url names now, to continue with PostgreSQL: the
copy knows who was called, who refused, and which campaigns are under way. Needs the keys of the file in ledger_key.

Stop the collectors and Airflow's services first. The file stays as it is, apart from a migration to this version's
schema. Move it aside afterwards, so that nothing writes to it any more: two ledgers do not know of each other whom they
called. All rows are copied in one transaction; if it is interrupted, run it again.

To copy a ledger that is in PostgreSQL already, use PostgreSQL's own tools."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(
        subparsers, "copy", brief="copy a SQLite ledger into the configured database", description=_DESCRIPTION
    )
    parser.add_argument("--from", dest="file", required=True, metavar="FILE", type=Path, help="the SQLite file")
    parser.set_defaults(run=_copy)


def _copy(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger import open_ledger, shown_url
    from airflow_provider_outbound.core.ledger.copying import copy_ledger

    if not args.file.is_file():
        raise LedgerUnavailableError(
            f"--from: there is no file {args.file}; give the SQLite file of the ledger to copy"
        )
    _, keys = ledger_location(args)
    with open_named(args, make=True) as target, quiet_logs():
        if target.is_sqlite and args.file.resolve() == Path(str(target.engine.url.database)).resolve():
            raise LedgerError(f"--from: {args.file} is the configured ledger; set ledger_url to the new database first")
        with open_ledger(f"sqlite:///{args.file.resolve()}", keys) as source, CommandProgress("rows") as progress:
            rows = copy_ledger(source, target, lambda step: progress.show(step.table, step.done, step.total))
        shown = shown_url(target.engine.url)
    print(f"{count_of(rows, 'row was', 'rows were')} copied to {shown}. Move {args.file} aside now")
    return 0
