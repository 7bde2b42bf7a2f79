"""
``outbound``: the command line.

Each command is a module with ``configure(subparsers)``, which adds a parser and says what runs it. Those modules import
what they need when they run, so that ``outbound --help`` is quick and no command needs another's extra.

Exit codes: 0 done, 1 an error in one line, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from airflow_provider_outbound import __version__
from airflow_provider_outbound.exceptions import OutboundBotError

COMMANDS = ("demo", "simulate", "collect", "groups", "ledger", "doctor", "bench")

#: Modules that only an extra brings, and the extra.
_EXTRAS = {"rocketmq": "grpc", "grpc": "grpc", "starlette": "simulator", "uvicorn": "simulator", "h11": "simulator"}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    :param argv: Arguments without the program's name; default: those of the process.
    :return: Exit code.
    """
    return run(_parser().parse_args(argv))


def run(arguments: argparse.Namespace) -> int:
    """
    Run the command that was parsed.

    :return: Exit code.
    """
    try:
        return int(arguments.run(arguments))
    except OutboundBotError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(f'{error.name} is not installed; run: pip install "airflow-provider-outbound[{extra}]"')
    except KeyboardInterrupt:
        return 130


def _fail(message: str) -> int:
    print(f"outbound: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outbound", description="Phone campaigns with Alibaba Cloud OutboundBot.")
    parser.add_argument("--version", action="version", version=f"outbound {__version__}")
    add_commands(parser)
    return parser


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give a parser our commands."""
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        import_module(f"{__name__}.{command}").configure(subparsers)
