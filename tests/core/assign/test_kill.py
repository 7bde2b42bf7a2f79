"""Workers killed (-9) in the middle of assigning, and two that assign at once."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import KEY, MakeSimulator, numbers

from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.simulator.testing import Simulator

ROUNDS = 20
CONTACTS = 60
OPTIONS = {"batch_size": 5, "max_parallel_requests": 4, "settle_seconds": 1.0, "lease_seconds": 1.6}


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Starts processes from one that has imported all it needs, so that a try begins at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["airflow_provider_outbound.core.assign", "aliyunsdkcore.request", "requests.adapters"]
    )
    # The new processes find the helper beside this file by the same path.
    sys.path.insert(0, str(Path(__file__).parent))
    yield context
    sys.path.pop(0)


class Round:
    """One campaign and the tries of its task."""

    def __init__(
        self,
        simulator: Simulator,
        processes: ForkServerContext,
        folder: Path,
        rng: random.Random,
        first_number: int,
        read_timeout: float = 0.5,
    ) -> None:
        self._processes = processes
        self._rng = rng
        self._url = f"sqlite:///{folder}/ledger.db"
        self._settings = {
            "access_key_id": simulator.access_key_id,
            "access_key_secret": simulator.access_key_secret,
            "endpoint": simulator.api,
            "instance_id": simulator.instance_id,
            "connect_timeout": 0.3,
            "read_timeout": read_timeout,
        }
        self.job_group_id = simulator.run(
            lambda cloud: cloud.create_group(name="killed", script_id=simulator.script_id).group_id
        )
        self.contacts = numbers(CONTACTS, first_number)
        self.kills = 0

    def start(self, task: str = "assign") -> Any:
        process = self._processes.Process(
            target=importlib.import_module("assigning_worker").run_try,
            args=(self._settings, self._url, [KEY], self.job_group_id, task, self.contacts, OPTIONS),
        )
        process.start()
        return process

    def finish(self, process: Any, task: str = "assign") -> None:
        """Wait for a try. On a busy machine its short lease may be lost; as in Airflow, the next one goes on."""
        for _ in range(5):
            process.join(60)
            if process.exitcode == 0:
                return
            process = self.start(task)
        raise AssertionError("no try succeeded")

    def run(self) -> None:
        """Try until a try succeeds; kill the first ones wherever they happen to be."""
        to_kill = self._rng.randint(1, 3)
        for _ in range(40):
            process = self.start()
            if self.kills < to_kill:
                process.join(self._rng.uniform(0.05, 0.9))
                if process.is_alive():
                    process.kill()
                    self.kills += 1
            process.join(60)
            code = process.exitcode
            process.close()
            if code == 0:
                return
        raise AssertionError("no try succeeded")


def test_killed_workers_leave_no_number_twice_and_none_missing(
    simulator_factory: MakeSimulator, processes: ForkServerContext, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    simulator = simulator_factory(latency=0.02, seed=seed)
    simulator.faults(
        answer_lost={"actions": ["AssignJobs"], "probability": 0.3},
        partial_batch={"probability": 0.1},
        reset={"actions": ["AssignJobs"], "probability": 0.1},
    )
    rounds = []
    for number in range(ROUNDS):
        (tmp_path / str(number)).mkdir()
        rounds.append(
            Round(simulator, processes, tmp_path / str(number), random.Random(rng.random()), number * CONTACTS)
        )

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(item.run) for item in rounds]:
            done.result()

    print(f"{sum(item.kills for item in rounds)} workers killed")
    jobs = simulator.state()["jobs_per_number"]
    wrong = {number: len(ids) for number, ids in jobs.items() if len(ids) != 1}
    assert not wrong
    assert Counter(jobs.keys()) == Counter(number for item in rounds for number in item.contacts)
    assert any(item.kills for item in rounds)


def test_another_run_calls_whom_a_killed_worker_left(
    simulator_factory: MakeSimulator, processes: ForkServerContext, tmp_path: Path
) -> None:
    """Not a retry: the killed task never runs again."""
    simulator = simulator_factory(latency=0.3)
    simulator.faults(reset={"actions": ["AssignJobs"], "probability": 0.4})
    item = Round(simulator, processes, tmp_path, random.Random(1), 0)
    killed = item.start("killed")
    until = time.monotonic() + 30
    while simulator.state()["requests"].get("AssignJobs", 0) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    killed.kill()
    killed.join(60)
    simulator.faults()
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [KEY]) as ledger:
        assert ledger.results.counts(item.job_group_id).in_doubt

    item.finish(item.start("another run"), "another run")

    jobs = simulator.state()["jobs_per_number"]
    assert Counter({number: len(ids) for number, ids in jobs.items()}) == Counter(dict.fromkeys(item.contacts, 1))


def test_two_tasks_with_the_same_contacts_share_them(
    simulator_factory: MakeSimulator, processes: ForkServerContext, tmp_path: Path
) -> None:
    simulator = simulator_factory(latency=0.02)
    simulator.faults(answer_lost={"actions": ["AssignJobs"], "probability": 0.2})
    item = Round(simulator, processes, tmp_path, random.Random(1), 0)

    writers = {task: item.start(task) for task in ("one", "two")}

    for task, writer in writers.items():
        item.finish(writer, task)
    jobs = simulator.state()["jobs_per_number"]
    assert Counter({number: len(ids) for number, ids in jobs.items()}) == Counter(dict.fromkeys(item.contacts, 1))


def test_two_tries_of_one_task_wait_for_each_other(
    simulator_factory: MakeSimulator, processes: ForkServerContext, tmp_path: Path
) -> None:
    """Airflow may start a try while the one before it is still running."""
    simulator = simulator_factory(latency=0.05)
    item = Round(simulator, processes, tmp_path, random.Random(1), 0)

    tries = [item.start() for _ in range(3)]

    for one in tries:
        item.finish(one)
    assert {len(ids) for ids in simulator.state()["jobs_per_number"].values()} == {1}
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [KEY]) as ledger:
        state = ledger.groups.state(item.job_group_id)
    assert (state.closed, state.open_assignments) == (CONTACTS, ())


def test_a_stopped_process_sends_nothing_after_its_lease(
    simulator_factory: MakeSimulator, processes: ForkServerContext, tmp_path: Path
) -> None:
    """SIGSTOP, not a kill: the process wakes up later and believes it may go on."""
    simulator = simulator_factory(latency=1.0)
    item = Round(simulator, processes, tmp_path, random.Random(1), 0, read_timeout=10)
    stopped = item.start()
    until = time.monotonic() + 20
    # All it may send at once has gone out: what is just being sent at the stop would go out when it goes on.
    while simulator.state()["requests"].get("AssignJobs", 0) < OPTIONS["max_parallel_requests"]:
        assert time.monotonic() < until
        time.sleep(0.01)
    _stop(stopped.pid)
    while not _can_be_written(tmp_path / "ledger.db"):
        # Stopped inside a transaction, it would keep everybody else out, which proves nothing here.
        os.kill(stopped.pid, signal.SIGCONT)
        time.sleep(0.005)
        _stop(stopped.pid)

    try:
        item.finish(item.start())
        before = simulator.state()["requests"]["AssignJobs"]
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    stopped.join(60)

    assert stopped.exitcode != 0
    assert simulator.state()["requests"]["AssignJobs"] == before
    assert {len(ids) for ids in simulator.state()["jobs_per_number"].values()} == {1}
    assert len(simulator.state()["jobs_per_number"]) == CONTACTS


def _stop(pid: int) -> None:
    """Stop a process; return when all its threads stand, which on a busy machine is a while after the signal."""
    os.kill(pid, signal.SIGSTOP)
    while not all(
        state.read_text().rpartition(") ")[2][0] == "T" for state in Path(f"/proc/{pid}/task").glob("*/stat")
    ):
        time.sleep(0.005)


def _can_be_written(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        return True
