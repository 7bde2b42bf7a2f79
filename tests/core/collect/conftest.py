"""A ledger of the test's own, messages as the service sends them, and collectors as real processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from support.messages import T0, encoded, job_complete
from support.workers import StartWorker, Worker

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.ledger import Ledger, open_ledger
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def settings(simulator: Simulator, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(
        ledger_url=f"sqlite:///{tmp_path}/ledger.db",
        ledger_keys=(Fernet.generate_key().decode(),),
        rocketmq=RocketMQSettings(
            endpoints=(simulator.broker,),
            topic=simulator.topic,
            consumer_group=simulator.consumer_group,
            tls=False,
            lease_seconds=10,
        ),
    )


@pytest.fixture
def ledger(settings: WorkerSettings) -> Iterator[Ledger]:
    with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
        yield ledger


@pytest.fixture
def completed() -> Callable[..., bytes]:
    """Makes the message that a job is complete; each is of a job of its own."""
    numbers = itertools.count(1)

    def completed(group: str = "group-1") -> bytes:
        number = next(numbers)
        job = job_complete(
            group, f"job-{number}", f"1380000{number:04}", f"r-{number}", at=T0 + number, instanceId="instance-1"
        )
        return encoded(job)

    return completed


@pytest.fixture
def start(settings: WorkerSettings) -> Iterator[StartWorker]:
    """Starts collectors; all are ended with the test."""
    started: list[Worker] = []

    def start(settings: WorkerSettings = settings, **options: Any) -> Worker:
        worker = Worker(settings, **options)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.end()
