"""
``python tests/benchmarks page``: how long the page's answers take while several people look at it.

The page's application runs in a process of its own, without Airflow around it: what Airflow spends on tokens and rights
is not measured. Each client asks for one thing after the other, with a pause in between that is shorter than the
page's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.cli.services import free_port
from benchmarks.common import KEY, say
from benchmarks.growth import fill, in_haste

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger

#: One in so many campaigns is under way, and one in so many of its jobs is open.
_RUNNING, _OPEN = 50, 4


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "page",
        help="the page's answers while several people look at it",
        description="Fills a ledger with campaigns, and measures how long each kind of answer takes at the 95th "
        "percentile while clients ask for all of them.",
    )
    parser.add_argument("--campaigns", type=int, default=1_000, help="number of campaigns (default: %(default)s)")
    parser.add_argument("--events", type=int, default=200_000, help="events of all of them (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=20, help="clients at the same time (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they ask (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=1.0, help="seconds between two requests of a client (default: %(default)s)"
    )
    parser.add_argument("--folder", help="folder of the ledger (default: the temporary one)")
    parser.add_argument(
        "--ledger-url", metavar="URL", help="an empty database for the ledger (default: an SQLite file in the folder)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure everything and print the figures; returns 0."""
    from airflow_provider_outbound.core.ledger import open_ledger

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        url = arguments.ledger_url or f"sqlite:///{folder}/ledger.db"
        begun = time.perf_counter()
        with open_ledger(url, [KEY]) as ledger:
            paths = _fill(ledger, arguments.campaigns, max(1, arguments.events // arguments.campaigns // 4))
        say(f"{arguments.campaigns:,} campaigns: filled in {time.perf_counter() - begun:.0f} s")
        with _application(folder, url) as address:
            asking = _Asking(address=address, paths=paths, pause=arguments.pause)
            asking.once()
            asking.run(arguments.clients, arguments.seconds)
    figures = {
        "campaigns": arguments.campaigns,
        "events": arguments.events,
        "clients": arguments.clients,
        "load": round(os.getloadavg()[0], 1),
        "requests": sum(map(len, asking.taken.values())),
        "p95_ms": {kind: _percentile(taken) for kind, taken in sorted(asking.taken.items())},
    }
    for kind, taken in sorted(asking.taken.items()):
        median = 1000 * statistics.median(taken)
        print(f"{kind:<10}{len(taken):>6} answers  median {median:>7.1f} ms  95 % {_percentile(taken):>7.1f} ms")
    print(json.dumps(figures))
    return 0


def _percentile(taken: Sequence[float]) -> float:
    """The 95th percentile in milliseconds."""
    return round(1000 * sorted(taken)[int(0.95 * (len(taken) - 1))], 1)


def _fill(ledger: Ledger, campaigns: int, jobs: int) -> dict[str, list[str]]:
    """
    Fill a ledger: campaigns of one DAG, the newest of which are under way.

    :return: By kind, the paths that are asked for.
    """
    from sqlalchemy import update

    from airflow_provider_outbound.core.ledger import schema

    groups, tables = schema.job_groups, schema.jobs
    with in_haste(ledger):
        ids = fill(ledger, campaigns, jobs)
    now = datetime.now(UTC)
    running = ids[::_RUNNING]
    with ledger.write() as connection:
        for number, group_id in enumerate(ids):
            age = timedelta(minutes=30) if group_id in running else timedelta(hours=number + 1)
            values = {
                "run_key": f"{number:032d}",
                "dag_id": "campaign",
                "run_id": f"run-{number}",
                "task_id": "create",
                "map_index": -1,
                "name": f"Campaign {number}",
                "created_at": now - age,
            }
            connection.execute(update(groups).where(groups.c.job_group_id == group_id).values(**values))
        for group_id in running:
            some = tables.c.reference_id.in_(_references(connection, group_id)[::_OPEN])
            opened = {"terminal": False, "status": "Scheduling", "ended_at": None}
            connection.execute(update(tables).where(tables.c.job_group_id == group_id, some).values(**opened))
    reference = _reference(ledger, ids[-1])
    return {
        "list": ["campaigns"],
        "filtered": ["campaigns?text=campaign%201", "campaigns?state=running"],
        "campaign": [f"campaigns/{one}" for one in (*running, *random.sample(ids, min(20, len(ids))))],
        "jobs": [f"campaigns/{one}/jobs?outcome=answered" for one in running],
        "job": [f"campaigns/{ids[-1]}/jobs/{reference}"],
        "health": ["health"],
    }


def _references(connection: Any, group_id: str) -> list[str]:
    from sqlalchemy import select

    from airflow_provider_outbound.core.ledger import schema

    jobs = schema.jobs.c
    statement = select(jobs.reference_id).where(jobs.job_group_id == group_id).order_by(jobs.reference_id)
    return list(connection.execute(statement).scalars())


def _reference(ledger: Ledger, group_id: str) -> str:
    with ledger.read() as connection:
        return _references(connection, group_id)[0]


@contextmanager
def _application(folder: str, ledger_url: str) -> Iterator[str]:
    """Run the page's application; gives its address."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, ledger_url, port), daemon=True)
    process.start()
    address = f"http://127.0.0.1:{port}/api/"
    try:
        wait_until(lambda: _answers(f"{address}me"), seconds=120, what="the page's application")
        yield address
    finally:
        process.terminate()
        process.join()


def _answers(address: str) -> bool:
    import requests

    try:
        return requests.get(address, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _serve(folder: str, ledger_url: str, port: int) -> None:
    os.environ |= {
        "AIRFLOW_HOME": folder,
        "AIRFLOW__OUTBOUND__LEDGER_URL": ledger_url,
        "AIRFLOW__OUTBOUND__LEDGER_KEY": KEY,
    }
    import uvicorn

    from airflow_provider_outbound.page.app import build_app
    from airflow_provider_outbound.page.rights import reader

    class Everybody:
        """A user with every right, so that Airflow's database is not asked."""

        name = "benchmark"

        def can_read(self, *_of_what: object) -> bool:
            return True

        can_edit = may_use_connection = can_read

    app = build_app()
    app.dependency_overrides[reader] = Everybody
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


@attrs.define(kw_only=True)
class _Asking:
    """Clients that ask, and the seconds that each kind of answer took."""

    address: str
    paths: Mapping[str, Sequence[str]]
    pause: float
    taken: dict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))

    def once(self) -> None:
        """Ask for each path once, so that each is known to be answered; nothing is measured."""
        import requests

        for paths in self.paths.values():
            for path in paths:
                requests.get(self.address + path, timeout=60).raise_for_status()

    def run(self, clients: int, seconds: float) -> None:
        """Ask with this number of clients for this long."""
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._ask, args=(until,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, until: float) -> None:
        import requests

        with requests.Session() as session:
            time.sleep(random.random() * self.pause)
            while time.monotonic() < until:
                kind = random.choice(list(self.paths))
                path = random.choice(self.paths[kind])
                begun = time.perf_counter()
                session.get(self.address + path, timeout=60).raise_for_status()
                self.taken[kind].append(time.perf_counter() - begun)
                time.sleep(self.pause)
