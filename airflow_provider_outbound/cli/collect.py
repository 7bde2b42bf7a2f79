"""``outbound collect``: store call events in the ledger until stopped."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.cli.ledger.opening import WRONG_HOME, missing_file
from airflow_provider_outbound.cli.options import LEDGER_HELP, add_ledger_url, ledger_location, read_airflow_connections
from airflow_provider_outbound.exceptions import LedgerMissingError, OutboundBotConfigError, OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.collect.settings import WorkerSettings
    from airflow_provider_outbound.core.collect.worker import Collector
    from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings

_DESCRIPTION = """\
Receive call events from RocketMQ and store them in the ledger until stopped (SIGTERM, Ctrl-C). Several collectors may
run at the same time.

Subscription: --rocketmq-conn-id names an Airflow connection, which is looked up again while its broker fails; without
Airflow give --endpoint, --topic and --group, and the credentials in OUTBOUND_ROCKETMQ_USERNAME and
OUTBOUND_ROCKETMQ_PASSWORD.

A SQLite ledger must exist: the first task creates it, or "outbound ledger migrate".
"""
#: Supported schemes of an endpoint.
_SCHEMES = ("grpc", "remoting")
#: Shortest interval between two lookups of a connection whose broker fails (seconds).
_LOOK_UP_SECONDS = 10.0


def configure(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "collect",
        help="store call events in the ledger until stopped",
        description=_DESCRIPTION + LEDGER_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--rocketmq-conn-id", metavar="ID", help="Airflow connection of type rocketmq")
    source.add_argument(
        "--endpoint",
        metavar="URL",
        help="grpc://HOST:PORT of a proxy, or remoting://HOST:PORT of a name server; several in quotes, as"
        " 'grpc://A:PORT;B:PORT'",
    )
    parser.add_argument("--topic", help="topic of the events (with --endpoint)")
    parser.add_argument("--group", help="consumer group of this ledger only (with --endpoint)")
    parser.add_argument("--tag", help="tag expression (default: every message)")
    parser.add_argument("--namespace", default="", help="instance id, if the broker requires one")
    parser.add_argument("--no-tls", action="store_true", help="do not encrypt the connection (required for remoting)")
    parser.add_argument(
        "--librocketmq",
        metavar="PATH",
        help="librocketmq.so for remoting (default: that of the Python package, or on the library path)",
    )
    parser.add_argument(
        "--health-port",
        type=_port,
        metavar="PORT",
        help="serve /healthz, /readyz and /metrics (default: serve nothing)",
    )
    parser.add_argument(
        "--health-host", default="127.0.0.1", metavar="ADDRESS", help="address of --health-port (default: %(default)s)"
    )
    add_ledger_url(parser)
    parser.set_defaults(run=_collect, parser=parser)


def _collect(args: argparse.Namespace) -> int:
    if args.endpoint and not (args.topic and args.group):
        args.parser.error("--endpoint needs --topic and --group")
    if args.rocketmq_conn_id and (
        args.topic or args.group or args.tag or args.namespace or args.no_tls or args.librocketmq
    ):
        args.parser.error("--rocketmq-conn-id already defines topic, group, tag, namespace, tls and librocketmq")
    from airflow_provider_outbound.core.collect import worker

    try:
        settings = _settings(args)
    except OutboundBotError as error:
        print(f"outbound: {error}", file=sys.stderr)
        return 1
    _log_to_stderr(worker.logger)
    check = _Connection(args.rocketmq_conn_id, settings.rocketmq).is_edited if args.rocketmq_conn_id else lambda: False
    code = worker.run(settings, on_start=_health(args), check_outdated=check)
    if code == worker.OUTDATED:
        worker.logger.info("connection %r was edited: starting again with it", args.rocketmq_conn_id)
        # In place, because clients of RocketMQ leave threads behind, and there may be no service manager.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program, without a shell
    worker.leave(code)
    return 0  # never reached: the process has ended


class _Connection:
    """The connection of a running collector. It is looked up again while the broker fails, at a bounded rate."""

    def __init__(self, conn_id: str, settings: RocketMQSettings) -> None:
        self._conn_id = conn_id
        self._settings = settings
        self._due_at = 0.0

    def is_edited(self) -> bool:
        if time.monotonic() < self._due_at:
            return False
        self._due_at = time.monotonic() + _LOOK_UP_SECONDS
        try:
            return _connection(self._conn_id) != self._settings
        except Exception:  # noqa: BLE001 - Airflow's database is away, or the connection is still being edited
            return False


def _port(value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise argparse.ArgumentTypeError(f"{value!r} is not a port; give a number from 1 to 65535")
    return int(value)


def _health(args: argparse.Namespace) -> Callable[[Collector], object]:
    """What to do when the collector begins: serve its health, if that is asked for."""
    if args.health_port is None:
        return lambda _: None
    # Imported here, so that a missing package is reported before collecting begins.
    from airflow_provider_outbound.cli.health import serve_health

    return lambda collector: serve_health(collector, args.health_host, args.health_port)


def _log_to_stderr(logger: logging.Logger) -> None:
    # A separate handler: Airflow, once imported, sends the logs of other packages to standard output.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _settings(args: argparse.Namespace) -> WorkerSettings:
    from airflow_provider_outbound.core.collect.settings import WorkerSettings

    rocketmq = _connection(args.rocketmq_conn_id) if args.rocketmq_conn_id else _subscription(args)
    url, keys = ledger_location(args)
    if missing := missing_file(url):
        raise LedgerMissingError(
            f"ledger {missing}: there is no such file, and the collector of another ledger would take the messages of"
            f" the right one. {WRONG_HOME}, or correct --ledger-url. To create a new one: outbound ledger migrate"
        )
    return WorkerSettings(ledger_url=url, ledger_keys=keys, rocketmq=rocketmq)


def _connection(conn_id: str) -> RocketMQSettings:
    from airflow_provider_outbound.hooks.rocketmq import RocketMQHook

    read_airflow_connections()
    return RocketMQHook(conn_id).settings()


def _subscription(args: argparse.Namespace) -> RocketMQSettings:
    from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings

    scheme, found, rest = args.endpoint.partition("://")
    if not found or scheme not in _SCHEMES:
        raise OutboundBotConfigError(
            f"--endpoint {args.endpoint!r} is not understood; give grpc://HOST:PORT or remoting://HOST:PORT"
        )
    return RocketMQSettings(
        transport=scheme,
        endpoints=tuple(part for part in rest.rstrip("/").split(";") if part),
        topic=args.topic,
        consumer_group=args.group,
        namespace=args.namespace,
        tag=args.tag or "*",
        tls=not args.no_tls,
        librocketmq=args.librocketmq,
        username=os.environ.get("OUTBOUND_ROCKETMQ_USERNAME", ""),
        password=os.environ.get("OUTBOUND_ROCKETMQ_PASSWORD", ""),
    )
