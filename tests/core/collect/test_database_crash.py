"""PostgreSQL killed and started again while a collector writes; the server is the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest


from airflow_provider_outbound.core.collect.worker import WorkerSettings
from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from support.postgresql import PostgreSQLServer

pytestmark = pytest.mark.postgresql

MESSAGES = 300


def test_a_killed_database_loses_nothing_that_was_acknowledged(
    server: PostgreSQLServer,
    simulator: Simulator,
    settings: WorkerSettings,
    start: Callable[..., Any],
    completed: Callable[..., bytes],
    tools: Any,
) -> None:
    settings = attrs.evolve(settings, ledger_url=server.url)
    open_ledger(settings.ledger_url, settings.ledger_keys).close()
    worker = start(settings)
    worker.wait_for("collecting")

    def acknowledged() -> int:
        topic = simulator.broker_control()["topics"][simulator.topic]
        return sum(group["delivered"] - group["unacknowledged"] for group in topic["groups"].values())

    for number in range(3):
        told = worker.said("WARNING ledger")
        for _ in range(MESSAGES):
            simulator.publish(completed("group-1"))
        tools.until(lambda: acknowledged() > number * (MESSAGES + 1), "it stores")  # noqa: B023
        server.kill()
        simulator.publish(completed("group-1"))
        tools.until(lambda: worker.said("WARNING ledger") > told, "it says so")  # noqa: B023
        server.start()
        tools.until(lambda: acknowledged() == (number + 1) * (MESSAGES + 1), "all stored")  # noqa: B023

    with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
        counts = ledger.jobs.counts("group-1")
    assert counts.total == counts.terminal == 3 * (MESSAGES + 1)
    assert worker.process.poll() is None
    assert worker.said("INFO the ledger answers again") == 3
