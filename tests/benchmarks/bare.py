"""The RocketMQ client alone, which only receives and acknowledges, for comparison with the collector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import attrs

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings

_BATCH_SIZE, _LEASE_SECONDS, ACKNOWLEDGE_THREADS = 32, 60, 16


@attrs.frozen(kw_only=True)
class Arrival:
    """One message: its body, and the times when it was sent and received (Unix seconds)."""

    body: str
    sent_at: float
    received_at: float

    def tells(self, event_type: str, job_group_id: str) -> bool:
        """Whether it is an event of this type and group."""
        event = json.loads(self.body)
        return bool(event["eventType"] == event_type and event["groupId"] == job_group_id)


class Arrivals:
    """The messages that a bare consumer in another process receives."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.all: list[Arrival] = []

    def find(self, event_type: str, job_group_id: str, patience: float) -> Arrival | None:
        """An event of a group; ``None`` if it does not come within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        seen = 0
        while True:
            for arrival in self.all[seen:]:
                if arrival.tells(event_type, job_group_id):
                    return arrival
            seen = len(self.all)
            if not self._pipe.poll(max(0.0, deadline - time.monotonic())):
                return None
            self.all.append(self._pipe.recv())


@contextmanager
def consumer(settings: RocketMQSettings) -> Iterator[Arrivals]:
    """A bare consumer in a process of its own."""
    context = get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_tell, args=(theirs, settings), daemon=True)
    process.start()
    theirs.close()
    try:
        if not pipe.poll(60):
            raise RuntimeError("the bare consumer does not start")
        pipe.recv()
        yield Arrivals(pipe)
    finally:
        # The client's threads prevent it from ending by itself.
        process.kill()
        process.join()
        pipe.close()


def open_client(settings: RocketMQSettings) -> Any:
    """Start the library's own consumer for transport ``grpc``."""
    from airflow_provider_outbound.core.rocketmq.grpc import load_client

    library = load_client()
    configuration = library.ClientConfiguration(
        settings.endpoints[0], library.Credentials(settings.username, settings.password), settings.namespace, 3
    )
    client = library.SimpleConsumer(
        configuration,
        settings.consumer_group,
        {settings.topic: library.FilterExpression(settings.tag)},
        await_duration=3,
        tls_enable=settings.tls,
    )
    client.startup()
    return client


def receive(client: Any) -> list[Any]:
    """The client's next messages; none until the broker accepts it."""
    try:
        return list(client.receive(_BATCH_SIZE, _LEASE_SECONDS))
    except Exception:
        time.sleep(0.2)
        return []


@contextmanager
def push_consumer(settings: RocketMQSettings, on_message: Callable[[], object]) -> Iterator[None]:
    """
    The library's own consumer for transport ``remoting``, which reads each message and acknowledges it at once.

    The package's ``PushConsumer`` does the same for a callback that reads ``body`` and ``id`` and returns
    CONSUME_SUCCESS.
    """
    # Imported here: the library is loaded only in a separate process.
    loader = import_module("airflow_provider_outbound.core.rocketmq.librocketmq")
    library = loader.load_library(settings.librocketmq)
    functions = library.functions

    def take(_consumer: int, message: int) -> int:
        functions.GetMessageBody(message)
        functions.GetMessageId(message).decode()
        on_message()
        return 0

    callback = library.callback_type(take)
    consumer = functions.CreatePushConsumer(settings.consumer_group.encode())
    library.check(functions.SetPushConsumerNameServerAddress(consumer, ";".join(settings.endpoints).encode()))
    library.check(functions.RegisterMessageCallback(consumer, callback))
    library.check(functions.Subscribe(consumer, settings.topic.encode(), settings.tag.encode()))
    library.check(functions.StartPushConsumer(consumer))
    try:
        yield
    finally:
        functions.ShutdownPushConsumer(consumer)
        functions.DestroyPushConsumer(consumer)


def _tell(pipe: Connection, settings: RocketMQSettings) -> None:
    client = open_client(settings)
    pipe.send(None)
    with ThreadPoolExecutor(ACKNOWLEDGE_THREADS) as threads:
        while True:
            messages = receive(client)
            received_at = time.time()
            for message in messages:
                body = bytes(message.body).decode()
                pipe.send(Arrival(body=body, sent_at=message.born_timestamp / 1000, received_at=received_at))
            list(threads.map(client.ack, messages))
