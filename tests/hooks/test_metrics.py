"""Airflow's own metrics, as a StatsD server receives them: counts by DAG, and no number."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from support.ledgers import REPORT

from airflow_provider_outbound.core.ledger import Incoming, open_ledger
from airflow_provider_outbound.hooks.metrics import count_results, count_throttled, set_collecting
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.testing import Simulator

Received = Callable[[], list[str]]

#: Airflow never closes the socket that it sends metrics by.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")


def _initialise(*, on: bool) -> None:
    """Set up Airflow's metrics as a task's process does."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    if hasattr(stats, "initialize"):
        from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger

        factory = stats_utils.get_stats_factory() if on else NoStatsLogger
        stats.initialize(factory=factory, export_legacy_names=False)
    else:  # Airflow 3.2
        from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger

        untyped: Any = stats_utils.get_stats_factory
        legacy: Any = stats.Stats
        legacy.initialize(factory=untyped(legacy) if on else NoStatsLogger)


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """A StatsD server, and the lines that it has received since the last call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        for name, value in {
            "STATSD_ON": "True",
            "STATSD_HOST": "127.0.0.1",
            "STATSD_PORT": str(server.getsockname()[1]),
            # The dialect of StatsD that has tags.
            "STATSD_INFLUXDB_ENABLED": "True",
        }.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
        _initialise(on=True)

        def lines() -> list[str]:
            found = []
            while True:
                try:
                    found.append(server.recv(65536).decode())
                except TimeoutError:
                    # Airflow has metrics of its own.
                    return sorted(line for line in found if ".outbound." in line)

        yield lines
    monkeypatch.undo()
    _initialise(on=False)
    # While the filter of this test applies.
    gc.collect()


def test_results_are_counted_by_dag(received: Received) -> None:
    count_results({"completed": 20, "answered": 7}, "spring")
    count_results({"completed": 0, "answered": 0}, "empty")

    assert received() == [
        "airflow.outbound.calls_answered,dag_id=spring:7|c",
        "airflow.outbound.calls_completed,dag_id=spring:20|c",
    ]


def test_throttled_requests_are_counted_once(
    received: Received, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "spring")
    simulator.faults(throttle={"times": 2})

    with OutboundBotHook() as hook:
        hook.client.list_job_groups(page_size=1)
    hook.close()

    assert received() == ["airflow.outbound.requests_throttled,dag_id=spring:2|c"]


def test_the_state_of_collecting_is_shown(received: Received, tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [Fernet.generate_key().decode()]) as ledger:
        ledger.inbox.record([Incoming(body=b"about 13800000000", message_id="1", topic="t")])
        ledger.collectors.report(REPORT)
        set_collecting(ledger, "spring")

    lag, quarantined = received()

    assert quarantined == "airflow.outbound.quarantined,dag_id=spring:1|g"
    assert lag.startswith("airflow.outbound.collector_lag_seconds,dag_id=spring:")
    assert "138" not in lag.partition(":")[0] + quarantined


def test_nothing_is_counted_if_nothing_happened(received: Received) -> None:
    count_throttled(0, "spring")

    assert received() == []
