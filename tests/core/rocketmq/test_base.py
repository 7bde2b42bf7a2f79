"""Settings of a subscription: what is refused, in words, before anything starts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings, open_consumer
from airflow_provider_outbound.exceptions import OutboundBotConfigError

VALID: dict[str, Any] = {"endpoints": ("mq.example:8081",), "topic": "outbound", "consumer_group": "GID_outbound"}


def test_settings_survive_the_way_through_json() -> None:
    settings = RocketMQSettings(
        **VALID | {"endpoints": ("a:8081", "b:8081"), "username": "user", "password": "secret", "tag": "a || b"}
    )

    assert RocketMQSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(RocketMQSettings(**VALID, password="secret"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"transport": "http"}, "transport 'http'", id="unknown-transport"),
        pytest.param({"endpoints": ()}, "endpoints are missing", id="no-endpoint"),
        pytest.param({"endpoints": ("mq.example",)}, "'mq.example' is not HOST:PORT", id="no-port"),
        pytest.param({"endpoints": ("mq.example:99999",)}, "'mq.example:99999'", id="no-such-port"),
        pytest.param({"endpoints": ("[::1]:8081",)}, "IPv6", id="ipv6"),
        pytest.param({"endpoints": ("a:8081", "grpc://b:8081")}, "'grpc://b:8081'", id="second-with-scheme"),
        pytest.param({"topic": ""}, "topic ''", id="no-topic"),
        pytest.param({"consumer_group": "my group"}, "consumer_group 'my group'", id="bad-group"),
        pytest.param({"transport": "remoting"}, "set tls to false", id="remoting-with-tls"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(OutboundBotConfigError) as refusal:
        RocketMQSettings(**VALID | change)

    assert named in str(refusal.value)


def test_remoting_is_refused_in_words_before_anything_starts() -> None:
    settings = RocketMQSettings(**VALID, transport="remoting", tls=False)

    with pytest.raises(OutboundBotConfigError, match="not offered in this version: use transport 'grpc'"):
        open_consumer(settings)
