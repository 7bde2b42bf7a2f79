"""The kill switch does its work whatever becomes of its output, its terminal or one group; every command ends well."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from airflow_provider_outbound.core.assign import GroupSpec, create_group
from airflow_provider_outbound.core.ledger import TaskKey
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


@pytest.fixture
def campaigns(
    simulator_factory: Callable[..., Simulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Campaigns:
    cloud = simulator_factory(concurrency=1, clock_speed=0, latency=0.05)
    for name, value in cloud.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    hook = OutboundBotHook()
    groups = []
    with hook.ledger as ledger:
        for number in range(GROUPS):
            spec = GroupSpec(name=f"活动-{number}", script_id=cloud.script_id, description="")
            key = TaskKey(f"dag-{number}", "run", "create")
            group = create_group(
                hook.client, ledger, key, lambda spec=spec: spec, instance_id=cloud.instance_id, settle_seconds=0.2
            )
            jobs = [
                json.dumps({"contacts": [{"phoneNumber": f"138{number:04d}{job:04d}", "referenceId": f"r-{job}"}]})
                for job in range(3)
            ]
            hook.client.assign_jobs(job_group_id=group.job_group_id, jobs=jobs)
            groups.append(group.job_group_id)
    return Campaigns(cloud, groups)


def ended(process: subprocess.Popen[Any]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    text = [b"" if part is None else part for part in (out, err)]
    return process.returncode, text[0].decode(), text[1].decode()


def test_every_group_is_cancelled_though_the_reader_of_the_output_has_gone(campaigns: Campaigns) -> None:
    process = campaigns.start("cancel", "--all", "--yes", stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(PATIENCE) == 0
    assert campaigns.cancelled() == GROUPS
    assert process.stderr is not None
    (line,) = process.stderr.read().decode().splitlines()
    process.stderr.close()
    assert f"done for {GROUPS} of {GROUPS} job groups" in line


def test_every_group_is_cancelled_though_the_disk_of_the_output_is_full(campaigns: Campaigns) -> None:
    with Path("/dev/full").open("w") as full:
        process = campaigns.start("cancel", "--all", "--yes", stdout=full, stderr=subprocess.PIPE)
        code, _, err = ended(process)

    assert campaigns.cancelled() == GROUPS
    assert f"done for {GROUPS} of {GROUPS} job groups" in err
    assert "standard output cannot be written: No space left on device" in err
    assert "Traceback" not in err
    assert code == 1


def test_every_group_is_cancelled_though_nothing_at_all_can_be_said(campaigns: Campaigns) -> None:
    with Path("/dev/full").open("w") as full:
        process = campaigns.start("cancel", "--all", "--yes", stdout=full, stderr=full)
        ended(process)

    assert campaigns.cancelled() == GROUPS


def test_every_group_is_cancelled_though_standard_output_is_closed(campaigns: Campaigns) -> None:
    command = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *OUTBOUND, "cancel", "--all", "--yes"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    code, _, err = ended(process)

    assert campaigns.cancelled() == GROUPS
    assert (code, "standard output cannot be written: it is closed" in err) == (1, True), err


def test_every_group_is_cancelled_though_the_terminal_goes_away(campaigns: Campaigns) -> None:
    """As when an ssh session drops: SIGHUP, and every write to the terminal fails from then on."""
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
def test_who_stops_it_is_told_what_is_not_done(campaigns: Campaigns, number: signal.Signals) -> None:
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
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch
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
    code, out, err = ended(campaigns.start("cancel", "--all", "--yes", stderr=subprocess.PIPE))

    assert campaigns.cancelled() == GROUPS
    assert code == 1
    assert f"done for {GROUPS - 1} of {GROUPS} job groups, failed for 1" in out
    (line,) = [line for line in err.splitlines() if broken in line]
    assert "cancel was sent, but" in line
    code, out, err = ended(campaigns.start("groups", "--json", stderr=subprocess.PIPE))
    assert (code, len(json.loads(out)), "Traceback" in err) == (1, GROUPS, False)


def test_a_reader_that_has_read_enough_is_no_error(campaigns: Campaigns) -> None:
    process = campaigns.start("groups", "--json", stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None

    assert (process.wait(PATIENCE), process.stderr.read()) == (0, b"")
    process.stderr.close()


@pytest.mark.parametrize("arguments", [("groups", "--json"), ("groups",), ("--help",)])
def test_output_that_cannot_be_written_is_one_line(campaigns: Campaigns, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        code, _, err = ended(campaigns.start(*arguments, stdout=full, stderr=subprocess.PIPE))

    assert (code, err) == (1, "outbound: standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_letters_that_the_terminal_lacks_are_escaped(campaigns: Campaigns, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    listed = ended_bytes(campaigns.start("groups", "--json", stderr=subprocess.PIPE, env=environment))
    table = ended_bytes(campaigns.start("groups", stderr=subprocess.PIPE, env=environment))

    assert (listed[0], listed[2], table[0], table[2]) == (0, b"", 0, b"")
    names = {row["name"].partition(" ")[0] for row in json.loads(listed[1].decode(encoding))}
    assert names == {f"活动-{number}" for number in range(GROUPS)}
    assert [group for group in campaigns.groups if group not in table[1].decode(encoding)] == []


def ended_bytes(process: subprocess.Popen[Any]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def test_the_same_under_airflow(campaigns: Campaigns) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "airflow", "outbound", "cancel", "--all", "--yes"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert process.stderr is not None
    err = process.stderr.read().decode()
    process.stderr.close()
    assert campaigns.cancelled() == GROUPS
    assert process.returncode == 0, err
