"""As whom requests are signed. The simulator checks every signature and token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.web import Handler, served

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.exceptions import (
    OutboundBotAuthenticationError,
    OutboundBotConfigError,
    OutboundBotError,
)
from airflow_provider_outbound.simulator.testing import Simulator

Connect = Callable[..., OutboundBotClient]
ROLE = "acs:ram::1234567890:role/outbound"


@pytest.fixture
def token(simulator: Simulator) -> str:
    """The one security token that the simulator accepts."""
    return str(simulator.run(lambda cloud: cloud.options.security_token))


@pytest.fixture(autouse=True)
def _other_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that the classic SDK would prefer to those of the connection."""
    monkeypatch.setenv("ALIYUN_ACCESS_KEY_ID", "LTAI5tOfTheEnvironment")
    monkeypatch.setenv("ALIYUN_ACCESS_KEY_SECRET", "wrong")


def _reads(client: OutboundBotClient) -> bool:
    return client.list_job_groups().total == 0


def test_the_connections_key_beats_the_environments(client: OutboundBotClient) -> None:
    assert _reads(client)


def test_an_sts_token_goes_with_the_key(connect: Connect, token: str) -> None:
    assert _reads(connect(security_token=token))

    with pytest.raises(OutboundBotAuthenticationError, match="InvalidSecurityToken") as caught:
        connect(security_token="another").list_job_groups()
    assert not caught.value.in_doubt


def test_a_wrong_secret_is_said_in_words(connect: Connect) -> None:
    with pytest.raises(OutboundBotAuthenticationError, match="check AccessKey id and secret") as caught:
        connect(access_key_secret="wrong").create_job_group(job_group_name="n", script_id="s")

    assert caught.value.code == "InvalidAccessKeySecret"
    assert not caught.value.in_doubt


def test_an_unknown_key_is_refused_without_being_shown(connect: Connect) -> None:
    with pytest.raises(OutboundBotAuthenticationError, match=r"InvalidAccessKeyId\.NotFound") as caught:
        connect(access_key_id="LTAI5tUnknown").list_job_groups()

    assert "LTAI5tUnknown" not in str(caught.value)


class Redirected:
    """Requests of ``alibabacloud-credentials``, which go to fixed https addresses, sent to this machine instead."""

    def __init__(self, module: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        #: Query of each request.
        self.requests: list[dict[str, str]] = []
        real = module.TeaCore.do_action

        def do_action(request: Any, options: Any) -> Any:
            self.requests.append(dict(request.query))
            request.protocol = "http"
            request.headers["host"] = address
            return real(request, options)

        monkeypatch.setattr(module.TeaCore, "do_action", do_action)


@pytest.fixture
def sts(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Redirected:
    """Alibaba Cloud's token service, as the simulator plays it."""
    from alibabacloud_credentials.provider import ram_role_arn

    return Redirected(ram_role_arn, simulator.api.removeprefix("http://"), monkeypatch)


def test_a_role_is_assumed_once_for_many_threads(connect: Connect, sts: Redirected) -> None:
    client = connect(role_arn=ROLE, role_session_name="night")

    with ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(lambda _: client.list_job_groups().total, range(24)))

    assert totals == [0] * 24
    (asked,) = sts.requests
    assert (asked["Action"], asked["RoleArn"], asked["RoleSessionName"]) == ("AssumeRole", ROLE, "night")


def test_a_role_is_assumed_from_an_sts_token_too(connect: Connect, sts: Redirected, token: str) -> None:
    assert _reads(connect(role_arn=ROLE, security_token=token))
    assert sts.requests[0]["SecurityToken"] == token


def test_a_role_that_cannot_be_assumed_is_named_and_nothing_was_sent(
    connect: Connect, sts: Redirected, simulator: Simulator
) -> None:
    client = connect(role_arn=ROLE, access_key_secret="wrong", origin="connection 'night'")

    with pytest.raises(OutboundBotAuthenticationError, match="connection 'night': role_arn") as caught:
        client.assign_jobs(job_group_id="g", jobs=["{}"])

    assert not caught.value.in_doubt
    assert simulator.state()["requests"].get("AssignJobs", 0) == 0
    shown = "".join(traceback.format_exception(caught.value))
    assert "Signature=" not in shown
    assert simulator.access_key_id not in shown
    assert caught.value.__context__ is None


@pytest.fixture
def metadata(simulator: Simulator, token: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redirected]:
    """The metadata service of an ECS machine whose role is ``caller``."""
    from alibabacloud_credentials.provider import ecs_ram_role

    credentials = {
        "Code": "Success",
        "AccessKeyId": simulator.access_key_id,
        "AccessKeySecret": simulator.access_key_secret,
        "SecurityToken": token,
        "Expiration": "2099-01-01T00:00:00Z",
    }

    class Metadata(Handler):
        def do_PUT(self) -> None:
            self.answer(200, b"imds-token")

        def do_GET(self) -> None:
            found = self.path.startswith("/latest/meta-data/ram/security-credentials/caller")
            self.answer(200 if found else 404, json.dumps(credentials).encode())

    with served(Metadata) as url:
        yield Redirected(ecs_ram_role, url.removeprefix("http://"), monkeypatch)


def test_the_role_of_an_ecs_machine_signs(connect: Connect, metadata: Redirected) -> None:
    client = connect(access_key_id="", access_key_secret="", ecs_role="caller")

    assert _reads(client)
    asked = len(metadata.requests)
    assert _reads(client)
    assert len(metadata.requests) == asked > 0


def test_an_ecs_role_that_is_not_there_is_named(connect: Connect, metadata: Redirected) -> None:
    with pytest.raises(OutboundBotAuthenticationError, match="ecs_role 'other'"):
        connect(access_key_id="", access_key_secret="", ecs_role="other").list_job_groups()


_DEFAULT_CHAIN = """
import sys
from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
print(OutboundBotClient(ClientSettings(endpoint=sys.argv[1], instance_id=sys.argv[2])).list_job_groups().total)
"""


def _by_default_chain(simulator: Simulator, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the chain reads the environment when it is first imported."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("ALIYUN_", "ALIBABA_"))}
    return subprocess.run(
        [sys.executable, "-c", _DEFAULT_CHAIN, simulator.api, simulator.instance_id],
        env={**bare, "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_key_alibabas_default_chain_is_asked(simulator: Simulator, token: str) -> None:
    done = _by_default_chain(
        simulator,
        ALIBABA_CLOUD_ACCESS_KEY_ID=simulator.access_key_id,
        ALIBABA_CLOUD_ACCESS_KEY_SECRET=simulator.access_key_secret,
        ALIBABA_CLOUD_SECURITY_TOKEN=token,
    )

    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_no_credentials_anywhere_is_one_line_with_the_mend(simulator: Simulator) -> None:
    done = _by_default_chain(simulator)

    assert done.returncode == 1
    assert "put the AccessKey id into login" in done.stderr.splitlines()[-1]
    assert simulator.state()["requests"] == {}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        pytest.param({"access_key_id": "a"}, "AccessKey secret", id="no-secret"),
        pytest.param({"access_key_secret": "b"}, "AccessKey id", id="no-id"),
        pytest.param({"security_token": "c"}, "security_token", id="token-alone"),
        pytest.param({"access_key_id": "a", "access_key_secret": "b", "ecs_role": "r"}, "ecs_role", id="key-and-role"),
        pytest.param({"region_id": "cn/shanghai"}, "region_id", id="region"),
        pytest.param({"connect_timeout": 0}, "connect_timeout", id="connect-timeout"),
        pytest.param({"read_timeout": float("inf")}, "read_timeout", id="read-timeout"),
        pytest.param({"max_requests_per_second": -1}, "max_requests_per_second", id="rate"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(OutboundBotConfigError, match=named) as caught:
        ClientSettings(**settings)

    assert isinstance(caught.value, OutboundBotError)
    assert "\n" not in str(caught.value)
