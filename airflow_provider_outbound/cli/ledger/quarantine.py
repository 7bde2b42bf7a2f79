"""``outbound ledger quarantine``: messages that could not be read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.exceptions import LedgerError, LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Quarantined

#: Digits of a hash that are shown; any unique prefix identifies a message.
_SHOWN = 12
#: Characters of a body that are shown.
_MAX_BODY = 10_000


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand and its actions."""
    parser = subparsers.add_parser("quarantine", help="list, show, replay or drop messages that could not be read")
    acts = parser.add_subparsers(title="actions", dest="act", metavar="ACTION", required=True)
    listing = add_parser(
        acts, "list", brief="list the messages", description="List the messages that could not be read."
    )
    listing.set_defaults(run=_list)
    show = add_parser(
        acts,
        "show",
        brief="show a message, with numbers masked",
        description="Show a message; everything that may be a phone number is masked.",
    )
    show.add_argument("hash", metavar="HASH", help="its hash, or a unique prefix of it")
    show.set_defaults(run=_show)
    replay = add_parser(
        acts,
        "replay",
        brief="read messages again",
        description="Read messages again, as if they had just arrived, for example with a newer version of this "
        "package.\nMessages that can now be read are stored in the ledger and removed from quarantine.",
    )
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("hash", metavar="HASH", nargs="?", help="a hash, or a unique prefix of it")
    which.add_argument("--all", action="store_true", help="every message")
    replay.set_defaults(run=_replay)
    drop = add_parser(acts, "drop", brief="delete a message", description="Delete a message for good, without asking.")
    drop.add_argument("hash", metavar="HASH", help="its hash, or a unique prefix of it")
    drop.set_defaults(run=_drop)


def _list(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("hash", "received at (UTC)", "topic", "reason", "bytes")
    with open_named(args) as ledger:
        for message in ledger.quarantine.iter_messages():
            table.add_row(
                message.hash[:_SHOWN],
                message.recorded_at.strftime("%Y-%m-%d %H:%M:%S"),
                escape(_printable(message.topic or "")),
                escape(_masked(message.reason)),
                _size(message),
            )
    if table.row_count:
        console.print(table)
    else:
        print("no message is in quarantine")
    return 0


def _show(args: argparse.Namespace) -> int:
    with open_named(args) as ledger:
        message = ledger.quarantine.get(args.hash)
    for name, value in (
        ("hash", message.hash),
        ("received at", message.recorded_at.isoformat(timespec="seconds")),
        ("topic", message.topic or ""),
        ("message id", message.message_id or ""),
        ("reason", _masked(message.reason)),
    ):
        print(f"{name}: {_printable(value)}")
    print()
    print(_body(message))
    return 0


def _replay(args: argparse.Namespace) -> int:
    read = unreadable = 0
    with open_named(args) as ledger:
        hashes = [message.hash for message in ledger.quarantine.iter_messages()] if args.all else [args.hash]
        for name in hashes:
            try:
                recorded = ledger.quarantine.replay(name)
            except LedgerKeyError:
                if not args.all:
                    raise
                unreadable += 1
                continue
            read += not recorded.quarantined
            unreadable += recorded.quarantined
            if recorded.purged:
                print("its job group was purged: the message was counted and not stored")
        if unreadable and not args.all:
            raise LedgerError(f"quarantine: {ledger.quarantine.get(args.hash).reason}: the message stays in quarantine")
    print(f"{read} read and stored in the ledger, {unreadable} still unreadable")
    return 0


def _drop(args: argparse.Namespace) -> int:
    with open_named(args) as ledger:
        message = ledger.quarantine.drop(args.hash)
    print(f"dropped {message.hash}")
    return 0


def _size(message: Quarantined) -> str:
    if message.body is None:
        return "no key opens it"
    return str(len(message.body)) if message.head_of is None else f"{len(message.body)} of {message.head_of}"


def _body(message: Quarantined) -> str:
    if message.body is None:
        return "(none of the keys opens it: add the one it was written with to ledger_key)"
    text = _masked(message.body.decode("utf-8", "replace"))
    if len(text) <= _MAX_BODY:
        return text
    return f"{text[:_MAX_BODY]}\n… and {len(text) - _MAX_BODY} more characters"


def _masked(text: str) -> str:
    from airflow_provider_outbound.core.models.phone import redact

    return redact(_printable(text))


def _printable(text: str) -> str:
    """
    Untrusted text, without characters that control a terminal.

    They are removed, not escaped: only adjacent digits are masked, and UTF-16 has a NUL between any two.
    """
    return "".join(one for one in text if one.isprintable() or one in "\n\t")
