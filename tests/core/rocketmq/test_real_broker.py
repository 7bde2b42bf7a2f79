"""
What goes wrong with a real broker, and how it is said and got over.

OUTBOUND_TEST_ROCKETMQ is the folder that ``.ci/rocketmq start`` was given: these tests stop and start its broker.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.places import Consumers, Place, make_place

from airflow_provider_outbound.core.rocketmq.base import Consumer
from airflow_provider_outbound.core.rocketmq.remoting import HAND_OUTS
from airflow_provider_outbound.exceptions import RocketMQError

pytestmark = pytest.mark.broker

_SCRIPT = Path(__file__).parents[3] / ".ci" / "rocketmq"
_CREDENTIALS: dict[str, Any] = {"username": "outbound", "password": "outbound-secret"}
_WRONG: tuple[dict[str, Any], ...] = (
    {},
    {"username": "outbound", "password": "wrong"},
    {"username": "nobody", "password": "wrong"},
)


class Broker:
    """The real broker's processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: ``open``, ``locked``, or ``stopped``.
        self.access = "open"

    def do(self, verb: str, *arguments: str) -> None:
        self.access = "stopped" if verb == "stop_proxy" else arguments[0] if arguments else "open"
        # The broker's processes outlive this one and inherit no pipe of it.
        command = [str(word) for word in (_SCRIPT, verb, self.folder, *arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=180)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        pid = int((self.folder / "proxy.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """As it was, after the test: running, and open to everybody."""
    folder = os.environ.get("OUTBOUND_TEST_ROCKETMQ")
    if not folder:
        pytest.skip("OUTBOUND_TEST_ROCKETMQ is not set (the folder of .ci/rocketmq)")
    broker = Broker(Path(folder))
    yield broker
    if broker.access != "open":
        broker.do("stop_proxy")
        broker.do("start_proxy")


def _trouble(consumer: Consumer, words: str = "") -> str:
    """The first complaint with these words."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            consumer.receive(32, 3)
        except RocketMQError as error:
            if words in str(error):
                return str(error)
    pytest.fail("no such trouble was found")


def test_consuming_goes_on_after_the_broker_was_away(broker: Broker, consumers: Consumers) -> None:
    transports = ("grpc", "remoting")
    places = {transport: make_place(transport) for transport in transports}
    running = {transport: consumers.open(place.settings) for transport, place in places.items()}
    for transport, place in places.items():
        place.publish(b"before")
        consumers.take(running[transport], 1)
    late = {transport: make_place(transport) for transport in transports}

    broker.do("stop_proxy")
    started_in_vain = {transport: consumers.open(place.settings) for transport, place in late.items()}
    said = {transport: _trouble(consumer) for transport, consumer in started_in_vain.items()}
    broker.do("start_proxy")
    started_at = time.monotonic()
    for place in (*places.values(), *late.values()):
        place.publish(b"after")
    received = {}
    for transport in transports:
        received[transport] = [
            message.body
            for consumer in (running[transport], started_in_vain[transport])
            for message in consumers.take(consumer, 1)
        ]
        print(f"{transport}: consuming again {time.monotonic() - started_at:.1f} s after the broker was up")

    assert received == {transport: [b"after", b"after"] for transport in transports}
    assert "cannot be reached" in said["grpc"]
    assert "knows no running broker" in said["remoting"] or "cannot be reached" in said["remoting"]


def test_refused_credentials_are_said_and_right_ones_work(broker: Broker, consumers: Consumers) -> None:
    places = [make_place("grpc"), make_place("remoting")]
    for place in places:
        place.publish(b"for those who may read")

    broker.do("stop_proxy")
    broker.do("start_proxy", "locked")
    said, received = [], []
    for place in places:
        said += [_trouble(consumers.open(attrs.evolve(place.settings, **wrong))) for wrong in _WRONG]
        received += consumers.take(consumers.open(attrs.evolve(place.settings, **_CREDENTIALS)), 1)

    assert all("refuses the credentials" in words for words in said), said
    assert [message.body for message in received] == [b"for those who may read"] * len(places)


@pytest.mark.parametrize("transport", ["grpc", "remoting"])
def test_a_group_that_nobody_made_is_named_and_read_once_it_exists(
    transport: str, make_group: Callable[[Place], None], consumers: Consumers
) -> None:
    place = make_place(transport)
    place = attrs.evolve(place, settings=attrs.evolve(place.settings, consumer_group=f"{place.settings.topic}-late"))
    place.publish(b"before its group")
    consumer = consumers.open(place.settings)

    said = _trouble(consumer, f"consumer group '{place.settings.consumer_group}'")
    make_group(place)
    place.publish(b"after")
    # A new group begins where the topic begins, or where it ends, as the broker likes.
    received = consumers.take(consumer, 1)

    assert "has no consumer group" in said or "does not exist" in said
    assert received[-1].body in (b"before its group", b"after")


@pytest.mark.parametrize("transport", ["grpc", "remoting"])
def test_a_broker_that_hangs_holds_up_no_end_and_loses_nothing(
    transport: str, broker: Broker, consumers: Consumers
) -> None:
    place = make_place(transport)
    place.publish(b"one", b"two", b"three")
    # A process of its own, as a collector is: what it leaves behind when the broker hangs ends with it.
    program = (
        "import json, os, sys, time\n"
        "from airflow_provider_outbound.core.rocketmq import open_consumer\n"
        "from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings\n"
        "consumer = open_consumer(RocketMQSettings.from_dict(json.loads(sys.stdin.readline())))\n"
        "received = []\n"
        "while len(received) < 3:\n"
        "    received += consumer.receive(3, 5)\n"
        "consumer.acknowledge([message for message in received if message.body == b'one'])\n"
        "time.sleep(6)\n"  # librocketmq tells the broker every five seconds how far it has come
        "print('received', flush=True)\n"
        "sys.stdin.readline()\n"
        "consumer.close()\n"
        "print('closed', flush=True)\n"
        "os._exit(0)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(place.settings.to_dict()) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "received\n"
        with broker.hanging():
            said, _ = process.communicate("\n", timeout=60)
    second = consumers.open(place.settings)
    again: set[bytes] = set()
    while not {b"two", b"three"} <= again:
        again |= {message.body for message in consumers.take(second, 1)}

    assert said == "closed\n"


def test_a_message_that_is_never_acknowledged_does_not_hold_up_those_fetched_with_it(consumers: Consumers) -> None:
    place = make_place("remoting")
    consumer = consumers.open(attrs.evolve(place.settings, lease_seconds=1))
    wanted = {b"%d" % number for number in range(20)}
    place.publish(b"bad", *wanted)

    seen: list[bytes] = []
    # What goes back to the broker comes again after 10 s, then 30 s, 1, 2 and 3 minutes; a busy machine needs them all.
    deadline = time.monotonic() + 600
    while not wanted <= set(seen):
        assert time.monotonic() < deadline, seen
        place.publish(b"another")
        received = consumers.receive(consumer, 1)
        consumer.acknowledge([message for message in received if message.body != b"bad"])
        seen += [message.body for message in received]

    assert seen.count(b"bad") >= HAND_OUTS


def test_encryption_with_a_certificate_of_ones_own(broker: Broker) -> None:
    place = make_place("grpc")
    place.publish(b"encrypted")
    program = (
        "import json, os, sys\n"
        "from airflow_provider_outbound.core.rocketmq import open_consumer\n"
        "from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings\n"
        "consumer = open_consumer(RocketMQSettings.from_dict(json.load(sys.stdin)))\n"
        "received = consumer.receive(1, 5)\n"
        "print(received[0].body.decode(), consumer.acknowledge(received), flush=True)\n"
        "consumer.close()\n"
        "os._exit(0)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(attrs.evolve(place.settings, tls=True).to_dict()),
        env=os.environ | {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(broker.folder / "tls.crt")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ended.stdout == "encrypted 0\n", ended.stderr
