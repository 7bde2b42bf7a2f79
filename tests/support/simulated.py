"""A simulated service in a process of its own, and clients of a simulated service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient


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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def client_of(service: Mapping[str, Any], **settings: Any) -> OutboundBotClient:
    """
    A client of a simulated service.

    :param service: The line that it printed; ``ready`` of one in this process.
    :param settings: More of ``ClientSettings``.
    """
    # Here, so that a benchmark's process loads the SDK when it uses it.
    from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient

    return OutboundBotClient(
        ClientSettings(
            access_key_id=service["access_key_id"],
            access_key_secret=service["access_key_secret"],
            endpoint=service["api"],
            instance_id=service["instance_id"],
            **settings,
        )
    )
