"""
The simulator inside a test process.

Enable the fixtures with ``pytest_plugins = ["airflow_provider_outbound.simulator.testing"]``, or use
:class:`Simulator` as a context manager.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Self, TypeVar

import pytest

from airflow_provider_outbound.simulator.broker import Broker
from airflow_provider_outbound.simulator.cloud import Cloud, Options
from airflow_provider_outbound.simulator.server import Server, Settings

T = TypeVar("T")
_START_SECONDS = 30.0


class Simulator:
    """
    The API and the broker on free ports of 127.0.0.1, in a thread of this process.

    :param call_seconds: mean duration of an answered call, seconds of the service's clock.
    :param concurrency: maximum number of simultaneous calls.
    :param latency: seconds added to every answer of the API.
    :param clock_speed: seconds of the service's clock per real second; 0: only :meth:`advance` moves it.
    :param start_at: aware instant at which the service's clock starts; default: now.
    """

    def __init__(
        self,
        *,
        call_seconds: float = 0.02,
        concurrency: int = 50,
        latency: float = 0.0,
        clock_speed: float = 1.0,
        start_at: datetime | None = None,
        seed: int = 0,
        topic: str = "outbound-events",
        consumer_group: str = "outbound-collector",
        max_requests_per_second: float | None = None,
    ) -> None:
        self._settings = Settings(
            options=Options(call_seconds=call_seconds, concurrency=concurrency, seed=seed),
            topic=topic,
            consumer_group=consumer_group,
            latency=latency,
            max_requests_per_second=max_requests_per_second,
            clock_speed=clock_speed,
            start_at=start_at,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        #: The ready line: ``api``, ``broker``, ``connections`` and the rest.
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> Self:
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="outbound-simulator")
        self._thread.start()
        try:
            started.result(_START_SECONDS)
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()

    async def _serve(self, started: Future[None]) -> None:
        try:
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            self._server = Server(self._settings)
            await self._server.start()
            self.ready = self._server.ready()
        except BaseException as error:
            started.set_exception(error)
            raise
        started.set_result(None)
        await self._stop.wait()
        await self._server.stop()

    @property
    def api(self) -> str:
        """Address of the API, ``http://127.0.0.1:PORT``."""
        return str(self.ready["api"])

    @property
    def broker(self) -> str:
        """Address of the broker, ``127.0.0.1:PORT``."""
        return str(self.ready["broker"])

    @property
    def access_key_id(self) -> str:
        """Id of the only valid access key."""
        return str(self.ready["access_key_id"])

    @property
    def access_key_secret(self) -> str:
        """Its secret."""
        return str(self.ready["access_key_secret"])

    @property
    def region_id(self) -> str:
        """The region."""
        return str(self.ready["region_id"])

    @property
    def instance_id(self) -> str:
        """The instance."""
        return str(self.ready["instance_id"])

    @property
    def script_id(self) -> str:
        """The first script; the second has the suffix ``-2``."""
        return str(self.ready["script_id"])

    @property
    def topic(self) -> str:
        """The topic of the events."""
        return str(self.ready["topic"])

    @property
    def consumer_group(self) -> str:
        """The consumer group that exists."""
        return str(self.ready["consumer_group"])

    @property
    def connections(self) -> dict[str, str]:
        """``AIRFLOW_CONN_…`` variables, ready to export."""
        return dict(self.ready["connections"])

    def run(self, function: Callable[[Cloud], T]) -> T:
        """Call ``function`` with the :class:`Cloud`, in the simulator's own thread."""
        return self._call(lambda: function(self._running.cloud))

    def state(self) -> dict[str, Any]:
        """The answer of ``GET /_simulator/state``."""
        state: dict[str, Any] = json.loads(self.run(lambda cloud: json.dumps(cloud.state())))
        return state

    def faults(self, **faults: Any) -> None:
        """Switch faults on, as ``POST /_simulator/faults`` does; without arguments, switch all off."""
        self.run(lambda cloud: cloud.faults.update(faults))

    def reset(self) -> None:
        """Delete groups, jobs, messages, faults and counts."""
        self.run(lambda cloud: cloud.reset())
        self.broker_control(reset=True)

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward."""
        self.run(lambda cloud: cloud.clock.advance(seconds))

    def set_clock(self, *, now: datetime | None = None, speed: float | None = None) -> None:
        """Set the service's clock."""
        self.run(lambda cloud: cloud.clock.set(now=None if now is None else now.timestamp(), speed=speed))

    def publish(self, body: bytes, *, tag: str = "", is_packed: bool = False) -> None:
        """Publish any message body to the topic, readable or not."""

        def put() -> None:
            outlet = self._running.outlet
            assert isinstance(outlet, Broker)  # noqa: S101  # the only outlet that this class makes
            outlet.publish(body, tag=tag, is_packed=is_packed)

        self._call(put)

    def broker_control(self, **orders: Any) -> dict[str, Any]:
        """Do what ``POST /_simulator/broker`` does, e.g. ``create_group="other"``; returns the broker's state."""
        assert self._loop is not None  # noqa: S101  # entered
        return asyncio.run_coroutine_threadsafe(self._running.outlet.control(orders), self._loop).result(_START_SECONDS)

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the simulator is not running; enter it first")
        return self._server

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        assert self._loop is not None  # noqa: S101  # entered
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_START_SECONDS)


@pytest.fixture
def simulator_factory() -> Iterator[Callable[..., Simulator]]:
    """Creates simulators with the given options; all end with the test."""
    running: list[Simulator] = []

    def make(**options: Any) -> Simulator:
        simulator = Simulator(**options)
        simulator.__enter__()
        running.append(simulator)
        return simulator

    yield make
    for simulator in running:
        simulator.__exit__()


@pytest.fixture
def simulator(simulator_factory: Callable[..., Simulator]) -> Simulator:
    """A simulator for one test, with very short calls."""
    return simulator_factory()
