"""Consumers of a backlog for the benchmark ``collect``: the bare client and the collector, each in its own process."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.common import KEY

if TYPE_CHECKING:
    from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
    from benchmarks.collect import Race

#: A measurement without progress is given up after this time (seconds).
_PATIENCE = 60.0
#: How often the progress is checked (seconds).
_ASK_SECONDS = 0.02


def join(settings: RocketMQSettings) -> None:
    """Register the consumer group with the broker, and consume the topic to its end."""
    from airflow_provider_outbound.core.rocketmq import open_consumer
    from airflow_provider_outbound.exceptions import RocketMQError

    consumer = open_consumer(settings)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            messages = consumer.receive(32, 3)
        except RocketMQError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
            continue
        if not messages:
            break
        consumer.acknowledge(messages)
    consumer.close()


def publish(what: tuple[str, str, Sequence[bytes]]) -> None:
    """Send messages to a proxy."""
    from airflow_provider_outbound.simulator.publisher import Publisher

    proxy, topic, bodies = what

    async def send() -> None:
        publisher = Publisher(f"grpc://{proxy}", topic)
        await publisher.start()
        for body in bodies:
            publisher.publish(body)
        while publisher.sent < len(bodies):  # noqa: ASYNC110 - it only counts
            await asyncio.sleep(0.05)
        await publisher.stop()

    asyncio.run(send())


def bare(race: Race) -> float:
    """Only receive and acknowledge; returns events per second."""
    return _bare_remoting(race) if race.rocketmq.transport == "remoting" else _bare_grpc(race)


def _bare_remoting(race: Race) -> float:
    """The library calls a function for each message; its return value is the acknowledgement."""
    from benchmarks.bare import push_consumer

    times: list[float] = []
    # Apart from reading the message, the callback only calls a built-in method: nothing could be faster.
    with push_consumer(race.rocketmq, lambda: times.append(time.perf_counter())):
        deadline = time.monotonic() + _PATIENCE
        seen = 0
        while (count := len(times)) < race.events:
            if count > seen:
                seen, deadline = count, time.monotonic() + _PATIENCE
            if time.monotonic() > deadline:
                raise RuntimeError(f"the bare client stopped at {count} of {race.events} events")
            time.sleep(_ASK_SECONDS)
    return (race.events - 1) / (times[race.events - 1] - times[0])


def _bare_grpc(race: Race) -> float:
    from benchmarks.bare import ACKNOWLEDGE_THREADS, open_client, receive

    client = open_client(race.rocketmq)
    taken = first = 0
    begun = 0.0
    with ThreadPoolExecutor(ACKNOWLEDGE_THREADS) as threads:
        while taken < race.events:
            messages = receive(client)
            if not taken and messages:
                # Measured from here: the time to connect does not count.
                begun, first = time.perf_counter(), len(messages)
            list(threads.map(client.ack, messages))
            taken += len(messages)
        seconds = time.perf_counter() - begun
    client.shutdown()
    return (taken - first) / seconds


def collector(race: Race) -> float:
    """Run a collector as a triggerer starts it; returns events per second, as counted in the ledger."""
    from sqlalchemy import select

    from airflow_provider_outbound.core.collect.settings import WorkerSettings
    from airflow_provider_outbound.core.ledger import open_ledger
    from airflow_provider_outbound.core.ledger.schema import ledger as table

    settings = WorkerSettings(ledger_url=race.ledger_url, ledger_keys=(KEY,), rocketmq=race.rocketmq)
    with open_ledger(race.ledger_url, [KEY]) as ledger:

        def stored() -> int:
            with ledger.read() as connection:
                return int(connection.execute(select(table.c.sequence)).scalar_one())

        already = stored()
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_provider_outbound.core.collect.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(settings.to_dict()).encode() + b"\n")
            process.stdin.flush()
            first, begun = 0, 0.0
            news_at, seen = time.monotonic(), 0
            while (count := stored() - already) < race.events:
                if count > seen:
                    news_at, seen = time.monotonic(), count
                    if not first:
                        first, begun = count, time.perf_counter()
                if time.monotonic() - news_at > _PATIENCE:
                    raise RuntimeError(f"the collector stopped at {count} of {race.events} events")
                time.sleep(_ASK_SECONDS)
            if count == first:
                raise RuntimeError(f"all {count} events were stored between two polls: give more of them (--events)")
            return (count - first) / (time.perf_counter() - begun)
        finally:
            process.stdin.close()
            process.wait(_PATIENCE)


@contextmanager
def own_schema(url: str) -> Iterator[str]:
    """URL of a temporary schema in a PostgreSQL database; nothing else in the database is changed."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.schema import CreateSchema, DropSchema

    name = f"outbound_bench_{secrets.token_hex(4)}"
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    with engine.begin() as connection:
        connection.execute(CreateSchema(name))
    try:
        own = parsed.update_query_dict({"options": f"-csearch_path={name}"})
        yield own.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(DropSchema(name, cascade=True))
        engine.dispose()
