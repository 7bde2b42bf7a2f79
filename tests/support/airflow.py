"""What tests read of a real Airflow: its logs for the report of a failed test, and the files it writes."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.cli.processes import ServiceError
from airflow_provider_outbound.cli.services import AirflowStack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pytest

#: Lines of a log that may explain a failure, tracebacks included.
_SERIOUS = re.compile(r"\[(warning|error|critical) |Traceback|^ |Error")


def add_account(item: pytest.Item, report: pytest.TestReport, fixture: str) -> None:
    """Add the logs of the fixture's services, and the runs that did not succeed, to the report of a failed test."""
    stack = getattr(item, "funcargs", {}).get(fixture)
    if report.when != "call" or not report.failed or stack is None:
        return
    for name in stack.services:
        lines = stack.log(name).read_text(errors="replace").splitlines()
        report.sections.append((name, "\n".join([line for line in lines if _SERIOUS.search(line)][-60:])))
    with suppress(ServiceError):
        runs = stack.get("/api/v2/dags/~/dagRuns?order_by=-run_after&limit=100")["dag_runs"]
        for run in [run for run in runs if run["state"] != "success"][:5]:
            report.sections.append((f"{run['dag_id']} {run['dag_run_id']} {run['state']}", _account(stack, run)))


def _account(stack: AirflowStack, run: dict[str, Any]) -> str:
    """States of a run's tasks, and the ends of the logs of those that did not succeed."""
    parts = []
    for task in stack.tasks(run["dag_id"], run["dag_run_id"]):
        parts.append(f"{task['task_id']}[{task['map_index']}] {task['state']}, try {task['try_number']}")
        log = stack.task_log(run["dag_id"], run["dag_run_id"], task["task_id"])
        if task["state"] not in ("success", "skipped", None) and log is not None:
            parts.append(log.read_text(errors="replace")[-2000:])
    return "\n".join(parts)


def contents(paths: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """
    Read files that running processes write.

    A database is read after its ``-wal`` file: when its last connection is closed, SQLite moves the rows of that file
    into the database and deletes it. So no row is missed, and only these files may be gone.
    """
    for path in sorted(paths, reverse=True):
        try:
            yield path, path.read_bytes()
        except FileNotFoundError:
            assert path.name.endswith(("-wal", "-shm", "-journal")), path
