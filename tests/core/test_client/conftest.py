"""A client for the simulator, and a server that answers whatever a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.scripted import Scripted, running

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.simulator.testing import Simulator

Connect = Callable[..., OutboundBotClient]


@pytest.fixture
def connect(simulator: Simulator) -> Connect:
    """Makes clients of the simulator; settings given replace the right ones."""

    def make(**changes: Any) -> OutboundBotClient:
        right = {
            "access_key_id": simulator.access_key_id,
            "access_key_secret": simulator.access_key_secret,
            "region_id": simulator.region_id,
            "endpoint": simulator.api,
            "instance_id": simulator.instance_id,
        }
        return OutboundBotClient(ClientSettings(**(right | changes)))

    return make


@pytest.fixture
def client(connect: Connect) -> OutboundBotClient:
    """A client with the right key and instance."""
    return connect()


@pytest.fixture
def group_id(client: OutboundBotClient, simulator: Simulator) -> str:
    """A job group of the simulator that dials at once."""
    return client.create_job_group(job_group_name="spring", script_id=simulator.script_id).job_group_id


def _job(number: int, *, name: str = "", reference_id: str = "") -> str:
    contact = {"phoneNumber": f"138{number:08}", "referenceId": reference_id or f"r-{number}", "name": name}
    return json.dumps({"contacts": [contact], "extras": [{"key": "city", "value": "上海"}]}, ensure_ascii=False)


@pytest.fixture
def make_job() -> Callable[..., str]:
    """Makes the JSON of a job for the contact with this number."""
    return _job


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A running :class:`Scripted` server."""
    with running() as server:
        yield server
