"""Which connections reach OSS, and what is said of those that do not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.oss_server import KEY_ID, REGION, SECRET, OssServer
from support.web import Handler, served

from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.oss.client import OssClient
from airflow_provider_outbound.oss.connection import read_settings


def test_airflow_finds_the_filesystem(at: Callable[..., Any]) -> None:
    from airflow.sdk.io import has_fs

    assert has_fs("oss")
    assert str(at("a b/人.csv")).endswith("campaigns/a b/人.csv")


@pytest.mark.parametrize(
    ("conn_type", "fields"),
    [
        pytest.param("oss", {}, id="oss"),
        pytest.param("oss", {"auth_type": "AK"}, id="as-the-other-provider-has-it"),
        pytest.param("alibaba_cloud", {}, id="alibaba-cloud"),
    ],
)
def test_a_connection_of_the_other_provider_is_enough(
    oss: OssServer, at: Callable[..., Any], conn_type: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    conn_id = f"oss_{conn_type}_{len(fields)}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", oss.connection(conn_type, **fields))
    oss.put("campaigns/a", b"here")

    assert at("a", conn_id).read_bytes() == b"here"


def test_login_and_password_may_hold_the_key_and_extra_its_token(
    oss: OssServer, at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {
        "conn_type": "oss",
        "login": KEY_ID,
        "password": SECRET,
        "extra": {"region": REGION, "endpoint": oss.url, "security_token": "token"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_OSS_LOGIN", json.dumps(connection))
    oss.keys[KEY_ID] = (SECRET, "token")
    oss.put("campaigns/a", b"here")

    assert at("a", "oss_login").read_bytes() == b"here"


def test_a_path_without_a_connection_uses_the_default(oss: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath("oss://campaigns/a")
    with pytest.raises(OutboundBotConfigError, match=r"'oss_default' does not exist; .* oss://conn_id@bucket/file"):
        path.exists()
    monkeypatch.setenv("AIRFLOW_CONN_OSS_DEFAULT", oss.connection())
    oss.put("campaigns/a", b"here")

    assert path.is_file()
    assert path.read_bytes() == b"here"


def test_a_connection_of_the_robot_lends_its_region_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "outboundbot", "login": "key", "password": "secret", "host": "127.0.0.1:1"}
    monkeypatch.setenv("AIRFLOW_CONN_ROBOT", json.dumps({**connection, "extra": {"region_id": "cn-beijing"}}))

    settings = read_settings("robot")

    assert (settings.client.region_id, settings.endpoint) == ("cn-beijing", "")
    assert (settings.client.access_key_id, settings.client.access_key_secret) == ("key", "secret")
    OssClient(settings)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"region": ""}, 'region is missing; .* {"region": "cn-hangzhou"}', id="no-region"),
        pytest.param({"region": "oss-cn-hangzhou"}, "without 'oss-'", id="region-of-an-endpoint"),
        pytest.param({"region": ["cn-hangzhou"]}, "region is a list; give a text", id="list"),
        pytest.param({"endpoint": "http://oss-cn-hangzhou.aliyuncs.com"}, "unencrypted; write https://", id="http"),
        pytest.param({"endpoint": "https://host/bucket"}, "endpoint is neither", id="path"),
        pytest.param({"endpoint": "https://key:secret@host"}, "endpoint is neither", id="userinfo"),
        pytest.param({"endpoint": "https://host:port"}, "endpoint is neither", id="port"),
        pytest.param({"auth_type": "STS"}, "auth_type 'STS' is unknown", id="auth-type"),
        pytest.param({"access_key_secret": ""}, "secret", id="half-a-key"),
        pytest.param({"ecs_role": "caller"}, "ecs_role cannot be combined", id="key-and-role"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    oss: OssServer, fields: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OSS_BAD", oss.connection(**fields))

    with pytest.raises(OutboundBotConfigError, match=f"connection 'oss_bad': .*{reason}") as caught:
        read_settings("oss_bad")
    assert SECRET not in str(caught.value)


def test_a_connection_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OSS_BAD", json.dumps({"conn_type": "aws"}))

    with pytest.raises(OutboundBotConfigError, match="is of type 'aws'; give one of type 'oss', 'alibaba_cloud' or"):
        read_settings("oss_bad")


def test_the_region_of_another_bucket_is_refused_with_the_mend(
    oss: OssServer, at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OSS_ELSEWHERE", oss.connection(region="cn-beijing"))

    with pytest.raises(OSError, match=r"InvalidArgument.*check region and endpoint"):
        at("a", "oss_elsewhere").exists()


def test_a_server_that_does_not_answer_is_said(
    oss: OssServer, at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OSS_NOWHERE", oss.connection(endpoint="http://127.0.0.1:1"))

    with pytest.raises(OSError, match="OSS cannot be reached"):
        at("a", "oss_nowhere").exists()


def test_without_the_sdk_the_extra_is_named(oss: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings("oss_test")
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)

    with pytest.raises(OutboundBotConfigError, match=r"airflow-provider-outbound\[oss\]"):
        OssClient(settings)


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The metadata service of an ECS machine, and the credentials that it gives next."""
    from alibabacloud_credentials.provider import ecs_ram_role

    given: dict[str, Any] = {}

    class Metadata(Handler):
        def do_PUT(self) -> None:
            self.answer(200, b"imds-token")

        def do_GET(self) -> None:
            self.answer(200, json.dumps(given).encode())

    with served(Metadata) as url:
        real = ecs_ram_role.TeaCore.do_action

        def do_action(request: Any, options: Any) -> Any:
            request.headers["host"] = url.removeprefix("http://")
            return real(request, options)

        monkeypatch.setattr(ecs_ram_role.TeaCore, "do_action", do_action)
        yield given


def test_the_temporary_keys_of_a_role_are_renewed(
    oss: OssServer, at: Callable[..., Any], role: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_OSS_ROLE", oss.connection(access_key_id="", access_key_secret="", ecs_role="caller")
    )
    oss.put("campaigns/a", b"here")
    path = at("a", "oss_role")

    for number in range(2):
        soon = datetime.now(UTC) + timedelta(minutes=10)  # so near that each request asks anew
        key = {"AccessKeyId": f"STS.{number}", "AccessKeySecret": f"secret{number}", "SecurityToken": f"token{number}"}
        role |= {"Code": "Success", "Expiration": f"{soon:%Y-%m-%dT%H:%M:%SZ}", **key}
        oss.keys = {f"STS.{number}": (f"secret{number}", f"token{number}")}
        assert path.read_bytes() == b"here"
