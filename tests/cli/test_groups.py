"""``outbound groups``, and the kill switch: nobody is called any more once it has returned with 0."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import MakeSimulator
from support.ledgers import go_back_to_0005

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.complete import Completion
from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.cloud import Cloud
from airflow_provider_outbound.simulator.testing import Simulator


def end(cloud: Simulator, job_group_id: str) -> None:
    """Let a group end, and let the ledger know it, as a sensor does."""

    def end_all(found: Cloud) -> None:
        for job in found.group(job_group_id).jobs:
            found.dialler.end(job, "Failed")

    cloud.run(end_all)
    hook = OutboundBotHook()
    with hook.ledger as ledger:
        waiting = Completion(ledger, hook.client, job_group_id, messages=False, reconcile_interval=0.01)
        assert waiting.check() is not None


def statuses(cloud: Simulator, job_group_id: str) -> set[str]:
    return {job["status"] for job in cloud.state()["groups"][job_group_id]["jobs"]}


def test_a_program_finds_nothing_but_json(cloud: Simulator, campaign: Callable[..., str]) -> None:
    group = campaign("spring")
    hook = OutboundBotHook()
    with hook.ledger as ledger, ledger.write() as connection:
        go_back_to_0005(connection)

    ended = subprocess.run(
        [sys.executable, "-m", "airflow", "outbound", "groups", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert [row["job_group_id"] for row in json.loads(ended.stdout)] == [group]


def test_groups_are_listed_with_what_ledger_and_api_count(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    ended, under_way = campaign("spring", 2), campaign("summer")
    end(cloud, ended)

    assert main(["groups", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(["groups"]) == 0
    table = capsys.readouterr().out

    assert [row["job_group_id"] for row in rows] == [under_way, ended]
    newest, oldest = rows
    assert (newest["dag_id"], newest["run_id"]) == ("summer", "run-of-summer")
    assert newest["status"] in ("Scheduling", "Executing")
    assert (newest["ledger"]["total"], newest["ledger"]["completed"], newest["api"]["total"]) == (3, 0, 3)
    assert (oldest["status"], oldest["ledger"]["completed"], oldest["api"]) == ("Completed", 2, None)
    assert {row["error"] for row in rows} == {None}
    for group_id, name in ((ended, "spring"), (under_way, "summer")):
        (line,) = [line for line in table.splitlines() if group_id in line]
        assert {name, f"run-of-{name}"} <= set(line.split())


def test_what_keeps_messages_from_coming_is_said_while_a_group_is_under_way(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = campaign("spring", 2)
    assert main(["groups"]) == 0
    assert "no messages come" not in capsys.readouterr().err

    monkeypatch.setenv("AIRFLOW__OUTBOUND__COLLECTOR", "external")
    assert main(["groups", "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 1
    assert captured.err.startswith("outbound: no messages come: no collector has reported to this ledger; start one: ")

    end(cloud, group)
    assert main(["groups"]) == 0
    assert "no messages come" not in capsys.readouterr().err


def test_without_a_connection_the_ledgers_groups_are_listed_and_what_was_not_asked_is_said_once(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended, *others = campaign("spring", 2), campaign("summer"), campaign("autumn")
    end(cloud, ended)
    monkeypatch.delenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT")

    assert main(["groups", "--json", "--outboundbot-conn-id", "nowhere"]) == 1
    output = capsys.readouterr()

    rows = {row["job_group_id"]: row for row in json.loads(output.out)}
    assert set(rows) == {ended, *others}
    assert [rows[group]["ledger"]["total"] for group in others] == [3, 3]
    assert (rows[ended]["status"], rows[ended]["error"]) == ("Completed", None)
    (line,) = output.err.splitlines()
    assert "the API was not asked about 2 job groups: connection 'nowhere' does not exist" in line


def test_a_ledger_without_groups_lists_none(cloud: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    with OutboundBotHook() as hook:
        assert hook.ledger.groups.list_all() == []
    assert main(["groups", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    "command",
    [
        ["groups"],
        ["suspend", "--all", "--yes"],
        ["cancel", "--all", "--yes"],
        ["resume", "--all", "--yes"],
        ["resume", "group-1"],
        ["person", "--cancel"],
    ],
)
def test_no_command_creates_a_ledger(
    cloud: Simulator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: list[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("13800000001\n"))

    assert main(command) == 1

    assert f"ledger {tmp_path}/ledger.db: there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "ledger.db").exists()


def test_a_ledger_that_never_had_a_group_is_hardly_the_one_to_stop_calls_of(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Such as the one of another AIRFLOW_HOME, where somebody has opened the page or tried something."""
    with OutboundBotHook() as hook:
        assert hook.ledger.groups.list_all() == []
    assert main(["cancel", "--all"]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert f"ledger sqlite:///{tmp_path}/ledger.db has never had a job group, so nothing was done" in error

    end(cloud, campaign("spring"))
    assert main(["cancel", "--all"]) == 0
    assert capsys.readouterr().out == f"no job group of ledger sqlite:///{tmp_path}/ledger.db is under way\n"


@pytest.mark.parametrize(
    ("action", "after"),
    [pytest.param("suspend", "Paused", id="suspend"), pytest.param("cancel", "Cancelled", id="cancel")],
)
def test_all_reaches_every_group_under_way_and_no_other(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], action: str, after: str
) -> None:
    ended, *others = campaign("ended"), campaign("one"), campaign("two")
    end(cloud, ended)
    before = cloud.state()["requests"]

    assert main([action, "--all", "--yes"]) == 0

    for group_id in others:
        assert after in statuses(cloud, group_id) <= {after, "Executing"}
    assert statuses(cloud, ended) == {"Failed"}
    lines = capsys.readouterr().out.splitlines()
    assert {line.partition(":")[0] for line in lines} == set(others)
    acted = f"{action.title()}Jobs"
    assert cloud.state()["requests"][acted] - before.get(acted, 0) == len(others)


def test_all_names_the_groups_that_tasks_only_wait_for(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Others created them, or the ledger was restored from a backup that is older than they are."""
    own, theirs, ended, told = (campaign(name) for name in ("own", "theirs", "ended", "told of"))
    end(cloud, ended)
    with OutboundBotHook() as hook:
        with hook.ledger.engine.begin() as connection:
            for table, values in ((schema.jobs, {"assignment_id": None}), (schema.job_groups, {"run_key": None})):
                connection.execute(table.update().where(table.c.job_group_id != own).values(values))
            connection.execute(schema.assignments.delete().where(schema.assignments.c.job_group_id != own))
        for group_id in (theirs, ended):
            assert hook.ledger.groups.claim_reconcile(group_id, 300) or group_id == ended

    assert main(["suspend", "--all", "--yes"]) == 0

    output = capsys.readouterr()
    assert theirs not in output.out
    assert "1 job group not included" in output.err
    assert output.err.rstrip().endswith(f"outbound suspend {theirs}")
    assert main(["suspend", theirs]) == 0
    assert told not in output.out + output.err


def test_one_group_that_fails_does_not_stop_the_others(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    groups = [campaign("one"), campaign("two", conn_id="broken"), campaign("three")]
    monkeypatch.delenv("AIRFLOW_CONN_BROKEN")

    assert main(["cancel", "--all", "--yes"]) == 1

    output = capsys.readouterr()
    assert "Cancelled" in statuses(cloud, groups[0]) & statuses(cloud, groups[2])
    (line,) = output.err.splitlines()
    assert groups[1] in line
    assert "'broken' does not exist" in line
    assert groups[1] not in output.out
    assert main(["groups"]) == 1
    assert "'broken' does not exist" in capsys.readouterr().err


@pytest.fixture
def two_gone(cloud: Simulator, campaign: Callable[..., str]) -> tuple[list[str], str]:
    """Two job groups that were deleted at the service, and one that is under way."""
    gone, there = [campaign("gone"), campaign("too")], campaign("there")
    cloud.run(lambda found: [found.groups.pop(group_id) for group_id in gone])
    return gone, there


@pytest.mark.parametrize("action", ["suspend", "cancel"])
def test_groups_that_no_longer_exist_are_one_line_and_no_failure_of_all(
    cloud: Simulator, two_gone: tuple[list[str], str], capsys: pytest.CaptureFixture[str], action: str
) -> None:
    gone, there = two_gone

    for _ in range(2):
        assert main([action, "--all", "--yes"]) == 0
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith("outbound: 2 job groups no longer exist at the service: ")
        assert all(group_id in line for group_id in gone)
        assert "belong to another account" in line
        assert [line.partition(":")[0] for line in output.out.splitlines()] == [there]
    assert {"Paused", "Cancelled"} & statuses(cloud, there)


def test_groups_that_no_longer_exist_are_listed_as_such(
    two_gone: tuple[list[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    gone, there = two_gone

    assert main(["groups", "--json"]) == 0

    output = capsys.readouterr()
    rows = {row["job_group_id"]: row for row in json.loads(output.out)}
    assert [(rows[group_id]["status"], rows[group_id]["error"]) for group_id in gone] == [("NotExist", None)] * 2
    assert rows[there]["api"] is not None
    (line,) = output.err.splitlines()
    assert line.startswith("outbound: 2 job groups no longer exist at the service: ")


@pytest.mark.parametrize("action", ["suspend", "cancel", "resume"])
def test_a_named_group_that_does_not_exist_is_an_error(
    two_gone: tuple[list[str], str], capsys: pytest.CaptureFixture[str], action: str
) -> None:
    (gone, _), _ = two_gone

    assert main([action, gone]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"outbound: {gone}: ")
    assert "NotExist.JobGroup" in line
    assert "it was deleted, or the connection belongs to another account" in line


def test_resuming_all_asks_nothing_of_a_cancelled_group_that_does_not_exist(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    group = campaign("one")
    assert main(["cancel", group]) == 0
    cloud.run(lambda found: found.groups.pop(group))
    capsys.readouterr()

    assert main(["resume", "--all", "--yes"]) == 0

    assert capsys.readouterr().err.startswith(f"outbound: 1 job group no longer exists at the service: {group}")


def test_resuming_all_reports_each_group_that_does_not_exist(
    two_gone: tuple[list[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    gone, _ = two_gone

    assert main(["resume", "--all", "--yes"]) == 1

    lines = capsys.readouterr().err.splitlines()
    assert {line.split(": ")[1] for line in lines} == set(gone)


def test_through_a_connection_that_was_named_no_group_counts_as_gone(
    cloud: Simulator,
    simulator_factory: MakeSimulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group_id = campaign("one")
    other = simulator_factory(concurrency=1, clock_speed=0, seed=1)
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", other.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])

    assert main(["suspend", "--all", "--yes", "--outboundbot-conn-id", "other"]) == 1
    assert main(["groups", "--outboundbot-conn-id", "other"]) == 1

    assert "no longer exist" not in capsys.readouterr().err
    assert "Paused" not in statuses(cloud, group_id)


def test_named_groups_alone_are_suspended_and_resumed(cloud: Simulator, campaign: Callable[..., str]) -> None:
    one, other = campaign("one"), campaign("other")

    assert main(["suspend", one]) == 0
    suspended = statuses(cloud, one), statuses(cloud, other)
    assert main(["resume", one]) == 0

    assert "Paused" in suspended[0]
    assert "Paused" not in suspended[1] | statuses(cloud, one)


def test_a_cancelled_group_is_an_error_if_it_is_named_and_is_left_out_of_all(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    cancelled, suspended = campaign("one"), campaign("other")
    assert main(["cancel", cancelled]) == 0
    assert main(["suspend", suspended]) == 0
    capsys.readouterr()

    assert main(["resume", cancelled]) == 1
    named = capsys.readouterr()
    assert main(["resume", "--all", "--yes"]) == 0
    everything = capsys.readouterr()

    assert named.err.startswith(f"outbound: {cancelled}: job group {cancelled} was cancelled, and cancelled jobs")
    assert everything.err == f"outbound: 1 job group was cancelled, and cannot be resumed: {cancelled}\n"
    assert everything.out.startswith(f"{suspended}: resume: ")
    assert "Paused" not in statuses(cloud, suspended)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_all_is_asked_for_first(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    group_id = campaign("one")
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))

    assert main(["cancel", "--all"]) == 1

    assert "Cancel all jobs of 1 job group? [y/N]" in capsys.readouterr().out
    assert "Cancelled" not in statuses(cloud, group_id)

    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert main(["cancel", "--all"]) == 0
    assert "Cancelled" in statuses(cloud, group_id)


def test_nobody_is_called_outside_the_calling_hours_by_resuming(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id = campaign("one")
    assert main(["suspend", group_id]) == 0
    connection = json.loads(cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"]["calling_hours"] = {"timezone": "Asia/Shanghai", "windows": [], "holidays": []}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(_never(connection)))

    assert main(["resume", "--all", "--yes"]) == 1

    assert "calling_hours" in capsys.readouterr().err
    assert "Paused" in statuses(cloud, group_id)


@pytest.mark.parametrize(("window", "code"), [(["00:00", "24:00"], 0), (["00:00", "23:59"], 1)])
def test_a_group_without_a_window_is_not_resumed_into_the_night(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    window: list[str],
    code: int,
) -> None:
    group_id = campaign("one")
    assert main(["suspend", group_id]) == 0
    connection = json.loads(cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"]["calling_hours"] = {"timezone": "Pacific/Auckland", "windows": [window]}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))

    assert main(["resume", group_id]) == code

    assert ("calling_hours" in capsys.readouterr().err) == bool(code)
    assert ("Paused" in statuses(cloud, group_id)) == bool(code)


def _never(connection: dict[str, Any]) -> dict[str, Any]:
    """With calling hours that are not now, whenever the test runs."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    today = datetime.now(ZoneInfo("Asia/Shanghai"))
    window = ["01:00", "02:00"] if today.hour >= 12 else ["22:00", "23:00"]
    connection["extra"]["calling_hours"] = {"timezone": "Asia/Shanghai", "windows": [window]}
    return connection


@pytest.mark.parametrize(("command", "code"), [("suspend", 0), ("cancel", 0), ("resume", 1)])
@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param({"calling_hours": "9 to 5"}, id="hours"),
        pytest.param({"allowed_phone_numbers": "nobody"}, id="numbers"),
        pytest.param({"dry_run": "perhaps"}, id="dry-run"),
        pytest.param({"max_requests_per_second": 0}, id="limit"),
    ],
)
def test_a_mistake_in_a_rule_keeps_nobody_from_stopping_calls(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mistake: dict[str, Any],
    command: str,
    code: int,
) -> None:
    group_id = campaign("one")
    connection = json.loads(cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"] |= mistake
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))

    assert main([command, group_id]) == code

    (name,) = mistake
    assert (name in capsys.readouterr().err) == bool(code)
    sent = {"suspend": "SuspendJobs", "cancel": "CancelJobs", "resume": "ResumeJobs"}[command]
    assert cloud.state()["requests"].get(sent, 0) == 1 - code


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["cancel"], id="no-group"),
        pytest.param(["cancel", "--all", "group"], id="all-and-some"),
        pytest.param(["groups", "--limit", "0"], id="no-limit"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2


def test_a_dry_run_connection_cannot_be_a_kill_switch(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id = campaign("one")
    connection = json.loads(cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"]["dry_run"] = True
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))

    assert main(["cancel", group_id]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert "dry_run" in line


@pytest.fixture
def two_accounts(
    cloud: Simulator,
    simulator_factory: MakeSimulator,
    campaign: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[Simulator, str]]:
    """Two accounts, and a campaign in each. The connection of the second one allows calls in no hour of today."""
    other = simulator_factory(concurrency=1, clock_speed=0, seed=1)
    connection = json.loads(other.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    found = [(cloud, campaign("mine")), (other, campaign("theirs", conn_id="other", cloud=other))]
    days = [f"{datetime.now(UTC) + timedelta(days=day):%Y-%m-%d}" for day in (-1, 0, 1)]
    connection["extra"]["calling_hours"] = {"timezone": "UTC", "windows": [["08:00", "20:00"]], "holidays": days}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    return found


def test_groups_of_several_accounts_are_controlled_through_their_own_connections(
    two_accounts: list[tuple[Simulator, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suspend", "--all", "--yes"]) == 0
    suspended = [statuses(*account) for account in two_accounts]
    assert main(["groups", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["cancel", "--all", "--yes"]) == 0

    assert all("Paused" in found for found in suspended)
    assert sorted(row["job_group_id"] for row in rows if row["api"]) == sorted(group for _, group in two_accounts)
    assert all("Cancelled" in statuses(*account) for account in two_accounts)


def test_jobs_are_resumed_only_in_the_calling_hours_of_their_own_connection(
    two_accounts: list[tuple[Simulator, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (_, mine), (_, theirs) = two_accounts
    assert main(["suspend", "--all", "--yes"]) == 0
    capsys.readouterr()

    assert main(["resume", "--all", "--yes"]) == 1

    captured = capsys.readouterr()
    assert [line.partition(":")[0] for line in captured.out.splitlines()][:1] == [mine]
    assert theirs in captured.err
    assert "calling_hours" in captured.err
    assert [("Paused" in statuses(*account)) for account in two_accounts] == [False, True]


def test_an_account_whose_connection_is_gone_keeps_no_other_from_being_stopped(
    two_accounts: list[tuple[Simulator, str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_OTHER")
    (_, mine), (_, theirs) = two_accounts

    assert main(["cancel", "--all", "--yes"]) == 1

    captured = capsys.readouterr()
    assert f"{mine}: cancel: " in captured.out
    assert f"{theirs}: connection 'other' does not exist" in captured.err
    assert [("Cancelled" in statuses(*account)) for account in two_accounts] == [True, False]


@pytest.fixture
def phones(cloud: Simulator, airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of the simulator's connection in Airflow's database, which is the only one."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    description = cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"]
    for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
        monkeypatch.delenv(name)
    with create_session() as session:
        connection = Connection.from_json(description, conn_id="phones")
        session.add(connection)
    yield "phones"
    with create_session() as session:
        session.delete(session.merge(connection))


def test_the_same_under_airflow_with_a_connection_of_its_database(
    cloud: Simulator, campaign: Callable[..., str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id = campaign("one")
    conn_id: str = request.getfixturevalue("phones")
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT")
    command = [sys.executable, "-W", "ignore", "-m", "airflow", "outbound", "cancel", "--all", "--yes"]

    done = subprocess.run(
        [*command, "--outboundbot-conn-id", conn_id], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert group_id in done.stdout
    assert "Cancelled" in statuses(cloud, group_id)


def test_airflows_command_line_ends_as_ours_does(
    cloud: Simulator,
    campaign: Callable[..., str],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from airflow.cli.cli_parser import get_parser

    def airflow(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            parsed = get_parser().parse_args(["outbound", *arguments])
            parsed.func(parsed)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    group_id = campaign("one")
    conn = ("--outboundbot-conn-id", request.getfixturevalue("phones"))
    wrong = airflow("cancel", "--all", group_id)
    failed = airflow("cancel", "nope", *conn)
    done = airflow("cancel", group_id, *conn)
    listed = airflow("groups", "--json", *conn)

    assert wrong[0] == 2
    assert failed[0] == 1
    assert "NotExist.JobGroup" in failed[2]
    assert done[0] == 0
    (row,) = json.loads(listed[1].splitlines()[-1])
    assert row["api"]["cancelled"] >= 1


def test_what_the_service_has_is_listed_whether_or_not_the_ledger_knows_it(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    known = campaign("spring", 4)
    hook = OutboundBotHook()
    with hook.ledger:
        others = hook.client.create_job_group(job_group_name="by 13800000000", script_id=cloud.script_id).job_group_id

    assert main(["groups", "--at-service", "--json"]) == 0
    rows = {row["job_group_id"]: row for row in json.loads(capsys.readouterr().out)}

    assert {group: row["in_ledger"] for group, row in rows.items()} == {known: True, others: False}
    assert (rows[known]["total"], rows[known]["scheduling"], rows[known]["executing"]) == (4, 3, 1)
    assert "13800000000" not in rows[others]["name"]
    assert main(["groups", "--at-service", "--limit", "1"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "the service has more job groups; see --limit" in shown.err
    # Whoever lost the ledger needs the ids to stop calls.
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/no/such/folder/ledger.db")
    assert main(["groups", "--at-service"]) == 0
    shown = capsys.readouterr()
    assert known in shown.out
    assert others in shown.out
    assert "which job groups the ledger knows is unknown" in shown.err


def test_a_cancelled_group_without_jobs_is_over(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """No sensor confirms its end, and a restarted simulator does not know it."""
    group = campaign("spring", 0)
    assert main(["cancel", "--all", "--yes"]) == 0
    asked = cloud.state()["requests"]["DescribeJobGroup"]
    capsys.readouterr()

    assert main(["groups", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)

    assert (row["job_group_id"], row["status"], row["error"]) == (group, "Cancelled", None)
    assert cloud.state()["requests"]["DescribeJobGroup"] == asked


@pytest.mark.parametrize("action", ["suspend", "cancel"])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_group_that_the_ledger_does_not_know_is_stopped_and_the_command_warns(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    action: str,
    *,
    is_new: bool,
) -> None:
    """A task that is assigning to it with the lost ledger does not learn of it."""
    group = campaign("spring", 4)
    (tmp_path / "ledger.db").rename(tmp_path / "lost.db")
    if is_new:
        with OutboundBotHook() as hook:
            assert hook.ledger.groups.get(group) is None

    assert main([action, group]) == 1

    shown = capsys.readouterr()
    why = "the ledger does not know this job group" if is_new else "the ledger could not record it"
    assert f"the service accepted {action}, but {why}" in shown.err
    assert shown.err.count("set AIRFLOW_HOME") == (0 if is_new else 1)
    assert (tmp_path / "ledger.db").exists() is is_new
    assert "sent but not recorded for 1" in shown.out
    assert "Scheduling" not in statuses(cloud, group)
