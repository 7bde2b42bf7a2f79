"""Publishes messages to a real RocketMQ instead of the simulated broker, with either client."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs
import grpc

from airflow_provider_outbound.core.rocketmq.librocketmq import Library, load_library
from airflow_provider_outbound.simulator.protocol import MessagingServiceStub, service, wire

log = logging.getLogger(__name__)

_BATCH = 32
_TIMEOUT = 10.0
_RETRY_SECONDS = 1.0
#: Largest body (bytes) that a broker accepts by default.
_MAX_BODY = 4 * 1024 * 1024


class PublishError(RuntimeError):
    """Messages cannot be published to the broker; the error message explains why."""


@attrs.frozen(kw_only=True)
class Outgoing:
    """A message to send."""

    body: bytes = attrs.field(repr=False)
    tag: str = ""


class _Client(Protocol):
    """A connection to the broker."""

    async def open(self) -> None:
        """:raises PublishError: the broker cannot be reached."""

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """:raises PublishError: not all messages were accepted."""

    async def close(self) -> None:
        """Disconnect."""


class Publisher:
    """
    Sends messages to one topic, in order; retries until it is stopped.

    :param address: ``grpc://HOST:PORT`` of a proxy, or ``remoting://HOST:PORT`` of a name server.
    :param topic: The topic, which must exist.
    :param librocketmq: Path of librocketmq.so, for ``remoting``; default: that of the Python package, or on the library
        path.
    :raises PublishError: the address is not understood.
    """

    def __init__(self, address: str, topic: str, librocketmq: str | None = None) -> None:
        scheme, _, self.endpoint = address.partition("://")
        if scheme not in ("grpc", "remoting") or not self.endpoint.rpartition(":")[2].isdigit():
            raise PublishError(
                f"--publish-to {address!r} is not understood; give grpc://HOST:PORT or remoting://HOST:PORT"
            )
        self.topic = topic
        self.sent = 0
        self._client: _Client = (
            _GrpcClient(self.endpoint, topic)
            if scheme == "grpc"
            else _RemotingClient(self.endpoint, topic, librocketmq)
        )
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """:raises PublishError: the broker does not answer, or has no such topic."""
        await self._client.open()
        self._task = asyncio.create_task(self._send_all())

    async def stop(self) -> None:
        """Stop; messages that have not been sent are dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()

    def publish(self, body: bytes, *, tag: str = "") -> None:
        """Queue a message."""
        self._queue.put_nowait(Outgoing(body=body, tag=tag))

    async def flush(self) -> None:
        """Wait until all queued messages are sent."""
        await self._queue.join()

    async def control(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a message; a broker that is not ours cannot be controlled."""
        if text := wanted.get("publish"):
            self.publish(str(text).encode())
        if unknown := set(wanted) - {"publish", "reset"}:
            raise ValueError(
                f"commands {sorted(unknown)} are for the simulator's own broker; this one publishes to another broker"
            )
        return {"endpoint": self.endpoint, "topic": self.topic, "sent": self.sent, "waiting": self._queue.qsize()}

    async def _send_all(self) -> None:
        while True:
            messages = [await self._queue.get()]
            size = len(messages[0].body)
            while not self._queue.empty() and len(messages) < _BATCH and size < _MAX_BODY // _BATCH:
                messages.append(self._queue.get_nowait())
                size += len(messages[-1].body)
            while not await self._sent(messages):  # noqa: ASYNC110  # retries, and waits for nothing else
                await asyncio.sleep(_RETRY_SECONDS)
            self.sent += len(messages)
            for _ in messages:
                self._queue.task_done()

    async def _sent(self, messages: Sequence[Outgoing]) -> bool:
        try:
            await self._client.send(messages)
        except PublishError as error:
            log.warning("Cannot publish to %s (%s); will try again", self.endpoint, error)
            return False
        return True


class _GrpcClient:
    """The gRPC protocol of a RocketMQ 5 proxy."""

    def __init__(self, endpoint: str, topic: str) -> None:
        self._endpoint = endpoint
        self._topic = topic
        self._client_id = f"outbound-simulator@{uuid.uuid4().hex}"
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def open(self) -> None:
        self._channel = grpc.aio.insecure_channel(
            self._endpoint, options=[("grpc.max_send_message_length", 2 * _MAX_BODY)]
        )
        self._stub = MessagingServiceStub(self._channel)
        host, _, port = self._endpoint.rpartition(":")
        address = wire.Endpoints(scheme=wire.DOMAIN_NAME, addresses=[wire.Address(host=host, port=int(port))])
        request = service.QueryRouteRequest(topic=wire.Resource(name=self._topic), endpoints=address)
        try:
            answer = await self._stub.QueryRoute(request, metadata=self._metadata(), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            await self.close()
            raise PublishError(
                f"no RocketMQ proxy answers at {self._endpoint}: {error.code().name}; is it running?"
            ) from error
        if answer.status.code != wire.OK:
            await self.close()
            raise PublishError(
                f"the proxy at {self._endpoint} does not offer topic {self._topic!r}: {answer.status.message}"
            )

    async def send(self, messages: Sequence[Outgoing]) -> None:
        request = service.SendMessageRequest(messages=[self._wired(message) for message in messages])
        try:
            answer = await self._stub.SendMessage(request, metadata=self._metadata(), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise PublishError(error.code().name) from error
        if answer.status.code != wire.OK:
            raise PublishError(answer.status.message)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    def _wired(self, outgoing: Outgoing) -> Any:
        body = outgoing.body
        message = wire.Message(topic=wire.Resource(name=self._topic), body=body)
        properties = message.system_properties
        properties.message_id = f"01{uuid.uuid4().hex.upper()}"
        properties.body_digest.CopyFrom(wire.Digest(type=wire.CRC32, checksum=f"{zlib.crc32(body):08X}"))
        properties.body_encoding = wire.IDENTITY
        properties.message_type = wire.NORMAL
        properties.born_host = "127.0.0.1"
        properties.born_timestamp.FromMilliseconds(round(time.time() * 1000))
        if outgoing.tag:
            properties.tag = outgoing.tag
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


class _RemotingClient:
    """The 4.x protocol, with librocketmq, whose producer rejects empty bodies."""

    def __init__(self, endpoint: str, topic: str, librocketmq: str | None) -> None:
        self._endpoint = endpoint
        self._topic = topic
        self._path = librocketmq
        self._library: Library | None = None
        self._producer = 0

    async def open(self) -> None:
        try:
            await asyncio.to_thread(self._start)
        except Exception as error:
            raise PublishError(" ".join(str(error).split())) from error

    async def send(self, messages: Sequence[Outgoing]) -> None:
        try:
            await asyncio.to_thread(self._send, messages)
        except Exception as error:
            raise PublishError(" ".join(str(error).split())) from error

    async def close(self) -> None:
        # The producer is not destroyed: the library's function for that reads memory that it has freed.
        if self._library is not None:
            await asyncio.to_thread(self._library.functions.ShutdownProducer, self._producer)

    def _start(self) -> None:
        library = load_library(self._path)
        functions, check = library.functions, library.check
        producer = functions.CreateProducer(f"outbound-simulator-{uuid.uuid4().hex}".encode())
        check(functions.SetProducerNameServerAddress(producer, self._endpoint.encode()))
        check(functions.SetProducerMaxMessageSize(producer, _MAX_BODY))
        check(functions.StartProducer(producer))
        self._library, self._producer = library, producer

    def _send(self, messages: Sequence[Outgoing]) -> None:
        assert self._library is not None  # noqa: S101  # opened before
        functions, check = self._library.functions, self._library.check
        for outgoing in messages:
            message = functions.CreateMessage(self._topic.encode())
            try:
                check(functions.SetByteMessageBody(message, outgoing.body, len(outgoing.body)))
                if outgoing.tag:
                    check(functions.SetMessageTags(message, outgoing.tag.encode()))
                check(functions.SendMessageSync(self._producer, message, ctypes.byref(self._library.send_result())))
            finally:
                functions.DestroyMessage(message)
