"""What several benchmarks use: a simulated service in a process of its own, clients of it, words on how far it is."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient

#: What a task in a worker would have: a key of its own, made for such runs.
KEY = "YmVuY2htYXJrLW9ubHkta2V5LW9mLTMyLWJ5dGVzISE="

A = TypeVar("A")
T = TypeVar("T")


@contextmanager
def simulated_service(*options: str, broker: bool = True) -> Iterator[dict[str, Any]]:
    """
    A simulated service in a process of its own; it ends with this one, however that ends.

    :param options: Of ``outbound simulate``, beyond a free port of its own.
    :param broker: Whether it has a broker of its own; without, ``options`` say where it publishes to.
    :return: The line that it prints when it is ready.
    """
    from airflow_provider_outbound.cli.services import OUTBOUND

    command = [*OUTBOUND, "simulate", "--api-port", "0", "--until-stdin-closes"]
    command += [*(("--broker-port", "0") if broker else ()), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdin is not None  # noqa: S101 - a pipe, see above
        assert process.stdout is not None  # noqa: S101
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def client_of(service: Mapping[str, Any]) -> OutboundBotClient:
    """
    A client of a simulated service.

    :param service: The line that it printed.
    """
    from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient

    return OutboundBotClient(
        ClientSettings(
            access_key_id=service["access_key_id"],
            access_key_secret=service["access_key_secret"],
            endpoint=service["api"],
            instance_id=service["instance_id"],
        )
    )


def in_own_process(measure: Callable[[A], T], what: A) -> T:
    """Measure in a process of its own, so that nothing of an earlier measurement is left in memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, what).result()


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)
