"""
Places to consume from: the simulator's broker, and a real one by either protocol.

The real one is named by OUTBOUND_TEST_BROKER (its proxy, HOST:PORT) and OUTBOUND_TEST_NAMESERVER (HOST:PORT);
OUTBOUND_TEST_LIBROCKETMQ is the path of librocketmq.so where it is not found by itself. Topics and groups are made anew
for each test.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import time
import uuid
from collections.abc import Callable, Sequence

import attrs
import pytest

from airflow_provider_outbound.core.rocketmq import open_consumer
from airflow_provider_outbound.core.rocketmq.base import Consumer, Message, RocketMQSettings
from airflow_provider_outbound.exceptions import RocketMQError
from airflow_provider_outbound.simulator.publisher import Publisher, PublishError
from airflow_provider_outbound.simulator.testing import Simulator

#: Long enough for a slow machine; nothing is measured by it.
PATIENCE = 120.0


@attrs.frozen(kw_only=True)
class Place:
    """A topic of its own, and a consumer group that exists."""

    settings: RocketMQSettings
    #: Publishes bodies with a tag.
    publish: Callable[..., None]
    #: A real broker refuses messages without a body.
    takes_empty: bool = False


class Consumers:
    """Opens consumers."""

    def __init__(self) -> None:
        self._opened: list[Consumer] = []

    def open(self, settings: RocketMQSettings) -> Consumer:
        consumer = open_consumer(settings)
        self._opened.append(consumer)
        return consumer

    def close(self) -> None:
        for consumer in self._opened:
            consumer.close()

    @staticmethod
    def receive(consumer: Consumer, count: int) -> list[Message]:
        """Receive so many messages, through whatever trouble there is."""
        received: list[Message] = []
        trouble = ""
        deadline = time.monotonic() + PATIENCE
        while len(received) < count:
            assert time.monotonic() < deadline, f"{len(received)} of {count} messages; {trouble}"
            try:
                received += consumer.receive(32, 3)
            except RocketMQError as error:
                trouble = str(error)
                time.sleep(0.2)
        return received

    @classmethod
    def take(cls, consumer: Consumer, count: int) -> list[Message]:
        """Receive so many messages and acknowledge each."""
        taken: list[Message] = []
        while len(taken) < count:
            received = cls.receive(consumer, 1)
            assert consumer.acknowledge(received) == 0
            taken += received
        return taken


def stand_in(simulator: Simulator) -> Place:
    """A place on the simulator's broker."""

    def publish(*bodies: bytes, tag: str = "") -> None:
        for body in bodies:
            simulator.publish(body, tag=tag)

    settings = RocketMQSettings(
        endpoints=(simulator.broker,),
        topic=simulator.topic,
        consumer_group=simulator.consumer_group,
        tls=False,
        lease_seconds=10,
    )
    return Place(settings=settings, publish=publish, takes_empty=True)


def make_place(transport: str) -> Place:
    """A place on the real broker."""
    proxy = required("OUTBOUND_TEST_BROKER", "the proxy of a real RocketMQ, HOST:PORT")
    server = required("OUTBOUND_TEST_NAMESERVER", "the name server of a real RocketMQ, HOST:PORT")
    name = f"outbound-test-{uuid.uuid4().hex}"
    settings = RocketMQSettings(
        transport=transport,
        endpoints=(proxy if transport == "grpc" else server,),
        topic=name,
        consumer_group=name,
        tls=False,
        lease_seconds=10,
        librocketmq=os.environ.get("OUTBOUND_TEST_LIBROCKETMQ") or None if transport == "remoting" else None,
    )
    create(server, topic=name, group=name)
    return Place(settings=settings, publish=lambda *bodies, tag="": send(proxy, name, bodies, tag))


def required(variable: str, what: str) -> str:
    """The variable's value, or else the test is skipped."""
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set ({what})")
    return value


def _brokers(server: str) -> set[str]:
    """Every broker that a name server knows."""
    deadline = time.monotonic() + PATIENCE
    while not (brokers := re.findall(rb'"([^"\s:]+:\d+)"', _request(server, 106, {})[1])):
        assert time.monotonic() < deadline, "the name server knows no broker"
        time.sleep(0.1)
    return {found.decode() for found in brokers}


def configure(server: str, **settings: str) -> None:
    """Change settings of the running brokers."""
    for broker in _brokers(server):
        code, _ = _request(broker, 25, {}, "\n".join(f"{name}={value}" for name, value in settings.items()).encode())
        assert code == 0


def create(server: str, *, topic: str, group: str) -> None:
    """Make a topic and a consumer group on every broker that a name server knows."""
    deadline = time.monotonic() + PATIENCE
    for broker in _brokers(server):
        fields = {
            "topic": topic,
            "defaultTopic": "TBW102",
            "readQueueNums": "4",
            "writeQueueNums": "4",
            "perm": "6",
            "topicFilterType": "SINGLE_TAG",
            "topicSysFlag": "0",
            "order": "false",
        }
        for code, extra, body in (17, fields, b""), (200, {}, json.dumps({"groupName": group}).encode()):
            answer, _ = _request(broker, code, extra, body)
            assert answer == 0
    while _request(server, 105, {"topic": topic})[0]:
        assert time.monotonic() < deadline, "the name server has not heard of the topic"
        time.sleep(0.1)


def _request(endpoint: str, code: int, fields: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """One request of the remoting protocol: its answer's code and body."""
    header = json.dumps({"code": code, "language": "PYTHON", "version": 0, "opaque": 1, "flag": 0, "extFields": fields})
    packed = header.encode()
    host, _, port = endpoint.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as connection, connection.makefile("rwb") as stream:
        stream.write(struct.pack(">II", 4 + len(packed) + len(body), len(packed)) + packed + body)
        stream.flush()
        total, length = struct.unpack(">II", stream.read(8))
        answer = stream.read(total - 4)
    length &= 0xFFFFFF
    return json.loads(answer[:length])["code"], answer[length:]


def send(proxy: str, topic: str, bodies: Sequence[bytes], tag: str = "") -> None:
    """Publish to a real broker."""

    async def go() -> None:
        deadline = time.monotonic() + PATIENCE
        publisher = Publisher(f"grpc://{proxy}", topic)
        while True:
            try:
                await publisher.start()
                break
            except PublishError:  # a proxy that has just started does not know every topic at once
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
        for body in bodies:
            publisher.publish(body, tag=tag)
        await asyncio.wait_for(publisher.flush(), PATIENCE)
        await publisher.stop()

    asyncio.run(go())
