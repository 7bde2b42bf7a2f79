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

#: Default ports of a RocketMQ 5 proxy and a 4.x name server.
_PORTS = {"grpc": 8081, "remoting": 9876}
#: Default port of Alibaba Cloud's brokers, for either transport.
_ALIYUN_HOSTS, _ALIYUN_PORT = ".rmq.aliyuncs.com", 8080
#: How long to wait for a broker when a connection is tested (seconds).
_TEST_TIMEOUT = 5.0


class RocketMQHook(BaseHook):
    """
    A connection of type ``rocketmq``: the source of call events.

    The hook opens no consumer, because it would take messages from the collector, the only process that stores them.

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
        Return the connection's settings, validated.

        :raises OutboundBotConfigError: the connection does not exist, or a field cannot be used.
        """
        return _settings(get_fields(self.rocketmq_conn_id, self.conn_type))

    async def asettings(self) -> RocketMQSettings:
        """Return the settings like :meth:`settings`, without blocking a triggerer's loop."""
        return _settings(await aget_fields(self.rocketmq_conn_id, self.conn_type))

    def test_connection(self) -> tuple[bool, str]:
        """
        Test whether the endpoints accept connections. No message is read, because that would take it from the
        collector.

        With transport ``remoting``, also ask the broker whether the consumer group may read the topic.

        :return: Whether the connection works, and a message.
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
            f"{', '.join(settings.endpoints)} accepts {'TLS ' if settings.tls else ''}connections; the collector's log "
            f"shows whether topic {settings.topic!r} and consumer group {settings.consumer_group!r} exist"
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
    """Return the bot instances whose events are stored: one, or a list; empty for all."""
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
    Return ``HOST:PORT`` of an endpoint as a console shows it, with or without ``http://`` and a trailing slash.

    The scheme does not say whether to use TLS: Alibaba Cloud's console shows it for addresses that are not HTTP.
    """
    address = re.sub(r"\Ahttps?://", "", host, flags=re.IGNORECASE).rstrip("/")
    if ":" in address:
        return address
    usual = _ALIYUN_PORT if address.lower().endswith(_ALIYUN_HOSTS) else _PORTS.get(transport, 8081)
    return f"{address}:{port or usual}"


def _trouble(endpoint: str, tls: bool) -> str | None:
    """Return why a connection fails; ``None`` if it succeeds."""
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
