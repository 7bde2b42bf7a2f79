"""A simulated service in a separate process, and clients of a simulated service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.simulator.testing import Simulator


@contextmanager
def simulated_service(*options: str, broker: bool = True) -> Iterator[dict[str, Any]]:
    """
    A simulated service in a separate process; it ends when this process ends, for whatever reason.

    :param options: Additional options of ``outbound simulate``; it uses free ports.
    :param broker: Whether it has its own broker; otherwise ``options`` name the broker to which it publishes.
    :return: The ready line.
    """
    from airflow_provider_outbound.cli.services import OUTBOUND

    command = [*OUTBOUND, "simulate", "--api-port", "0", "--seed", "0", "--until-stdin-closes"]
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

    :param service: The ready line; ``ready`` of a simulator in this process.
    :param settings: Additional fields of ``ClientSettings``.
    """
    # Imported here, so that a benchmark's process loads the SDK only when it uses it.
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


def statuses(simulator: Simulator) -> list[str]:
    """The status of each job in the only group of a simulated service."""
    (group,) = simulator.state()["groups"].values()
    return [job["status"] for job in group["jobs"]]
