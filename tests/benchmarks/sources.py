"""
``python tests/benchmarks sources``: how fast contacts are read, and in how much memory.

The same contacts are read as a task reads them, from a local CSV file, from a workbook, and from CSV in a stand-in for
OSS on this machine. Every reading runs in a separate process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from benchmarks.common import in_own_process, say

_HEADER = ("phone", "name", "reference_id", "city", "points")
_CITIES = ("Hangzhou", "Shanghai", "Chengdu")
#: Rows of a sheet, without its header.
_MOST = 1_048_575


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "sources",
        help="reading contacts from CSV, from a workbook, and from OSS",
        description="Writes the same contacts as CSV and as a workbook, and reads each of them, and the CSV in a "
        "stand-in for OSS, in a process of its own. Writing the workbook takes longer than reading it.",
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="contacts (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure each source and print the figures; returns 0."""
    from support.oss_server import oss_server

    if not 0 < arguments.rows <= _MOST:
        raise SystemExit(f"--rows: {arguments.rows} is not between 1 and {_MOST}, the rows of a sheet")
    figures: dict[str, float] = {"rows": arguments.rows}
    with tempfile.TemporaryDirectory(prefix="outbound-bench-") as name, oss_server() as oss:
        folder = Path(name)
        _write_csv(folder / "people.csv", arguments.rows)
        _write_workbook(folder / "people.xlsx", arguments.rows)
        oss.reset("campaigns")
        oss.put("campaigns/people.csv", (folder / "people.csv").read_bytes())
        paths = {
            "csv": str(folder / "people.csv"),
            "xlsx": str(folder / "people.xlsx"),
            "oss": "oss://oss_bench@campaigns/people.csv",
        }
        # The processes that read inherit both.
        with patch.dict(os.environ, AIRFLOW_CONN_OSS_BENCH=oss.connection(), AIRFLOW_HOME=name):
            for source, path in paths.items():
                say(f"reading {source} …")
                figures |= {f"{figure}_{source}": value for figure, value in in_own_process(read, path).items()}
    _print_table(figures, list(paths))
    print(json.dumps(figures))
    return 0


def read(path: str) -> dict[str, float]:
    """Read contacts to the end; return the speed, the peak of memory, and what of it was there before (MB)."""
    from airflow_provider_outbound.arguments import as_path
    from airflow_provider_outbound.core.contacts import from_path
    from airflow_provider_outbound.core.models.contact import Contact

    source = from_path(as_path(path, "path"))
    before = _peak_mb()
    begun = time.monotonic()
    contacts = sum(isinstance(item, Contact) for item in source)
    seconds = time.monotonic() - begun
    return {
        "contacts": contacts,
        "seconds": round(seconds, 2),
        "rows_per_second": round(contacts / seconds),
        "peak_mb": round(_peak_mb(), 1),
        "before_mb": round(before, 1),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _people(count: int) -> Iterator[tuple[str, str, str, str, int]]:
    for index in range(count):
        yield f"138{index:08}", f"Person {index}", f"c-{index:07}", _CITIES[index % len(_CITIES)], index % 100


def _write_csv(path: Path, count: int) -> None:
    say("writing CSV …")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        writer.writerows(_people(count))


def _write_workbook(path: Path, count: int) -> None:
    import openpyxl

    say("writing a workbook …")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("People")
    sheet.append(_HEADER)
    for person in _people(count):
        sheet.append(person)
    book.save(path)


def _print_table(figures: dict[str, float], sources: list[str]) -> None:
    print(f"{figures['rows']:,} contacts         " + "".join(f"{source:>12}" for source in sources))
    for figure, unit in (("rows_per_second", "rows/s"), ("seconds", "s"), ("peak_mb", "MB"), ("before_mb", "MB")):
        values = "".join(f"{figures[f'{figure}_{source}']:>12,}" for source in sources)
        print(f"{figure.replace('_', ' '):<18}{unit:>7}{values}")
