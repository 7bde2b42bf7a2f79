"""A limit of requests a second holds for all processes that share the ledger."""

from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.core.ledger import open_ledger

PROCESSES, REQUESTS, PER_SECOND = 3, 8, 20.0


def send_some(settings: ClientSettings, url: str, key: str, begin: Barrier) -> None:
    with open_ledger(url, [key]) as ledger:
        client = OutboundBotClient(settings, lambda *turns: ledger.turns.take(settings.origin, *turns))
        begin.wait()
        for _ in range(REQUESTS):
            client.list_job_groups(page_size=1)


@pytest.fixture
def limited(client: OutboundBotClient) -> ClientSettings:
    return attrs.evolve(client.settings, max_requests_per_second=PER_SECOND)


def test_processes_share_the_limit(limited: ClientSettings, tmp_path: Path) -> None:
    """As many turns are gone as requests were sent, by whichever process, and none was given twice."""
    url, key = f"sqlite:///{tmp_path}/ledger.db", Fernet.generate_key().decode()
    with open_ledger(url, [key]) as ledger:
        context = multiprocessing.get_context("spawn")
        begin = context.Barrier(PROCESSES + 1)
        processes = [context.Process(target=send_some, args=(limited, url, key, begin)) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        begin.wait()
        first = ledger.now()
        for process in processes:
            process.join()

        (free_at,) = free_turns(tmp_path).values()

    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert (free_at - first).total_seconds() >= PROCESSES * REQUESTS / PER_SECOND - 1 / PER_SECOND


def test_connections_have_limits_of_their_own(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [Fernet.generate_key().decode()]) as ledger:
        assert ledger.turns.take("one", 100, 1.0) == 0

        assert ledger.turns.take("other", 1, 1.0) == 0
        assert ledger.turns.take("one", 1, 1.0) > 90


def test_a_ledger_that_cannot_be_reached_stops_no_request(limited: ClientSettings, tmp_path: Path) -> None:
    """Who has to stop a campaign can do so even then."""
    path = tmp_path / "ledger.db"
    with open_ledger(f"sqlite:///{path}", [Fernet.generate_key().decode()]) as ledger:
        client = OutboundBotClient(limited, lambda *turns: ledger.turns.take("one", *turns))
        with closing(sqlite3.connect(path)) as database:
            database.execute("DROP TABLE request_turns")

        assert client.list_job_groups(page_size=1).total == 0


def free_turns(folder: Path) -> dict[str, Any]:
    from datetime import UTC, datetime

    with closing(sqlite3.connect(folder / "ledger.db")) as database:
        rows = database.execute("SELECT name, free_at FROM request_turns").fetchall()
    return {name: datetime.fromisoformat(free_at).replace(tzinfo=UTC) for name, free_at in rows}
