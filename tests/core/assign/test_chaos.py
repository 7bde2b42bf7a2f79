"""
Random campaigns of 2,000 contacts, each with a plan of faults, kills and stops drawn from its seed.

The judge is the simulated service: every number has one job, whatever happened. ``OUTBOUND_TEST_CHAOS_RUNS`` says how
many campaigns are run, ``OUTBOUND_TEST_CHAOS_SEED`` repeats one.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.simulator.testing import Simulator

RUNS = int(os.environ.get("OUTBOUND_TEST_CHAOS_RUNS") or 3)
SEED = os.environ.get("OUTBOUND_TEST_CHAOS_SEED")
CONTACTS = 2_000
#: Most campaigns at a time: they wait more than they work.
AT_A_TIME = 12
#: Tries of a task with faults and blows; those after them are left in peace.
HARD_TRIES = 5
MOST_TRIES = 25
#: How long after a request the service may act on it and list it, and how long we give it.
LATE, LAG, SETTLE = 0.8, 0.8, 3.0
SIMILAR_NAMES = 300
BLOWS = ("none", "kill", "kill", "kill", "stop", "lock")


@attrs.frozen(kw_only=True)
class Plan:
    """What happens to one campaign."""

    faults: dict[str, Any]
    latency: float
    batch_size: int
    max_parallel_requests: int
    #: Mapped tasks, whose parts of the contacts overlap.
    tasks: int
    shuffles: bool
    fresh_references: bool
    rotates_keys: bool
    similar_names: bool
    cleared: bool

    @classmethod
    def draw(cls, rng: random.Random) -> Plan:
        def chance(share: float) -> bool:
            return rng.random() < share

        both = ["AssignJobs", "CreateJobGroup"]
        menu: dict[str, dict[str, Any]] = {
            "throttle": {"actions": both, "probability": rng.uniform(0.05, 0.4)},
            "answer_lost": {"actions": both, "probability": rng.uniform(0.02, 0.3)},
            "late": {"actions": both, "probability": rng.uniform(0.02, 0.3), "seconds": rng.uniform(0.1, LATE)},
            "partial_batch": {"probability": rng.uniform(0.02, 0.3)},
            "status_500": {"actions": both, "probability": rng.uniform(0.02, 0.2)},
            "status_503": {"actions": both, "probability": rng.uniform(0.02, 0.2)},
            "html": {"actions": both, "probability": rng.uniform(0.02, 0.2)},
            "reset": {"actions": both, "probability": rng.uniform(0.02, 0.3)},
            "success_false": {"actions": both, "probability": rng.uniform(0.02, 0.2), "acts": chance(0.5)},
            "throttle_503": {"actions": both, "probability": rng.uniform(0.02, 0.2), "acts": chance(0.5)},
            "ids_shuffled": {},
            "listing_lag": {"seconds": rng.uniform(0.1, LAG)},
            "listing_reshuffle": {},
            "numbers_masked": {},
        }
        return cls(
            faults={name: fault for name, fault in menu.items() if chance(0.35)},
            latency=rng.uniform(0, 0.03),
            batch_size=rng.randint(20, 99),
            max_parallel_requests=rng.randint(1, 8),
            tasks=rng.choice((1, 1, 1, 2, 3)),
            shuffles=chance(0.5),
            fresh_references=chance(0.3),
            rotates_keys=chance(0.2),
            similar_names=chance(0.2),
            cleared=chance(0.3),
        )


class ChaosCampaign:
    """One campaign, from the creation of its group to the end of its last task."""

    def __init__(self, seed: int, folder: Path, processes: ForkServerContext) -> None:
        self.seed = seed
        self._rng = random.Random(seed)
        self.plan = Plan.draw(self._rng)
        self._processes = processes
        self._worker = importlib.import_module("chaos_worker")
        self._path = folder / "ledger.db"
        self._keys = [Fernet.generate_key().decode()]
        self._numbers = [f"138{index:08d}" for index in self._rng.sample(range(10**8), CONTACTS)]
        self.blows: Counter[str] = Counter()
        #: Requests that a stopped process had begun and sent when it went on, after its lease and its successor: what
        #: the promise leaves out.
        self.sent_after_stop = 0

    def run(self) -> None:
        plan = self.plan
        with Simulator(latency=plan.latency, seed=self.seed) as self._simulator:
            self._shared = {
                "ledger_url": f"sqlite:///{self._path}",
                "name": "nightly",
                "script_id": self._simulator.script_id,
                "settings": {
                    "access_key_id": self._simulator.access_key_id,
                    "access_key_secret": self._simulator.access_key_secret,
                    "endpoint": self._simulator.api,
                    "instance_id": self._simulator.instance_id,
                    "connect_timeout": 1.0,
                    "read_timeout": 1.0,
                },
                "options": {
                    "batch_size": plan.batch_size,
                    "max_parallel_requests": plan.max_parallel_requests,
                    "settle_seconds": SETTLE,
                    "lease_seconds": 4.0,
                },
            }
            if plan.similar_names:
                self._simulator.run(self._make_similar_groups)
            self._simulator.faults(**plan.faults)
            self._create()
            with ThreadPoolExecutor(plan.tasks) as pool:
                for done in [pool.submit(self._task, index, self._rng.random()) for index in range(plan.tasks)]:
                    done.result()
            if plan.cleared:
                for index in range(plan.tasks):
                    assert self._end(self._start_assign(index, random.Random(index))) == 0
            self._judge()

    def _make_similar_groups(self, cloud: Any) -> None:
        for index in range(SIMILAR_NAMES):
            cloud.create_group(name=f"nightly {index:012x}", script_id=self._simulator.script_id)

    def _create(self) -> None:
        for number in range(MOST_TRIES):
            if number == HARD_TRIES:
                self._simulator.faults()
            process = self._start(self._worker.run_create, self._shared, self._keys)
            if number < HARD_TRIES and self._rng.random() < 0.5:
                self._kill(process, self._rng.uniform(0, 0.5))
            if self._end(process) == 0:
                self._simulator.faults(**self.plan.faults)
                return
        raise AssertionError("the group was never created")

    def _task(self, index: int, seed: float) -> None:
        """Try until a try succeeds with nothing unresolved."""
        rng = random.Random(seed)
        for number in range(MOST_TRIES):
            if number == HARD_TRIES:
                self._simulator.faults()
            process = self._start_assign(index, rng)
            blow = rng.choice(BLOWS) if number < HARD_TRIES else "none"
            if blow == "kill":
                self._kill(process, rng.uniform(0.05, 2.5))
            elif blow == "lock":
                self._lock(rng)
            elif blow == "stop" and self.plan.tasks == 1:
                self._stop(process, index, rng)
            if self._end(process) == 0:
                return
        raise AssertionError("no try succeeded")

    def _start_assign(self, index: int, rng: random.Random) -> Any:
        part = self._part(index)
        if self.plan.shuffles:
            rng.shuffle(part)
        contacts: list[Any] = part
        if self.plan.fresh_references:
            contacts = [{"phone": number, "reference_id": f"{rng.getrandbits(128):032x}"} for number in part]
        return self._start(self._worker.run_assign, self._shared, self._keys, index, contacts)

    def _part(self, index: int) -> list[str]:
        """A task's contacts: its share and half of the next one's."""
        share = CONTACTS // self.plan.tasks
        begin = index * share
        return (self._numbers + self._numbers)[begin : begin + (share if self.plan.tasks == 1 else share * 3 // 2 + 1)]

    def _start(self, function: Any, *arguments: Any) -> Any:
        if self.plan.rotates_keys:
            self._keys = [Fernet.generate_key().decode(), *self._keys]
        process = self._processes.Process(target=function, args=arguments, daemon=True)
        process.start()
        return process

    def _end(self, process: Any) -> int | None:
        process.join(400)
        code: int | None = process.exitcode
        if code is None:
            process.kill()
            process.join()
            raise AssertionError("a try did not end")
        process.close()
        return code

    def _kill(self, process: Any, after: float) -> None:
        process.join(after)
        if process.is_alive():
            process.kill()
            self.blows["killed"] += 1

    def _lock(self, rng: random.Random) -> None:
        """The ledger cannot be written for a while, perhaps for longer than the lease."""
        time.sleep(rng.uniform(0.1, 1.5))
        if not self._path.exists():
            return
        with closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return
            time.sleep(rng.uniform(0.5, 6.0))
            database.execute("ROLLBACK")
        self.blows["ledger locked"] += 1

    def _stop(self, process: Any, index: int, rng: random.Random) -> None:
        """SIGSTOP; a successor takes over; then the stopped one goes on."""
        process.join(rng.uniform(0.2, 2.0))
        if not process.is_alive():
            return
        self._signal(process, signal.SIGSTOP)
        while process.is_alive() and not self._can_be_written():
            # Stopped inside a transaction it would keep everybody else out for as long.
            self._signal(process, signal.SIGCONT)
            time.sleep(rng.uniform(0, 0.02))
            self._signal(process, signal.SIGSTOP)
        self._end(self._start_assign(index, rng))
        before = self._requests()
        self._signal(process, signal.SIGCONT)
        process.join(120)
        self.sent_after_stop += self._requests() - before
        self.blows["stopped"] += 1

    def _signal(self, process: Any, number: signal.Signals) -> None:
        if process.is_alive():
            os.kill(process.pid, number)

    def _can_be_written(self) -> bool:
        with closing(sqlite3.connect(self._path, timeout=0.2, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return False
        return True

    def _requests(self) -> int:
        return int(self._simulator.state()["requests"].get("AssignJobs", 0))

    def _judge(self) -> None:
        state = self._simulator.state()
        jobs = Counter({number: len(ids) for number, ids in state["jobs_per_number"].items()})
        missing = [number for number in self._numbers if not jobs[number]]
        twice = {number: count for number, count in jobs.items() if count > 1}
        assert not missing, f"{len(missing)} contacts have no job"
        assert len(twice) <= self.sent_after_stop * self.plan.batch_size, f"{len(twice)} numbers have two jobs"
        assert len(jobs) == CONTACTS
        assert sum(bool(group["jobs"]) for group in state["groups"].values()) == 1
        if self.sent_after_stop:
            self.blows["sent after a stop"] += self.sent_after_stop


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Starts processes from one that has imported all it needs, so that a try begins at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["airflow_provider_outbound.core.assign", "aliyunsdkcore.request", "requests.adapters", "sqlalchemy"]
    )
    # The new processes find the helper beside this file by the same path.
    sys.path.insert(0, str(Path(__file__).parent))
    yield context
    sys.path.pop(0)


def test_whatever_happens_every_number_has_one_job(processes: ForkServerContext, tmp_path: Path) -> None:
    seeds = [int(SEED)] if SEED else [random.randrange(2**32) for _ in range(RUNS)]
    blows: Counter[str] = Counter()
    failures: list[str] = []

    def run(seed: int) -> None:
        folder = tmp_path / str(seed)
        folder.mkdir()
        campaign = ChaosCampaign(seed, folder, processes)
        try:
            campaign.run()
        except Exception:  # every campaign has its turn; what failed is told below, with its seed
            failures.append(f"seed {seed}: {campaign.plan}\n{traceback.format_exc()}")
        blows.update(campaign.blows)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(run, seeds))

    print(f"{len(seeds)} campaigns of {CONTACTS} contacts, seeds {seeds}; {dict(blows)}")
    assert not failures, "\n".join(failures)
