"""``outbound ledger status``: what is in the ledger, and what somebody should look at."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.cli import collectors
from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.output import print_json

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Health

_DESCRIPTION = """\
Rows, size and schema of the ledger; which collectors run, when the broker last answered each, and what went wrong last;
how far the ledger's readers are behind; when the last event came by each topic; how many results no message told;
messages and rows that cannot be read. What somebody should look at is said at the end."""

#: Instances of a topic that a warning names.
_SHOWN = 5


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(subparsers, "status", brief="what is in it, and what to look at", description=_DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.set_defaults(run=_status)


def _status(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger import examine

    with open_named(args) as ledger:
        health = examine(ledger)
        shown = ledger.engine.url.render_as_string(hide_password=True)
    if args.json:
        print_json(_as_json(health, shown))
    else:
        _print(health, shown)
    return 0


def _as_json(health: Health, ledger: str) -> dict[str, Any]:
    return {
        "ledger": ledger,
        "ledger_id": health.ledger_id,
        "schema": health.revision,
        "size_bytes": health.size_bytes,
        "rows": health.rows,
        "quarantined": health.rows["quarantine"],
        "cursors": [
            {
                "name": lag.name,
                "unread": lag.unread,
                "oldest_unread_at": _iso(lag.oldest_unread_at),
                "moved_at": _iso(lag.moved_at),
            }
            for lag in health.cursors
        ],
        "oldest_unread_at": _iso(health.oldest_unread_at),
        "topics": [
            {"topic": topic.topic, "last_event_at": _iso(topic.last_event_at), "events": topic.events}
            for topic in health.topics
        ],
        "instances": [{**attrs.asdict(instance), "last_at": _iso(instance.last_at)} for instance in health.instances],
        "collectors": collectors.as_json(health.collecting),
        "results": health.recovery.results,
        "results_from_api": health.recovery.from_api,
        "share_from_api": round(health.recovery.share, 4),
        "purged_groups": health.purged_groups,
        "late_messages": health.late_messages,
        "undecryptable": health.undecryptable,
        "tried_to_decrypt": health.tried,
        "warnings": warnings_of(health),
    }


def warnings_of(health: Health) -> list[str]:
    """What somebody should look at, each with the mend."""
    recovery = health.recovery
    found = []
    if recovery.is_high:
        why = health.why_from_api or (
            "another consumer seems to take messages from this ledger's consumer group; give it one of its own"
        )
        found.append(f"{recovery.from_api} of {recovery.results} results came from the API and not by a message: {why}")
    if trouble := health.collecting.trouble():
        found.append(f"no messages come: {trouble}")
    if health.rows["quarantine"]:
        found.append(
            f"{health.rows['quarantine']} messages could not be read; see them by: outbound ledger quarantine list"
        )
    for topic, instances in health.shared_topics.items():
        found.append(
            f"topic {topic} carries events of {len(instances)} bot instances ({', '.join(instances[:_SHOWN])}), and all"
            " are stored; name this ledger's own by instance_id in the extra of the rocketmq connection"
        )
    if health.undecryptable:
        found.append(
            f"{health.undecryptable} of {health.tried} rows tried open with none of the keys; "
            "add the key they were written with to ledger_key"
        )
    return found


def _print(health: Health, ledger: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    say(f"ledger {ledger} ({health.ledger_id})")
    say(f"schema {health.revision}, {health.size_bytes / 1_000_000:.1f} MB")
    rows = Table("table", "rows")
    for name, count in health.rows.items():
        rows.add_row(name, f"{count:,}")
    console.print(rows)
    if health.topics:
        topics = Table("topic", "last event", "events")
        for topic in health.topics:
            topics.add_row(escape(topic.topic or ""), _ago(topic.last_event_at), f"{topic.events:,}")
        console.print(topics)
    if len(health.instances) > 1 or any(instance.skipped for instance in health.instances):
        instances = Table("topic", "bot instance", "messages stored", "not stored", "last message")
        for one in health.instances:
            counts = (f"{one.stored:,}", f"{one.skipped:,}", _ago(one.last_at))
            instances.add_row(escape(one.topic), escape(one.instance_id or "(unnamed)"), *counts)
        console.print(instances)
    for collector in health.collecting.collectors:
        say(f"collector {collectors.describe(health.collecting, collector)}")
    if health.cursors:
        cursors = Table("cursor", "unread events", "oldest of them", "moved")
        for lag in health.cursors:
            cursors.add_row(escape(lag.name), f"{lag.unread:,}", _ago(lag.oldest_unread_at), _ago(lag.moved_at))
        console.print(cursors)
    say(f"results from the API: {health.recovery.from_api} of {health.recovery.results} in the latest groups")
    say(f"purged job groups: {health.purged_groups}; messages that came for them later: {health.late_messages}")
    say(f"rows that no key opens: {health.undecryptable} of {health.tried} tried")
    for warning in warnings_of(health):
        say(f"warning: {warning}", "yellow")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
