"""
``outbound demo``: a complete campaign on this machine, in a real Airflow, with a simulated service.

What it starts, and how each process ends when the demo returns, is interrupted (Ctrl-C, SIGTERM) or killed (SIGKILL):

* the supervisor (:mod:`airflow_provider_outbound.cli.supervisor`): its standard input closes when this process ends,
  for whatever reason; it then ends all other processes, removes the folder, and returns;
* the simulator, Airflow's api-server, dag-processor, scheduler and triggerer: children of the supervisor, which sends
  SIGTERM, and SIGKILL after a grace period;
* workers of the LocalExecutor, parsing processes, the triggerer's runner: end with their service; those whose service
  was killed become the supervisor's children and are killed by it;
* the collector, in a session of its own: ends when the pipe from its triggerer closes; otherwise as the previous item.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.cli.processes import ServiceError
from airflow_provider_outbound.cli.services import (
    AIRFLOW_SERVICES,
    USER,
    AirflowStack,
    example_dag,
)

if TYPE_CHECKING:
    from rich.console import Console

DAG_ID = "nightly_campaign"
_LOOK_SECONDS = 0.5
_FOLLOW_UP_LINES = 5
_RUN_SECONDS = 300.0
_TASKS = ("write_contacts", "create", "assign", "wait", "export", "follow_up")
#: The calls of a campaign of any size take about this long.
_CAMPAIGN_SECONDS = 6.0
#: Contacts of the campaign that ``--keep`` leaves running.
_CONTACTS_TO_WATCH = 2000
_CALL_SECONDS = 0.5


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="run the nightly campaign in a real Airflow against the simulator",
        description="Starts the simulator and Airflow in a temporary folder on free ports, runs the example DAG "
        f"{DAG_ID}, prints its results and ends everything it started.",
    )
    parser.add_argument("--contacts", type=_count, default=200, help="number of contacts (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep Airflow and a larger campaign running until Ctrl-C")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and return 0; an error names the stage and its log."""
    from rich.console import Console

    _check_installed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False)
    began = time.monotonic()
    concurrency = max(1, round(arguments.contacts * _CALL_SECONDS / _CAMPAIGN_SECONDS))
    stack = AirflowStack(
        Path(tempfile.mkdtemp(prefix="outbound-demo-")),
        dags=[example_dag(DAG_ID)],
        simulator_options=["--call-seconds", str(_CALL_SECONDS), "--concurrency", str(concurrency)],
    )
    with stack:
        demo = _Demo(stack, console)
        try:
            demo.run(arguments.contacts)
            console.print(f"Done in {time.monotonic() - began:.0f} s.")
            if arguments.keep:
                demo.keep()
        except ServiceError:
            stack.keep_folder()
            raise
    return 0


def _check_installed() -> None:
    """Report a missing package before anything is started."""
    for name in ("rocketmq-python-client", "starlette", "uvicorn", "h11"):
        try:
            version(name)
        except PackageNotFoundError:
            raise ServiceError(
                f'{name} is not installed; run: pip install "airflow-provider-outbound[grpc,simulator]"'
            ) from None


class _Demo:
    """One run of the demo on a stack that has not been started."""

    def __init__(self, stack: AirflowStack, console: Console) -> None:
        self._stack = stack
        self._console = console
        self._stages: list[tuple[str, float]] = []

    def run(self, contacts: int) -> None:
        """Start the stack, run the DAG and show the results."""
        with self._stage("prepare the simulator and Airflow's database"):
            self._stack.prepare()
        with self._stage("start Airflow's four services"):
            self._stack.start_airflow()
            self._stack.wait_for_dag(DAG_ID)
        run_id = self._stack.trigger(DAG_ID, {"contacts": contacts})
        with self._stage(f"run {DAG_ID}"):
            self._watch(run_id, contacts)
        self._show(run_id)

    def keep(self) -> None:
        """Start a second, larger campaign, which can be watched, and keep Airflow running until Ctrl-C."""
        self._stack.trigger(DAG_ID, {"contacts": _CONTACTS_TO_WATCH})
        self._console.print(
            f"Airflow: {self._stack.address}  login {USER}  password {self._stack.password}\n"
            f"Campaigns: {self._stack.address}/plugin/outbound  ({_CONTACTS_TO_WATCH} contacts are being called)\n"
            f"Simulator: {self._stack.simulator['api']}/_simulator/state\n"
            f"Files: {self._stack.files}\n"
            "Ctrl-C ends and removes everything."
        )
        while True:
            self._stack.check(["simulator", "api-server"])
            time.sleep(1)

    @contextmanager
    def _stage(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        with self._console.status(f"{what} …"):
            yield
        self._stages.append((what, time.monotonic() - began))
        self._console.print(f"[green]✓[/] {what}  [dim]{self._stages[-1][1]:.1f} s[/]")

    def _watch(self, run_id: str, contacts: int) -> None:
        """Show progress until the run has ended; raise an error if it failed."""
        until = time.monotonic() + _RUN_SECONDS
        shown = ""
        while True:
            self._stack.check(["simulator", *AIRFLOW_SERVICES])
            states = {task["task_id"]: task["state"] for task in self._stack.tasks(DAG_ID, run_id)}
            state = "running"
            if states and set(states.values()) <= {"success", "failed", "upstream_failed"}:
                state = self._stack.run_state(DAG_ID, run_id)
            line = self._progress(states, contacts)
            if line != shown:
                shown = line
                self._console.print(f"  {line}")
            if state == "success":
                return
            if state == "failed" or time.monotonic() > until:
                raise self._failure(run_id, states)
            time.sleep(_LOOK_SECONDS)

    def _progress(self, states: dict[str, str | None], contacts: int) -> str:
        done = [task for task in _TASKS if states.get(task) == "success"]
        now = [
            f"{task} {states[task]}" for task in _TASKS if states.get(task) in {"running", "deferred", "up_for_retry"}
        ]
        line = f"{len(done)} of {len(_TASKS)} tasks done" + (f", {', '.join(now)}" if now else "")
        if "assign" in done and "wait" not in done:
            jobs = [job for group in self._stack.simulator_state()["groups"].values() for job in group["jobs"]]
            ended = sum(job["status"] in {"Succeeded", "Failed", "Cancelled"} for job in jobs)
            line += f": {ended // 20 * 20 if ended < contacts else ended} of {contacts} calls ended"
        return line

    def _failure(self, run_id: str, states: dict[str, str | None]) -> ServiceError:
        failed = [task for task, state in states.items() if state in {"failed", "up_for_retry"}]
        open_tasks = [task for task, state in states.items() if state in {"running", "deferred", "queued", None}]
        task = (failed or open_tasks or [_TASKS[0]])[0]
        log = self._stack.task_log(DAG_ID, run_id, task) or self._stack.log("scheduler")
        verdict = "failed" if failed else f"had not ended after {_RUN_SECONDS:.0f} s"
        return ServiceError(f"task {task} {verdict}; its log: {log}")

    def _show(self, run_id: str) -> None:
        from rich.table import Table

        from airflow_provider_outbound.core.models.phone import mask

        summary = self._stack.xcom(DAG_ID, run_id, "wait")
        results = Path(self._stack.xcom(DAG_ID, run_id, "export")["path"])
        follow_up = Path(self._stack.xcom(DAG_ID, run_id, "follow_up")["path"])
        rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]

        table = Table(title="Results by outcome", title_justify="left")
        for name in ("outcome", "last call", "contacts"):
            table.add_column(name, justify="right" if name == "contacts" else "left")
        counts = Counter((row["outcome"], row["call_status"] or row["failure_reason"] or row["status"]) for row in rows)
        for (outcome, call), count in sorted(counts.items()):
            table.add_row(outcome, call, str(count))
        table.add_section()
        table.add_row("all", "", str(len(rows)))
        self._console.print(table)
        other = summary["total"] - summary["answered"] - summary["unanswered"] - summary["not_dialled"]
        self._console.print(
            f"{summary['total']} contacts: {summary['answered']} answered, {summary['unanswered']} unanswered, "
            f"{summary['not_dialled']} not dialled, {other} other."
        )

        with follow_up.open(encoding="utf-8-sig", newline="") as file:
            unreached = list(csv.DictReader(file))
        self._console.print(f"\nFollow-up list: {len(unreached)} contacts whose phone was not answered")
        for row in unreached[:_FOLLOW_UP_LINES]:
            self._console.print(f"  {row['reference_id']}  {mask(row['phone_number'])}  {row['call_status']}")
        if len(unreached) > _FOLLOW_UP_LINES:
            self._console.print(f"  … and {len(unreached) - _FOLLOW_UP_LINES} more")

        jobs = self._stack.simulator_state()["jobs_per_number"]
        twice = sum(len(job_ids) > 1 for job_ids in jobs.values())
        self._console.print(f"\nThe service holds {len(jobs)} numbers, {twice} of them in more than one job.")
        self._show_times(run_id)

    def _show_times(self, run_id: str) -> None:
        from datetime import datetime

        from rich.table import Table

        table = Table(title="Duration of each stage", title_justify="left")
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        for stage, seconds in self._stages:
            table.add_row(stage, f"{seconds:.1f}")
        table.add_section()
        tasks: dict[str, dict[str, Any]] = {task["task_id"]: task for task in self._stack.tasks(DAG_ID, run_id)}
        for task_id in _TASKS:
            start, end = (datetime.fromisoformat(tasks[task_id][name]) for name in ("start_date", "end_date"))
            table.add_row(f"task {task_id}", f"{(end - start).total_seconds():.1f}")
        self._console.print(table)


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 40_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 40000")
    return value
