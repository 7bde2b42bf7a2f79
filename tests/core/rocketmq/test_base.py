"""Settings of a subscription: what is refused, in words, before anything starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.exceptions import OutboundBotConfigError, RocketMQClientError

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
        pytest.param({"transport": "remoting"}, "--no-tls", id="remoting-with-tls"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(OutboundBotConfigError) as refusal:
        RocketMQSettings(**VALID | change)

    assert named in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        pytest.param(None, "is not a file", id="missing"),
        pytest.param(b"not a library", "no usable librocketmq", id="not-a-library"),
    ],
)
def test_a_native_library_that_cannot_be_used_is_refused_with_the_ways_out(
    tmp_path: Path, content: bytes | None, named: str
) -> None:
    path = tmp_path / "librocketmq.so"
    if content is not None:
        path.write_bytes(content)
    settings = RocketMQSettings(**VALID, transport="remoting", tls=False, librocketmq=str(path))

    # In a process of its own: one process loads one such library, and tests on a real broker have theirs.
    program = (
        "import json, sys\n"
        "from airflow_provider_outbound.core.rocketmq import open_consumer\n"
        "from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings\n"
        "open_consumer(RocketMQSettings.from_dict(json.load(sys.stdin)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(settings.to_dict()),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    (line,) = [line for line in ended.stderr.splitlines() if line.startswith(RocketMQClientError.__module__)]
    assert named in line
    assert "extra 'librocketmq'" in line
    assert "pip install rocketmq-client-python==0.5.0rc2" in line


@pytest.mark.parametrize(
    ("namespace", "name", "qualified"),
    [
        pytest.param("", "outbound", "outbound", id="none"),
        pytest.param("MQ_INST_1", "outbound", "MQ_INST_1%outbound", id="put-before"),
        pytest.param("MQ_INST_1", "MQ_INST_1%outbound", "MQ_INST_1%outbound", id="there-already"),
    ],
)
def test_a_namespace_is_part_of_the_name_over_remoting(namespace: str, name: str, qualified: str) -> None:
    assert RocketMQSettings(**VALID, namespace=namespace).qualified(name) == qualified
