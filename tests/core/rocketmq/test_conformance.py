"""What every transport does, in the same tests for the simulator's broker and for a real one by either protocol."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import attrs
import pytest
from support.places import Consumers, Place

from airflow_provider_outbound.core.rocketmq.base import Message

_STARTS = """
import json, os, pathlib, sys, threading, time
from airflow_provider_outbound.core.rocketmq import open_consumer
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.exceptions import RocketMQError

settings = RocketMQSettings.from_dict(json.load(sys.stdin))

def held():
    tasks, files = (list(pathlib.Path("/proc/self", kind).iterdir()) for kind in ("task", "fd"))
    return len(tasks), len(files)

def consume():
    consumer = open_consumer(settings)
    while True:
        try:
            received = consumer.receive(1, 0.2)
            break
        except RocketMQError:
            time.sleep(0.1)
    assert consumer.acknowledge(received) == 0
    held_by_one = held()
    consumer.close()
    return held_by_one

held_by_one = consume()
for _ in range(50):
    consume()
deadline = time.monotonic() + 60
while any(now > then + 5 for now, then in zip(held(), held_by_one)) and time.monotonic() < deadline:
    time.sleep(0.1)
print(json.dumps({"one": held_by_one, "after": held(), "threads": [thread.name for thread in threading.enumerate()]}))
sys.stdout.flush()
os._exit(0)
"""


def test_what_is_acknowledged_does_not_come_again_and_the_rest_does(place: Place, consumers: Consumers) -> None:
    consumer = consumers.open(place.settings)
    place.publish(*(b"%d" % number for number in range(40)))

    seen: list[Message] = []
    while len(seen) < 41:
        received = consumers.receive(consumer, 1)
        missed = consumer.acknowledge(
            [message for message in received if message.body != b"7" or message.delivery_attempt > 1]
        )
        seen += received
        assert missed == 0

    assert sorted(int(message.body) for message in seen) == sorted([*range(40), 7])
    assert [(message.body, message.delivery_attempt) for message in seen if message.delivery_attempt > 1] == [(b"7", 2)]
    assert len({message.message_id for message in seen}) == 40


def test_what_a_closed_consumer_did_not_acknowledge_comes_to_the_next(place: Place, consumers: Consumers) -> None:
    consumer = consumers.open(place.settings)
    place.publish(b"kept")
    consumers.take(consumer, 1)
    place.publish(b"not kept")
    consumers.receive(consumer, 1)
    consumer.close()

    (again,) = consumers.take(consumers.open(place.settings), 1)

    assert (again.body, again.topic) == (b"not kept", place.settings.topic)
    assert again.delivery_attempt > 1


@pytest.mark.parametrize("tag", [pytest.param("wanted", id="one"), pytest.param("wanted || other", id="two")])
def test_only_messages_with_the_tag_come(place: Place, consumers: Consumers, tag: str) -> None:
    consumer = consumers.open(attrs.evolve(place.settings, tag=tag))
    place.publish(b"unwanted", tag="unwanted")
    place.publish(b"wanted", tag="wanted")
    place.publish(b"untagged")
    place.publish(b"other", tag="other")
    place.publish(b"last", tag="wanted")

    count = 3 if "other" in tag else 2
    received = {message.body for message in consumers.take(consumer, count)}

    assert received == ({b"wanted", b"last", b"other"} if count == 3 else {b"wanted", b"last"})


def test_an_interrupt_ends_a_waiting_receive_and_every_later_one(place: Place, consumers: Consumers) -> None:
    consumer = consumers.open(place.settings)
    place.publish(b"known to the broker")
    consumer.acknowledge(consumers.receive(consumer, 1))
    results: list[list[Message]] = []

    thread = threading.Thread(target=lambda: results.append(consumer.receive(32, 600)))
    thread.start()
    time.sleep(0.5)
    consumer.interrupt()
    thread.join(60)

    assert results == [[]]
    assert consumer.receive(32, 600) == []


def test_what_is_in_hand_at_an_interrupt_can_still_be_acknowledged(place: Place, consumers: Consumers) -> None:
    consumer = consumers.open(place.settings)
    place.publish(b"in hand")
    received = consumers.receive(consumer, 1)

    consumer.interrupt()
    missed = consumer.acknowledge(received)
    consumer.close()

    assert missed == 0


def test_the_next_endpoint_is_used_when_the_first_is_dead(place: Place, consumers: Consumers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"127.0.0.1:{server.getsockname()[1]}"
    consumer = consumers.open(attrs.evolve(place.settings, endpoints=(dead, *place.settings.endpoints)))
    place.publish(b"from the second")

    received = consumers.receive(consumer, 1)

    assert [message.body for message in received] == [b"from the second"]
    assert consumer.acknowledge(received) == 0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(range(256)) * 2, id="every-byte"),
        pytest.param(b"\0", id="one-nul"),
        pytest.param('{"text": "喂，您好"}'.encode(), id="chinese"),
        pytest.param(random.Random(1).randbytes(4 * 1024 * 1024 - 1024), id="4-megabytes"),
    ],
)
def test_a_body_arrives_as_it_was_sent(place: Place, consumers: Consumers, body: bytes) -> None:
    if not body and not place.takes_empty:
        pytest.skip("RocketMQ takes no empty message")
    consumer = consumers.open(place.settings)
    place.publish(body)

    (received,) = consumers.take(consumer, 1)

    assert received.body == body


def test_fifty_starts_and_stops_leave_nothing_behind(place: Place, tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    if place.settings.transport == "grpc":  # whose poll takes seconds when there is nothing
        place.publish(*(b"%d" % number for number in range(51)))

    ended = subprocess.run(
        [sys.executable, "-c", _STARTS],
        input=json.dumps(place.settings.to_dict()),
        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        | {"HOME": str(home), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert ended.returncode == 0, ended.stderr
    counted = json.loads(ended.stdout)
    # gRPC ends its threads and descriptors with its last channel, but not always: what one consumer needs may stay, for
    # the next one to use. A leak would show fifty.
    assert all(after <= one + 5 for one, after in zip(counted["one"], counted["after"], strict=True)), counted
    assert list(home.iterdir()) == []
    assert list(temporary.iterdir()) == []
