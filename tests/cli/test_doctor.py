"""``outbound doctor`` says what is there, what is wrong and how to mend it, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import attrs
import pytest
from support.campaigns import MakeSimulator
from support.ledgers import REPORT, go_back_to_0005

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.cli.place import look_around
from airflow_provider_outbound.core.ledger import Incoming, JobGroupRecord, Ledger, open_ledger
from airflow_provider_outbound.simulator.testing import Simulator

OUTBOUNDBOT, ROCKETMQ = "AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", "AIRFLOW_CONN_ROCKETMQ_DEFAULT"
KEY = os.environ["AIRFLOW__CORE__FERNET_KEY"]

Findings = list[tuple[str, str, str]]
Doctor = Callable[..., tuple[int, Findings]]


def texts_of(findings: Findings, name: str, state: str) -> str:
    """What was found of something, as far as it is meant so."""
    return "; ".join(text for found, how, text in findings if (found, how) == (name, state))


@pytest.fixture
def ledger_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a ledger that is configured and not made yet."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", url)
    return url


@pytest.fixture
def cloud(simulator: Simulator, ledger_url: str, airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A simulator, both its connections, and Airflow's database."""
    for name in (OUTBOUNDBOT, ROCKETMQ):
        monkeypatch.setenv(name, simulator.connections[name])
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    return simulator


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs it; returns exit code and findings: name, state, text."""

    def run(*arguments: str) -> tuple[int, Findings]:
        code = main(["doctor", "--json", *arguments])
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return code, [(finding["name"], finding["state"], finding["text"]) for finding in found]

    return run


@pytest.fixture
def triggerer(airflow_home: Path) -> Iterator[None]:
    """A triggerer that runs, by what Airflow's database holds, however slow the machine is."""
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session

    with create_session() as session:
        job: Any = cast("Any", Job)(job_type="TriggererJob", state="running")
        job.latest_heartbeat = datetime.now(UTC) + timedelta(minutes=10)
        session.add(job)
    yield
    with create_session() as session:
        session.delete(session.merge(job))


@pytest.fixture
def change(cloud: Simulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes fields of a connection."""

    def set_fields(name: str, extra: Mapping[str, Any] | None = None, **fields: Any) -> None:
        connection = json.loads(cloud.connections[name])
        monkeypatch.setenv(
            name, json.dumps({**connection, **fields, "extra": {**connection["extra"], **(extra or {})}})
        )

    return set_fields


def test_everything_is_there(
    cloud: Simulator, ledger_url: str, triggerer: None, change: Callable[..., None], doctor: Doctor
) -> None:
    change(OUTBOUNDBOT, {"calling_hours": {"windows": [["00:00", "23:59"]]}})
    with open_ledger(ledger_url, [KEY]) as ledger:
        ledger.groups.record(JobGroupRecord(job_group_id="group-1"))

    code, found = doctor()

    assert code == 0, found
    assert {state for _, state, _ in found} == {"good"}
    assert [name for name, _, _ in found] == [
        "airflow",
        "versions",
        "configuration",
        "ledger",
        *["outboundbot_default"] * 4,
        "rocketmq_default",
        "triggerer",
    ]
    texts = " ".join(text for _, _, text in found)
    for expected in (
        "apache-airflow ",
        "executor LocalExecutor",
        "ledger key ",
        "collector embedded",
        "1 job groups",
        "'simulator-instance'",
        "00:00-23:59",
    ):
        assert expected in texts


def test_a_ledger_that_knows_of_no_campaign_is_perhaps_another_one(
    cloud: Simulator, ledger_url: str, triggerer: None, doctor: Doctor
) -> None:
    open_ledger(ledger_url, [KEY]).close()

    code, found = doctor()

    assert code == 0
    assert "it has never had a job group" in texts_of(found, "ledger", "warning")


def test_a_program_finds_nothing_but_json(cloud: Simulator, ledger_url: str, triggerer: None) -> None:
    command = [sys.executable, "-m", "airflow", "outbound", "doctor", "--json"]
    with open_ledger(ledger_url, [KEY]) as ledger, ledger.write() as connection:
        go_back_to_0005(connection)

    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == 0, ended.stderr
    assert {finding["state"] for finding in json.loads(ended.stdout)} == {"good", "warning"}


def test_it_changes_nothing(cloud: Simulator, tmp_path: Path, doctor: Doctor) -> None:
    _, found = doctor()

    assert "does not exist yet" in texts_of(found, "ledger", "warning")
    assert not list(tmp_path.iterdir())
    assert set(cloud.state()["requests"]) == {"ListJobGroups", "DescribeScript", "DescribeInstance"}


def test_a_script_that_was_never_published_is_wrong(cloud: Simulator, doctor: Doctor) -> None:
    cloud.faults(script_unpublished=True)

    code, found = doctor()

    assert code == 1
    assert "is not published" in texts_of(found, "outboundbot_default", "wrong")
    assert "has 50 lines" in texts_of(found, "outboundbot_default", "good")


def test_one_line_is_one_line(
    simulator_factory: MakeSimulator, cloud: Simulator, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OUTBOUNDBOT, simulator_factory(concurrency=1).connections[OUTBOUNDBOT])

    _, found = doctor()

    assert [text for _, _, text in found if text.endswith(" has 1 line")], found


@pytest.mark.parametrize(
    ("connection", "fields", "name", "expected"),
    [
        pytest.param(OUTBOUNDBOT, {"password": "another"}, "outboundbot_default", "credentials were refused", id="key"),
        pytest.param(OUTBOUNDBOT, {"host": "http://127.0.0.1:1"}, "outboundbot_default", "be reached", id="endpoint"),
        pytest.param(OUTBOUNDBOT, {"extra": {"instance_id": "i"}}, "outboundbot_default", "instance_id", id="instance"),
        pytest.param(ROCKETMQ, {"port": 1}, "rocketmq_default", "127.0.0.1:1: Connection refused", id="broker"),
        pytest.param(ROCKETMQ, {"extra": {"topic": ""}}, "rocketmq_default", "topic is missing", id="topic"),
    ],
)
def test_what_is_wrong_with_a_connection(
    connection: str,
    fields: dict[str, Any],
    name: str,
    expected: str,
    triggerer: None,
    change: Callable[..., None],
    doctor: Doctor,
) -> None:
    change(connection, **fields)

    code, found = doctor()

    assert code == 1
    assert [finding[0] for finding in found if finding[1] == "wrong"] == [name]
    assert expected in texts_of(found, name, "wrong")


def test_a_connection_that_is_not_there(
    cloud: Simulator, triggerer: None, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    monkeypatch.delenv(ROCKETMQ)

    code, found = doctor()
    assert code == 1
    assert "does not exist" in texts_of(found, "rocketmq_default", "wrong")

    code, found = doctor("--no-rocketmq")
    assert code == 0, found
    assert "from the API only" in texts_of(found, "messages", "good")


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        pytest.param("AIRFLOW__OUTBOUND__LEDGER_KEY", "short", "configuration", "not a Fernet key", id="key"),
        pytest.param("AIRFLOW__OUTBOUND__COLLECTOR", "none", "configuration", "collector: 'none'", id="collector"),
        pytest.param(
            "AIRFLOW__OUTBOUND__LEDGER_URL",
            "postgresql://outbound:hidden@127.0.0.1:1/ledger",
            "ledger",
            "outbound:***@127.0.0.1:1",
            id="ledger-away",
        ),
    ],
)
def test_what_is_wrong_with_the_configuration(
    variable: str,
    value: str,
    name: str,
    expected: str,
    cloud: Simulator,
    triggerer: None,
    monkeypatch: pytest.MonkeyPatch,
    doctor: Doctor,
) -> None:
    monkeypatch.setenv(variable, value)

    code, found = doctor()

    assert code == 1
    assert expected in texts_of(found, name, "wrong")
    assert "hidden" not in json.dumps(found)
    assert texts_of(found, "outboundbot_default", "good")


def test_a_default_ledger_that_workers_elsewhere_would_not_share(
    cloud: Simulator, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    monkeypatch.delenv("AIRFLOW__OUTBOUND__LEDGER_URL")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")

    code, found = doctor()

    assert code == 1
    assert "could call people twice" in texts_of(found, "configuration", "wrong")


def test_machines_with_other_keys_are_told_apart_and_no_key_is_shown(
    cloud: Simulator, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    other = "b3RoZXIta2V5LW9mLTMyLWJ5dGVzLWZvci10ZXN0cyE="
    told = []
    for keys in (KEY, other, f"{other},{KEY}", KEY):
        monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", keys)
        _, found = doctor("--no-rocketmq")
        assert not {part for key in (KEY, other) for part in (key, key[:8]) if part in json.dumps(found)}
        told.append(texts_of(found, "configuration", "good"))

    assert all("executor LocalExecutor; ledger key " in text for text in told)
    assert told[0] == told[3]
    assert len(set(told)) == 3


@pytest.mark.postgresql
@pytest.mark.parametrize("executor", ["CeleryExecutor", "LocalExecutor"])
def test_a_ledger_that_is_named_as_this_machines_own_where_tasks_run_on_others(
    executor: str,
    cloud: Simulator,
    make_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    doctor: Doctor,
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", make_database())
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)

    _, found = doctor("--no-rocketmq")

    warned = "ledger_url names the database of this one" in texts_of(found, "ledger", "warning")
    assert warned is (executor == "CeleryExecutor")


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        (None, True),
        ("", True),
        ("localhost", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("/var/run/postgresql", True),
        (("db-1", "localhost"), True),
        ("db", False),
        ("10.0.0.1", False),
        (("db-1", "db-2"), False),
    ],
)
def test_hosts_that_mean_another_machine_on_each(host: str | tuple[str, ...] | None, is_own: bool) -> None:
    from airflow_provider_outbound.core.tls import is_own_machine

    assert is_own_machine(host) is is_own


def test_no_triggerer_runs(cloud: Simulator, doctor: Doctor) -> None:
    code, found = doctor()

    assert code == 1
    assert "airflow triggerer" in texts_of(found, "triggerer", "wrong")


def test_what_a_connection_keeps_tasks_from(change: Callable[..., None], triggerer: None, doctor: Doctor) -> None:
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    hours = {"windows": [["09:00", "20:00"]], "holidays": [str(today + timedelta(days=days)) for days in (0, 1)]}
    change(OUTBOUNDBOT, {"dry_run": True, "allowed_phone_numbers": ["13800000001"], "calling_hours": hours})

    code, found = doctor()

    assert code == 0
    warned = texts_of(found, "outboundbot_default", "warning")
    assert "dry_run" in warned
    assert "only 1 number may be called" in warned
    assert "09:00" in texts_of(found, "outboundbot_default", "good")
    assert "the current time is outside" in texts_of(found, "outboundbot_default", "good")
    assert "0000001" not in json.dumps(found)


def test_what_somebody_should_look_at_in_the_ledger(
    cloud: Simulator, ledger_url: str, triggerer: None, doctor: Doctor
) -> None:
    with open_ledger(ledger_url, [KEY]) as ledger:
        ledger.inbox.record([Incoming(body=b"{13900001234", message_id="m", topic="calls")])

    code, found = doctor()

    assert code == 0
    assert "1 message could not be read" in texts_of(found, "ledger", "warning")
    assert "1234" not in json.dumps(found)


@pytest.mark.postgresql
def test_a_ledger_whose_data_cross_a_network_in_clear(
    cloud: Simulator,
    make_database: Callable[[], str],
    triggerer: None,
    monkeypatch: pytest.MonkeyPatch,
    doctor: Doctor,
) -> None:
    url = make_database()
    for host, expected in (("127.0.0.1", ""), ("2130706433", "without encryption")):
        monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", url.replace("127.0.0.1", host))

        code, found = doctor()

        assert code == 0
        warned = texts_of(found, "ledger", "warning")
        assert expected in warned
        assert ("sslmode=verify-full" in warned) is bool(expected)


def test_a_database_whose_clock_is_off(
    cloud: Simulator, ledger_url: str, triggerer: None, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    """The ledger's clock is replaced: a file has none of its own, and a server's cannot be set from here."""
    open_ledger(ledger_url, [KEY]).close()
    monkeypatch.setattr(Ledger, "now", lambda _: datetime.now(UTC) + timedelta(minutes=2))

    code, found = doctor()

    assert code == 0
    assert "differ by 120 s" in texts_of(found, "clock", "warning")


def test_each_finding_is_a_line(
    cloud: Simulator, triggerer: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv(OUTBOUNDBOT)

    assert main(["doctor"]) == 1
    captured = capsys.readouterr()

    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines] == ["good", "good", "good", "warning", "wrong", "good", "good"]
    assert captured.err == "outbound: wrong: outboundbot_default\n"


def test_a_topic_that_several_bots_share_and_a_bot_that_is_not_named_are_told_of(
    cloud: Simulator, ledger_url: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [
        json.dumps({"eventType": "Dialing", "groupId": bot, "id": bot, "instanceId": bot}).encode()
        for bot in ("bot-1", "bot-2")
    ]
    with open_ledger(ledger_url, [KEY]) as ledger:
        ledger.inbox.record([Incoming(body=body, message_id="m", topic="shared") for body in bodies])
    connection = json.loads(cloud.connections[ROCKETMQ])
    connection["extra"]["instance_id"] = ["bot-1"]
    monkeypatch.setenv(ROCKETMQ, json.dumps(connection))

    _, findings = doctor()

    assert "topic shared carries events of 2 bot instances (bot-1, bot-2)" in texts_of(findings, "ledger", "warning")
    told = texts_of(findings, "rocketmq_default", "warning")
    assert f"instance_id does not name bot instance {cloud.instance_id} of outboundbot_default" in told


@pytest.mark.parametrize(
    ("collector", "report", "code", "expected"),
    [
        pytest.param("embedded", {}, 0, {"good": "; last message: never"}, id="well"),
        pytest.param(
            "embedded",
            {"trouble": "the broker has no such group", "trouble_ago": 0.0, "contact_ago": None},
            1,
            {"wrong": "no messages come: the broker has no such group", "warning": "on alpha (process 7)"},
            id="trouble",
        ),
        pytest.param(
            "external", None, 1, {"wrong": "no collector has reported to this ledger; start one: outbound"}, id="none"
        ),
    ],
)
def test_how_the_collectors_are(
    collector: str,
    report: dict[str, Any] | None,
    code: int,
    expected: dict[str, str],
    cloud: Simulator,
    ledger_url: str,
    triggerer: None,
    monkeypatch: pytest.MonkeyPatch,
    doctor: Doctor,
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__COLLECTOR", collector)
    with open_ledger(ledger_url, [KEY]) as ledger:
        if report is not None:
            ledger.collectors.report(attrs.evolve(REPORT, **report))

    ended, found = doctor()

    assert ended == code, found
    assert {state for name, state, _ in found if name == "collector"} == set(expected)
    for state, words in expected.items():
        assert words in texts_of(found, "collector", state)
    assert not [name for name, _, _ in doctor("--no-rocketmq")[1] if name == "collector"]


def test_the_first_line_names_home_database_and_ledger_without_passwords(
    cloud: Simulator, ledger_url: str, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    conf = "postgresql+psycopg2://airflow:hidden@127.0.0.1:1/airflow?password=hidden"
    _, found = doctor()
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", conf)
    place = look_around()

    home = os.environ["AIRFLOW_HOME"]
    assert found[0] == ("airflow", "good", f"home {home}; database sqlite:///{home}/airflow.db; ledger {ledger_url}")
    assert "database postgresql+psycopg2://airflow:***@127.0.0.1:1/airflow;" in place.text
    assert "hidden" not in place.text


def run_without_home(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it in a shell without AIRFLOW_HOME."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    command = [sys.executable, "-W", "ignore", "-c", "from airflow_provider_outbound.cli import main; exit(main())"]
    return subprocess.run(
        [*command, "doctor"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**environment, "HOME": str(home), **variables},
    )


def test_without_airflow_home_nothing_is_said_of_an_airflow_that_is_not_there(tmp_path: Path) -> None:
    ended = run_without_home(tmp_path)

    assert ended.returncode == 1
    first, *others = ended.stdout.splitlines()
    assert first.startswith(
        f"wrong   airflow: no Airflow has run with home {tmp_path}/airflow (the default: AIRFLOW_HO"
    )
    assert "set AIRFLOW_HOME" in first
    assert [line.split()[1] for line in others] == ["versions:"]
    assert ended.stderr == "outbound: wrong: airflow\n"
    assert not (tmp_path / "airflow" / "airflow.db").exists()


@pytest.mark.parametrize("by", ["file", "variables"])
def test_settings_alone_are_no_airflow(tmp_path: Path, by: str) -> None:
    """Each command of Airflow's creates an airflow.cfg with a key of its own, also in a wrong home."""
    variables = {"AIRFLOW_HOME": str(tmp_path / "wrong")}
    if by == "variables":
        variables |= {"AIRFLOW__CORE__FERNET_KEY": KEY}
    else:
        (tmp_path / "wrong").mkdir()
        (tmp_path / "wrong" / "airflow.cfg").write_text(f"[core]\nfernet_key = {KEY}\n")

    ended = run_without_home(tmp_path, **variables)

    assert ended.returncode == 1
    first, *others = ended.stdout.splitlines()
    assert first.startswith(
        f"wrong   airflow: no Airflow has run with home {tmp_path}/wrong: Airflow has no tables in "
    )
    assert f"there is no ledger {tmp_path}/wrong/outbound_ledger.db; set AIRFLOW_HOME" in first
    assert [line.split()[1] for line in others] == ["versions:"]


def test_without_airflow_home_what_is_wrong_may_be_of_another_airflow(tmp_path: Path) -> None:
    ledger = "postgresql://outbound@127.0.0.1:1/outbound"
    ended = run_without_home(tmp_path, AIRFLOW__CORE__FERNET_KEY=KEY, AIRFLOW__OUTBOUND__LEDGER_URL=ledger)

    first = ended.stdout.splitlines()[0]
    assert first.startswith(
        f"warning airflow: home {tmp_path}/airflow (the default: AIRFLOW_HOME is not set); database "
    )
    assert "ledger postgresql://outbound@127.0.0.1:1/outbound" in first
    assert f"if your Airflow's home is not {tmp_path}/airflow, set it and run this again" in ended.stderr
