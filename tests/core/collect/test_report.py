"""A collector's row in the ledger says how it is, whatever keeps messages from coming, and disturbs no message."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.processes import until

from airflow_provider_outbound.core.collect import report
from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.collect.worker import Collector
from airflow_provider_outbound.core.ledger import CollectorRecord, Ledger, sqlite
from airflow_provider_outbound.exceptions import RocketMQClientError
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports come often, and every trouble counts as lasting: nobody gains by waiting longer here."""
    monkeypatch.setattr(report, "REPORT_SECONDS", 0.2)
    monkeypatch.setattr(report, "LASTING_SECONDS", 0.0)


@pytest.fixture
def collect() -> Iterator[Callable[[WorkerSettings], None]]:
    """Runs collectors in threads; all are ended with the test."""
    running: list[tuple[threading.Thread, threading.Event]] = []

    def collect(settings: WorkerSettings) -> None:
        stop = threading.Event()
        thread = threading.Thread(target=Collector(settings, stop=stop).run)
        running.append((thread, stop))
        thread.start()

    yield collect
    for thread, stop in running:
        stop.set()
        thread.join(60)


def row(ledger: Ledger) -> CollectorRecord | None:
    """The row of the one collector."""
    return next(iter(ledger.collectors.read().collectors), None)


def test_contact_and_messages_are_reported(
    simulator: Simulator,
    settings: WorkerSettings,
    ledger: Ledger,
    completed: Callable[..., bytes],
    collect: Callable[[WorkerSettings], None],
) -> None:
    collect(settings)

    def in_contact() -> CollectorRecord | None:
        one = row(ledger)
        return one if one is not None and one.last_contact_at else None

    first = until(in_contact, "a contact without any message")
    assert first is not None
    simulator.publish(completed())
    until(lambda: (one := row(ledger)) and one.last_message_at, "a message")

    assert first.last_message_at is None
    assert first.endpoints == f"grpc://{simulator.broker}"
    assert first.subscription == (simulator.topic, simulator.consumer_group)
    assert ledger.collectors.read().trouble() == ""


@pytest.mark.parametrize(
    ("changes", "orders", "correction", "words"),
    [
        pytest.param({"topic": "no-such"}, {}, {"create_topic": "no-such"}, "has no topic 'no-such'", id="topic"),
        pytest.param({"consumer_group": "GID_no"}, {}, {"create_group": "GID_no"}, "group 'GID_no'", id="group"),
        pytest.param({}, {"lock": True}, {"lock": False}, "refuses the credentials", id="credentials"),
        pytest.param({}, {"stop": True}, {"start": True}, "cannot be reached", id="broker-away"),
    ],
)
def test_what_keeps_messages_from_coming_is_reported_until_it_is_mended(
    changes: dict[str, Any],
    orders: dict[str, Any],
    correction: dict[str, Any],
    words: str,
    simulator: Simulator,
    settings: WorkerSettings,
    ledger: Ledger,
    collect: Callable[[WorkerSettings], None],
) -> None:
    secret: dict[str, Any] = {"username": "outbound", "password": "hidden-secret"}
    simulator.broker_control(**orders)
    collect(attrs.evolve(settings, rocketmq=attrs.evolve(settings.rocketmq, **secret, **changes)))
    until(lambda: words in ledger.collectors.read().trouble(), words)
    told = ledger.collectors.read()

    simulator.broker_control(**correction)
    until(lambda: (one := row(ledger)) and one.last_contact_at and not one.trouble, "mended")

    assert "hidden-secret" not in repr(told)
    assert (last := row(ledger)) is not None
    # Not necessarily the same words: the connection that meets the correction may fail in another way.
    assert last.last_trouble


def test_a_collector_that_cannot_begin_says_why(settings: WorkerSettings, ledger: Ledger, tmp_path: Path) -> None:
    no_library = tmp_path / "librocketmq.so"
    no_library.write_bytes(b"no library")
    rocketmq = attrs.evolve(settings.rocketmq, transport="remoting", librocketmq=str(no_library))

    with pytest.raises(RocketMQClientError) as failure:
        Collector(attrs.evolve(settings, rocketmq=rocketmq), stop=threading.Event()).run()

    assert ledger.collectors.read().trouble() == str(failure.value)


def test_a_trouble_that_is_over_at_once_is_not_reported(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings

    monkeypatch.setattr(report, "LASTING_SECONDS", 60.0)
    reporter = report.Reporter(RocketMQSettings(endpoints=("a:1",), topic="t", consumer_group="g"))
    reporter.note_contact(messages=False)
    reporter.note_trouble("connecting anew")
    reporter.write(ledger)

    assert (one := row(ledger)) is not None
    assert one.last_trouble is None


def test_a_report_that_cannot_be_written_disturbs_no_message(
    simulator: Simulator,
    settings: WorkerSettings,
    ledger: Ledger,
    completed: Callable[..., bytes],
    collect: Callable[[WorkerSettings], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The table is gone, as for a role without a privilege; then the file is locked for a while, and comes back."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.2)
    with sqlite3.connect(settings.ledger_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("ALTER TABLE collectors RENAME TO hidden")
        collect(settings)
        simulator.publish(completed("group-1"))
        until(lambda: "group-1" in ledger.groups.changed_since(0)[1], "stored without a report")
        other.execute("BEGIN IMMEDIATE")
        simulator.publish(completed("group-2"))
        other.execute("ROLLBACK")
        until(lambda: "group-2" in ledger.groups.changed_since(0)[1], "stored after the lock")
        other.execute("ALTER TABLE hidden RENAME TO collectors")
    other.close()
    until(lambda: row(ledger), "reported in the end")

    assert "collectors" not in caplog.text
