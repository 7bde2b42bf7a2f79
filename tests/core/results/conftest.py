"""A ledger with results in it: told by messages as a collector keeps them, or by a campaign in the simulator."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine, make_url
from support import messages
from support.campaigns import KEY
from support.dialled import DialledCampaign
from support.messages import job_complete, store
from support.mysql import PARAMS, SERVERS, database
from support.simulated import client_of

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import Ledger, open_ledger
from airflow_provider_outbound.simulator.testing import Simulator

GROUP = "group-1"
POSTGRESQL = os.environ.get("OUTBOUND_TEST_POSTGRESQL")


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def ledger(tmp_path: Path, key: str) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [key]) as opened:
        yield opened


@pytest.fixture
def tell(ledger: Ledger) -> Callable[..., None]:
    """Stores a message about a job, as a collector does."""

    def tell(
        number: int,
        *,
        group: str = GROUP,
        event: str = "JobComplete",
        status: str = "Succeeded",
        reason: str | None = None,
        call: str | None = None,
        call_id: str | None = None,
        phone: str | None = None,
        reference: str | None = None,
        **contact: Any,
    ) -> None:
        job = job_complete(
            group,
            f"{group}-job-{number}",
            phone or f"1380000{number:04}",
            reference or f"r-{number:04}",
            *([] if call is None else [messages.call(call_id or f"{group}-call-{number}", call)]),
            at=messages.T0 + number,
            **{"eventType": event, "status": status, "failureReason": reason, **contact},
        )
        store(ledger, job)

    return tell


@pytest.fixture(
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param(
            "postgresql",
            id="postgresql",
            marks=[
                pytest.mark.postgresql,
                pytest.mark.skipif(POSTGRESQL is None, reason="OUTBOUND_TEST_POSTGRESQL names no server"),
            ],
        ),
        *PARAMS,
    ]
)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database that results are written to, of the test's own."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
        yield engine
        engine.dispose()
        return
    if request.param in SERVERS:
        # In another character set, as many databases are.
        with database(request.param, "CHARACTER SET utf8mb3") as url:
            engine = create_engine(url)
            yield engine
            engine.dispose()
        return
    server = make_url(POSTGRESQL or "").set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    keeper = create_engine(server, isolation_level="AUTOCOMMIT")
    with keeper.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(server.set(database=name))
    yield engine
    engine.dispose()
    with keeper.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    keeper.dispose()


@pytest.fixture
def client(simulator: Simulator) -> OutboundBotClient:
    return client_of(simulator.ready, connect_timeout=2.0, read_timeout=5.0)


@pytest.fixture
def campaign(simulator: Simulator, client: OutboundBotClient, ledger: Ledger) -> DialledCampaign:
    return DialledCampaign(simulator=simulator, client=client, ledger=ledger)
