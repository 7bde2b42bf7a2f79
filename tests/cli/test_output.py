"""The kill switch does its work whatever becomes of its output, its terminal or one group; every command ends well."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import attrs
import pytest
from support.processes import until

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.assign import GroupSpec, create_group
from airflow_provider_outbound.core.ledger import Ledger, TaskKey
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.testing import Simulator

OUTBOUND = [sys.executable, "-W", "ignore", "-c", "from airflow_provider_outbound.cli import main; exit(main())"]
GROUPS = 6
PATIENCE = 120.0


@attrs.define
class Campaigns:
    """Groups in which no call ends, known to a ledger of the test's own."""

    cloud: Simulator
    groups: list[str]

    def cancelled(self) -> int:
        """How many groups have no job that is still to be dialled, by the simulator's own account."""
        groups = self.cloud.state()["groups"]
        return sum(
            all(job["status"] in ("Cancelled", "Executing") for job in groups[group]["jobs"]) for group in self.groups
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen([*OUTBOUND, *arguments], **{"stdout": subprocess.PIPE, **options})


@contextmanager
def campaigns_in(folder: Path, **options: Any) -> Iterator[Campaigns]:
    """Groups of a simulator with some options, and the environment in which a command finds them."""
    with Simulator(concurrency=1, clock_speed=0, **options) as cloud, pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.connections.items():
            patch.setenv(name, value)
        patch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{folder}/ledger.db")
        patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
        hook = OutboundBotHook()
        with hook.ledger as ledger:
            groups = [make_group(hook, ledger, cloud, number) for number in range(GROUPS)]
        yield Campaigns(cloud, groups)


def make_group(hook: OutboundBotHook, ledger: Ledger, cloud: Simulator, number: int) -> str:
    spec = GroupSpec(name=f"活动-{number}", script_id=cloud.script_id, description="")
    key = TaskKey(f"dag-{number}", "run", "create")
    group = create_group(
        hook.client, ledger, key, lambda: spec, instance_id=cloud.instance_id, settle_seconds=0.2
    ).job_group_id
    jobs = [
        json.dumps({"contacts": [{"phoneNumber": f"138{number:04d}{job:04d}", "referenceId": f"r-{job}"}]})
        for job in range(3)
    ]
    hook.client.assign_jobs(job_group_id=group, jobs=jobs)
    return group


@pytest.fixture
def campaigns(tmp_path: Path) -> Iterator[Campaigns]:
    with campaigns_in(tmp_path) as made:
        yield made


@pytest.fixture
def slow_campaigns(tmp_path: Path) -> Iterator[Campaigns]:
    """Those of a service that takes its time, so that a signal comes before the end."""
    with campaigns_in(tmp_path, latency=0.05) as made:
        yield made


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaigns]:
    """Groups that tests only look at."""
    with campaigns_in(tmp_path_factory.mktemp("listed")) as made:
        yield made


def run_into(monkeypatch: pytest.MonkeyPatch, *arguments: str, **streams: TextIO) -> int:
    """
    Run a command in this process; its exit code.

    :param streams: What it finds as ``stdout`` and ``stderr``.
    """
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        try:
            return main(arguments)
        except SystemExit as end:
            return int(end.code or 0)


def ended(process: subprocess.Popen[Any]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    text = [b"" if part is None else part for part in (out, err)]
    return process.returncode, text[0].decode(), text[1].decode()


def test_every_group_is_cancelled_though_the_reader_of_the_output_has_gone(
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as unread:
        code = run_into(monkeypatch, "cancel", "--all", "--yes", stdout=unread)

    assert code == 0
    assert campaigns.cancelled() == GROUPS
    (line,) = capsys.readouterr().err.splitlines()
    assert f"done for {GROUPS} of {GROUPS} job groups" in line


def test_every_group_is_cancelled_though_the_disk_of_the_output_is_full(
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        code = run_into(monkeypatch, "cancel", "--all", "--yes", stdout=full)

    assert campaigns.cancelled() == GROUPS
    err = capsys.readouterr().err
    assert f"done for {GROUPS} of {GROUPS} job groups" in err
    assert "standard output cannot be written: No space left on device" in err
    assert "Traceback" not in err
    assert code == 1


def test_every_group_is_cancelled_though_nothing_at_all_can_be_said(
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full, Path("/dev/full").open("w") as also_full:
        run_into(monkeypatch, "cancel", "--all", "--yes", stdout=full, stderr=also_full)

    assert campaigns.cancelled() == GROUPS


def test_every_group_is_cancelled_though_standard_output_is_closed(campaigns: Campaigns) -> None:
    command = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *OUTBOUND, "cancel", "--all", "--yes"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    code, _, err = ended(process)

    assert campaigns.cancelled() == GROUPS
    assert (code, "standard output cannot be written: it is closed" in err) == (1, True), err


def test_every_group_is_cancelled_though_the_terminal_goes_away(slow_campaigns: Campaigns) -> None:
    """As when an ssh session drops: SIGHUP, and every write to the terminal fails from then on."""
    campaigns = slow_campaigns
    ours, theirs = pty.openpty()
    process = campaigns.start(
        "cancel", "--all", "--yes", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    process.send_signal(signal.SIGHUP)

    process.wait(PATIENCE)
    assert campaigns.cancelled() == GROUPS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_it_is_told_what_is_not_done(slow_campaigns: Campaigns, number: signal.Signals) -> None:
    campaigns = slow_campaigns
    process = campaigns.start("cancel", "--all", "--yes", stderr=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline().decode()
    process.send_signal(number)
    code, rest, err = ended(process)

    done = [line.partition(":")[0] for line in [first, *rest.splitlines()]]
    assert 0 < len(done) < GROUPS
    assert f"done for {len(done)} of {GROUPS} job groups" in err
    (line,) = [line for line in err.splitlines() if "not done: " in line]
    assert sorted([*done, *line.partition("not done: ")[2].split()]) == sorted(campaigns.groups)
    assert code == 130
    assert "Traceback" not in err


def test_an_answer_that_cannot_be_used_keeps_no_phone_ringing(
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the service says of one group cannot be read: that one is cancelled all the same, and so are the others."""
    from airflow_provider_outbound.simulator import actions

    broken = campaigns.groups[3]
    describe = actions.ACTIONS["DescribeJobGroup"]

    def strange(cloud: Any, parameters: Any) -> Any:
        payload = describe(cloud, parameters)
        if parameters.require("JobGroupId") == broken:
            payload["JobGroup"]["Progress"]["TotalJobs"] = float("inf")
        return payload

    monkeypatch.setitem(actions.ACTIONS, "DescribeJobGroup", strange)
    code, (out, err) = main(["cancel", "--all", "--yes"]), capsys.readouterr()

    assert campaigns.cancelled() == GROUPS
    assert code == 1
    assert f"done for {GROUPS - 1} of {GROUPS} job groups, failed for 1" in out
    (line,) = [line for line in err.splitlines() if broken in line]
    assert "cancel was sent, but" in line
    code, (out, err) = main(["groups", "--json"]), capsys.readouterr()
    assert (code, len(json.loads(out)), "Traceback" in err) == (1, GROUPS, False)


def test_a_reader_that_has_read_enough_is_no_error(listed: Campaigns) -> None:
    process = listed.start("groups", "--json", stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None

    assert (process.wait(PATIENCE), process.stderr.read()) == (0, b"")
    process.stderr.close()


NO_SPACE = "outbound: standard output cannot be written: No space left on device\n"


def test_output_that_cannot_be_written_is_one_line(listed: Campaigns) -> None:
    """Of the whole process: what its output still holds would fail once more as it ends, and make its exit code 120."""
    with Path("/dev/full").open("w") as full:
        code, _, err = ended(listed.start("groups", "--json", stdout=full, stderr=subprocess.PIPE))

    assert (code, err) == (1, NO_SPACE)


@pytest.mark.parametrize("argument", ["groups", "--help"])
def test_a_table_or_help_that_cannot_be_written_is_one_line(
    listed: Campaigns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str
) -> None:
    with Path("/dev/full").open("w") as full:
        code = run_into(monkeypatch, argument, stdout=full)

    assert (code, capsys.readouterr().err) == (1, NO_SPACE)


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_letters_that_the_terminal_lacks_are_escaped(
    listed: Campaigns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    def shown(*arguments: str) -> str:
        out, err = tmp_path / "out", tmp_path / "err"
        with out.open("w", encoding=encoding) as stdout, err.open("w", encoding=encoding) as stderr:
            assert run_into(monkeypatch, *arguments, stdout=stdout, stderr=stderr) == 0
        assert err.read_bytes() == b""
        return out.read_bytes().decode(encoding)

    names = {row["name"].partition(" ")[0] for row in json.loads(shown("groups", "--json"))}
    assert names == {f"活动-{number}" for number in range(GROUPS)}
    table = shown("groups")
    assert [group for group in listed.groups if group not in table] == []


def test_the_same_under_airflow(campaigns: Campaigns) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "airflow", "outbound", "cancel", "--all", "--yes"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    until(lambda: process.poll() is not None, "the command ends", patience=PATIENCE)

    assert process.stderr is not None
    err = process.stderr.read().decode()
    process.stderr.close()
    assert campaigns.cancelled() == GROUPS
    assert process.returncode == 0, err
