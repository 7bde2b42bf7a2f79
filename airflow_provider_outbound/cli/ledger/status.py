"""``outbound ledger status``: the contents of the ledger, and problems that need attention."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.cli import collectors
from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.output import print_json
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Health
    from airflow_provider_outbound.core.ledger.health import KeyUse

_DESCRIPTION = """\
Show rows, size and schema of the ledger; which collectors run, when the broker last answered each, and their last
error; how far the ledger's readers are behind; the last event of each topic; the number of results that came from the
API instead of a message; rows by key, in a sample of at most 10,000 of each encrypted column; messages and rows that
cannot be read. Problems that need attention are listed at the end.

Which keys are needed does not depend on the sample: each writer records its key, and only 'outbound ledger rekey',
which reads every row, removes it. With --dry-run, that command counts exactly.

Exit code 0: nothing is wrong, though there may be warnings. 1: a key is missing, or rows cannot be read."""

#: How many instances of a topic, or job groups, a warning names.
_SHOWN = 5


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(
        subparsers, "status", brief="show its contents, and problems that need attention", description=_DESCRIPTION
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.set_defaults(run=_status)


def _status(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger import examine, shown_url

    with open_named(args, require_keys=False) as ledger:
        health = examine(ledger)
        shown = shown_url(ledger.engine.url)
    if args.json:
        print_json(_as_json(health, shown))
    else:
        _print(health, shown)
    if errors := errors_of(health):
        raise LedgerKeyError(" ".join(errors))
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
        "groups_without_messages": list(health.recovery.silent_groups),
        "purged_groups": health.purged_groups,
        "late_messages": health.late_messages,
        "keys": [
            {
                "key_id": key.key_id,
                "is_given": key.is_given,
                "is_first": key.is_first,
                "is_needed": key.is_needed,
                "rows_in_sample": key.rows,
            }
            for key in health.keys
        ],
        "undecryptable": health.undecryptable,
        "tried_to_decrypt": health.tried,
        "warnings": warnings_of(health),
        "errors": errors_of(health),
    }


def errors_of(health: Health) -> list[str]:
    """Errors, each with its fix."""
    if not health.missing_keys and not health.undecryptable:
        return []
    which = f"key {', '.join(health.missing_keys)}"
    if health.undecryptable:
        may = f"; {which} may be needed" if health.missing_keys else ""
        what = f"none of the keys given opens {health.undecryptable} of {health.tried} rows tried{may}; add the key"
        what += " they were encrypted with after the others"
    else:
        what = f"{which} may be needed and is not given, though the keys given open all {health.tried} rows tried; add"
        what += " it after the others"
    return [f"ledger_key: {what}. If no row needs it, or it is lost for good, see: outbound ledger rekey --help"]


def warnings_of(health: Health) -> list[str]:
    """Problems that need attention, each with its fix."""
    recovery = health.recovery
    found = []
    if recovery.silent_groups:
        groups = recovery.silent_groups
        shown = ", ".join(groups[:_SHOWN]) + (", …" if len(groups) > _SHOWN else "")
        why = health.why_from_api or (
            "check topic, consumer_group and credentials of the rocketmq connection, whether a collector runs, and"
            " whether the service publishes to that topic"
        )
        found.append(
            f"no message brought any of the {recovery.silent_results} results of {len(groups)} of the latest job groups"
            f" ({shown}): they came from the API; {why}"
        )
    if recovery.is_high:
        # Another consumer takes only a part of the messages; silent groups have a different cause.
        from_api, results = (count - recovery.silent_results for count in (recovery.from_api, recovery.results))
        why = health.why_from_api or (
            "another consumer seems to take messages from this ledger's consumer group; give it a group of its own"
        )
        found.append(f"{from_api} of {results} results came from the API and not from a message: {why}")
    if trouble := health.collecting.trouble():
        found.append(f"no messages come: {trouble}")
    if health.rows["quarantine"]:
        found.append(
            f"{count_of(health.rows['quarantine'], 'message')} could not be read; list them with:"
            " outbound ledger quarantine list"
        )
    for topic, instances in health.shared_topics.items():
        found.append(
            f"topic {topic} carries events of {len(instances)} bot instances ({', '.join(instances[:_SHOWN])}), and all"
            " are stored; name this ledger's own in instance_id in the extra of the rocketmq connection"
        )
    found += [
        f"key {key.key_id} is not the first of ledger_key, but still needed ({key.rows} of {health.tried} rows tried);"
        " do not drop it before 'outbound ledger rekey' reports that it may be dropped"
        for key in health.keys
        if key.is_given and key.is_needed and not key.is_first
    ]
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
        cursors = Table("cursor", "unread events", "oldest unread", "moved")
        for lag in health.cursors:
            cursors.add_row(escape(lag.name), f"{lag.unread:,}", _ago(lag.oldest_unread_at), _ago(lag.moved_at))
        console.print(cursors)
    say(f"results from the API: {health.recovery.from_api} of {health.recovery.results} in the latest groups")
    say(f"purged job groups: {health.purged_groups}; messages received for them later: {health.late_messages}")
    keys = Table("key", "", "rows in the sample")
    for key in health.keys:
        keys.add_row(key.key_id, _standing(key), f"{key.rows:,} of {health.tried:,}")
    console.print(keys)
    say(f"rows that no key opens: {health.undecryptable} of {health.tried} tried")
    for warning in warnings_of(health):
        say(f"warning: {warning}", "yellow")


def _standing(key: KeyUse) -> str:
    if not key.is_given:
        return "not given, but needed"
    if key.is_first:
        return "first key: encrypts"
    return "still needed" if key.is_needed else "not needed: may be dropped"


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
