"""``outbound ledger purge``: delete data of job groups that finished longer ago than the retention period."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.progress import CommandProgress
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import LedgerError, OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Purge

#: A hundred years.
_MOST_DAYS = 36_500

_DESCRIPTION = """\
Delete contacts, results, calls, recordings and events of job groups to which nothing has happened for N days, and
events of the same age that every cursor has passed. Works in small transactions, so collectors and tasks continue.

A tombstone of each purged job group stays, so that clearing its tasks calls nobody again. Job groups are kept, and
reported, if a task may be waiting for them, or if they have an open assignment, jobs that may still be dialled, or
events that a cursor has not read yet. An interrupted purge is finished by the next one.
--group purges one job group of any age, unless one of these reasons keeps it, or its window is still open and not all
of its jobs have ended. All reasons are reported, with the time until which each of them holds.
--cursor drops the cursor of a subscription whose trigger is gone for good, so that no events are kept for it. It purges
nothing else.
--at-service also deletes the purged job groups at the service (DeleteJobGroup), those of earlier purges among them, if
tasks of this ledger created them and all of their jobs have ended. With --group it deletes that job group, whoever
created it. The ledger is purged first, and its tombstones record what the service does not have any more: what fails is
named, and the next purge with --at-service tries it again. Connections are read from Airflow.
max_calls_per_contact counts only calls that have not been purged, so keep rows for longer than its period. People who
must not be contacted are remembered, by a keyed hash of the number; see: outbound ledger allow."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(
        subparsers,
        "purge",
        brief="delete data of job groups that finished longer ago than the retention period",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--older-than-days",
        type=_days,
        metavar="N",
        help="minimum age in days (default: [outbound] retention_days; with --group: 0)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--group", metavar="ID", help="only this job group, of any age")
    which.add_argument("--cursor", metavar="NAME", help="only drop this subscription's cursor")
    parser.add_argument("--at-service", action="store_true", help="also delete purged job groups at the service")
    parser.add_argument(
        "--outboundbot-conn-id",
        metavar="ID",
        help="Airflow connection for --at-service (default: that of each job group, else outboundbot_default)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only report what would be purged")
    parser.set_defaults(run=_purge)


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of days from 0 to {_MOST_DAYS}")
    return int(text)


def _purge(args: argparse.Namespace) -> int:
    if args.cursor is not None:
        return _drop_cursor(args)
    age = timedelta(days=_retention_days(args))
    with open_named(args) as ledger:
        with CommandProgress("job groups") as progress:
            purge = ledger.retention.purge(
                age,
                job_group_id=args.group,
                dry_run=args.dry_run,
                report=lambda done, total: progress.show("purge", done, total),
            )
        groups = ledger.tombstones.deletable(age, job_group_id=args.group) if args.at_service else []
        # A group that an earlier purge left at the service is no obstacle.
        if args.group is not None and purge.passed_over and not groups:
            (group,) = purge.passed_over
            raise LedgerError(f"job group {group.job_group_id} {group.reason}; nothing was purged")
        _show(purge, dry_run=args.dry_run)
        if args.at_service and args.dry_run:
            mine = [group for group in purge.purged if args.group is not None or group.dag_id is not None]
            print(f"{count_of(len(groups) + len(mine), 'job group')} would be deleted at the service")
        elif groups:
            from airflow_provider_outbound.cli.ledger.at_service import delete_at_service

            return delete_at_service(ledger, groups, args.outboundbot_conn_id)
    return 0


def _drop_cursor(args: argparse.Namespace) -> int:
    if args.at_service:
        raise OutboundBotConfigError("--at-service: --cursor purges no job group; omit it. Nothing was dropped")
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
            "purge: no age given; set --older-than-days N or [outbound] retention_days. Nothing was purged"
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
                escape(group.job_group_id), escape(group.dag_id or ""), str(group.jobs), f"{done}; last activity {last}"
            )
        for kept in purge.passed_over:
            table.add_row(escape(kept.job_group_id), escape(kept.dag_id or ""), "", escape(f"kept: it {kept.reason}"))
        console.print(table)
    if purge.finished:
        rows = sum(group.rows for group in purge.finished)
        console.print(
            f"{count_of(rows, 'row')} of {count_of(len(purge.finished), 'job group')} whose purge was interrupted"
            f" {done}:"
            f" {' '.join(group.job_group_id for group in purge.finished)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(
        f"{count_of(len(purge.purged), 'job group')} {done}, {len(purge.passed_over)} kept,"
        f" {count_of(purge.events, 'other event')} {done}",
        highlight=False,
        soft_wrap=True,
    )
