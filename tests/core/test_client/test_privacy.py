"""Nothing private leaves by an error, a log or a proxy."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
from support.scripted import Scripted
from support.web import Handler, served

from airflow_provider_outbound.core.client import BlockedNumber, ClientSettings, OutboundBotClient
from airflow_provider_outbound.core.client.transport import proxy_for
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError

NAME = "欧阳修文"
NUMBER = "13800000077"
CITY = "Xanadu-Nord"
KEY_ID = "LTAI5tExampleKey"
SECRET = "s3cretKeyOfTests"
TOKEN = "sts-token-of-tests"
JOB = json.dumps(
    {
        "contacts": [{"phoneNumber": NUMBER, "referenceId": "crm-77", "name": NAME}],
        "extras": [{"key": "city", "value": CITY}],
    },
    ensure_ascii=False,
)
PRIVATE = (NUMBER, NAME, CITY, KEY_ID, SECRET, TOKEN, quote(NAME), "Signature=", json.dumps(NAME).strip('"'))


def _assert_private(text: str) -> None:
    for secret in PRIVATE:
        assert secret not in text


def _everything(error: BaseException) -> str:
    """All that a log could show of an error."""
    chain = [error, error.__cause__, error.__context__]
    shown = "".join(traceback.format_exception(error))
    return "".join([shown, *(f"{item!r} {item} {getattr(item, 'args', '')}" for item in chain)])


@pytest.fixture
def log_of_everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged at any level by any logger, those of the libraries named one by one too."""
    import aliyunsdkcore.client  # noqa: F401 - so that its loggers exist
    import requests  # noqa: F401 - likewise

    libraries = ("aliyunsdkcore", "urllib3", "requests", "http")
    names = [name for name in logging.root.manager.loggerDict if name.startswith(libraries)]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        yield caplog
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def _echo(status: int, code: str) -> dict[str, Any]:
    """An API that repeats what it was sent."""
    said = f"job {JOB} of {NAME} at +86 138-0000-0077 / {NUMBER} in {CITY} by {KEY_ID} {TOKEN} ?Signature=abc"
    said += f"&x={quote(NAME)}"
    return {"status": status, "body": {"Code": code, "Message": said, "RequestId": "13800000077", "HostId": "h"}}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_echo(400, "InvalidParameter"), id="refusal"),
        pytest.param(_echo(500, "InternalError"), id="500"),
        pytest.param(_echo(200, "NotExist.JobGroup"), id="200"),
        pytest.param(_echo(400, "SignatureDoesNotMatch"), id="signature"),
        pytest.param({"status": 502, "body": f"<html>{NUMBER} {NAME} {KEY_ID}</html>".encode()}, id="html"),
        pytest.param({"status": 400, "body": {"Code": NUMBER, "Message": NAME}}, id="number-for-a-code"),
        pytest.param({"status": 400, "body": {"Code": f"Bad{NUMBER}", "Message": [NAME]}}, id="number-in-the-code"),
        pytest.param(
            {"status": 200, "body": {"Success": True, "Code": "OK", "JobsId": [NUMBER, NAME]}}, id="wrong-ids"
        ),
    ],
)
def test_no_answer_brings_private_data_into_an_error_or_a_log(
    scripted: Scripted,
    log_of_everything: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    answer: dict[str, Any],
) -> None:
    scripted.answer(answer["status"], answer["body"])
    client = scripted.client(access_key_id=KEY_ID, access_key_secret=SECRET, security_token=TOKEN)

    with pytest.raises(OutboundBotError) as caught:
        client.assign_jobs(job_group_id="g", jobs=[JOB])

    _assert_private(_everything(caught.value))
    _assert_private(log_of_everything.text)
    _assert_private("".join(capfd.readouterr()))
    assert caught.value.__context__ is None


def test_a_refused_block_list_entry_is_not_repeated_in_the_error(scripted: Scripted) -> None:
    scripted.answer(400, {"Code": "InvalidParameter", "Message": f"{NUMBER}, {CITY}", "RequestId": "r"})
    client = scripted.client(access_key_id=KEY_ID, access_key_secret=SECRET)

    with pytest.raises(OutboundBotError) as caught:
        client.save_contact_block_list([BlockedNumber(phone_number=NUMBER, remark=CITY)])

    _assert_private(_everything(caught.value))


def test_no_lost_connection_brings_private_data_into_an_error_or_a_log(
    log_of_everything: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBUG", "sdk")  # the SDK's own switch for writing requests to the terminal
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings = ClientSettings(
            access_key_id=KEY_ID,
            access_key_secret=SECRET,
            security_token=TOKEN,
            instance_id="i",
            endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}",
        )
        with pytest.raises(OutboundBotError) as caught:
            OutboundBotClient(settings).assign_jobs(job_group_id="g", jobs=[JOB])

    _assert_private(_everything(caught.value))
    _assert_private(log_of_everything.text)
    _assert_private("".join(capfd.readouterr()))
    assert caught.value.__context__ is None


def test_a_success_is_not_logged_either(
    scripted: Scripted,
    log_of_everything: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEBUG", "sdk")
    scripted.answer(200, {"Success": True, "Code": "OK", "JobsId": ["j-1"]})
    client = scripted.client(access_key_id=KEY_ID, access_key_secret=SECRET, security_token=TOKEN)

    assert client.assign_jobs(job_group_id="g", jobs=[JOB]) == {"j-1"}

    _assert_private(log_of_everything.text)
    _assert_private("".join(capfd.readouterr()))
    _assert_private(repr(client.settings))
    assert scripted.requests[0]["JobsJson.1"] == JOB


@pytest.mark.parametrize("status", [200, 400])
def test_whoever_traces_requests_sees_nobody_in_their_address(
    scripted: Scripted, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry wraps the pool, Sentry the connection: what they are given, they keep."""
    seen: list[str] = []

    def watch(owner: type, method: str) -> None:
        real = getattr(owner, method)

        def watched(*arguments: Any, **options: Any) -> Any:
            seen.append(f"{arguments} {options}")
            return real(*arguments, **options)

        monkeypatch.setattr(owner, method, watched)

    watch(urllib3.PoolManager, "urlopen")
    watch(urllib3.HTTPConnectionPool, "urlopen")
    watch(urllib3.connection.HTTPConnection, "request")
    watch(http.client.HTTPConnection, "putrequest")
    watch(http.client.HTTPConnection, "putheader")
    scripted.answer(status, {"Success": True, "Code": "OK" if status == 200 else "InvalidParameter", "JobsId": ["j-1"]})
    client = scripted.client(access_key_id=KEY_ID, access_key_secret=SECRET, security_token=TOKEN)

    with nullcontext() if status == 200 else pytest.raises(OutboundBotError):
        client.assign_jobs(job_group_id="g", jobs=[JOB])

    assert len(seen) > 4
    _assert_private("".join(seen))
    assert scripted.requests[0]["JobsJson.1"] == JOB


def test_what_helps_is_kept(scripted: Scripted) -> None:
    request_id = "E0E8FFD3-8E0C-4B51-8B27-8A1B2C3D4E5F"
    scripted.answer(
        404, {"Code": "NotExist.JobGroup", "Message": "The specified JobGroup does not exist.", "RequestId": request_id}
    )

    with pytest.raises(OutboundBotError) as caught:
        scripted.client().assign_jobs(job_group_id="g", jobs=[JOB])

    assert str(caught.value) == (
        f"AssignJobs: NotExist.JobGroup: The specified JobGroup does not exist. (request {request_id})"
    )


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that the environment names for everything; the list holds the hosts it was asked for."""
    asked: list[str] = []

    class Proxy(Handler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.answer(500, b'{"Code": "InternalError", "Message": "the proxy answered"}')

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(403)

    with served(Proxy) as url:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, url)
        yield asked


def test_no_proxy_sees_what_stays_on_this_machine(
    proxy: list[str], client: OutboundBotClient, group_id: str, make_job: Callable[..., str]
) -> None:
    assert len(client.assign_jobs(job_group_id=group_id, jobs=[make_job(1)])) == 1
    assert proxy == []


def test_a_proxy_is_used_for_other_machines_unless_no_proxy_names_them(
    proxy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> None:
        OutboundBotClient(
            ClientSettings(access_key_id="a", access_key_secret="b", instance_id="i", endpoint="http://nowhere.invalid")
        ).create_job_group(job_group_name="n", script_id="s")

    with pytest.raises(OutboundBotError, match="the proxy answered"):
        call()
    assert len(proxy) == 1

    monkeypatch.setenv("no_proxy", "example.com,.invalid")
    with pytest.raises(OutboundBotError, match="host name cannot be resolved"):
        call()
    assert len(proxy) == 1


def test_a_proxy_that_lets_nobody_through_is_said_in_words(proxy: list[str]) -> None:
    settings = ClientSettings(access_key_id="a", access_key_secret="b", instance_id="i", endpoint="nowhere.invalid")

    with pytest.raises(OutboundBotError, match="the proxy refused or cannot be reached") as caught:
        OutboundBotClient(settings).assign_jobs(job_group_id="g", jobs=[JOB])

    assert proxy == ["nowhere.invalid:443"]
    assert caught.value.in_doubt
    _assert_private(_everything(caught.value))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]", "sim.localhost"])
def test_this_machine_is_never_reached_by_a_proxy(proxy: list[str], host: str) -> None:
    assert proxy_for(f"http://{host}:8180") is None


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        pytest.param("", "https://outboundbot.cn-shanghai.aliyuncs.com", id="region"),
        pytest.param("api.example.com", "https://api.example.com", id="host"),
        pytest.param("api.example.com:8443", "https://api.example.com:8443", id="host-and-port"),
        pytest.param("http://127.0.0.1:8180/", "http://127.0.0.1:8180", id="plain-by-name"),
    ],
)
def test_https_unless_the_endpoint_says_http(endpoint: str, url: str) -> None:
    assert ClientSettings(endpoint=endpoint).url == url


@pytest.mark.parametrize(
    "endpoint",
    ["ftp://a", "https://:80", "https://a/path", "https://a?b=c", "https://me:word@a", "http://a:x", "a b://c"],
)
def test_an_endpoint_that_is_none_is_refused_and_not_repeated(endpoint: str) -> None:
    with pytest.raises(OutboundBotConfigError, match="endpoint") as caught:
        ClientSettings(endpoint=endpoint)

    assert endpoint not in str(caught.value)


def test_another_users_netrc_is_not_sent(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".netrc").write_text("machine 127.0.0.1 login me password word\n")
    monkeypatch.setenv("HOME", str(home))
    seen: list[str] = []
    scripted.on_headers = seen.append
    scripted.answer(200, {"Success": True, "Code": "OK", "JobsId": ["j-1"]})

    scripted.client().assign_jobs(job_group_id="g", jobs=[JOB])

    assert seen
    assert "authorization" not in seen[0].lower()
