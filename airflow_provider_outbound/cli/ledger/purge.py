"""``outbound ledger purge``: delete the rows of what is over for long."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.exceptions import LedgerError, OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Purge

#: A hundred years.
_MOST_DAYS = 36_500

_DESCRIPTION = """\
Delete contacts, results, calls, recordings and events of job groups to which nothing happened for so many days, and
events as old that every cursor has passed. Works in small transactions, so collectors and tasks go on meanwhile.

Of a purged group a tombstone stays, so that clearing its tasks calls nobody again. Passed over, and said so: groups
that somebody may wait for, that have an assignment open, jobs that may still be dialled, or events that a cursor has
yet to read. A purge that was interrupted is finished by the next one.
--group purges one group however young, unless one of these things keeps it, or its window is still open and not all of
its jobs have ended; it says all of them, and until when each lasts.
--cursor drops the cursor of a subscription whose trigger is gone for good, and purges nothing else: events are kept
for it no longer.
What is purged is not remembered: max_calls_per_contact counts only what is kept, so keep rows for longer than its
period. Who must not be contacted stays known, by a keyed hash of the number; see: outbound ledger allow."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(subparsers, "purge", brief="delete the rows of what is over for long", description=_DESCRIPTION)
    parser.add_argument(
        "--older-than-days",
        type=_days,
        metavar="N",
        help="default: [outbound] retention_days; with --group: 0",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--group", metavar="ID", help="this job group alone, however young")
    which.add_argument("--cursor", metavar="NAME", help="only drop this subscription's cursor")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be purged")
    parser.set_defaults(run=_purge)


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of days from 0 to {_MOST_DAYS}")
    return int(text)


def _purge(args: argparse.Namespace) -> int:
    if args.cursor is not None:
        return _drop_cursor(args)
    days = _retention_days(args)
    with open_named(args) as ledger:
        purge = ledger.retention.purge(timedelta(days=days), job_group_id=args.group, dry_run=args.dry_run)
    if args.group is not None and purge.passed_over:
        (group,) = purge.passed_over
        raise LedgerError(f"job group {group.job_group_id} {group.reason}; nothing was purged")
    _show(purge, dry_run=args.dry_run)
    return 0


def _drop_cursor(args: argparse.Namespace) -> int:
    with open_named(args) as ledger:
        unread = ledger.events.drop_cursor(args.cursor, dry_run=args.dry_run)
    print(f"cursor {args.cursor}: {'would be dropped' if args.dry_run else 'dropped'}; {unread} events unread")
    return 0


def _retention_days(args: argparse.Namespace) -> int:
    if args.older_than_days is not None:
        return int(args.older_than_days)
    if args.group is not None:
        return 0
    from airflow_provider_outbound import config

    configured = config.load().retention_days
    if configured is None:
        raise OutboundBotConfigError(
            "purge: say how old: --older-than-days N, or set [outbound] retention_days; nothing was purged"
        )
    return configured


def _show(purge: Purge, *, dry_run: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    done = "would be purged" if dry_run else "purged"
    if purge.purged or purge.passed_over:
        table = Table("job group", "DAG", "jobs", "")
        for group in purge.purged:
            last = group.last_at.isoformat(" ", "minutes")
            table.add_row(
                escape(group.job_group_id), escape(group.dag_id or ""), str(group.jobs), f"{done}; last {last}"
            )
        for kept in purge.passed_over:
            table.add_row(escape(kept.job_group_id), escape(kept.dag_id or ""), "", escape(f"kept: it {kept.reason}"))
        console.print(table)
    if purge.finished:
        rows = sum(group.rows for group in purge.finished)
        console.print(
            f"{rows} rows of {len(purge.finished)} job groups whose purge was interrupted {done}:"
            f" {' '.join(group.job_group_id for group in purge.finished)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(
        f"{len(purge.purged)} job groups {done}, {len(purge.passed_over)} kept, {purge.events} other events {done}",
        highlight=False,
        soft_wrap=True,
    )
