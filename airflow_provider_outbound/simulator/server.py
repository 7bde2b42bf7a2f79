"""Runs the simulator: ports, start, stop and the ready line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

import attrs
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_outbound.simulator import recordings
from airflow_provider_outbound.simulator.api import Api
from airflow_provider_outbound.simulator.broker import Broker
from airflow_provider_outbound.simulator.clock import Clock
from airflow_provider_outbound.simulator.cloud import Cloud, Options
from airflow_provider_outbound.simulator.ports import listen

#: Maximum size of a request's head (bytes): AssignJobs puts 99 jobs, about 123 KB, into the URL.
_MAX_REQUEST_HEAD = 1 << 20


@attrs.frozen(kw_only=True)
class Settings:
    """Settings of the simulator."""

    options: Options = attrs.field(factory=Options)
    #: 0 picks a free one.
    api_port: int = 0
    broker_port: int = 0
    #: ``grpc://HOST:PORT`` of a RocketMQ proxy, or ``remoting://HOST:PORT`` of a name server, to publish to; ``None``:
    #: the simulator's own broker.
    publish_to: str | None = None
    #: Path of librocketmq.so, for ``remoting``; ``None``: that of the Python package, or on the library path.
    librocketmq: str | None = None
    topic: str = "outbound-events"
    consumer_group: str = "outbound-collector"
    #: Seconds added to every answer of the API.
    latency: float = 0.0
    max_requests_per_second: float | None = None
    clock_speed: float = 1.0
    start_at: datetime | None = None


class Outlet(Protocol):
    """The destination of messages: the simulator's own broker or another one."""

    async def start(self) -> None:
        """Connect or listen."""

    async def stop(self) -> None:
        """Disconnect or stop listening."""

    def publish(self, body: bytes) -> Any:
        """Publish a message; must not block."""

    async def control(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``POST /_simulator/broker``."""


class _Protocol(H11Protocol):
    """Passes the transport to the application, so that a fault can drop the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _HttpServer(uvicorn.Server):
    """Leaves signals to the program that started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """The API and the broker in the running event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outlet: Outlet = self._make_outlet()
        self.api_address = ""
        options = settings.options
        self.cloud = Cloud(
            options,
            clock=Clock(settings.clock_speed, settings.start_at),
            publish=self.outlet.publish,
            recording_url=lambda name: recordings.link(
                self.api_address, name, access_key_id=options.access_key_id, secret=options.access_key_secret
            ),
        )
        self._http: _HttpServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _make_outlet(self) -> Outlet:
        settings = self.settings
        if settings.publish_to is None:
            return Broker(port=settings.broker_port, topic=settings.topic, consumer_group=settings.consumer_group)
        from airflow_provider_outbound.simulator.publisher import Publisher

        return Publisher(settings.publish_to, settings.topic, settings.librocketmq)

    @property
    def broker_address(self) -> str:
        """``HOST:PORT`` that consumers connect to."""
        if isinstance(self.outlet, Broker):
            return f"127.0.0.1:{self.outlet.port}"
        return str(self.settings.publish_to).split("://", 1)[1]

    async def start(self) -> None:
        """:raises PortInUseError: a port is taken; nothing was started."""
        settings = self.settings
        listener = listen(settings.api_port, "--api-port")
        try:
            await self.outlet.start()
        except BaseException:
            listener.close()
            raise
        self.api_address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        api = Api(
            self.cloud,
            latency=settings.latency,
            max_requests_per_second=settings.max_requests_per_second,
            broker_control=self.outlet.control,
        )
        config = uvicorn.Config(
            api.app,
            http=_Protocol,
            h11_max_incomplete_event_size=_MAX_REQUEST_HEAD,
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        self._http = _HttpServer(config)
        self._tasks = [
            asyncio.create_task(self._http.serve(sockets=[listener])),
            asyncio.create_task(self.cloud.run()),
        ]
        while not self._http.started:
            if self._tasks[0].done():
                await self._tasks[0]
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop everything; returns when the ports are free."""
        self.cloud.reset()
        await self.outlet.stop()
        if self._http is not None:
            self._http.should_exit = self._http.force_exit = True
            serving, dialling = self._tasks
            dialling.cancel()
            await asyncio.gather(serving, dialling, return_exceptions=True)

    def ready(self) -> dict[str, Any]:
        """The ready line, as JSON."""
        settings, options = self.settings, self.settings.options
        host, _, port = self.broker_address.rpartition(":")
        outboundbot = {
            "conn_type": "outboundbot",
            "host": self.api_address,
            "login": options.access_key_id,
            "password": options.access_key_secret,
            "extra": {
                "region_id": options.region_id,
                "instance_id": options.instance_id,
                "script_id": options.script_id,
            },
        }
        rocketmq = {
            "conn_type": "rocketmq",
            "host": host,
            "port": int(port),
            "extra": {
                "transport": (settings.publish_to or "grpc").partition(":")[0],
                "topic": settings.topic,
                "consumer_group": settings.consumer_group,
                "tls": False,
            }
            | ({"librocketmq": settings.librocketmq} if settings.librocketmq else {}),
        }
        return {
            "api": self.api_address,
            "broker": self.broker_address,
            "access_key_id": options.access_key_id,
            "access_key_secret": options.access_key_secret,
            "region_id": options.region_id,
            "instance_id": options.instance_id,
            "script_id": options.script_id,
            "topic": settings.topic,
            "consumer_group": settings.consumer_group,
            "connections": {
                "AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT": json.dumps(outboundbot),
                "AIRFLOW_CONN_ROCKETMQ_DEFAULT": json.dumps(rocketmq),
            },
        }
