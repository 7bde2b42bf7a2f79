"""Publishes messages to a RocketMQ 5 proxy elsewhere, instead of the stand-in."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
import zlib
from collections.abc import Mapping
from typing import Any

import grpc

from airflow_provider_outbound.simulator.protocol import MessagingServiceStub, service, wire

log = logging.getLogger(__name__)

_BATCH = 32
_TIMEOUT = 10.0
_RETRY_SECONDS = 1.0


class PublishError(RuntimeError):
    """The proxy cannot be published to; the message says why."""


class Publisher:
    """
    Sends to one topic of a proxy, in order, retrying until it is stopped.

    :param address: ``grpc://HOST:PORT``.
    """

    def __init__(self, address: str, topic: str) -> None:
        scheme, _, self.endpoint = address.partition("://")
        if scheme == "remoting":
            raise PublishError("--publish-to remoting:// is not offered yet; give the proxy's grpc://HOST:PORT")
        if scheme != "grpc" or not self.endpoint.rpartition(":")[2].isdigit():
            raise PublishError(f"--publish-to {address!r} is not understood; give grpc://HOST:PORT")
        self.topic = topic
        self.sent = 0
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._client_id = f"outbound-simulator@{uuid.uuid4().hex}"
        self._channel: grpc.aio.Channel | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """:raises PublishError: the proxy does not answer, or does not know the topic."""
        self._channel = grpc.aio.insecure_channel(self.endpoint)
        stub = MessagingServiceStub(self._channel)
        host, _, port = self.endpoint.rpartition(":")
        address = wire.Endpoints(scheme=wire.DOMAIN_NAME, addresses=[wire.Address(host=host, port=int(port))])
        request = service.QueryRouteRequest(topic=wire.Resource(name=self.topic), endpoints=address)
        try:
            answer = await stub.QueryRoute(request, metadata=self._metadata(), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            await self._channel.close()
            raise PublishError(
                f"no RocketMQ proxy answers at {self.endpoint}: {error.code().name}; is it running?"
            ) from error
        if answer.status.code != wire.OK:
            await self._channel.close()
            raise PublishError(
                f"the proxy at {self.endpoint} does not offer topic {self.topic!r}: {answer.status.message}"
            )
        self._task = asyncio.create_task(self._send_all(stub))

    async def stop(self) -> None:
        """Stop; messages not sent yet are dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    def publish(self, body: bytes) -> None:
        """Queue a message."""
        self._queue.put_nowait(body)

    async def control(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Another's broker takes no orders from here, except to publish."""
        if text := wanted.get("publish"):
            self.publish(str(text).encode())
        if unknown := set(wanted) - {"publish", "reset"}:
            raise ValueError(
                f"orders {sorted(unknown)} are for the simulator's own broker; this one publishes elsewhere"
            )
        return {"endpoint": self.endpoint, "topic": self.topic, "sent": self.sent, "waiting": self._queue.qsize()}

    async def _send_all(self, stub: Any) -> None:
        while True:
            bodies = [await self._queue.get()]
            while not self._queue.empty() and len(bodies) < _BATCH:
                bodies.append(self._queue.get_nowait())
            request = service.SendMessageRequest(messages=[self._message(body) for body in bodies])
            while not await self._sent(stub, request):  # noqa: ASYNC110  # retries, and waits for nothing else
                await asyncio.sleep(_RETRY_SECONDS)
            self.sent += len(bodies)

    async def _sent(self, stub: Any, request: Any) -> bool:
        try:
            answer = await stub.SendMessage(request, metadata=self._metadata(), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            log.warning("Cannot publish to %s (%s); trying again", self.endpoint, error.code().name)
            return False
        if answer.status.code != wire.OK:
            log.warning("Cannot publish to %s (%s); trying again", self.endpoint, answer.status.message)
            return False
        return True

    def _message(self, body: bytes) -> Any:
        message = wire.Message(topic=wire.Resource(name=self.topic), body=body)
        properties = message.system_properties
        properties.message_id = f"01{uuid.uuid4().hex.upper()}"
        properties.body_digest.CopyFrom(wire.Digest(type=wire.CRC32, checksum=f"{zlib.crc32(body):08X}"))
        properties.body_encoding = wire.IDENTITY
        properties.message_type = wire.NORMAL
        properties.born_host = "127.0.0.1"
        properties.born_timestamp.FromMilliseconds(round(time.time() * 1000))
        return message

    def _metadata(self) -> list[tuple[str, str]]:
        return [
            ("x-mq-language", "PYTHON"),
            ("x-mq-protocol", "GRPC_V2"),
            ("x-mq-client-version", "5.1.2"),
            ("x-mq-client-id", self._client_id),
            ("x-mq-request-id", str(uuid.uuid4())),
            ("x-mq-namespace", ""),
        ]
