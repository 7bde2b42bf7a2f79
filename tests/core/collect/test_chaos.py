"""
Random rounds of waiting: several job groups, and a plan of blows and lost messages drawn from the round's seed.

The judge is the simulated service: what it says happened is what the ledger has, each once; no wait is stuck, none ends
early. ``OUTBOUND_TEST_CRASH_ROUNDS`` says how many rounds are run, ``OUTBOUND_TEST_CRASH_SEED`` repeats one.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.fernet import Fernet
from support.processes import collectors
from support.simulated import client_of
from support.workers import StartWorker, poisons

from airflow_provider_outbound.core.assign import AssignOptions, Request, assign
from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import TaskKey, open_ledger
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.exceptions import (
    LedgerUnavailableError,
    OutboundBotApiError,
    OutboundBotThrottlingError,
    OutboundBotTransportError,
)
from airflow_provider_outbound.simulator.ports import PortInUseError
from airflow_provider_outbound.simulator.testing import Simulator

ROUNDS = int(os.environ.get("OUTBOUND_TEST_CRASH_ROUNDS") or 4)
SEED = os.environ.get("OUTBOUND_TEST_CRASH_SEED")
#: Most rounds at a time: they wait more than they work.
AT_A_TIME = 6
#: How long everything may take that must come to an end (seconds); nothing is measured by it.
PATIENCE = 240.0
#: The messages of a killed collector come back after so long, and two more (seconds).
LEASE = 4
BLOWS = (
    "kill-collector",
    "kill-triggerer",
    "stop-triggerer",
    "stop-broker",
    "lock-ledger",
    "cut-ledger",
    "poison",
    "second-collector",
)


@attrs.frozen(kw_only=True)
class Plan:
    """What happens in one round."""

    groups: tuple[int, ...]
    #: one: a triggerer waits for all groups; two: they share them; apart: each has a ledger of its own, one
    #: consumer group serves both.
    triggerers: str
    #: Whether the calls are over before anybody waits.
    waits_late: bool
    attempts: int
    faults: dict[str, Any]
    #: Two rows of blows that fall at the same time; seconds before each, its kind, and how long it lasts.
    blows: tuple[tuple[tuple[float, str, float], ...], ...]

    @classmethod
    def draw(cls, rng: random.Random) -> Plan:
        def chance(share: float) -> bool:
            return rng.random() < share

        asking = ["DescribeJobGroup", "QueryJobsWithResult", "ListJobs"]
        menu: dict[str, dict[str, Any]] = {
            "messages_doubled": {"probability": rng.uniform(0.1, 1), "new_event_time": chance(0.5)},
            "messages_late": {"probability": rng.uniform(0.02, 0.3), "seconds": rng.uniform(1, 12)},
            "messages_reordered": {"probability": rng.uniform(0.2, 1), "seconds": rng.uniform(0.5, 3)},
            "messages_withheld": {"probability": rng.choice((0.02, 0.1, 0.5, 1.0))},
            "throttle": {"actions": asking, "probability": rng.uniform(0.1, 0.5)},
            "status_500": {"actions": asking, "probability": rng.uniform(0.05, 0.3)},
            "html": {"actions": asking, "probability": rng.uniform(0.05, 0.2)},
            "reset": {"actions": asking, "probability": rng.uniform(0.05, 0.3)},
            "listing_reshuffle": {},
            "listing_lag": {"seconds": rng.uniform(0.5, 3)},
            "latest_task_missing": {},
            "completed_counts_ended": {},
        }
        return cls(
            groups=tuple(rng.randint(20, 150) for _ in range(rng.randint(1, 3))),
            triggerers=rng.choice(("one", "one", "two", "apart")),
            waits_late=chance(0.25),
            attempts=rng.choice((1, 1, 2, 3)),
            faults={name: fault for name, fault in menu.items() if chance(0.4)},
            blows=tuple(
                tuple(
                    (rng.uniform(0.2, 2.5), rng.choice(BLOWS), rng.uniform(0.5, 3.0)) for _ in range(rng.randint(1, 4))
                )
                for _ in range(2)
            ),
        )


@attrs.define(kw_only=True)
class Post:
    """Groups that some triggerer has to wait for, on one ledger."""

    ledger: int
    groups: list[str]
    process: Any = None
    #: Every process that ever had the post.
    all: list[Any] = attrs.field(factory=list)


class Round:
    """One round, from the assignment of its jobs to the last message."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        urls: Sequence[str],
        processes: ForkServerContext,
        start_collector: Callable[..., Any],
    ) -> None:
        self.seed = seed
        self._rng = random.Random(seed)
        self.plan = Plan.draw(self._rng)
        self._folder = folder
        #: Where two ledgers are to be made.
        self._urls = urls
        self._processes = processes
        self._worker = importlib.import_module("waiting_worker")
        self._judgement = importlib.import_module("crash_judge")
        self._start_collector = start_collector
        self._lock = threading.Lock()
        self._broker = threading.Lock()
        self._logs = 0
        self._poisons: list[tuple[bytes, bool]] = []
        self._posts: list[Post] = []
        self._readers: list[threading.Thread] = []
        #: Payloads by ledger and group.
        self._events: defaultdict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
        self.blows: Counter[str] = Counter()

    def run(self) -> None:
        total = sum(self.plan.groups)
        # So many lines that the calls take some seconds.
        with Simulator(call_seconds=0.2, concurrency=max(2, total // 25), seed=self.seed) as self._simulator:
            self._key = Fernet.generate_key().decode()
            with open_ledger(self._urls[0], [self._key]) as first, open_ledger(self._urls[1], [self._key]) as second:
                self._ledgers = (first, second)
                try:
                    self._run()
                finally:
                    self._end_all()

    def _run(self) -> None:
        groups = [self._create(index) for index in range(len(self.plan.groups))]
        self._simulator.faults(**self.plan.faults)
        self._posts = {
            "one": [Post(ledger=0, groups=groups)],
            "two": [Post(ledger=0, groups=groups[::2]), Post(ledger=0, groups=groups[1::2])],
            "apart": [Post(ledger=0, groups=groups), Post(ledger=1, groups=groups)],
        }[self.plan.triggerers]
        if self.plan.waits_late:
            self._assign_all(groups)
            self._until(lambda: all(self._is_over(group) for group in groups), "the calls are over")
        for post in self._posts:
            self._man(post)
        with ThreadPoolExecutor(3) as pool:
            works = [pool.submit(self._strike, row, self._rng.random()) for row in self.plan.blows]
            if not self.plan.waits_late:
                works.append(pool.submit(self._assign_all, groups))
            for work in works:
                work.result()
        self._until(self._all_told, "every wait has ended")
        self._end_triggerers()
        self._drain()
        self._judge()

    def _create(self, index: int) -> str:
        strategy = json.dumps({"maxAttemptsPerDay": self.plan.attempts, "minAttemptInterval": 0})
        return str(
            self._simulator.run(
                lambda cloud: (
                    cloud.create_group(
                        name=f"group {index}", script_id=self._simulator.script_id, strategy_json=strategy
                    ).group_id
                )
            )
        )

    def _assign_all(self, groups: list[str]) -> None:
        client = client_of(self._simulator.ready)
        for group, count in zip(groups, self.plan.groups, strict=True):
            numbers = [f"138{number:08d}" for number in self._rng.sample(range(10**8), count)]
            while not self._try_to_assign(client, group, numbers):
                pass

    def _try_to_assign(self, client: OutboundBotClient, group: str, numbers: list[str]) -> bool:
        """One try of the task that assigns; the API may refuse to answer its questions too."""
        try:
            result = assign(
                client,
                self._ledgers[0],
                TaskKey("dag", "run", group),
                from_items(numbers),
                request=Request(job_group_id=group),
                options=AssignOptions(settle_seconds=4.0, lease_seconds=20.0),
                guard=lambda _: None,
            )
        except (LedgerUnavailableError, OutboundBotThrottlingError, OutboundBotTransportError):
            return False
        except OutboundBotApiError as error:
            if not error.in_doubt:
                raise
            return False
        assert result.assigned == len(numbers)
        return True

    def _is_over(self, group: str) -> bool:
        return bool(self._simulator.run(lambda cloud: all(job.ended for job in cloud.groups[group].jobs)))

    # Triggerers

    def _man(self, post: Post) -> None:
        """Give a post a triggerer; an earlier one may still be there."""
        receiving, sending = self._processes.Pipe(duplex=False)
        apart = self.plan.triggerers == "apart"
        triggers = [
            {"job_group_id": group, "expected_jobs": count if apart else None}
            for group, count in zip(self._group_order(), self.plan.groups, strict=True)
            if group in post.groups
        ]
        environment = {
            **self._simulator.connections,
            "AIRFLOW__OUTBOUND__LEDGER_URL": self._urls[post.ledger],
            "AIRFLOW__OUTBOUND__LEDGER_KEY": self._key,
            "AIRFLOW__OUTBOUND__RECONCILE_INTERVAL": "1",
        }
        with self._lock:
            self._logs += 1
            log_file = str(self._folder / f"triggerer-{self._logs}.log")
        process = self._processes.Process(
            target=self._worker.run_triggers, args=(environment, triggers, log_file, LEASE, sending)
        )
        process.start()
        sending.close()
        reader = threading.Thread(target=self._read, args=(post, receiving))
        reader.start()
        with self._lock:
            post.process = process
            post.all.append(process)
            self._readers.append(reader)

    def _group_order(self) -> list[str]:
        return list(self._simulator.state()["groups"])

    def _read(self, post: Post, pipe: Any) -> None:
        with suppress(EOFError, OSError), closing(pipe):
            while True:
                group, payload = pipe.recv()
                with self._lock:
                    self._events[post.ledger, group].append(payload)

    def _all_told(self) -> bool:
        with self._lock:
            told = {key for key, payloads in self._events.items() if payloads}
        for post in self._posts:
            if all((post.ledger, group) in told for group in post.groups):
                continue
            if not post.process.is_alive():
                self._man(post)
            return False
        return True

    def _end_triggerers(self) -> None:
        """All end by themselves after their last event, those too that another was quicker than."""
        for process in [process for post in self._posts for process in post.all]:
            process.join(PATIENCE)
            assert not process.is_alive(), "a triggerer does not end"
        for reader in self._readers:
            reader.join(PATIENCE)

    # Blows

    def _strike(self, row: tuple[tuple[float, str, float], ...], seed: float) -> None:
        rng = random.Random(seed)
        for pause, kind, seconds in row:
            time.sleep(pause)
            getattr(self, "_" + kind.replace("-", "_"))(rng, seconds)

    def _some_post(self, rng: random.Random) -> Post:
        return rng.choice(self._posts)

    def _kill_collector(self, rng: random.Random, _: float) -> None:
        process = self._some_post(rng).process
        for pid in collectors(process.pid)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.blows["collector killed"] += 1

    def _kill_triggerer(self, rng: random.Random, seconds: float) -> None:
        post = self._some_post(rng)
        if post.process.is_alive():
            post.process.kill()
            self.blows["triggerer killed"] += 1
            time.sleep(seconds / 4)
            self._man(post)

    def _stop_triggerer(self, rng: random.Random, seconds: float) -> None:
        """It stalls; another one takes over; it goes on beside it."""
        post = self._some_post(rng)
        stalled = post.process
        if self._signal(stalled, signal.SIGSTOP):
            self._man(post)
            time.sleep(seconds)
            self._signal(stalled, signal.SIGCONT)
            self.blows["triggerer stopped"] += 1

    def _signal(self, process: Any, number: signal.Signals) -> bool:
        if process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
                return True
        return False

    def _stop_broker(self, _: random.Random, seconds: float) -> None:
        with self._broker:
            self._simulator.broker_control(stop=True)
            time.sleep(seconds)
            self._until(self._start_broker, "the broker has its port again")
        self.blows["broker stopped"] += 1

    def _start_broker(self) -> bool:
        """Start it, unless a connection of some other process has its port at the moment."""
        with suppress(PortInUseError):
            return bool(self._simulator.broker_control(start=True)["running"])
        return False

    def _lock_ledger(self, rng: random.Random, seconds: float) -> None:
        url = self._urls[self._some_post(rng).ledger]
        lock = _locked_file if url.startswith("sqlite") else _locked_table
        with lock(url) as is_locked:
            if is_locked:
                time.sleep(seconds)
                self.blows["ledger locked"] += 1

    def _cut_ledger(self, rng: random.Random, _: float) -> None:
        """Every connection to a database is cut; a file has none."""
        url = self._urls[self._some_post(rng).ledger]
        if not url.startswith("sqlite"):
            # The other row of blows may cut this one off at the same moment.
            with suppress(_cut_off()), _connected(url) as database:
                database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                self.blows["ledger cut off"] += 1

    def _poison(self, rng: random.Random, _: float) -> None:
        for body, readable in rng.sample(poisons(rng), 3):
            self._simulator.publish(body)
            with self._lock:
                self._poisons.append((body, readable))
            self.blows["poison"] += 1

    def _second_collector(self, rng: random.Random, seconds: float) -> None:
        """Another writer of the same ledger, killed after a while."""
        collector = self._collector(self._some_post(rng).ledger)
        time.sleep(seconds)
        collector.end(signal.SIGKILL)
        self.blows["second collector killed"] += 1

    def _collector(self, ledger: int) -> Any:
        simulator = self._simulator
        return self._start_collector(
            WorkerSettings(
                ledger_url=self._urls[ledger],
                ledger_keys=(self._key,),
                rocketmq=RocketMQSettings(
                    endpoints=(simulator.broker,),
                    topic=simulator.topic,
                    consumer_group=simulator.consumer_group,
                    tls=False,
                    lease_seconds=LEASE,
                ),
            )
        )

    # The end

    def _drain(self) -> None:
        """Tomorrow's collector takes what is left in the broker, and what is still under way to it."""
        collector = self._collector(0)
        self._until(
            self._is_drained, lambda: f"the broker is empty: {self._simulator.broker_control()}, {collector.lines}"
        )
        collector.process.stdin.close()
        assert collector.ended() == 0

    def _is_drained(self) -> bool:
        if self._simulator.run(lambda cloud: bool(cloud.post._delayed)):
            return False
        topic = self._simulator.broker_control()["topics"][self._simulator.topic]
        group = topic["groups"].get(self._simulator.consumer_group)
        return group is not None and group["delivered"] == topic["messages"] and not group["unacknowledged"]

    def _end_all(self) -> None:
        for post in self._posts:
            for process in post.all:
                if process.is_alive():
                    process.kill()
                process.join()
        for reader in self._readers:
            reader.join()

    def _until(self, condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {PATIENCE:.0f} s: {what if isinstance(what, str) else what()}"
            )
            time.sleep(0.1)

    def _judge(self) -> None:
        state = self._simulator.state()
        apart = self.plan.triggerers == "apart"
        judge = self._judgement
        for (ledger, group), payloads in self._events.items():
            judge.group(
                self._ledgers[ledger],
                group,
                payloads,
                state["groups"][group]["jobs"],
                complete=not apart and not any(state["withheld"].values()),
            )
        judge.messages(self._ledgers, self._simulator.run(lambda _: self._bodies()), self._poisons)
        logs = "".join(path.read_text() for path in self._folder.glob("triggerer-*.log"))
        judge.logs(logs, state["jobs_per_number"], apart=apart)

    def _bodies(self) -> list[bytes]:
        outlet: Any = self._simulator._running.outlet
        return [message.body for message in outlet.topics[self._simulator.topic].log]


@contextmanager
def _locked_file(url: str) -> Iterator[bool]:
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            yield False
        else:
            yield True
            database.execute("ROLLBACK")


@contextmanager
def _locked_table(url: str) -> Iterator[bool]:
    """The table whose one row every writer changes."""
    with suppress(_cut_off()), _connected(url) as database:
        database.execute("BEGIN")
        database.execute("LOCK TABLE ledger IN EXCLUSIVE MODE")
        yield True
        database.execute("ROLLBACK")


def _connected(url: str) -> Any:
    psycopg = importlib.import_module("psycopg")
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def _cut_off() -> type[Exception]:
    """What psycopg raises where a connection was cut."""
    return importlib.import_module("psycopg").OperationalError  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Starts processes from one that has imported Airflow, so that a triggerer begins at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "airflow_provider_outbound.triggers.outboundbot",
            "airflow_provider_outbound.core.collect.watch",
            "airflow_provider_outbound.core.complete",
            "airflow_provider_outbound.core.client.api",
            "aliyunsdkcore.request",
            "requests.adapters",
            "sqlalchemy",
        ]
    )
    # The new processes find the helper beside this file by the same path.
    sys.path.insert(0, str(Path(__file__).parent))
    pytest.register_assert_rewrite("crash_judge")
    yield context
    sys.path.pop(0)


def test_whatever_happens_every_status_comes_once(
    processes: ForkServerContext, tmp_path: Path, start: StartWorker
) -> None:
    def urls(folder: Path) -> list[str]:
        return [f"sqlite:///{folder}/ledger-{index}.db" for index in range(2)]

    _run_rounds(ROUNDS, tmp_path, urls, processes, start)


@pytest.mark.postgresql
def test_whatever_happens_every_status_comes_once_on_postgresql(
    processes: ForkServerContext, tmp_path: Path, start: StartWorker, make_database: Callable[[], str]
) -> None:
    def urls(_: Path) -> list[str]:
        return [make_database() for _ in range(2)]

    _run_rounds(max(4, ROUNDS // 4), tmp_path, urls, processes, start)


def _run_rounds(
    count: int, tmp_path: Path, urls: Callable[[Path], Sequence[str]], processes: ForkServerContext, start: StartWorker
) -> None:
    seeds = [int(SEED)] if SEED else [random.randrange(2**32) for _ in range(count)]
    blows: Counter[str] = Counter()
    failures: list[str] = []

    def run(seed: int) -> None:
        folder = tmp_path / str(seed)
        folder.mkdir()
        one = Round(seed, folder, urls(folder), processes, start)
        began = time.monotonic()
        try:
            one.run()
        except Exception:  # every round has its turn; what failed is told below, with its seed
            failures.append(f"seed {seed}: {one.plan}\n{traceback.format_exc()}")
        print(f"seed {seed}: {time.monotonic() - began:.0f} s")
        blows.update(one.blows)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(run, seeds))

    print(f"{len(seeds)} rounds, seeds {seeds}; {dict(blows)}")
    assert not failures, "\n".join(failures)
