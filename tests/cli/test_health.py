"""``outbound collect --health-port``: alive, ready, and numbers for Prometheus."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.cli.health import serve_health
from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.collect.worker import Collector
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.exceptions import OutboundBotConfigError

Get = Callable[[str], tuple[int, str]]


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    """A collector that has not begun."""
    settings = WorkerSettings(
        ledger_url=f"sqlite:///{tmp_path}/ledger.db",
        ledger_keys=(Fernet.generate_key().decode(),),
        rocketmq=RocketMQSettings(
            transport="grpc", endpoints=("127.0.0.1:1",), topic="calls", consumer_group="GID_ours", tls=False
        ),
    )
    return Collector(settings, stop=threading.Event())


@pytest.fixture
def get(collector: Collector) -> Iterator[Get]:
    server = serve_health(collector, "127.0.0.1", 0)

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    yield ask
    server.shutdown()
    server.server_close()


def test_it_is_alive_before_it_is_ready(collector: Collector, get: Get) -> None:
    assert get("/healthz") == (200, "alive\n")
    assert get("/readyz") == (503, "the broker has not answered\n")

    collector.reporter.note_contact(messages=True)

    assert get("/readyz") == (200, "ready\n")


def test_the_metrics_are_prometheus_text(collector: Collector, get: Get) -> None:
    collector.stored, collector.quarantined = 7, 2
    collector.reporter.note_contact(messages=False)

    status, text = get("/metrics")

    label = '{consumer_group="GID_ours",topic="calls"}'
    assert status == 200
    assert f"outbound_messages_stored_total{label} 7.0" in text
    assert f"outbound_messages_quarantined_total{label} 2.0" in text
    assert f"outbound_collector_lag_seconds{label} " in text
    # No message has arrived, so there is no age of the last one.
    assert "outbound_last_message_seconds" not in text


def test_other_paths_name_the_right_ones(get: Get) -> None:
    assert get("/") == (404, "try /healthz, /readyz or /metrics\n")


def test_an_address_that_cannot_be_used_is_named(get: Get, collector: Collector) -> None:
    with serve_health(collector, "127.0.0.1", 0) as server, pytest.raises(OutboundBotConfigError) as error:
        serve_health(collector, "127.0.0.1", server.server_port)

    assert f"--health-port: 127.0.0.1:{server.server_port} cannot be used" in str(error.value)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_only_a_port_is_a_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["collect", "--endpoint", "grpc://h:1", "--topic", "t", "--group", "g", "--health-port", port])

    assert "is not a port" in capsys.readouterr().err
