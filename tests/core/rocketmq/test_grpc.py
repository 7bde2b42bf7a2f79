"""The gRPC consumer against the simulated broker, through the real client."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from airflow_provider_outbound.core.rocketmq import open_consumer
from airflow_provider_outbound.core.rocketmq.base import Message, RocketMQSettings
from airflow_provider_outbound.core.rocketmq.grpc import EXPLAIN_AFTER, GrpcConsumer, load_client
from airflow_provider_outbound.exceptions import RocketMQError
from airflow_provider_outbound.simulator.protocol import wire
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def settings(simulator: Simulator) -> RocketMQSettings:
    return RocketMQSettings(
        endpoints=(simulator.broker,),
        topic=simulator.topic,
        consumer_group=simulator.consumer_group,
        tls=False,
        lease_seconds=10,
    )


@pytest.fixture
def consume() -> Iterator[Callable[[RocketMQSettings], GrpcConsumer]]:
    """Opens consumers; all are closed with the test."""
    opened: list[GrpcConsumer] = []

    def consume(settings: RocketMQSettings) -> GrpcConsumer:
        consumer = open_consumer(settings)
        assert isinstance(consumer, GrpcConsumer)
        opened.append(consumer)
        return consumer

    yield consume
    for consumer in opened:
        consumer.close()


def _receive(consumer: GrpcConsumer, count: int, *, seconds: float = 30) -> list[Message]:
    """Receive so many messages, through whatever trouble there is."""
    received: list[Message] = []
    deadline = time.monotonic() + seconds
    while len(received) < count:
        assert time.monotonic() < deadline, f"{len(received)} of {count} messages"
        try:
            received += consumer.receive(32, 3)
        except RocketMQError:
            time.sleep(0.2)
    return received


def _trouble(consumer: GrpcConsumer) -> str:
    with pytest.raises(RocketMQError) as trouble:
        consumer.receive(32, 3)
    return str(trouble.value)


def _groups(simulator: Simulator) -> dict[str, Any]:
    groups: dict[str, Any] = simulator.broker_control()["topics"][simulator.topic]["groups"]
    return groups


def test_an_acknowledged_message_does_not_come_again(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(settings)
    for number in range(40):
        simulator.publish(b"%d" % number)

    received = _receive(consumer, 40)
    missed = consumer.acknowledge(received)

    assert missed == 0
    assert sorted(int(message.body) for message in received) == list(range(40))
    assert _groups(simulator)[simulator.consumer_group]["unacknowledged"] == 0


def test_an_unacknowledged_message_comes_again(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(settings)
    simulator.publish(b"once more")

    (first,) = _receive(consumer, 1)
    (second,) = _receive(consumer, 1)

    assert (second.body, second.message_id) == (first.body, first.message_id)
    assert (first.delivery_attempt, second.delivery_attempt) == (1, 2)


def test_a_broker_that_restarts_is_found_again(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(settings)
    simulator.publish(b"before")
    consumer.acknowledge(_receive(consumer, 1))

    simulator.broker_control(restart=True)
    simulator.publish(b"after")

    assert [message.body for message in _receive(consumer, 1)] == [b"after"]


def test_a_broker_that_is_down_at_the_start_is_waited_for(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    simulator.broker_control(stop=True)
    consumer = consume(settings)

    said = _trouble(consumer)
    simulator.broker_control(start=True)
    simulator.publish(b"at last")

    assert f"broker at {simulator.broker} cannot be reached" in said
    assert [message.body for message in _receive(consumer, 1)] == [b"at last"]


def test_a_missing_group_is_named_and_found_once_it_exists(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(attrs.evolve(settings, consumer_group="GID_new"))

    said = [_trouble(consumer) for _ in range(EXPLAIN_AFTER + 1)]
    simulator.broker_control(create_group="GID_new")
    simulator.publish(b"to the new group")

    assert "consumer group 'GID_new'" in said[-1]
    assert [message.body for message in _receive(consumer, 1)] == [b"to the new group"]


def test_a_missing_topic_is_named(
    settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(attrs.evolve(settings, topic="no-such-topic"))

    assert "no topic 'no-such-topic'" in _trouble(consumer)


def test_the_next_endpoint_is_tried_when_one_fails(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"127.0.0.1:{server.getsockname()[1]}"
    consumer = consume(attrs.evolve(settings, endpoints=(dead, simulator.broker)))
    simulator.publish(b"from the second")

    said = _trouble(consumer)

    assert dead in said
    assert [message.body for message in _receive(consumer, 1)] == [b"from the second"]


def test_only_messages_with_the_tag_come(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(attrs.evolve(settings, tag="wanted"))
    simulator.publish(b"not this", tag="other")
    simulator.publish(b"this", tag="wanted")

    assert [message.body for message in _receive(consumer, 1)] == [b"this"]


def test_encryption_against_a_plain_broker_is_said(
    settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(attrs.evolve(settings, tls=True))

    assert "tls (now on)" in _trouble(consumer)


def test_an_interrupt_ends_a_waiting_poll(
    settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(settings)
    results: list[list[Message]] = []
    first = consumer.receive(32, 3)  # the consumer is known to the broker now

    thread = threading.Thread(target=lambda: results.append(consumer.receive(32, 600)))
    thread.start()
    time.sleep(0.5)
    consumer.interrupt()
    thread.join(20)

    assert first == []
    assert results == [[]]
    assert consumer.receive(32, 600) == []


@pytest.mark.parametrize(
    ("encoding", "sent", "read"),
    [
        pytest.param("GZIP", gzip.compress(b"text"), b"text", id="gzip"),
        pytest.param("GZIP", b"not compressed", b"not compressed", id="not-what-it-says"),
        pytest.param("ENCODING_UNSPECIFIED", b"text", b"text", id="unknown"),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_kept_as_it_came(encoding: str, sent: bytes, read: bytes) -> None:
    """On the library's own message, which would else fail all received with it; the simulator compresses none."""
    wired = wire.Message(body=sent)
    wired.system_properties.body_encoding = wire.Encoding.Value(encoding)

    assert load_client().Message().fromProtobuf(wired).body == read


def test_replaced_consumers_leave_no_threads(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(settings)

    for number in range(5):
        simulator.publish(b"%d" % number)
        consumer.acknowledge(_receive(consumer, 1))
        simulator.broker_control(restart=True)
    consumer.close()

    deadline = time.monotonic() + 30
    while leftover := [thread.name for thread in threading.enumerate() if "@" in thread.name]:
        assert time.monotonic() < deadline, leftover
        time.sleep(0.1)


def test_a_lot_is_acknowledged_by_few_requests_and_what_is_refused_is_counted(
    simulator: Simulator, settings: RocketMQSettings, consume: Callable[[RocketMQSettings], GrpcConsumer]
) -> None:
    consumer = consume(settings)
    for number in range(70):
        simulator.publish(f"message {number}".encode())
    received = _receive(consumer, 70)
    assert consumer.acknowledge(received[:3]) == 0

    # The first three are known no more: their leases are over.
    missed = consumer.acknowledge(received)

    assert missed == 3
    assert _groups(simulator)[simulator.consumer_group]["unacknowledged"] == 0
