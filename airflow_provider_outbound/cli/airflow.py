"""``airflow outbound …``: the same commands in Airflow's command line."""

from __future__ import annotations

import argparse
import sys

from airflow.cli.cli_config import ActionCommand, Arg

from airflow_provider_outbound.cli import add_commands, run


class _Commands(Arg):
    """Adds our parsers in place of an argument, since Airflow's command definitions do not support all of argparse."""

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        add_commands(parser)


def commands() -> list[ActionCommand]:
    """The commands that Airflow adds; named in the provider info."""
    return [
        ActionCommand(
            name="outbound",
            help="Phone campaigns with Alibaba Cloud OutboundBot",
            func=_run,
            args=(_Commands(flags=("command",)),),  # type: ignore[no-untyped-call]  # Airflow's own
        )
    ]


def _run(arguments: argparse.Namespace) -> None:
    code = run(arguments)
    if code:
        sys.exit(code)
