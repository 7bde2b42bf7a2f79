"""``outbound ledger rekey``: encrypt everything in the ledger with the first key, so that older keys may be dropped."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.output import print_json
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.rekey import Progress, Rekeyed

#: Seconds between two lines that report progress.
_PACE = 5.0

_DESCRIPTION = """\
Encrypt everything in the ledger with the first key: contacts, results, calls, recordings, events, quarantined messages,
and the identity by which the ledger knows phone numbers. Afterwards the other keys may be dropped, and nobody who was
called, or refused to be called, is forgotten. Works in transactions of at most 500 rows, so collectors and tasks go on
meanwhile. If it is stopped or killed, run it again: it does what is left.

Before it, every process that uses the ledger must have the new key, and have been restarted with that key first: as
long as one of them writes with an older key, that key is reported as needed.

Keys are shown by identifiers that tell nothing about them. Of a ledger that was opened with a key missing, this counts
the rows that none of the keys opens; if there are none, the missing key is not needed, and is forgotten.
--discard-unreadable is for a key that is lost for good: it deletes what none of the keys opens. The contents of those
messages and the names, numbers and extras of those contacts are gone; who was called stays known.

Exit code 0: no row needs another key than the first (with --dry-run: all rows can be read). 1: some do."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(
        subparsers, "rekey", brief="encrypt everything with the first key of ledger_key", description=_DESCRIPTION
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--dry-run", action="store_true", help="only count rows by key")
    which.add_argument(
        "--discard-unreadable", action="store_true", help="delete what none of the keys opens; asks nothing"
    )
    parser.set_defaults(run=_rekey)


def _rekey(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.ledger.rekey import Rekey

    with open_named(args, require_keys=False) as ledger:
        rekey = Rekey(
            ledger, dry_run=args.dry_run, discard_unreadable=args.discard_unreadable, report=_Reporter().report
        )
        rekeyed = rekey.run()
        given = ledger.cipher.key_ids
    if args.json:
        print_json(_as_json(rekeyed, dry_run=args.dry_run))
    else:
        _show(rekeyed, dry_run=args.dry_run)
    _check(rekeyed, given, dry_run=args.dry_run)
    return 0


class _Reporter:
    """Reports progress on standard error, at a bounded pace."""

    def __init__(self) -> None:
        self._reported_at = time.monotonic()

    def report(self, progress: Progress) -> None:
        if time.monotonic() - self._reported_at >= _PACE:
            self._reported_at = time.monotonic()
            print(f"{progress.table}: {progress.done:,} of {progress.total:,} rows", file=sys.stderr, flush=True)


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
    Report what stands in the way of dropping the older keys.

    :raises LedgerKeyError: something does.
    """
    from airflow_provider_outbound.core.ledger.keys import UNKNOWN

    if rekeyed.unreadable:
        missing = [key_id for key_id in rekeyed.needed if key_id not in (*given, UNKNOWN)]
        which = ", ".join(missing) or "one whose identifier is not known"
        raise LedgerKeyError(
            f"ledger_key: none of the keys given ({', '.join(given)}) opens {rekeyed.unreadable} rows; add the key they"
            f" were encrypted with ({which}) behind the others and run this again, or, if it is lost for good, see"
            " --discard-unreadable"
        )
    if rekeyed.needed and not dry_run:
        raise LedgerKeyError(
            f"ledger_key: key {', '.join(rekeyed.needed)} is still needed: a process wrote with it, or another rekey"
            f" ran, while this command did; restart every collector, triggerer and worker with key {rekeyed.first_key}"
            " first, and run this again"
        )
