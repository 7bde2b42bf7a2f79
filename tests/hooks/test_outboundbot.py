"""The hook, by connections as Airflow gives them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.fernet import Fernet
from support.messages import call, job_complete, store

from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.settings import ConnectionSettings
from airflow_provider_outbound.simulator.testing import Simulator

#: Sets ``outboundbot_default``; arguments replace parts of a good one, those in ``extra`` extend its extra.
SetConnection = Callable[..., None]


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> SetConnection:
    """Defines the connection by the environment."""

    def define(*, extra: Any = None, **fields: Any) -> None:
        connection = {"conn_type": "outboundbot", "login": "LTAI5tExample", "password": "s3cret"} | fields
        good = {"instance_id": "i-1", "script_id": "s-1"}
        connection["extra"] = extra if isinstance(extra, str) else good | (extra or {})
        monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))

    return define


@pytest.fixture
def simulated(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A simulator, with the connection that it offers."""
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    return simulator


def _look_up(conn_id: str, mode: str) -> ConnectionSettings:
    """As a task does, or as a trigger does."""
    hook = OutboundBotHook(conn_id)
    return hook.settings if mode == "task" else asyncio.run(hook.aload()).settings


def test_making_a_hook_looks_nothing_up() -> None:
    assert OutboundBotHook("nowhere").outboundbot_conn_id == "nowhere"


def test_the_simulators_own_connection_works(simulated: Simulator) -> None:
    hook = OutboundBotHook()

    made = hook.client.create_job_group(job_group_name="n", script_id=hook.script_id)

    assert made.job_group_id in simulated.state()["groups"]
    assert hook.get_conn() is hook.client
    assert (hook.instance_id, hook.calling_hours, hook.dry_run, hook.allowed_phone_numbers) == (
        simulated.instance_id,
        None,
        False,
        None,
    )


def test_a_follow_up_goes_on_where_the_last_task_stopped(
    simulated: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    hook = OutboundBotHook()
    group = hook.client.create_job_group(job_group_name="n", script_id=hook.script_id).job_group_id
    unanswered: dict[str, Any] = {"status": "Failed", "failureReason": "NoAnswer"}
    for n in range(3):
        contact = {"phoneNumber": f"1380000000{n}", "referenceId": f"r-{n}"}
        (job_id,) = hook.client.assign_jobs(
            job_group_id=group, jobs=[json.dumps({"contacts": [contact], "extras": []})]
        )
        called = call(f"call-{n}", "NoAnswer")
        store(hook.ledger, job_complete(group, job_id, f"1380000000{n}", f"r-{n}", called, **unanswered))

    for row in hook.follow_up(group, "sms", "unanswered"):
        if row.reference_id == "r-1":
            break

    hook.ledger.close()
    another = OutboundBotHook()
    assert [row.reference_id for row in another.follow_up(group, "sms")] == ["r-1", "r-2"]
    assert list(another.follow_up(group, "sms")) == []
    another.ledger.close()


def test_a_trigger_looks_up_without_blocking(simulated: Simulator) -> None:
    async def look() -> OutboundBotHook:
        return await OutboundBotHook().aload()

    hook = asyncio.run(look())

    assert hook.client.list_job_groups().total == 0


def test_every_field_is_read(set_connection: SetConnection) -> None:
    set_connection(
        host="api.example.com",
        port=8443,
        extra={
            "region_id": "ap-southeast-1",
            "security_token": "token",
            "role_arn": "acs:ram::1:role/r",
            "role_session_name": "night",
            "connect_timeout": "2.5",
            "read_timeout": 30,
            "max_requests_per_second": 20,
            "calling_hours": {"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]], "holidays": ["2026-10-01"]},
            "dry_run": "True",
            "allowed_phone_numbers": ["138 0000 0001", "+8613800000002"],
        },
    )

    hook = OutboundBotHook()
    client = hook.settings.client

    assert client.url == "https://api.example.com:8443"
    assert (client.access_key_id, client.access_key_secret, client.security_token) == (
        "LTAI5tExample",
        "s3cret",
        "token",
    )
    assert (client.region_id, client.role_arn, client.role_session_name) == (
        "ap-southeast-1",
        "acs:ram::1:role/r",
        "night",
    )
    assert (client.connect_timeout, client.read_timeout, client.max_requests_per_second) == (2.5, 30.0, 20.0)
    assert (hook.instance_id, hook.script_id, hook.dry_run) == ("i-1", "s-1", True)
    assert hook.allowed_phone_numbers == frozenset({"+8613800000001", "+8613800000002"})
    assert hook.calling_hours is not None
    hook.calling_hours.check_now(datetime(2026, 11, 24, 4, tzinfo=UTC))
    with pytest.raises(OutboundBotWrongTimeError, match="holiday"):
        hook.calling_hours.check_now(datetime(2026, 10, 1, 4, tzinfo=UTC))
    shown = repr(hook.settings)
    assert [secret for secret in ("LTAI5tExample", "s3cret", "token'", "138") if secret in shown] == []


def test_a_connection_may_be_a_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_NIGHT",
        "outboundbot://LTAI5tExample:s3cret@http%3A%2F%2F127.0.0.1:8180/?instance_id=i-1&dry_run=true&read_timeout=3"
        "&allowed_phone_numbers=13800000001%2C13800000002",
    )

    hook = OutboundBotHook("night")

    assert hook.settings.client.url == "http://127.0.0.1:8180"
    assert (hook.instance_id, hook.dry_run, hook.settings.client.read_timeout) == ("i-1", True, 3.0)
    assert len(hook.allowed_phone_numbers or ()) == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"extra": {"connect_timeout": "soon"}}, "connect_timeout is 'soon'", id="timeout"),
        pytest.param({"extra": {"read_timeout": 0}}, "read_timeout is 0", id="zero"),
        pytest.param({"extra": {"read_timeout": True}}, "read_timeout is True", id="truth"),
        pytest.param({"extra": {"max_requests_per_second": "NaN"}}, "max_requests_per_second is 'NaN'", id="rate"),
        pytest.param({"extra": {"dry_run": "maybe"}}, "dry_run is 'maybe'", id="flag"),
        pytest.param({"extra": {"instance_id": ["a"]}}, "instance_id is a list", id="list"),
        pytest.param({"extra": {"region_id": "cn shanghai"}}, "region_id 'cn shanghai'", id="region"),
        pytest.param({"extra": {"ecs_role": "r"}}, "ecs_role cannot be combined with an AccessKey", id="ecs"),
        pytest.param({"extra": {"calling_hours": "9 to 5"}}, "calling_hours", id="hours"),
        pytest.param({"extra": {"calling_hours": '{"windows": ['}}, "calling_hours is not valid JSON", id="hours-json"),
        pytest.param({"extra": {"allowed_phone_numbers": {"a": 1}}}, "allowed_phone_numbers is a dict", id="numbers"),
        pytest.param({"extra": {"allowed_phone_numbers": ["x"]}}, "allowed_phone_numbers entry 1", id="no-number"),
        pytest.param({"extra": "{"}, "extra is not a JSON object", id="extra"),
        pytest.param({"extra": "[1]"}, "extra is not a JSON object", id="extra-list"),
        pytest.param({"password": ""}, "password", id="no-secret"),
        pytest.param({"host": "ftp://x"}, "host", id="host"),
        pytest.param({"conn_type": "http"}, "of type 'http'", id="type"),
    ],
)
@pytest.mark.parametrize("mode", ["task", "trigger"])
def test_a_field_that_cannot_be_used_is_refused_by_name(
    set_connection: SetConnection, changes: dict[str, Any], named: str, mode: str
) -> None:
    set_connection(**changes)

    with pytest.raises(OutboundBotConfigError, match="connection 'outboundbot_default'") as caught:
        _look_up("outboundbot_default", mode)

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, OutboundBotConfigError)


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_field_of_the_form_is_an_absent_one(set_connection: SetConnection, value: Any) -> None:
    set_connection(
        extra={
            **dict.fromkeys(("region_id", "read_timeout", "dry_run", "calling_hours"), value),
            "allowed_phone_numbers": None,
        }
    )

    hook = OutboundBotHook()

    assert (hook.settings.client.region_id, hook.settings.client.read_timeout) == ("cn-shanghai", 10.0)
    assert (hook.dry_run, hook.calling_hours, hook.allowed_phone_numbers) == (False, None, None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("", "is an empty text; give \\[\\] if nobody may be called", id="nothing"),
        pytest.param("  ", "is an empty text", id="blank"),
        pytest.param(False, "is a bool", id="false"),
        pytest.param(0, "entry 1 is", id="zero"),
        pytest.param(1.5, "is a float", id="float"),
        pytest.param([None], "entry 1 is a NoneType", id="null-in-it"),
        pytest.param([["13800000001"]], "entry 1 is a list", id="list-in-it"),
        pytest.param([{"phone": "13800000001"}], "entry 1 is a dict", id="dictionary-in-it"),
        pytest.param([True], "entry 1 is a bool", id="true-in-it"),
        pytest.param(["13800000001", ""], "entry 2 is empty", id="empty-in-it"),
        pytest.param("13800000001,", "entry 2 is empty", id="comma"),
        pytest.param("['13800000001'", "is not valid JSON", id="half-a-list"),
    ],
)
def test_a_list_of_allowed_numbers_that_cannot_be_read_is_refused(
    set_connection: SetConnection, value: Any, words: str
) -> None:
    set_connection(extra={"allowed_phone_numbers": value})

    with pytest.raises(OutboundBotConfigError, match=rf"allowed_phone_numbers {words}") as caught:
        _ = OutboundBotHook().allowed_phone_numbers

    assert "13800000001" not in str(caught.value)


@pytest.mark.parametrize("value", [[], "[]"])
def test_an_empty_list_of_allowed_numbers_in_any_form_allows_nobody(set_connection: SetConnection, value: Any) -> None:
    set_connection(extra={"allowed_phone_numbers": value})

    assert OutboundBotHook().allowed_phone_numbers == frozenset()


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        pytest.param("", 443, "https://outboundbot.cn-shanghai.aliyuncs.com", id="port-of-the-regions-endpoint"),
        pytest.param("api.example.com", 443, "https://api.example.com:443", id="host-and-port"),
        pytest.param("api.example.com", 0, "https://api.example.com", id="port-0"),
        pytest.param("http://127.0.0.1:8180/", 443, "http://127.0.0.1:8180", id="a-host-with-its-port"),
    ],
)
def test_the_port_of_the_form_goes_with_the_host(set_connection: SetConnection, host: str, port: int, url: str) -> None:
    set_connection(host=host, port=port)

    assert OutboundBotHook().settings.client.url == url


def test_an_empty_list_of_allowed_numbers_allows_nobody(set_connection: SetConnection) -> None:
    set_connection(extra={"allowed_phone_numbers": []})

    assert OutboundBotHook().allowed_phone_numbers == frozenset()


def test_a_misspelt_field_is_warned_about(set_connection: SetConnection, caplog: pytest.LogCaptureFixture) -> None:
    set_connection(extra={"instanceid": "i-2"})

    with caplog.at_level(logging.WARNING):
        _ = OutboundBotHook().settings

    assert "unknown extra fields instanceid" in caplog.text


@pytest.mark.parametrize("mode", ["task", "trigger"])
def test_a_missing_connection_is_one_line_with_the_mend(mode: str) -> None:
    with pytest.raises(OutboundBotConfigError, match="connection 'nowhere' does not exist; create it") as caught:
        _look_up("nowhere", mode)

    assert "airflow connections add nowhere --conn-type outboundbot" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_ledger_is_the_installations(
    simulated: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "l.db"
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{path}")

    with OutboundBotHook().ledger:
        assert path.exists()


def test_trying_the_connection_out_says_what_is_there(simulated: Simulator) -> None:
    well, message = OutboundBotHook().test_connection()

    assert well, message
    assert simulated.api in message
    assert simulated.instance_id in message
    assert simulated.state()["groups"] == {}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        pytest.param("password", "wrong", "the credentials were refused", id="secret"),
        pytest.param("login", "LTAI5tUnknown", "the credentials were refused", id="key"),
        pytest.param("instance_id", "i-unknown", "NotExist.Instance", id="instance"),
        pytest.param("instance_id", "", "instance_id is missing", id="no-instance"),
        pytest.param(
            "script_id",
            "s-unknown",
            "NotExist.Script",
            id="script",
        ),
        pytest.param("host", "http://127.0.0.1:1", "cannot be reached: connection refused", id="host"),
    ],
)
def test_trying_the_connection_out_says_what_is_wrong(
    simulated: Simulator, monkeypatch: pytest.MonkeyPatch, field: str, value: str, said: str
) -> None:
    connection = json.loads(simulated.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    (connection["extra"] if field.endswith("_id") else connection)[field] = value
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))

    well, message = OutboundBotHook().test_connection()

    assert not well
    assert said in message
    assert "\n" not in message


def test_trying_out_a_missing_connection_says_so() -> None:
    well, message = OutboundBotHook("nowhere").test_connection()

    assert not well
    assert "does not exist" in message


def test_the_hook_gives_back_what_it_opened_and_opens_it_again(
    simulated: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    def is_open() -> bool:
        return any(file.path.startswith(f"{tmp_path}/ledger.db") for file in psutil.Process().open_files())

    with OutboundBotHook() as hook:
        hook.close()  # nothing was opened
        first = hook.ledger
        assert (hook.ledger, is_open()) == (first, True)
    assert not is_open()
    with hook:
        assert (hook.ledger is first, hook.ledger.ledger_id) == (False, first.ledger_id)
    assert not is_open()


def test_threads_share_one_ledger(simulated: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    with OutboundBotHook() as hook, ThreadPoolExecutor(8) as threads:
        ledgers = {id(ledger) for ledger in threads.map(lambda _: hook.ledger, range(64))}

    assert len(ledgers) == 1


def test_a_kill_in_the_middle_of_opening_the_ledger_waits_for_nothing(
    simulated: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's ``on_kill`` runs between two instructions of the task's own thread."""
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    # The configuration is read while the ledger is opened, and runs a command.
    key = Fernet.generate_key().decode()
    once = f"mkdir {tmp_path}/killed 2>/dev/null && kill -USR1 {os.getpid()}; sleep 0.1; echo {key}"
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY_CMD", f"sh -c '{once}'")
    seen: list[str] = []

    def kill(*_: Any) -> None:
        hook.close()
        seen.append("closed")

    def give_up(*_: Any) -> None:
        raise TimeoutError("it waits for itself")

    before = signal.signal(signal.SIGUSR1, kill), signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    try:
        with OutboundBotHook() as hook:
            assert hook.ledger.ledger_id
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGALRM, before[1])

    assert seen == ["closed"]
