"""``outbound simulate``: a simulated OutboundBot API and RocketMQ endpoint on this machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_outbound.simulator.server import Settings


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="run a simulated OutboundBot service and RocketMQ broker on 127.0.0.1",
        description="Runs a simulated OutboundBot API and a RocketMQ 5 endpoint on 127.0.0.1 until stopped. When both "
        "are ready, prints one line of JSON with their addresses, the access key, and the Airflow connections ready to "
        "export. The last two digits of a number determine its outcome.",
    )
    _add_endpoints(parser)
    _add_behaviour(parser)
    parser.set_defaults(run=run)


def _add_endpoints(parser: argparse.ArgumentParser) -> None:
    """Add the options of the API's and the broker's addresses."""
    parser.add_argument(
        "--api-port", type=int, default=8180, help="port of the API; 0 picks one (default: %(default)s)"
    )
    broker = parser.add_mutually_exclusive_group()
    broker.add_argument(
        "--broker-port", type=int, default=8181, help="port of the broker; 0 picks one (default: %(default)s)"
    )
    broker.add_argument(
        "--publish-to",
        metavar="URL",
        help="publish to a RocketMQ proxy (grpc://HOST:PORT) or through a name server (remoting://HOST:PORT) instead "
        "of running a broker",
    )
    parser.add_argument(
        "--librocketmq",
        metavar="PATH",
        help="librocketmq.so for remoting (default: that of the Python package, or on the library path)",
    )
    parser.add_argument("--topic", default="outbound-events", help="topic of the events (default: %(default)s)")
    parser.add_argument(
        "--consumer-group", default="outbound-collector", help="consumer group to create (default: %(default)s)"
    )


def _add_behaviour(parser: argparse.ArgumentParser) -> None:
    """Add the options of what the service does, and when."""
    parser.add_argument(
        "--call-seconds",
        type=_positive,
        default=5.0,
        help="mean duration of an answered call, seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--latency-ms", type=_positive, default=0.0, help="milliseconds added to every answer (default: %(default)s)"
    )
    parser.add_argument("--concurrency", type=int, default=20, help="simultaneous calls (default: %(default)s)")
    parser.add_argument(
        "--max-requests-per-second", type=_positive, help="throttle requests above this (default: never)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="seed of all random choices, ids among them: a ledger takes ids that come again for the groups it knows"
        " (default: another one each time)",
    )
    parser.add_argument(
        "--clock-speed",
        type=_positive,
        default=1.0,
        help="seconds of the service's clock per real second (default: %(default)s)",
    )
    parser.add_argument(
        "--start-at",
        type=_instant,
        metavar="ISO",
        help="start of the service's clock, with a time zone (default: now)",
    )
    parser.add_argument(
        "--exports",
        action="store_true",
        help="when ready, print shell lines that export the connections, instead of JSON",
    )
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when standard input closes, so that it does not outlive its parent",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run until stopped. Returns 0, or 1 after one line on standard error."""
    # Imported here: the command line must start without the simulator's extra.
    try:
        from airflow_provider_outbound.simulator.cloud import Options
        from airflow_provider_outbound.simulator.server import Settings
    except ImportError as error:
        print(
            f"outbound: {error.name} is not installed; run: pip install 'airflow-provider-outbound[simulator]'",
            file=sys.stderr,
            flush=True,
        )
        return 1
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    settings = Settings(
        options=Options(call_seconds=arguments.call_seconds, concurrency=max(arguments.concurrency, 1), seed=seed),
        api_port=arguments.api_port,
        broker_port=arguments.broker_port,
        publish_to=arguments.publish_to,
        librocketmq=arguments.librocketmq,
        topic=arguments.topic,
        consumer_group=arguments.consumer_group,
        latency=arguments.latency_ms / 1000,
        max_requests_per_second=arguments.max_requests_per_second,
        clock_speed=arguments.clock_speed,
        start_at=arguments.start_at,
    )
    return asyncio.run(_serve(settings, exports=arguments.exports, until_stdin_closes=arguments.until_stdin_closes))


async def _serve(settings: Settings, *, exports: bool, until_stdin_closes: bool) -> int:
    from airflow_provider_outbound.simulator.ports import PortInUseError
    from airflow_provider_outbound.simulator.publisher import PublishError
    from airflow_provider_outbound.simulator.server import Server

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        # A thread, since the loop can watch only pipes and terminals; it ends with the process.
        threading.Thread(target=_read_to_end, args=(loop, stop.set), daemon=True).start()
    try:
        server = Server(settings)
        await server.start()
    except (PortInUseError, PublishError, OSError) as error:
        print(f"outbound: {error}", file=sys.stderr, flush=True)
        return 1
    ready = server.ready()
    lines = (f"export {name}={shlex.quote(value)}" for name, value in ready["connections"].items())
    print("\n".join(lines) if exports else json.dumps(ready), flush=True)
    await stop.wait()
    await server.stop()
    return 0


def _read_to_end(loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(then)


def _positive(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give 0 or more")
    return value


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 time, e.g. 2026-11-23T09:00:00+08:00") from error
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; add one, e.g. +08:00")
    return instant
