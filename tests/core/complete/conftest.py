"""A group to wait for: simulator, real client, real ledger; nobody collects unless the test does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.campaigns import KEY, Campaign
from support.simulated import client_of

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import Ledger, open_ledger
from airflow_provider_outbound.core.ledger.database import Database
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [KEY]) as opened:
        yield opened


@pytest.fixture
def client(simulator: Simulator) -> OutboundBotClient:
    return client_of(simulator.ready)


@pytest.fixture
def campaign(simulator: Simulator, client: OutboundBotClient, ledger: Ledger) -> Campaign:
    return Campaign(simulator=simulator, client=client, ledger=ledger)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """
    Lets the ledger's clock go so much before the true one.

    Nothing sets the clock of one process alone, so the ledger is told another time where it asks for it.
    """
    true_time = Database.time

    def set_clock(ahead: timedelta) -> None:
        monkeypatch.setattr(Database, "time", lambda database, connection: true_time(database, connection) + ahead)

    return set_clock


@pytest.fixture
def hold_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets the ledger's clock stand so many seconds after the first time that it stood, however long a test takes."""
    began: list[datetime] = []

    def hold_clock(seconds: float) -> None:
        began.extend([datetime.now(UTC)][len(began) :])
        monkeypatch.setattr(Database, "time", lambda *_: began[0] + timedelta(seconds=seconds))

    return hold_clock
