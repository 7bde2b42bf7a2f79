"""The hook of the event stream, by connections as Airflow gives them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook
from airflow_provider_outbound.simulator.testing import Simulator

SetConnection = Callable[..., None]


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> SetConnection:
    """Defines ``rocketmq_default`` by the environment."""

    def define(*, extra: dict[str, Any] | None = None, **fields: Any) -> None:
        connection = {"conn_type": "rocketmq", "host": "mq.example.com"} | fields
        connection["extra"] = {"topic": "t", "consumer_group": "g"} | (extra or {})
        monkeypatch.setenv("AIRFLOW_CONN_ROCKETMQ_DEFAULT", json.dumps(connection))

    return define


def test_every_field_is_read(set_connection: SetConnection) -> None:
    set_connection(
        host="a.example.com:8081; b.example.com",
        port=9081,
        login="me",
        password="word",
        extra={"namespace": "rmq-1", "tag": "x", "tls": "false"},
    )

    settings = RocketMQHook().settings()

    assert settings.endpoints == ("a.example.com:8081", "b.example.com:9081")
    assert (settings.topic, settings.consumer_group, settings.namespace, settings.tag) == ("t", "g", "rmq-1", "x")
    assert (settings.transport, settings.tls, settings.username, settings.password) == ("grpc", False, "me", "word")
    assert "word" not in repr(settings)


def test_tls_and_the_usual_port_unless_told_otherwise(set_connection: SetConnection) -> None:
    set_connection()

    settings = RocketMQHook().settings()

    assert (settings.endpoints, settings.tls, settings.tag) == (("mq.example.com:8081",), True, "*")


RMQ = "rmq-cn-abc.cn-shanghai.rmq.aliyuncs.com"


@pytest.mark.parametrize("transport", [{}, {"transport": "remoting", "tls": False}], ids=["grpc", "remoting"])
@pytest.mark.parametrize(
    ("host", "port", "endpoints"),
    [
        pytest.param(f"http://{RMQ}:8080", None, (f"{RMQ}:8080",), id="as-the-console-shows-it"),
        pytest.param(f" HTTPS://{RMQ}:8080/ ", None, (f"{RMQ}:8080",), id="slash-and-blanks"),
        pytest.param(RMQ, None, (f"{RMQ}:8080",), id="no-port"),
        pytest.param(RMQ, 0, (f"{RMQ}:8080",), id="port-0"),
        pytest.param(f"{RMQ}/", 9999, (f"{RMQ}:9999",), id="port-of-its-own"),
        pytest.param(f"http://a.{RMQ}:1; {RMQ.upper()};", None, (f"a.{RMQ}:1", f"{RMQ.upper()}:8080"), id="several"),
        pytest.param("http://mq.example.com:8081/", None, ("mq.example.com:8081",), id="elsewhere"),
    ],
)
def test_an_endpoint_is_understood_as_a_console_shows_it(
    set_connection: SetConnection, host: str, port: int | None, endpoints: tuple[str, ...], transport: dict[str, Any]
) -> None:
    set_connection(host=host, port=port, extra=transport)

    assert RocketMQHook().settings().endpoints == endpoints


def test_blanks_around_login_and_password_are_not_theirs(set_connection: SetConnection) -> None:
    set_connection(login=" me ", password="\tword\n")

    settings = RocketMQHook().settings()

    assert (settings.username, settings.password) == ("me", "word")


def test_a_trigger_looks_up_without_blocking(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ROCKETMQ_DEFAULT", simulator.connections["AIRFLOW_CONN_ROCKETMQ_DEFAULT"])

    async def look() -> Any:
        return await RocketMQHook().asettings()

    settings = asyncio.run(look())

    assert settings == RocketMQHook().settings()
    assert settings.endpoints == (simulator.broker,)
    assert not settings.tls


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"extra": {"topic": ""}}, "topic is missing", id="no-topic"),
        pytest.param({"extra": {"consumer_group": None}}, "consumer_group is missing", id="no-group"),
        pytest.param({"extra": {"topic": "a b"}}, "topic 'a b'", id="topic"),
        pytest.param({"extra": {"transport": "http"}}, "transport 'http'", id="transport"),
        pytest.param({"extra": {"transport": "remoting"}}, "tls: false", id="remoting-with-tls"),
        pytest.param({"extra": {"tls": "perhaps"}}, "tls is 'perhaps'", id="tls"),
        pytest.param({"host": ""}, "endpoints are missing", id="no-host"),
        pytest.param({"host": "http://x/path"}, "'x/path:8081' is not HOST:PORT", id="url-with-a-path"),
        pytest.param({"host": "grpc://x:1"}, "'grpc://x:1' is not HOST:PORT", id="other-scheme"),
        pytest.param({"host": "http://"}, "':8081' is not HOST:PORT", id="scheme-alone"),
        pytest.param({"host": "http://me:word@x:1"}, "is not HOST:PORT", id="user"),
        pytest.param({"conn_type": "kafka"}, "of type 'kafka'", id="type"),
        pytest.param({"extra": {"instance_id": []}}, "instance_id is []", id="no-instance"),
        pytest.param({"extra": {"instance_id": ["a", ""]}}, "instance_id is ['a', '']", id="empty-instance"),
        pytest.param({"extra": {"instance_id": ["a", 5]}}, "instance_id is ['a', 5]", id="instance-number"),
        pytest.param({"extra": {"instance_id": "a,,b"}}, "instance_id is ['a', '', 'b']", id="instance-gap"),
        pytest.param({"extra": {"instance_id": {"a": 1}}}, "instance_id is a dict", id="instance-mapping"),
        pytest.param({"extra": {"instance_id": True}}, "instance_id is a bool", id="instance-truth"),
        pytest.param({"extra": {"instance_id": "a\nb"}}, "is not the id of a bot instance", id="instance-line"),
        pytest.param({"extra": {"instance_id": "x" * 129}}, "is not the id of a bot instance", id="instance-long"),
    ],
)
def test_a_field_that_cannot_be_used_is_refused_by_name(
    set_connection: SetConnection, changes: dict[str, Any], named: str
) -> None:
    set_connection(**changes)

    with pytest.raises(OutboundBotConfigError, match="connection 'rocketmq_default'") as caught:
        RocketMQHook().settings()

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        pytest.param(None, (), id="absent"),
        pytest.param("", (), id="empty"),
        pytest.param("bot-1", ("bot-1",), id="one"),
        pytest.param(" bot-1, bot-2 ", ("bot-1", "bot-2"), id="commas"),
        pytest.param(["bot-1", " bot-2", "bot-1"], ("bot-1", "bot-2"), id="list"),
        pytest.param('["bot-1", "bot-2"]', ("bot-1", "bot-2"), id="json"),
    ],
)
def test_one_bot_instance_or_several_are_named(
    set_connection: SetConnection, given: Any, read: tuple[str, ...]
) -> None:
    set_connection(extra={"instance_id": given})

    settings = RocketMQHook().settings()

    assert settings.instance_ids == read
    assert RocketMQSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_a_missing_connection_is_one_line_with_the_mend() -> None:
    with pytest.raises(OutboundBotConfigError, match="connection 'nowhere' does not exist; create it"):
        RocketMQHook("nowhere").settings()


def test_trying_out_a_broker_that_is_there(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ROCKETMQ_DEFAULT", simulator.connections["AIRFLOW_CONN_ROCKETMQ_DEFAULT"])

    well, message = RocketMQHook().test_connection()

    assert well, message
    assert simulator.broker in message


def test_trying_out_a_broker_that_is_not_there(set_connection: SetConnection) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        set_connection(host="127.0.0.1", port=unused.getsockname()[1])

        well, message = RocketMQHook().test_connection()

    assert not well
    assert "refused" in message.lower()


def test_trying_out_a_name_server_that_is_not_there(set_connection: SetConnection) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        set_connection(host="127.0.0.1", port=port, extra={"transport": "remoting", "tls": False})

        well, message = RocketMQHook().test_connection()

    assert not well
    assert f"name server at 127.0.0.1:{port} cannot be reached" in message


def test_remoting_has_a_port_and_a_library_of_its_own(set_connection: SetConnection) -> None:
    set_connection(host="a;b", extra={"transport": "remoting", "tls": False, "librocketmq": "/opt/librocketmq.so"})

    settings = RocketMQHook().settings()

    assert settings.endpoints == ("a:9876", "b:9876")
    assert (settings.transport, settings.librocketmq) == ("remoting", "/opt/librocketmq.so")


def test_trying_out_tls_where_there_is_none(simulator: Simulator, set_connection: SetConnection) -> None:
    set_connection(host=simulator.broker)

    well, message = RocketMQHook().test_connection()

    assert not well
    assert "TLS" in message
