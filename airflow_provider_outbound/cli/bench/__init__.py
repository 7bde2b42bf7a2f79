"""
``outbound bench``: measured here and now, side by side with what one would do otherwise.

Each benchmark is a module with ``configure(subparsers)``. The last line of its output is one JSON object.
"""

from __future__ import annotations

import argparse
from importlib import import_module

BENCHMARKS = ("assign", "collect", "wait")


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure speed and memory on this machine, beside the alternatives",
        description="Measures on this machine, against a simulated service, and prints a table and one line of JSON. "
        "Figures of different machines cannot be compared; the ratios of one run can.",
    )
    names = parser.add_subparsers(title="benchmarks", dest="benchmark", metavar="NAME", required=True)
    for name in BENCHMARKS:
        import_module(f"{__name__}.{name}").configure(names)
