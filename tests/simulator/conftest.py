"""Clients of the simulator's tests: the SDKs and the RocketMQ client as their vendors ship them, nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.vendor_clients import ClassicSdk, Consumer, MakeConsumer, MakeSdk

from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def sdk(classic_sdk: MakeSdk, simulator: Simulator) -> ClassicSdk:
    """The classic SDK."""
    return classic_sdk(simulator)


@pytest.fixture
def classic_sdk() -> Iterator[MakeSdk]:
    """Makes clients of the classic SDK whose connections end with the test."""
    clients: list[ClassicSdk] = []

    def make(simulator: Simulator, **options: Any) -> ClassicSdk:
        clients.append(ClassicSdk(simulator, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def make_consumer() -> Iterator[MakeConsumer]:
    """Makes consumers that end with the test."""
    consumers: list[Consumer] = []

    def make(simulator: Simulator, **options: Any) -> Consumer:
        consumers.append(Consumer(simulator, **options))
        return consumers[-1]

    yield make
    for consumer in consumers:
        consumer.client.shutdown()
