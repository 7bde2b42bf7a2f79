"""What the collector needs from RocketMQ, independent of the client library."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import attrs

from airflow_provider_outbound.exceptions import OutboundBotConfigError, RocketMQClientError

#: Transports as connections name them, with the package that implements each.
TRANSPORTS = {"grpc": "rocketmq-python-client", "remoting": "rocketmq-client-python"}

#: How to install the native library of transport ``remoting``.
WAYS_TO_LIBROCKETMQ = (
    "give the path of librocketmq.so (--librocketmq, or the connection's extra 'librocketmq'), or put it on the"
    " machine's library path; or pip install rocketmq-client-python==0.5.0rc2, whose wheel contains one (Linux, x86-64)"
)

#: How long a received message stays hidden from the group's other consumers (seconds). An unacknowledged message is
#: redelivered about two seconds after that, so this is also how late the messages of a killed collector arrive.
LEASE_SECONDS = 60

#: Names of topics and groups, as the clients validate them.
_NAME = re.compile(r"[%a-zA-Z0-9_-]+")
_ENDPOINT = re.compile(r"[a-zA-Z0-9._-]+:[0-9]{1,5}")


def _transport(_: RocketMQSettings, _attribute: attrs.Attribute[str], value: str) -> None:
    if value not in TRANSPORTS:
        raise OutboundBotConfigError(f"RocketMQ transport {value!r} is not one of {', '.join(TRANSPORTS)}")


def _name(_: RocketMQSettings, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise OutboundBotConfigError(
            f"RocketMQ {attribute.name} {value!r} is not a valid name: give the one shown in the console"
            " (letters, digits, '_', '-' and '%')"
        )


def _endpoints(_: RocketMQSettings, _attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if not value:
        raise OutboundBotConfigError("RocketMQ endpoints are missing: give HOST:PORT, several separated by ';'")
    for endpoint in value:
        port = int(endpoint.rpartition(":")[2]) if _ENDPOINT.fullmatch(endpoint) else 0
        if not 0 < port < 65536:
            raise OutboundBotConfigError(
                f"RocketMQ endpoint {endpoint!r} is not HOST:PORT (for an IPv6 address give its host name)"
            )


def _instance_ids(_: RocketMQSettings, _attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for name in value:
        if not isinstance(name, str) or not 0 < len(name) <= 128 or not name.isprintable() or name != name.strip():
            raise OutboundBotConfigError(
                f"RocketMQ instance_id {name!r} is not the id of a bot instance: give the one shown in the console,"
                " or several as a list"
            )


@attrs.frozen(kw_only=True)
class RocketMQSettings:
    """
    One subscription, and how to reach its broker.

    :param transport: ``grpc`` (RocketMQ 5 proxy) or ``remoting`` (the 4.x protocol).
    :param endpoints: ``HOST:PORT`` each: proxies with ``grpc``, name servers with ``remoting``. They are alternatives:
        when one fails, the next is tried.
    :param topic: Topic that the service publishes to.
    :param consumer_group: Consumer group that only this ledger uses; it must exist on the broker.
    :param namespace: Instance id, if the broker needs one.
    :param tag: Tag expression, ``*`` for every message.
    :param tls: Encrypt the connection. ``remoting`` has no encryption, so it must be set to ``False`` explicitly there.
    :param username: The instance's user name; empty if the broker needs none.
    :param password: Its password.
    :param librocketmq: Path of librocketmq.so, for ``remoting`` only.
    :param lease_seconds: How long a received message stays hidden from the group's other consumers (seconds).
    :param instance_ids: Bot instances whose events are stored; events of others on the same topic are only
        acknowledged and counted. Empty for all.
    :raises OutboundBotConfigError: A field is missing or unusable; the message names it.
    """

    transport: str = attrs.field(default="grpc", validator=_transport)
    endpoints: tuple[str, ...] = attrs.field(validator=_endpoints)
    topic: str = attrs.field(validator=_name)
    consumer_group: str = attrs.field(validator=_name)
    namespace: str = ""
    tag: str = "*"
    tls: bool = True
    username: str = ""
    password: str = attrs.field(default="", repr=False)
    librocketmq: str | None = None
    lease_seconds: int = LEASE_SECONDS
    instance_ids: tuple[str, ...] = attrs.field(default=(), validator=_instance_ids)

    def __attrs_post_init__(self) -> None:
        if self.transport == "remoting" and self.tls:
            raise OutboundBotConfigError(
                "RocketMQ transport 'remoting' cannot encrypt: accept that (--no-tls, or tls: false in the connection's"
                " extra), or use transport 'grpc'"
            )

    @property
    def subscription(self) -> tuple[tuple[str, ...], str, str]:
        """The source of the messages: collectors with the same subscription share its messages."""
        return self.endpoints, self.topic, self.consumer_group

    def qualified(self, name: str) -> str:
        """Prefix a topic or group with the namespace, as the remoting protocol requires."""
        prefix = f"{self.namespace}%"
        return name if not self.namespace or name.startswith(prefix) else prefix + name

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON for the collector's standard input. They include the password: never log them."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RocketMQSettings:
        """The reverse of :meth:`to_dict`."""
        lists = {name: tuple(values.get(name, ())) for name in ("endpoints", "instance_ids")}
        return cls(**{**values, **lists})


@attrs.frozen(kw_only=True, eq=False)
class Message:
    """One received message, not yet acknowledged."""

    body: bytes = attrs.field(repr=False)
    message_id: str
    topic: str
    #: Why ``body`` is not the message's text; empty if it is.
    fault: str = ""
    #: The number of bytes delivered, if ``body`` is only their head.
    head_of: int | None = None
    #: 1 for the first delivery.
    delivery_attempt: int = 1
    #: The client library's own object, needed to acknowledge.
    handle: Any = attrs.field(default=None, repr=False)


class Consumer(ABC):
    """Consumes a subscription. One thread receives; another one may acknowledge at the same time."""

    #: The number of messages to request with one :meth:`receive`.
    batch_size = 32
    #: Whether the client prefetches messages into this process, so that no other consumer gets them.
    prefetches = False

    @abstractmethod
    def receive(self, max_messages: int, wait_seconds: float) -> list[Message]:
        """
        Wait for messages.

        :param max_messages: The maximum number of messages to return.
        :param wait_seconds: How long to wait for the first (seconds); at least the broker's shortest poll.
        :return: Messages, leased for the settings' ``lease_seconds``; empty if none arrived.
        :raises RocketMQError: The broker cannot be used; the message says why. Call again after a pause.
        """

    @abstractmethod
    def acknowledge(self, messages: Sequence[Message]) -> int:
        """
        Acknowledge stored messages. Those that cannot be acknowledged are redelivered, which does no harm.

        :return: The number of messages that could not be acknowledged.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """End a waiting :meth:`receive` from another thread; it and all later calls return an empty list at once."""

    @abstractmethod
    def close(self) -> None:
        """Leave the consumer group, within five seconds even if the broker does not answer."""


def check_transport(settings: RocketMQSettings) -> None:
    """
    Refuse a transport whose client library is not installed, without importing it.

    :raises RocketMQClientError: The package or its native library is missing; the message says how to install it.
    """
    package = TRANSPORTS[settings.transport]
    try:
        distribution(package)
    except PackageNotFoundError:
        raise RocketMQClientError(missing_client(settings.transport)) from None
    if settings.transport == "remoting":
        check_library(settings.librocketmq)


def missing_client(transport: str) -> str:
    """Return the error message for a transport whose client is not installed."""
    hint = {
        "grpc": 'pip install "airflow-provider-outbound[grpc]"',
        "remoting": "pip install --force-reinstall rocketmq-client-python",
    }
    return f"RocketMQ transport {transport!r} needs the package {TRANSPORTS[transport]}: {hint[transport]}"


def check_library(path: str | None) -> None:
    """:raises RocketMQClientError: There is no such file."""
    if path and not Path(path).is_file():
        raise RocketMQClientError(f"librocketmq {path!r} is not a file: {WAYS_TO_LIBROCKETMQ}")
