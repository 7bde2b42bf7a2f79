"""``outbound ledger rekey``: encrypt everything in the ledger with the first key, so that older keys may be dropped."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.output import print_json
from airflow_provider_outbound.cli.progress import CommandProgress
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.rekey import Rekeyed

_DESCRIPTION = """\
Encrypt everything in the ledger with the first key: contacts, results, calls, recordings, events, quarantined messages,
and the identity by which the ledger recognises phone numbers. Afterwards the other keys may be dropped, and the ledger
still recognises everybody who was called, or refused to be called. Works in transactions of at most 500 rows, so
collectors and tasks continue. If it is stopped or killed, run it again: it completes the rest.

Before you run it, every process that uses the ledger must have the new key as the first of its keys, and must have been
restarted with it. As long as one of them writes with an older key, that key is reported as needed.

Keys are shown by identifiers that reveal nothing about them. If a key is missing, the rows that none of the given keys
opens are counted; if there are none, the missing key is not needed, and is forgotten.
--discard-unreadable is for a key that is lost for good: it deletes the rows that none of the keys opens. The contents
of these messages and the names, numbers and extras of these contacts are lost; the ledger still knows who was called.

Exit code 0: no row needs a key other than the first (with --dry-run: all rows can be read). 1: some rows do."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(
        subparsers, "rekey", brief="encrypt everything with the first key of ledger_key", description=_DESCRIPTION
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--dry-run", action="store_true", help="only count rows by key")
    which.add_argument(
        "--discard-unreadable", action="store_true", help="delete rows that none of the keys opens, without asking"
    )
    parser.set_defaults(run=_rekey)


def _rekey(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger.rekey import Rekey

    with open_named(args, require_keys=False) as ledger, CommandProgress("rows") as progress:
        rekey = Rekey(
            ledger,
            dry_run=args.dry_run,
            discard_unreadable=args.discard_unreadable,
            report=lambda step: progress.show(step.table, step.done, step.total),
        )
        rekeyed = rekey.run()
        given = ledger.cipher.key_ids
    if args.json:
        print_json(_as_json(rekeyed, dry_run=args.dry_run))
    else:
        _show(rekeyed, dry_run=args.dry_run)
    _check(rekeyed, given, dry_run=args.dry_run)
    return 0


def _as_json(rekeyed: Rekeyed, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "first_key": rekeyed.first_key,
        "rows_by_key": dict(sorted(_known(rekeyed).items())),
        "encrypted": rekeyed.encrypted,
        "unreadable": rekeyed.unreadable,
        "discarded": rekeyed.discarded,
        "dropped": list(rekeyed.dropped),
        "needed": list(rekeyed.needed),
    }


def _known(rekeyed: Rekeyed) -> dict[str, int]:
    return {key_id: count for key_id, count in rekeyed.rows.items() if key_id is not None}


def _show(rekeyed: Rekeyed, *, dry_run: bool) -> None:
    for key_id, count in sorted(_known(rekeyed).items()):
        is_first = " (the first key)" if key_id == rekeyed.first_key else ""
        print(f"key {key_id}{is_first}: {count:,} rows {'are' if dry_run else 'were'} encrypted with it")
    if dry_run:
        others = sum(_known(rekeyed).values()) - rekeyed.rows.get(rekeyed.first_key, 0)
        print(f"{others:,} rows would be encrypted with key {rekeyed.first_key}")
        return
    print(f"{rekeyed.encrypted:,} rows were encrypted with key {rekeyed.first_key}")
    if rekeyed.discarded:
        print(f"{rekeyed.discarded:,} rows that none of the keys opens were discarded")
    for key_id in rekeyed.dropped:
        print(f"key {key_id} may be dropped: no row needs it")


def _check(rekeyed: Rekeyed, given: tuple[str, ...], *, dry_run: bool) -> None:
    """
    Check that the older keys may be dropped.

    :raises LedgerKeyError: they may not; the message explains why.
    """
    from airflow_provider_outbound.core.ledger.keys import UNKNOWN

    if rekeyed.unreadable:
        missing = [key_id for key_id in rekeyed.needed if key_id not in (*given, UNKNOWN)]
        which = ", ".join(missing) or "one whose identifier is unknown"
        raise LedgerKeyError(
            f"ledger_key: none of the keys given ({', '.join(given)}) opens {rekeyed.unreadable} rows; add the key they"
            f" were encrypted with ({which}) after the others and run this again, or, if it is lost for good, see"
            " --discard-unreadable"
        )
    if rekeyed.needed and not dry_run:
        raise LedgerKeyError(
            f"ledger_key: key {', '.join(rekeyed.needed)} is still needed: a process wrote with it, or another rekey"
            " ran, while this command was running; restart every collector, triggerer and worker with key"
            f" {rekeyed.first_key} first, and run this again"
        )
