"""Places to consume from: the simulator's broker, and a real one by either protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.places import Consumers, Place, configure, create, make_place, required, stand_in


@pytest.fixture
def consumers() -> Iterator[Consumers]:
    """All that it opens are closed with the test."""
    consumers = Consumers()
    yield consumers
    consumers.close()


@pytest.fixture(
    params=[
        pytest.param("stand-in", id="stand-in"),
        pytest.param("grpc", id="grpc", marks=pytest.mark.broker),
        pytest.param("remoting", id="remoting", marks=pytest.mark.broker),
    ]
)
def place(request: pytest.FixtureRequest) -> Place:
    """Each place in turn."""
    if request.param == "stand-in":
        return stand_in(request.getfixturevalue("simulator"))
    return make_place(request.param)


@pytest.fixture
def make_group() -> Iterator[Callable[[Place], None]]:
    """Makes a place's consumer group; meanwhile the broker makes none by itself."""
    server = required("OUTBOUND_TEST_NAMESERVER", "the name server of a real RocketMQ, HOST:PORT")
    configure(server, autoCreateSubscriptionGroup="false")
    yield lambda place: create(server, topic=place.settings.topic, group=place.settings.consumer_group)
    configure(server, autoCreateSubscriptionGroup="true")
