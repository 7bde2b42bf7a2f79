"""``outbound ledger allow``: take back what forbids to contact somebody."""

from __future__ import annotations

import argparse
import sys

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.exceptions import OutboundBotContactsError

_DESCRIPTION = """\
Let people be contacted again who were on a block list, or were put on one by us, by all that this ledger knows until
now: follow-ups and contacts_from leave them out until then. Numbers are read from standard input, one a line, so that
none is left in the shell's history.

This changes nothing in the service: its own block list is kept in its console."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(subparsers, "allow", brief="let people be contacted again", description=_DESCRIPTION)
    parser.set_defaults(run=_allow)


def _allow(args: argparse.Namespace) -> int:
    numbers = _read()
    with open_named(args) as ledger:
        allowed = ledger.follow_ups.take_back([ledger.identity.phone_key(number) for number in numbers])
    print(f"{allowed} of {len(numbers)} people may be contacted again; nothing was known against the others")
    return 0


def _read() -> set[str]:
    """The numbers that standard input gives, E.164."""
    from airflow_provider_outbound.core.models.phone import normalise

    if sys.stdin.isatty():
        print("Numbers, one a line; Ctrl-D ends them:", file=sys.stderr)
    numbers: set[str] = set()
    failure = None
    for position, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            numbers.add(normalise(line.strip()).e164)
        except ValueError as error:
            failure = f"standard input, line {position}: {error}; give one number a line. Nobody was allowed"
            break
    if failure is None and not numbers:
        failure = "standard input: no number was given; give one a line. Nobody was allowed"
    if failure is not None:
        raise OutboundBotContactsError(failure)
    return numbers
