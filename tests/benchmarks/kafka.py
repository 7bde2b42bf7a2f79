"""
Kafka's own trigger, ``AwaitMessageTrigger`` of apache-airflow-providers-apache-kafka, with a topic in memory.

Its code runs unchanged, with its defaults. Only the broker is replaced, so that its speed does not count. This module
is imported inside the process that is measured.
"""

from __future__ import annotations

import json
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import Any

#: The package that this comparison needs.
PACKAGE = "apache-airflow-providers-apache-kafka"


class _Topic:
    """Messages for consumers, each of which has a group of its own and reads all messages."""

    def __init__(self) -> None:
        self._bodies: list[str] = []
        self._news = threading.Condition()

    def append(self, body: str) -> None:
        with self._news:
            self._bodies.append(body)
            self._news.notify_all()

    def __len__(self) -> int:
        return len(self._bodies)

    def wait_for(self, position: int, seconds: float) -> str | None:
        with self._news:
            self._news.wait_for(lambda: len(self._bodies) > position, seconds)
            return self._bodies[position] if len(self._bodies) > position else None


TOPIC = _Topic()


class _Message:
    def __init__(self, body: str) -> None:
        self._body = body

    def error(self) -> None:
        return None

    def value(self) -> bytes:
        return self._body.encode()


class _Consumer:
    """The part of ``confluent_kafka.Consumer`` that the trigger uses."""

    def __init__(self) -> None:
        self._position = len(TOPIC)

    def poll(self, seconds: float) -> _Message | None:
        body = TOPIC.wait_for(self._position, seconds)
        if body is None:
            return None
        self._position += 1
        return _Message(body)

    def commit(self, **_: Any) -> None:
        """Nothing to commit."""

    def close(self) -> None:
        """Nothing to close."""


def is_installed() -> bool:
    """Whether :data:`PACKAGE` is installed."""
    return find_spec("confluent_kafka") is not None


def trigger(job_group_id: str) -> Any:
    """
    A trigger that waits for the group's JobComplete.

    :raises ModuleNotFoundError: the package is not installed.
    """
    # By name, since the package is not a dependency of this one.
    hooks = import_module("airflow.providers.apache.kafka.hooks.consume")
    triggers = import_module("airflow.providers.apache.kafka.triggers.await_message")
    hooks.KafkaConsumerHook.get_consumer = lambda _hook: _Consumer()
    return triggers.AwaitMessageTrigger(
        topics=["outbound-events"],
        apply_function=f"{__name__}.{completes.__name__}",
        apply_function_args=[job_group_id],
    )


def completes(job_group_id: str, message: _Message) -> str | None:
    """The function that a DAG author would write: returns the group's id if its job is complete."""
    body = json.loads(message.value())
    return job_group_id if body["groupId"] == job_group_id and body["eventType"] == "JobComplete" else None
