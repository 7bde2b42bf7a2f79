"""
A simulated RocketMQ 5 proxy: the gRPC services that consumers and producers of the Apache client use.

It behaves like a real one in difficult cases. If a consumer group does not exist, or a restart has lost a client's
settings, every poll is answered with 50001. An empty poll lasts at least 5 s, and is refused (40018) if the client's
deadline leaves less. An unacknowledged message is redelivered 2 s after its lease.
"""

from __future__ import annotations

import secrets
import uuid
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from airflow_provider_outbound.simulator.ports import listen
from airflow_provider_outbound.simulator.protocol import (
    MessagingServiceServicer,
    add_MessagingServiceServicer_to_server,
    service,
    wire,
)
from airflow_provider_outbound.simulator.topics import Delivery, Message, Topic

#: Minimum and maximum duration of a poll (seconds), whatever the client requests.
MIN_POLL, MAX_POLL = 5.0, 30.0
_LOST_SETTINGS = (
    "java.lang.NullPointerException: Cannot invoke "
    '"apache.rocketmq.v2.Settings.getSubscription()" because "settings" is null'
)
_OK = wire.Status(code=wire.OK, message="OK")
#: The answer of a proxy to an unknown user or a wrong signature.
_REFUSED = wire.Status(code=wire.UNAUTHORIZED, message="check signature failed")


class Broker(MessagingServiceServicer):  # type: ignore[misc]  # generated without types
    """
    One proxy with its broker.

    :param port: 0 picks a free one; :attr:`port` is set after the start.
    """

    def __init__(self, *, port: int, topic: str, consumer_group: str) -> None:
        self.port = port
        self.topic = topic
        self.consumer_groups = {consumer_group}
        self.topics = {topic: Topic(topic)}
        #: Settings received since the last start, by client id.
        self._settings: dict[str, wire.Settings] = {}
        #: Whether all credentials are refused.
        self._is_locked = False
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """:raises PortInUseError: the port is taken."""
        # gRPC writes its own error to standard error, so the port is tried first.
        listen(self.port, "--broker-port").close()
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_MessagingServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Stop at once; current polls are cut off."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def restart(self) -> None:
        """Stop and start on the same port: messages and leases stay, clients' settings are lost."""
        await self.stop()
        self._settings.clear()
        await self.start()

    def reset(self) -> None:
        """Delete messages and positions; clients and groups stay."""
        for topic in self.topics.values():
            topic.log.clear()
            topic.groups.clear()

    def publish(
        self,
        body: bytes,
        *,
        topic: str | None = None,
        tag: str = "",
        keys: tuple[str, ...] = (),
        is_packed: bool = False,
    ) -> str:
        """Store a message; returns its id."""
        message_id = f"01{secrets.token_hex(16).upper()}"
        message = Message(message_id=message_id, body=body, tag=tag, keys=keys, is_packed=is_packed)
        self.topics[topic or self.topic].append(message)
        return message.message_id

    async def control(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """
        Answer ``POST /_simulator/broker``.

        ``{"restart": true}``, ``{"stop": true}``, ``{"start": true}``, ``{"reset": true}``, ``{"publish": text}``,
        ``{"create_group": name}``, ``{"delete_group": name}``, ``{"create_topic": name}``, ``{"lock": true}``: refuse
        all credentials, until ``{"lock": false}``.

        :raises ValueError: a command is unknown; nothing was done.
        """
        orders = {
            "restart",
            "reset",
            "create_group",
            "delete_group",
            "create_topic",
            "publish",
            "stop",
            "start",
            "lock",
        }
        if unknown := set(wanted) - orders:
            raise ValueError(f"unknown commands {sorted(unknown)}; known: {', '.join(sorted(orders))}")
        if group := wanted.get("create_group"):
            self.consumer_groups.add(group)
        if group := wanted.get("delete_group"):
            self.consumer_groups.discard(group)
        if topic := wanted.get("create_topic"):
            self.topics.setdefault(topic, Topic(topic))
        if "lock" in wanted:
            self._is_locked = bool(wanted["lock"])
        if wanted.get("reset"):
            self.reset()
        if text := wanted.get("publish"):
            self.publish(str(text).encode())
        if wanted.get("restart"):
            await self.restart()
        if wanted.get("stop"):
            await self.stop()
            self._settings.clear()
        if wanted.get("start") and self._server is None:
            await self.start()
        return self.state()

    def state(self) -> dict[str, Any]:
        """Topics, groups and positions, as JSON."""
        return {
            "running": self._server is not None,
            "consumer_groups": sorted(self.consumer_groups),
            "clients": len(self._settings),
            "topics": {
                topic.name: {
                    "messages": len(topic.log),
                    "groups": {
                        name: {"delivered": group.position, "unacknowledged": len(group.leases)}
                        for name, group in topic.groups.items()
                    },
                }
                for topic in self.topics.values()
            },
        }

    # The gRPC services. Names and argument order are those of the generated code.

    async def QueryRoute(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Return the queues of a topic."""
        topic = request.topic.name
        if self._is_locked:
            return service.QueryRouteResponse(status=_REFUSED)
        if topic not in self.topics:
            return service.QueryRouteResponse(
                status=_status(
                    wire.TOPIC_NOT_FOUND, f"CODE: 17 DESC: No topic route info in name server for the topic: {topic}"
                )
            )
        endpoints = wire.Endpoints(scheme=wire.IPv4, addresses=[wire.Address(host="127.0.0.1", port=self.port)])
        queue = wire.MessageQueue(
            topic=request.topic,
            id=0,
            permission=wire.READ_WRITE,
            broker=wire.Broker(name="simulator", id=0, endpoints=endpoints),
            accept_message_types=[wire.NORMAL],
        )
        return service.QueryRouteResponse(status=_OK, message_queues=[queue])

    async def Heartbeat(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Answer the heartbeat of a client."""
        group = request.group.name
        if group and group not in self.consumer_groups:
            return service.HeartbeatResponse(
                status=_status(wire.CONSUMER_GROUP_NOT_FOUND, f"subscription group {group} not exist")
            )
        return service.HeartbeatResponse(status=_OK)

    async def Telemetry(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Store and echo the settings of clients; those of a group that does not exist are not stored."""
        client_id = _client_id(context)
        async for command in requests:
            if not command.HasField("settings"):
                continue
            group = command.settings.subscription.group.name
            if group and group not in self.consumer_groups:
                yield service.TelemetryCommand(status=_status(wire.INTERNAL_SERVER_ERROR, _LOST_SETTINGS))
                continue
            self._settings[client_id] = command.settings
            yield service.TelemetryCommand(status=_OK, settings=command.settings)

    async def NotifyClientTermination(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Forget a client that disconnects."""
        self._settings.pop(_client_id(context), None)
        return service.NotifyClientTerminationResponse(status=_OK)

    async def ReceiveMessage(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Answer a long poll: first the status, then the messages."""
        refusal, poll = self._check_poll(request, context)
        if refusal is not None:
            yield service.ReceiveMessageResponse(status=refusal)
            return
        expression = request.filter_expression.expression or "*"
        tags = {tag.strip() for tag in expression.split("||")}
        deliveries = await self.topics[request.message_queue.topic.name].receive(
            request.group.name,
            batch_size=max(request.batch_size, 1),
            lease_seconds=request.invisible_duration.ToTimedelta().total_seconds(),
            poll_seconds=poll,
            wants=lambda tag: "*" in tags or tag in tags,
        )
        if not deliveries:
            yield service.ReceiveMessageResponse(status=_status(wire.MESSAGE_NOT_FOUND, "no match message"))
            return
        yield service.ReceiveMessageResponse(status=_OK)
        for delivery in deliveries:
            yield service.ReceiveMessageResponse(message=_to_wire(request.message_queue.topic, delivery))

    def _check_poll(self, request: Any, context: Any) -> tuple[Any, float]:
        """Why a poll is refused, or ``None``; and how long it may last, seconds."""
        if self._is_locked:
            return _REFUSED, 0.0
        if _client_id(context) not in self._settings or request.group.name not in self.consumer_groups:
            return _status(wire.INTERNAL_SERVER_ERROR, _LOST_SETTINGS), 0.0
        if request.message_queue.topic.name not in self.topics:
            return _status(wire.TOPIC_NOT_FOUND, f"topic {request.message_queue.topic.name} not exist"), 0.0
        wanted = request.long_polling_timeout.ToTimedelta().total_seconds()
        poll = min(max(wanted, MIN_POLL), MAX_POLL)
        remaining = context.time_remaining()
        if remaining is not None and poll > remaining:
            # The client's deadline began a little earlier than this poll.
            if remaining < MIN_POLL:
                text = "The deadline time remaining is not enough for polling, please check network condition"
                return _status(wire.ILLEGAL_POLLING_TIME, text), 0.0
            poll = remaining
        return None, poll

    async def AckMessage(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Acknowledge messages."""
        group = self.topics[request.topic.name].group(request.group.name)
        entries = []
        for entry in request.entries:
            done = group.acknowledge(entry.receipt_handle)
            status = _OK if done else _status(wire.INVALID_RECEIPT_HANDLE, "receipt handle is expired")
            entries.append(
                service.AckMessageResultEntry(
                    message_id=entry.message_id, receipt_handle=entry.receipt_handle, status=status
                )
            )
        overall = entries[0].status if len(entries) == 1 else _status(wire.MULTIPLE_RESULTS, "")
        return service.AckMessageResponse(status=overall, entries=entries)

    async def ChangeInvisibleDuration(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Change a lease and its receipt handle."""
        group = self.topics[request.topic.name].group(request.group.name)
        seconds = request.invisible_duration.ToTimedelta().total_seconds()
        delivery = group.extend(request.receipt_handle, seconds)
        if delivery is None:
            status = _status(wire.INVALID_RECEIPT_HANDLE, "receipt handle is expired")
            return service.ChangeInvisibleDurationResponse(status=status)
        return service.ChangeInvisibleDurationResponse(status=_OK, receipt_handle=delivery.receipt_handle)

    async def SendMessage(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Store the messages of a producer."""
        entries = []
        for message in request.messages:
            topic = self.topics.get(message.topic.name)
            if topic is None:
                return service.SendMessageResponse(status=_status(wire.TOPIC_NOT_FOUND, "topic not exist"))
            properties = message.system_properties
            stored = Message(
                message_id=properties.message_id or uuid.uuid4().hex,
                body=message.body,
                tag=properties.tag,
                keys=tuple(properties.keys),
                is_packed=properties.body_encoding == wire.GZIP,
            )
            topic.append(stored)
            entries.append(service.SendResultEntry(status=_OK, message_id=stored.message_id, offset=len(topic.log) - 1))
        return service.SendMessageResponse(status=_OK, entries=entries)


def _status(code: int, message: str) -> Any:
    return wire.Status(code=code, message=message)


def _client_id(context: Any) -> str:
    return str(dict(context.invocation_metadata() or ()).get("x-mq-client-id", ""))


def _to_wire(topic: Any, delivery: Delivery) -> Any:
    stored = delivery.message
    # The client expects the checksum in upper-case hexadecimal with leading zeros.
    digest = wire.Digest(type=wire.CRC32, checksum=f"{zlib.crc32(stored.body):08X}")
    message = wire.Message(topic=topic, body=stored.body)
    properties = message.system_properties
    properties.message_id = stored.message_id
    properties.tag = stored.tag
    properties.keys.extend(stored.keys)
    properties.body_digest.CopyFrom(digest)
    properties.body_encoding = wire.GZIP if stored.is_packed else wire.IDENTITY
    properties.message_type = wire.NORMAL
    properties.born_host = properties.store_host = "127.0.0.1"
    properties.born_timestamp.FromMilliseconds(round(stored.stored_at * 1000))
    properties.store_timestamp.FromMilliseconds(round(stored.stored_at * 1000))
    properties.receipt_handle = delivery.receipt_handle
    properties.delivery_attempt = delivery.attempt
    return message
