"""
``python tests/benchmarks collect``: the cost of storing messages, and whether a large ledger is slower.

First the collector, in its usual process, and the bare client on the same broker: each has its own consumer group, and
they consume the same backlog alternately. Then a ledger of many events and one of few: how fast events are stored, and
how long the queries of a waiting task take.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs
from support.simulated import simulated_service

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from benchmarks.common import in_own_process, say

#: Holds the URL of a PostgreSQL server, if the option is not given.
POSTGRESQL_VARIABLE = "OUTBOUND_BENCH_POSTGRESQL"
#: Event types of one call, in order.
_STEPS = ("Dialing", "CallAnswered", "CallFinished", "JobComplete")


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "collect",
        help="storing messages: the collector and the bare client; a ledger of ten million events and a small one",
        description="Compares the events per second of the collector, into SQLite and PostgreSQL, with the bare "
        "client's receive-and-acknowledge loop on the same broker, alternately; then the insert rate and a waiting "
        "task's queries in a large ledger with those in a small one.",
    )
    parser.add_argument("--events", type=int, default=20_000, help="events in each backlog (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="number of backlogs (default: %(default)s)")
    parser.add_argument(
        "--many",
        type=int,
        default=10_000_000,
        help="events in the large ledger; 0 skips this part (default: %(default)s)",
    )
    parser.add_argument("--few", type=int, default=10_000, help="events in the small ledger (default: %(default)s)")
    parser.add_argument(
        "--lots", type=int, default=40, help="measured batches of 256 events for each ledger (default: %(default)s)"
    )
    parser.add_argument(
        "--folder", help="folder of the large ledger; ten million events need about 17 GB (default: the temporary one)"
    )
    parser.add_argument(
        "--growth-url",
        metavar="URL",
        help="two empty databases for these ledgers instead of SQLite files, with {name} for few and many; "
        "on PostgreSQL ten million events need about 14 GB",
    )
    parser.add_argument(
        "--broker",
        metavar="HOST:PORT",
        help="a RocketMQ proxy (default: the simulator's broker, whose own speed then limits both sides)",
    )
    parser.add_argument("--topic", default="outbound-bench", help="topic on that broker (default: %(default)s)")
    parser.add_argument(
        "--group",
        default="outbound-bench",
        help="prefix of the consumer groups: NAME-grpc-bare, NAME-grpc-sqlite, NAME-grpc-postgresql must exist on that "
        "broker, and the same with remoting (default: %(default)s)",
    )
    parser.add_argument("--nameserver", metavar="HOST:PORT", help="name server of that broker, for transport remoting")
    parser.add_argument("--librocketmq", metavar="PATH", help="librocketmq.so, for transport remoting")
    parser.add_argument(
        "--postgresql-url",
        default=os.environ.get(POSTGRESQL_VARIABLE),
        help=f"a database in which a temporary schema is created (default: {POSTGRESQL_VARIABLE})",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure everything and print the figures; returns 0."""
    figures: dict[str, Any] = {"broker": "real" if arguments.broker else "stand-in", "events": arguments.events}
    with _broker(arguments) as (endpoint, topic, make_group):
        for transport, at in (("grpc", endpoint), ("remoting", arguments.nameserver)):
            figures |= _transport(arguments, transport, at, endpoint, topic, make_group)
    figures |= _growth(arguments)
    _print_table(figures, arguments)
    print(json.dumps(figures))
    return 0


@attrs.frozen(kw_only=True)
class Race:
    """Arguments of a measuring process."""

    rocketmq: RocketMQSettings
    events: int
    ledger_url: str = ""


@contextmanager
def _broker(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[str], None]]]:
    """Address and topic of the broker, and a function that creates a consumer group on it."""
    if arguments.broker:
        say(f"broker: {arguments.broker}")
        yield arguments.broker, arguments.topic, lambda _: None
        return
    from airflow_provider_outbound.cli.services import request_json

    say("broker: the simulator's (--broker HOST:PORT names a real one)")
    with simulated_service("--topic", arguments.topic) as service:
        url = f"{service['api']}/_simulator/broker"
        yield service["broker"], arguments.topic, lambda group: request_json("POST", url, {"create_group": group})


def _transport(
    arguments: argparse.Namespace,
    transport: str,
    at: str | None,
    proxy: str,
    topic: str,
    make_group: Callable[[str], None],
) -> dict[str, Any]:
    """Events per second of the bare client and of the collector, with one transport."""
    from benchmarks import racers

    names = ("bare", "sqlite", "postgresql")
    missing = [name for name in names if name == "postgresql" and not arguments.postgresql_url]
    if at is None:
        say("transport remoting is left out: give --nameserver HOST:PORT (and --librocketmq PATH) of a real broker")
        missing = list(names)
    elif missing:
        say(f"PostgreSQL is left out: give --postgresql-url or set {POSTGRESQL_VARIABLE}")
    speeds: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="outbound-bench-"))
        races: dict[str, Race] = {}
        for name in names:
            if name in missing:
                continue
            settings = RocketMQSettings(
                transport=transport,
                endpoints=(str(at),),
                topic=topic,
                consumer_group=f"{arguments.group}-{transport}-{name}",
                tls=False,
                librocketmq=arguments.librocketmq if transport == "remoting" else None,
            )
            make_group(settings.consumer_group)
            in_own_process(racers.join, settings)
            url = f"sqlite:///{folder}/ledger.db" if name == "sqlite" else ""
            if name == "postgresql":
                url = stack.enter_context(racers.own_schema(arguments.postgresql_url))
            races[name] = Race(rocketmq=settings, events=arguments.events, ledger_url=url)
        for number in range(arguments.rounds if races else 0):
            in_own_process(racers.publish, (proxy, topic, [*bodies(arguments.events)]))
            for name, race in races.items():
                measure = racers.bare if name == "bare" else racers.collector
                speeds[name].append(in_own_process(measure, race))
            words = ", ".join(f"{name} {speeds[name][-1]:,.0f}" for name in races)
            say(f"{transport}, round {number + 1}, events per second: {words}")
    median = {name: statistics.median(found) if found else None for name, found in speeds.items()}
    figures: dict[str, Any] = {
        f"events_per_second_{transport}_{name}": None if speed is None else round(speed, 1)
        for name, speed in median.items()
    }
    for name in ("sqlite", "postgresql"):
        pairs = [ours / bare for ours, bare in zip(speeds[name], speeds["bare"], strict=False)]
        figures[f"ratio_{transport}_{name}"] = round(statistics.median(pairs), 3) if pairs else None
    return figures


def bodies(count: int, *, jobs_per_group: int = 5_000) -> Iterator[bytes]:
    """Messages as the service sends them, four for each call; every run has different jobs."""
    run = secrets.token_hex(8)
    for number in range(count):
        job, step = divmod(number, len(_STEPS))
        at = 1_790_000_000_000 + number
        task = {
            "id": f"task-{run}-{job:08x}",
            "callId": f"call-{run}-{job:08x}",
            "planedTime": at - 1000 * step,
            "actualTime": at - 1000 * step,
            **({"endTime": at} if step >= _STEPS.index("CallFinished") else {}),
            "callingNumber": "05710000000",
            "calledNumber": f"138{job % 10**8:08d}",
            "status": "SucceededFinish" if step >= _STEPS.index("CallFinished") else "Executing",
        }
        event = {
            "eventType": _STEPS[step],
            "eventTime": at,
            "instanceId": "bench-instance",
            "groupId": f"group-{run}-{job // jobs_per_group}",
            "id": f"job-{run}-{job:08x}",
            "status": "Succeeded" if _STEPS[step] == "JobComplete" else "Executing",
            "extras": [{"key": "city", "value": "Hangzhou"}],
            "contacts": [
                {
                    "id": f"contact-{job}",
                    "honorific": "",
                    "name": f"客户{job}",
                    "phoneNumber": f"138{job % 10**8:08d}",
                    "referenceId": f"r-{job:08x}",
                }
            ],
            "tasks": [task],
        }
        yield json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _growth(arguments: argparse.Namespace) -> dict[str, Any]:
    """How much slower a ledger of many events is than one of few."""
    from benchmarks import growth

    if not arguments.many:
        return {"insert_slowdown": None, "query_slowdown": None}
    with tempfile.TemporaryDirectory(prefix="outbound-bench-", dir=arguments.folder) as folder:
        url = arguments.growth_url or f"sqlite:///{folder}/{{name}}.db"
        return in_own_process(
            growth.measure, growth.Sizes(url=url, few=arguments.few, many=arguments.many, lots=arguments.lots)
        )


def _print_table(figures: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    def shown(value: Any, form: str) -> str:
        return "-" if value is None else format(value, form)

    place = "a real broker" if arguments.broker else "the simulator's broker"
    table = Table(f"events per second, {place}", "grpc", "to bare", "remoting", "to bare")
    for name, title in (("bare", "bare client"), ("sqlite", "into SQLite"), ("postgresql", "into PostgreSQL")):
        cells: list[str] = []
        for transport in ("grpc", "remoting"):
            cells.append(shown(figures[f"events_per_second_{transport}_{name}"], ",.0f"))
            cells.append(shown(figures.get(f"ratio_{transport}_{name}"), ".2f"))
        table.add_row(title, *cells)
    Console().print(table)
    if figures["insert_slowdown"] is None:
        return
    rows = Table("one ledger", f"{arguments.few:,} events", f"{figures['many']:,} events", "slower by")
    rows.add_row(
        "events stored per second",
        f"{figures['inserts_per_second_few']:,.0f}",
        f"{figures['inserts_per_second_many']:,.0f}",
        f"{figures['insert_slowdown']:.2f}",
    )
    rows.add_row(
        "a waiting task's queries",
        f"{figures['query_ms_few']:.2f} ms",
        f"{figures['query_ms_many']:.2f} ms",
        f"{figures['query_slowdown']:.2f}",
    )
    Console().print(rows)
