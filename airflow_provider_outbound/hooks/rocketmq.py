"""The hook for connections of type ``rocketmq``."""

from __future__ import annotations

import re
import socket
import ssl

from airflow.sdk import BaseHook

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings, check_transport
from airflow_provider_outbound.core.rocketmq.probe import diagnose
from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.hooks.connection import Fields, aget_fields, get_fields

#: Where a RocketMQ 5 proxy and a 4.x name server listen unless told otherwise.
_PORTS = {"grpc": 8081, "remoting": 9876}
#: Alibaba Cloud's own brokers listen there, by either transport.
_ALIYUN_HOSTS, _ALIYUN_PORT = ".rmq.aliyuncs.com", 8080
#: Seconds to wait for a broker when a connection is tried out.
_TEST_TIMEOUT = 5.0


class RocketMQHook(BaseHook):
    """
    A connection of type ``rocketmq``: where call events come from.

    It opens no consumer: whoever consumes takes the messages from the collector, the one process that stores them.

    :param rocketmq_conn_id: The connection.
    """

    conn_name_attr = "rocketmq_conn_id"
    default_conn_name = "rocketmq_default"
    conn_type = "rocketmq"
    hook_name = "RocketMQ"

    def __init__(self, rocketmq_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.rocketmq_conn_id = rocketmq_conn_id

    def settings(self) -> RocketMQSettings:
        """
        The connection, read and checked.

        :raises OutboundBotConfigError: there is no such connection, or a field cannot be used.
        """
        return _settings(get_fields(self.rocketmq_conn_id, self.conn_type))

    async def asettings(self) -> RocketMQSettings:
        """As :meth:`settings`, without blocking a triggerer's loop."""
        return _settings(await aget_fields(self.rocketmq_conn_id, self.conn_type))

    def test_connection(self) -> tuple[bool, str]:
        """
        Try whether the endpoints take connections. No message is read, for that would take it from the collector.

        With transport ``remoting`` the broker is asked as well whether the group may read the topic.

        :return: Whether all is well, and what is or is not, in words.
        """
        try:
            settings = self.settings()
            check_transport(settings)
        except OutboundBotError as error:
            return False, str(error)
        if settings.transport == "remoting":
            trouble = diagnose(settings)
            return not trouble, trouble or (
                f"{', '.join(settings.endpoints)} offers topic {settings.topic!r} to consumer group"
                f" {settings.consumer_group!r}"
            )
        failures = [
            f"{endpoint}: {why}" for endpoint in settings.endpoints if (why := _trouble(endpoint, settings.tls))
        ]
        if failures:
            return False, "; ".join(failures)
        return True, (
            f"{', '.join(settings.endpoints)} takes {'TLS ' if settings.tls else ''}connections; whether topic "
            f"{settings.topic!r} and consumer group {settings.consumer_group!r} exist shows in the collector's log"
        )


def _settings(fields: Fields) -> RocketMQSettings:
    connection = fields.connection
    transport = fields.text("transport", "grpc")
    hosts = [host.strip() for host in (connection.host or "").split(";")]
    endpoints = tuple(_endpoint(host, connection.port, transport) for host in hosts if host)
    for name in ("topic", "consumer_group"):
        if not fields.text(name):
            raise fields.wrong(name, "is missing", "put it into the connection's extra")
    return fields.named(
        lambda: RocketMQSettings(
            transport=transport,
            endpoints=endpoints,
            topic=fields.text("topic"),
            consumer_group=fields.text("consumer_group"),
            namespace=fields.text("namespace"),
            tag=fields.text("tag", "*"),
            tls=fields.flag("tls", default=True),
            username=(connection.login or "").strip(),
            password=(connection.password or "").strip(),
            librocketmq=fields.text("librocketmq") or None,
            instance_ids=_instance_ids(fields),
        )
    )


def _instance_ids(fields: Fields) -> tuple[str, ...]:
    """The bot instances whose events are stored: one, or a list; empty for whichever come."""
    value = fields.structure("instance_id")
    if value is None:
        return ()
    if not isinstance(value, list):
        value = fields.text("instance_id").split(",")
    if not value or not all(isinstance(name, str) and name.strip() for name in value):
        raise fields.wrong("instance_id", f"is {value!r}", "give the id of a bot instance, or a list of them")
    return tuple(dict.fromkeys(name.strip() for name in value))


def _endpoint(host: str, port: int | None, transport: str) -> str:
    """
    ``HOST:PORT`` of an endpoint as a console shows it, perhaps with ``http://`` before it and a slash behind it.

    The scheme says nothing of TLS: Alibaba Cloud's console shows it before addresses that are no HTTP at all.
    """
    address = re.sub(r"\Ahttps?://", "", host, flags=re.IGNORECASE).rstrip("/")
    if ":" in address:
        return address
    usual = _ALIYUN_PORT if address.lower().endswith(_ALIYUN_HOSTS) else _PORTS.get(transport, 8081)
    return f"{address}:{port or usual}"


def _trouble(endpoint: str, tls: bool) -> str | None:
    """What keeps a connection from being made; ``None`` if nothing does."""
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_TEST_TIMEOUT) as plain:
            if tls:
                with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                    pass
    except ssl.SSLError as error:
        return f"no TLS connection ({error.reason or 'handshake failed'}); does the broker use TLS?"
    except OSError as error:
        return error.strerror or "timed out"
    return None
