"""``outbound ledger allow``: allow people to be contacted again."""

from __future__ import annotations

import argparse
import sys

from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.exceptions import OutboundBotContactsError

_DESCRIPTION = """\
Allow people to be contacted again whom follow-ups and contacts_from exclude: according to this ledger, they were on a
block list, or a task put them on one. If that happens again later, they are excluded again. Numbers are read from
standard input, one per line, so that none is left in the shell's history.

This changes nothing in the service, whose own block list is managed in its console."""


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = add_parser(subparsers, "allow", brief="allow people to be contacted again", description=_DESCRIPTION)
    parser.set_defaults(run=_allow)


def _allow(args: argparse.Namespace) -> int:
    numbers = _read()
    with open_named(args) as ledger:
        allowed = ledger.follow_ups.take_back([ledger.identity.phone_key(number) for number in numbers])
    print(f"{allowed} of {len(numbers)} people may be contacted again; the others were not excluded")
    return 0


def _read() -> set[str]:
    """Numbers from standard input, in E.164 format."""
    from airflow_provider_outbound.core.models.phone import normalise

    if sys.stdin.isatty():
        print("Enter numbers, one per line; Ctrl-D ends the list:", file=sys.stderr)
    numbers: set[str] = set()
    failure = None
    for position, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            numbers.add(normalise(line.strip()).e164)
        except ValueError as error:
            failure = f"standard input, line {position}: {error}; give one number per line. Nobody was allowed"
            break
    if failure is None and not numbers:
        failure = "standard input: no number was given; give one per line. Nobody was allowed"
    if failure is not None:
        raise OutboundBotContactsError(failure)
    return numbers
