"""
``python tests/benchmarks wait``: how long after its last message a waiting task resumes, and what waiting costs.

First one wait after the other: the time from sending the JobComplete to the trigger's event, compared with a bare
consumer that receives the same message, and with Kafka's own trigger. Then many waits in one process: what they hold
while idle, and how soon all of them resume when all groups end at the same time.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import attrs
from support.simulated import client_of, simulated_service

from benchmarks.common import KEY, say

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger
    from benchmarks.bare import Arrivals
    from benchmarks.triggerer import Triggerer

#: How long a step may take before the measurement is given up (seconds).
_PATIENCE = 60.0
#: Random time from a trigger's first request to the end of its call, so that no polling interval matters (seconds).
_SETTLE = (0.7, 1.7)
#: After this time the resources of the first requests have been released (seconds).
_REST = 5.0
#: By how much the service's clock is moved to end every call (seconds).
_CALL = 3600
#: Names of the figures that are measured for Kafka's trigger too.
_SHARED = ("threads", "processes", "connections", "loop_blocked_ms", "idle_cpu_percent", "all_resumed_seconds")


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "wait",
        help="waiting for a group: how soon after its last message a task resumes; a thousand waits in one triggerer",
        description="Measures the time from sending a JobComplete to the trigger's event, compared with a bare "
        "consumer and Kafka's AwaitMessageTrigger; then runs many waits in one process like a triggerer.",
    )
    parser.add_argument("--waits", type=int, default=100, help="waits one after the other (default: %(default)s)")
    parser.add_argument(
        "--kafka-waits", type=int, default=5, help="waits of Kafka's trigger; 0 skips this part (default: %(default)s)"
    )
    parser.add_argument("--sensors", type=int, default=1000, help="simultaneous waits (default: %(default)s)")
    parser.add_argument(
        "--idle-seconds", type=float, default=30.0, help="how long they are measured while idle (default: %(default)s)"
    )
    parser.add_argument(
        "--kafka-seconds",
        type=float,
        default=30.0,
        help="how long Kafka's triggers may take to resume before they are counted (default: %(default)s)",
    )
    parser.add_argument(
        "--latency-ms", type=float, default=0.0, help="latency of the simulated service (default: %(default)s)"
    )
    parser.add_argument("--ledger-url", help="PostgreSQL instead of a temporary SQLite file")
    parser.add_argument("--broker", metavar="HOST:PORT", help="a real RocketMQ proxy instead of the simulator's broker")
    parser.add_argument("--topic", default="outbound-bench", help="topic on that broker (default: %(default)s)")
    parser.add_argument(
        "--group",
        default="outbound-bench",
        help="consumer group on that broker, where NAME-bare must exist too (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure everything and print the figures; returns 0."""
    from benchmarks.kafka import PACKAGE, is_installed

    with Stage.open(arguments) as stage:
        say(f"broker: {arguments.broker or 'the simulator'}")
        with _bare_consumer(stage, arguments) as arrivals:
            figures, bodies = _one_by_one(stage, arrivals, arguments)
        figures |= _many(stage, arguments)
    if arguments.kafka_waits and is_installed():
        figures |= _kafka(arguments, bodies)
    else:
        if arguments.kafka_waits:
            say(f"no comparison with Kafka's trigger: {PACKAGE} is not installed (pip install {PACKAGE})")
        figures |= dict.fromkeys(["kafka_median_ms", "kafka_resumed", *(f"kafka_{name}" for name in _SHARED)])
    _print_table(figures, arguments)
    print(json.dumps(figures))
    return 0


@attrs.frozen(kw_only=True)
class Stage:
    """A simulated service, a ledger and a process with triggers."""

    service: Mapping[str, Any]
    ledger: Ledger
    triggerer: Triggerer

    @classmethod
    @contextmanager
    def open(cls, arguments: argparse.Namespace) -> Iterator[Stage]:
        """Start all three; the service's clock stands still."""
        from sqlalchemy import make_url

        from airflow_provider_outbound.core.ledger import open_ledger
        from benchmarks.triggerer import Triggerer

        options = ["--latency-ms", str(arguments.latency_ms), "--concurrency", str(max(20, arguments.sensors))]
        if arguments.broker:
            options += ["--publish-to", f"grpc://{arguments.broker}", "--topic", arguments.topic]
            options += ["--consumer-group", arguments.group]
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="outbound-bench-"))
            service = stack.enter_context(simulated_service(*options, broker=not arguments.broker))
            url = arguments.ledger_url or f"sqlite:///{folder}/ledger.db"
            ledger = stack.enter_context(open_ledger(url, [KEY]))
            _order(service, "clock", {"speed": 0})
            database = make_url(url)
            triggerer = Triggerer(
                "ours",
                {
                    **service["connections"],
                    "AIRFLOW_HOME": folder,
                    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
                    "AIRFLOW__OUTBOUND__LEDGER_URL": url,
                    "AIRFLOW__OUTBOUND__LEDGER_KEY": KEY,
                },
                ledger=str(database.database) if database.get_backend_name() == "sqlite" else database.port or 5432,
                broker=int(service["broker"].rpartition(":")[2]),
            )
            yield cls(service=service, ledger=ledger, triggerer=stack.enter_context(triggerer))

    def assign(self, count: int) -> list[str]:
        """Create job groups of one job each, as the operators do; returns their ids."""
        from airflow_provider_outbound.core.assign import AssignOptions, Request, assign
        from airflow_provider_outbound.core.contacts import from_items
        from airflow_provider_outbound.core.ledger import TaskKey

        client = client_of(self.service)

        def one(_: int) -> str:
            group = client.create_job_group(job_group_name="bench", script_id=self.service["script_id"])
            assign(
                client,
                self.ledger,
                TaskKey("bench", group.job_group_id, "assign"),
                # With these last two digits the simulated call is answered.
                from_items([f"138{random.randrange(10**6):06}00"]),
                request=Request(job_group_id=group.job_group_id),
                options=AssignOptions(),
                guard=lambda _: None,
            )
            return group.job_group_id

        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(one, range(count)))

    def looks(self) -> int:
        """The number of the triggers' requests about a group."""
        from airflow_provider_outbound.cli.services import request_json

        requests = request_json("GET", f"{self.service['api']}/_simulator/counts")["requests"]
        return int(requests.get("DescribeJobGroup", 0))

    def start(self, groups: Sequence[str]) -> None:
        """Start a trigger for each group, and wait until all have sent their first request."""
        from airflow_provider_outbound.cli.processes import wait_until

        before = self.looks()
        self.triggerer.wait_for(groups)
        wait_until(
            lambda: self.looks() >= before + len(groups),
            seconds=_PATIENCE + len(groups),
            what="the triggers' first requests",
            every=0.2,
        )

    def end_calls(self) -> None:
        """End all calls."""
        _order(self.service, "clock", {"advance": _CALL})


def _order(service: Mapping[str, Any], what: str, order: Mapping[str, Any]) -> None:
    from airflow_provider_outbound.cli.services import request_json

    request_json("POST", f"{service['api']}/_simulator/{what}", order)


@contextmanager
def _bare_consumer(stage: Stage, arguments: argparse.Namespace) -> Iterator[Arrivals]:
    """The bare client, in a consumer group of its own on the same broker."""
    from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
    from benchmarks import bare

    settings = RocketMQSettings(
        endpoints=(stage.service["broker"],),
        topic=stage.service["topic"],
        consumer_group=f"{stage.service['consumer_group']}-bare",
        tls=False,
    )
    if not arguments.broker:
        _order(stage.service, "broker", {"create_group": settings.consumer_group})
    with bare.consumer(settings) as arrivals:
        yield arrivals


def _one_by_one(stage: Stage, arrivals: Arrivals, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Latencies in ms, and the last messages of one group."""
    ours: list[float] = []
    bare: list[float] = []
    last = ""
    for number in range(1, arguments.waits + 1):
        (group,) = stage.assign(1)
        stage.start([group])
        time.sleep(random.uniform(*_SETTLE))
        stage.end_calls()
        event = stage.triggerer.event(_PATIENCE)
        arrival = arrivals.find("JobComplete", group, _PATIENCE)
        if event is None or arrival is None or event.payload["status"] != "complete":
            raise RuntimeError(f"no result of wait {number}: {event}")
        ours.append((event.at - arrival.sent_at) * 1000)
        bare.append((arrival.received_at - arrival.sent_at) * 1000)
        last = group
        if number % 20 == 0:
            say(f"{number} waits: median {statistics.median(ours):.0f} ms, bare {statistics.median(bare):.0f} ms")
    bodies = [
        arrival.body
        for kind in ("CallFinished", "JobComplete")
        if (arrival := arrivals.find(kind, last, _PATIENCE)) is not None
    ]
    return {
        "median_ms": round(statistics.median(ours), 1),
        "p99_ms": round(sorted(ours)[max(0, round(len(ours) * 0.99) - 1)], 1),
        "bare_median_ms": round(statistics.median(bare), 1),
        "bare_p99_ms": round(sorted(bare)[max(0, round(len(bare) * 0.99) - 1)], 1),
    }, bodies


def _many(stage: Stage, arguments: argparse.Namespace) -> dict[str, Any]:
    groups = stage.assign(arguments.sensors + 1)
    say(f"{arguments.sensors} groups are assigned")
    stage.start(groups[:1])
    time.sleep(_REST)
    alone = stage.triggerer.figures()
    stage.triggerer.longest_block()
    stage.start(groups[1:])
    starting = stage.triggerer.longest_block()
    figures = _idle(stage.triggerer, arguments.idle_seconds)
    begun = time.time()
    stage.end_calls()
    ends = _ends(stage.triggerer, len(groups), _PATIENCE * 2)
    blocked = max(starting, stage.triggerer.longest_block())
    if len(ends) < len(groups):
        raise RuntimeError(f"only {len(ends)} of {len(groups)} triggers yielded their event")
    return {
        "sensors": arguments.sensors,
        **{f"{name}_for_one": count for name, count in alone.items()},
        **figures,
        "loop_blocked_ms": round(1000 * blocked, 1),
        "median_resumed_seconds": round(statistics.median(ends) - begun, 2),
        "all_resumed_seconds": round(max(ends) - begun, 2),
    }


def _idle(triggerer: Triggerer, seconds: float) -> dict[str, Any]:
    """What is held and used while idle."""
    time.sleep(_REST)
    triggerer.start_cpu()
    time.sleep(seconds)
    percent = round(triggerer.cpu_percent(), 2)
    figures = triggerer.figures()
    say(f"idle: {figures}, {percent} % of a core")
    return {**figures, "idle_cpu_percent": percent}


def _ends(triggerer: Triggerer, count: int, patience: float) -> list[float]:
    """When the triggers yielded their events (Unix seconds)."""
    deadline = time.monotonic() + patience
    ends: list[float] = []
    while len(ends) < count and (event := triggerer.event(max(0.0, deadline - time.monotonic()))) is not None:
        ends.append(event.at)
    return ends


def _kafka(arguments: argparse.Namespace, bodies: Sequence[str]) -> dict[str, Any]:
    """
    The same with Kafka's trigger, which waits for the JobComplete in a topic that also has the group's other messages.

    Of these, only the one that comes together with the JobComplete is published.
    """
    from benchmarks.triggerer import Triggerer

    def messages(group: str) -> list[str]:
        return [json.dumps({**json.loads(body), "groupId": group}) for body in bodies]

    latencies: list[float] = []
    with tempfile.TemporaryDirectory(prefix="outbound-bench-") as folder:
        environment = {"AIRFLOW_HOME": folder, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
        with Triggerer("kafka", environment, ledger="", broker=0) as triggerer:
            for number in range(arguments.kafka_waits):
                triggerer.wait_for([f"kafka-{number}"])
                time.sleep(random.uniform(*_SETTLE))
                for body in messages(f"kafka-{number}"):
                    sent_at = time.time()
                    triggerer.tell(body)
                event = triggerer.event(_PATIENCE)
                if event is None:
                    raise RuntimeError("Kafka's trigger yielded no event")
                latencies.append(1000 * (event.at - sent_at))
            say(f"Kafka's trigger: median {statistics.median(latencies):.0f} ms")
            groups = [f"many-{number}" for number in range(arguments.sensors)]
            triggerer.longest_block()
            triggerer.wait_for(groups)
            figures = _idle(triggerer, arguments.idle_seconds)
            begun = time.time()
            for group in groups:
                for body in messages(group):
                    triggerer.tell(body)
            ends = _ends(triggerer, len(groups), arguments.kafka_seconds)
            figures["loop_blocked_ms"] = round(1000 * triggerer.longest_block(), 1)
    everyone = len(ends) == len(groups)
    figures["all_resumed_seconds"] = round(max(ends) - begun, 2) if everyone else None
    return {
        "kafka_median_ms": round(statistics.median(latencies), 1),
        **{f"kafka_{name}": figures[name] for name in _SHARED},
        "kafka_resumed": len(ends),
    }


def _print_table(figures: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    def shown(value: Any, unit: str = "") -> str:
        return "-" if value is None else f"{value:,}{unit}"

    table = Table("from sending the JobComplete", "median", "99 %")
    table.add_row("to our trigger's event", shown(figures["median_ms"], " ms"), shown(figures["p99_ms"], " ms"))
    table.add_row("to a bare consumer", shown(figures["bare_median_ms"], " ms"), shown(figures["bare_p99_ms"], " ms"))
    table.add_row("to the event of Kafka's trigger", shown(figures["kafka_median_ms"], " ms"), "")
    Console().print(table)
    many = Table(f"{arguments.sensors:,} waits in one process", "ours", "ours, one wait", "Kafka's trigger")
    for name, title, unit in (
        ("threads", "threads", ""),
        ("processes", "processes", ""),
        ("connections", "connections to ledger and broker", ""),
        ("loop_blocked_ms", "longest block of the event loop", " ms"),
        ("idle_cpu_percent", "CPU while idle", " %"),
        ("all_resumed_seconds", "all groups end at once: all resumed after", " s"),
    ):
        many.add_row(
            title,
            shown(figures[name], unit),
            shown(figures.get(f"{name}_for_one"), unit),
            shown(figures[f"kafka_{name}"], unit),
        )
    Console().print(many)
    if figures["kafka_all_resumed_seconds"] is None and figures["kafka_resumed"] is not None:
        print(f"After {arguments.kafka_seconds:g} s, {figures['kafka_resumed']} of Kafka's triggers had resumed.")
