"""
``outbound``: the command line.

Each command is a module with ``configure(subparsers)``, which adds a parser and sets the function that runs it. The
modules import what they need only when they run, so that ``outbound --help`` is fast and no command needs the extra of
another.

Exit codes: 0 success, 1 error (in one line), 2 wrong usage, 130 stopped by Ctrl-C. A command completes its work even if
its output cannot be written. Lost output is an error, unless the reader of a pipe closed it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from airflow_provider_outbound import __version__
from airflow_provider_outbound.cli.output import LastingStream, lasting_output
from airflow_provider_outbound.exceptions import OutboundBotError

COMMANDS = ("demo", "simulate", "collect", "groups", "calls", "person", "ledger", "doctor")

#: Modules that only an extra installs, and that extra.
_EXTRAS = {
    "rocketmq": "grpc",
    "grpc": "grpc",
    "starlette": "simulator",
    "uvicorn": "simulator",
    "h11": "simulator",
    "prometheus_client": "metrics",
}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    :param argv: Arguments without the program name; default: those of the process.
    :return: Exit code.
    """
    with lasting_output() as output:
        try:
            arguments = _parser().parse_args(argv)
        except SystemExit as ended:
            # argparse printed help, or explained wrong usage.
            if not ended.code and (code := _code(0, output)):
                raise SystemExit(code) from None
            raise
        return _run(arguments, output)


def run(arguments: argparse.Namespace) -> int:
    """
    Run a parsed command.

    :return: Exit code.
    """
    with lasting_output() as output:
        return _run(arguments, output)


def _run(arguments: argparse.Namespace, output: LastingStream) -> int:
    return _code(_run_command(arguments), output)


def _code(code: int, output: LastingStream) -> int:
    """Exit code of a command that ended with ``code``: an error if its output was lost."""
    output.flush()
    if code == 0 and output.failure is not None:
        return _fail(f"standard output cannot be written: {output.failure}")
    return code


def _run_command(arguments: argparse.Namespace) -> int:
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
    """Add all commands to a parser."""
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        import_module(f"{__name__}.{command}").configure(subparsers)
