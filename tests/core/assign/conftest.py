"""A campaign to assign: simulator, real client, real ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.campaigns import KEY, Campaign
from support.simulated import client_of

from airflow_provider_outbound.core.ledger import Ledger, open_ledger
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [KEY]) as opened:
        yield opened


@pytest.fixture
def make_campaign(ledger: Ledger) -> Callable[[Simulator], Campaign]:
    """Makes a campaign of a simulator."""
    fitting = {"settle_seconds": 0.5, "batch_size": 5, "max_parallel_requests": 4, "lease_seconds": 6.0}

    def make(simulator: Simulator) -> Campaign:
        client = client_of(simulator.ready, connect_timeout=0.5, read_timeout=1.0)
        return Campaign(simulator=simulator, client=client, ledger=ledger, options=fitting)

    return make


@pytest.fixture
def campaign(simulator: Simulator, make_campaign: Callable[[Simulator], Campaign]) -> Campaign:
    return make_campaign(simulator)
