"""``python tests/benchmarks``: run a benchmark of this checkout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from airflow_provider_outbound.exceptions import OutboundBotError

BENCHMARKS = ("assign", "collect", "page", "sources", "wait")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one benchmark.

    :param argv: Arguments without the program name; default: those of the process.
    :return: Exit code: 0 success, 1 error (in one line); wrong usage ends the process with 2.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except OutboundBotError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks",
        description="Measures on this machine, against a simulated service, and prints a table and one line of JSON. "
        "Figures of different machines cannot be compared; the ratios of one run can.",
    )
    names = parser.add_subparsers(title="benchmarks", dest="benchmark", metavar="NAME", required=True)
    for name in BENCHMARKS:
        import_module(f"benchmarks.{name}").configure(names)
    return parser


if __name__ == "__main__":
    # Python puts this folder on the path, where its modules would hide others of the same name, such as ``kafka``. The
    # processes that measure inherit the path.
    sys.path[0] = str(Path(__file__).parents[1])
    sys.exit(main())
