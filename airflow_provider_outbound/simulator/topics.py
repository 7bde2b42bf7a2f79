"""Topics, consumer groups and leases: the state of a RocketMQ broker, without the protocol."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import secrets
import time
from collections.abc import Callable

import attrs

#: How long after the end of a lease the real broker delivers a message again, seconds.
REDELIVERY_DELAY = 2.0


@attrs.define(kw_only=True, eq=False)
class Message:
    """A stored message."""

    message_id: str
    body: bytes
    tag: str = ""
    keys: tuple[str, ...] = ()
    #: Whether the body is compressed, as the client library does for long ones.
    is_packed: bool = False
    #: Unix seconds, real time.
    stored_at: float = attrs.field(factory=time.time)


@attrs.define(kw_only=True, eq=False)
class Delivery:
    """A message leased to a consumer."""

    message: Message
    receipt_handle: str
    attempt: int


@attrs.define(kw_only=True, eq=False)
class ConsumerGroup:
    """A consumer group's position in one topic. Each message goes to one consumer of the group at a time."""

    #: Index of the first message that has not been delivered to the group.
    position: int = 0
    leases: dict[str, Delivery] = attrs.field(factory=dict)
    _deadlines: list[tuple[float, int, str]] = attrs.field(factory=list)
    _order: itertools.count[int] = attrs.field(factory=itertools.count)

    def lease(self, message: Message, attempt: int, seconds: float) -> Delivery:
        """Deliver a message with a lease of ``seconds``."""
        delivery = Delivery(message=message, receipt_handle=secrets.token_hex(16), attempt=attempt)
        self.leases[delivery.receipt_handle] = delivery
        self._expect(delivery.receipt_handle, seconds)
        return delivery

    def _expect(self, receipt_handle: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds + REDELIVERY_DELAY
        heapq.heappush(self._deadlines, (deadline, next(self._order), receipt_handle))

    def acknowledge(self, receipt_handle: str) -> bool:
        """Acknowledge a message for the group; ``False`` if its lease has expired or never existed."""
        return self.leases.pop(receipt_handle, None) is not None

    def extend(self, receipt_handle: str, seconds: float) -> Delivery | None:
        """Extend a lease to ``seconds`` from now, with a new handle; ``None`` if it has expired."""
        delivery = self.leases.pop(receipt_handle, None)
        return None if delivery is None else self.lease(delivery.message, delivery.attempt, seconds)

    def take_expired(self) -> Delivery | None:
        """Remove and return the delivery whose lease expired first; ``None`` if there is none."""
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, handle = heapq.heappop(self._deadlines)
            if (delivery := self.leases.pop(handle, None)) is not None:
                return delivery
        return None

    def seconds_to_next(self) -> float | None:
        """Seconds until a lease may expire; ``None`` without leases."""
        return max(self._deadlines[0][0] - time.monotonic(), 0.0) if self._deadlines else None


class Topic:
    """A topic, which keeps all its messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[Message] = []
        self.groups: dict[str, ConsumerGroup] = {}
        self._arrived = asyncio.Event()

    def group(self, name: str) -> ConsumerGroup:
        """The group's position; a new group starts at the first message."""
        return self.groups.setdefault(name, ConsumerGroup())

    def append(self, message: Message) -> None:
        """Store a message and wake waiting polls."""
        self.log.append(message)
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def receive(
        self,
        group_name: str,
        *,
        batch_size: int,
        lease_seconds: float,
        poll_seconds: float,
        wants: Callable[[str], bool],
    ) -> list[Delivery]:
        """
        Deliver up to ``batch_size`` messages, as soon as there is one.

        :param wants: whether a tag is subscribed to; messages with other tags are skipped for good.
        """
        group = self.group(group_name)
        deadline = time.monotonic() + poll_seconds
        while True:
            deliveries = self._take(group, batch_size, lease_seconds, wants)
            remaining = deadline - time.monotonic()
            if deliveries or remaining <= 0:
                return deliveries
            expiry = group.seconds_to_next()
            arrived = self._arrived
            try:
                await asyncio.wait_for(arrived.wait(), remaining if expiry is None else min(remaining, expiry + 0.01))
            except TimeoutError:
                continue

    def _take(
        self, group: ConsumerGroup, batch_size: int, lease_seconds: float, wants: Callable[[str], bool]
    ) -> list[Delivery]:
        deliveries: list[Delivery] = []
        while len(deliveries) < batch_size and (expired := group.take_expired()) is not None:
            deliveries.append(group.lease(expired.message, expired.attempt + 1, lease_seconds))
        while len(deliveries) < batch_size and group.position < len(self.log):
            message = self.log[group.position]
            group.position += 1
            if wants(message.tag):
                deliveries.append(group.lease(message, 1, lease_seconds))
        return deliveries
