"""``outbound calls``: how many people were called and answered, by DAG and hour."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.output import print_json

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import HourOfCalls

_DESCRIPTION = """\
Counts people who were called and who answered, by DAG and hour. Each job counts once, in the hour of its latest call;
"calls" are all its calls. Hours are in UTC. Job groups whose data was purged are not counted."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PERIOD = re.compile(r"([0-9]{1,4})([mhdw])")


def configure(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = add_parser(
        subparsers, "calls", brief="count people called and answered, by DAG and hour", description=_DESCRIPTION
    )
    parser.add_argument(
        "--since",
        type=_period,
        default=timedelta(days=1),
        metavar="PERIOD",
        help="e.g. 90m, 12h, 1d or 2w (default: 1d)",
    )
    parser.add_argument("--dag", metavar="DAG", help="only this DAG")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.set_defaults(run=_count)


def _period(value: str) -> timedelta:
    found = _PERIOD.fullmatch(value)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{value!r} is not a period; give e.g. 90m, 12h, 1d or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _count(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger import calls_by_hour

    with open_named(args) as ledger:
        hours = calls_by_hour(ledger, ledger.now() - args.since, dag_id=args.dag)
    if args.json:
        print_json([_row(hour) for hour in hours])
    elif hours:
        _print_table(hours)
    else:
        print("nobody was called in this period")
    return 0


def _row(hour: HourOfCalls) -> dict[str, Any]:
    return {
        "dag_id": hour.dag_id,
        "hour": hour.hour.isoformat(),
        "called": hour.called,
        "answered": hour.answered,
        "calls": hour.calls,
    }


def _print_table(hours: list[HourOfCalls]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("DAG", "hour (UTC)", box=None, header_style="bold")
    for title in ("called", "answered", "calls"):
        table.add_column(title, justify="right")
    for hour in hours:
        numbers = hour.called, hour.answered, hour.calls
        table.add_row(hour.dag_id or "", f"{hour.hour:%Y-%m-%d %H}:00", *map(str, numbers))
    totals = (sum(getattr(hour, name) for hour in hours) for name in ("called", "answered", "calls"))
    table.add_row("total", "", *map(str, totals), style="bold")
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)
