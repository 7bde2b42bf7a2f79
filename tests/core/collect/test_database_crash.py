"""PostgreSQL killed and started again while a collector writes; the server is the test's own."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from support.postgresql import PostgreSQLServer
from support.processes import until
from support.workers import StartWorker, delivered, unacknowledged

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.simulator.testing import Simulator

pytestmark = pytest.mark.postgresql

MESSAGES = 300


def test_a_killed_database_loses_nothing_that_was_acknowledged(
    server: PostgreSQLServer,
    simulator: Simulator,
    settings: WorkerSettings,
    start: StartWorker,
    completed: Callable[..., bytes],
) -> None:
    settings = attrs.evolve(settings, ledger_url=server.url)
    open_ledger(settings.ledger_url, settings.ledger_keys).close()
    worker = start(settings)
    worker.wait_for("collecting")

    def acknowledged() -> int:
        return delivered(simulator) - unacknowledged(simulator)

    for number in range(3):
        told = worker.said("WARNING ledger")
        for _ in range(MESSAGES):
            simulator.publish(completed("group-1"))
        until(lambda: acknowledged() > number * (MESSAGES + 1), "it stores")  # noqa: B023
        server.kill()
        simulator.publish(completed("group-1"))
        until(lambda: worker.said("WARNING ledger") > told, "it says so")  # noqa: B023
        server.start()
        until(lambda: acknowledged() == (number + 1) * (MESSAGES + 1), "all stored")  # noqa: B023

    with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
        counts = ledger.results.counts("group-1")
    assert counts.total == counts.terminal == 3 * (MESSAGES + 1)
    assert worker.process.poll() is None
    assert worker.said("INFO the ledger answers again") == 3


def test_a_read_only_database_stops_receiving_and_is_reported_once(
    server: PostgreSQLServer,
    simulator: Simulator,
    settings: WorkerSettings,
    start: StartWorker,
    completed: Callable[..., bytes],
) -> None:
    settings = attrs.evolve(settings, ledger_url=server.url)
    open_ledger(settings.ledger_url, settings.ledger_keys).close()
    worker = start(settings)
    worker.wait_for("collecting")

    with server.read_only():
        for _ in range(MESSAGES):
            simulator.publish(completed("group-1"))
        worker.wait_for("read-only")
        assert delivered(simulator) == unacknowledged(simulator)
    worker.wait_for("INFO the ledger answers again")

    def stored() -> int:
        with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
            return ledger.results.counts("group-1").terminal

    until(lambda: stored() == MESSAGES, "all stored")
    assert worker.said("WARNING") == 1, worker.lines
    assert worker.said("ERROR") == 0, worker.lines


def test_a_collector_whose_privileges_are_taken_ends_with_the_fix(
    server: PostgreSQLServer,
    simulator: Simulator,
    settings: WorkerSettings,
    start: StartWorker,
    completed: Callable[..., bytes],
) -> None:
    open_ledger(server.url, settings.ledger_keys).close()
    server.execute(
        "CREATE ROLE limited LOGIN", "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO limited"
    )
    worker = start(attrs.evolve(settings, ledger_url=server.url.replace("postgres@", "limited@")))
    worker.wait_for("collecting")

    server.execute("REVOKE INSERT ON events FROM limited")
    simulator.publish(completed("group-1"))

    assert worker.ended() == 1
    assert worker.said("lacks a privilege") == 1, worker.lines
