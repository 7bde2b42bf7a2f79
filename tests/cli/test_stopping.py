"""Stopping calls while something else does not work: the ledger, the service, the configuration."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.core.ledger.keyless import KeylessLedger
from airflow_provider_outbound.exceptions import LedgerKeyError, LedgerMissingError, OutboundBotConfigError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.cloud import Cloud
from airflow_provider_outbound.simulator.testing import Simulator

OTHER_KEY = "b3RoZXIta2V5LW9mLTMyLWJ5dGVzLS0hISEhISEhISE="
REFUSED = {"success_false": {"actions": ["CancelJobs", "SuspendJobs"], "acts": False}}


def statuses(cloud: Simulator, job_group_id: str) -> set[str]:
    return {job["status"] for job in cloud.state()["groups"][job_group_id]["jobs"]}


def end_jobs(cloud: Simulator, job_group_id: str) -> None:

    def end_all(found: Cloud) -> None:
        for job in found.group(job_group_id).jobs:
            found.dialler.end(job, "Failed")

    cloud.run(end_all)


def damage(ledger: Path) -> None:
    """Replace an SQLite ledger by something else."""
    for file in ledger.parent.glob(f"{ledger.name}-*"):
        file.unlink()
    ledger.write_bytes(b"no ledger" * 1000)


def is_cancelled(job_group_id: str) -> bool:
    with OutboundBotHook() as hook:
        return hook.ledger.groups.state(job_group_id).reconcile_state.cancelled


@pytest.mark.parametrize("action", ["suspend", "cancel"])
def test_a_refusal_is_a_failure_while_a_task_assigns(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], action: str
) -> None:
    group_id = campaign("one")
    end_jobs(cloud, group_id)
    with OutboundBotHook() as hook:
        hook.ledger.assignments.open(
            TaskKey("dag", "run", "assign"), group_id, owner="worker", lease_seconds=60, settle_seconds=1
        )
    cloud.faults(**REFUSED)

    assert main([action, group_id]) == 1

    assert group_id in capsys.readouterr().err


def test_jobs_that_the_service_has_not_counted_yet_are_cancelled_for_everybody_who_waits(
    cloud: Simulator, campaign: Callable[..., str]
) -> None:
    group_id = campaign("one")
    # What the service counts has ended; one more contact was assigned, and is not counted yet.
    cloud.run(lambda found: found.group(group_id).jobs.pop())
    end_jobs(cloud, group_id)

    assert main(["cancel", group_id]) == 0

    assert is_cancelled(group_id)


def test_a_group_that_has_ended_is_not_marked_as_cancelled(cloud: Simulator, campaign: Callable[..., str]) -> None:
    group_id = campaign("one")
    end_jobs(cloud, group_id)
    cloud.faults(**REFUSED)

    assert main(["cancel", group_id]) == 0

    assert not is_cancelled(group_id)


@pytest.mark.parametrize(("action", "after"), [("suspend", "Paused"), ("cancel", "Cancelled")])
@pytest.mark.parametrize("fault", ["damaged", "newer", "no-url"])
def test_a_named_group_is_stopped_without_the_ledger(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: str,
    action: str,
    after: str,
) -> None:
    group_id = campaign("one")
    ledger = tmp_path / "ledger.db"
    if fault == "damaged":
        damage(ledger)
    elif fault == "newer":
        with closing(sqlite3.connect(ledger)) as connection, connection:
            connection.execute("UPDATE outbound_version SET version_num = '9999'")
    else:
        monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "nonsense")

    assert main(["resume", group_id]) == 1
    capsys.readouterr()
    assert main([action, group_id]) == 1

    summary, error = capsys.readouterr()
    assert f"{action}: done for 0 of 1 job group, sent but not recorded for 1\n" in summary
    assert f"{action} is sent without the ledger, through connection 'outboundbot_default'" in error
    assert f"the service accepted {action}, but the ledger could not record it" in error
    assert after in statuses(cloud, group_id)


@pytest.mark.parametrize("fault", ["damaged", "no-url", "unreachable"])
def test_without_the_ledger_all_groups_are_not_found_and_the_way_out_is_named(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: str,
) -> None:
    group_id = campaign("one")
    if fault == "damaged":
        damage(tmp_path / "ledger.db")
    else:
        url = "nonsense" if fault == "no-url" else "postgresql://nobody@127.0.0.1:1/none"
        monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", url)

    assert main(["suspend", "--all", "--yes"]) == 1

    (error,) = capsys.readouterr().err.splitlines()
    assert "so nothing was sent. Name them instead: outbound suspend GROUP" in error
    assert "Paused" not in statuses(cloud, group_id)


@pytest.mark.parametrize(
    "key", ["b3RoZXIta2V5LW9mLTMyLWJ5dGVzLS0hISEhISEhISE=", "no-key", ""], ids=["other", "bad", "no"]
)
@pytest.mark.parametrize(("action", "after"), [("suspend", "Paused"), ("cancel", "Cancelled")])
def test_every_group_is_stopped_without_a_key_of_the_ledger_and_tasks_learn_of_it(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    key: str,
    action: str,
    after: str,
) -> None:
    group_ids = [campaign("one"), campaign("two")]
    before = _keys(tmp_path)

    with monkeypatch.context() as lost:
        lost.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", key)
        if not key:
            lost.setenv("AIRFLOW__CORE__FERNET_KEY", "")
        assert main(["groups"]) == 0
        listed = capsys.readouterr().out
        assert main([action, "--all", "--yes"]) == 0
        assert main(["resume", "--all", "--yes"]) == 1

    assert all(group_id in listed for group_id in group_ids)
    assert "ledger_key" in caplog.text
    for group_id in group_ids:
        assert after in statuses(cloud, group_id)
    # The key that was not the ledger's is not noted as one of its keys, and its own still opens it.
    assert _keys(tmp_path) == before
    with OutboundBotHook() as hook:
        for group_id in group_ids:
            assert main(["resume", group_id]) == (1 if action == "cancel" else 0)
            if action == "cancel":
                assert hook.ledger.groups.state(group_id).reconcile_state.cancelled


def _keys(folder: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        return connection.execute("SELECT key_id FROM ledger_keys ORDER BY key_id").fetchall()


def test_no_ledger_is_created_without_a_key(cloud: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", "no-key")

    with pytest.raises(OutboundBotConfigError, match="key 1 of 1 is not a Fernet key"):
        OutboundBotHook().ledger  # noqa: B018 - opening it is what fails
    assert not (tmp_path / "ledger.db").exists()
    with pytest.raises(LedgerMissingError):
        KeylessLedger(f"sqlite:///{tmp_path}/ledger.db")


def test_a_ledger_without_its_keys_names_and_reads_nobody(
    cloud: Simulator, campaign: Callable[..., str], tmp_path: Path
) -> None:
    """A wrong pseudonym would let a person be called twice."""
    group_id = campaign("one")

    with KeylessLedger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for use in (
            lambda: ledger.identity.phone_key("+8613800000000"),
            lambda: ledger.identity.reference_id("+8613800000000"),
            lambda: ledger.identity.foreign_reference("13800000000"),
            lambda: ledger.cipher.encrypt(b"text"),
            ledger.encrypt_identity,
        ):
            with pytest.raises(LedgerKeyError):
                use()
        assert {result.decrypted for result in ledger.results.iter_results(group_id)} == {False}


@pytest.mark.parametrize(
    ("option", "value"), [("COLLECTOR", "x"), ("RECONCILE_INTERVAL", "often"), ("RETENTION_DAYS", "x")]
)
def test_a_mistake_in_the_configuration_keeps_nobody_from_stopping_calls(
    cloud: Simulator, campaign: Callable[..., str], monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    group_id = campaign("one")
    monkeypatch.setenv(f"AIRFLOW__OUTBOUND__{option}", value)

    assert main(["resume", group_id]) == 1
    assert main(["cancel", "--all", "--yes"]) == 0

    assert "Cancelled" in statuses(cloud, group_id)


def test_stopping_calls_does_not_wait_for_the_requests_of_others(
    cloud: Simulator, campaign: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id = campaign("one")
    connection = json.loads(cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"]["max_requests_per_second"] = 10
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))
    with OutboundBotHook() as hook:
        # Tasks that assign have taken the slots of the next hour.
        hook.ledger.turns.take(hook.settings.client.origin, 36_000, 10)
    monkeypatch.setattr("airflow_provider_outbound.core.client.rate_limiter.time.sleep", _no_sleep)

    assert main(["cancel", group_id]) == 0

    assert "Cancelled" in statuses(cloud, group_id)


def _no_sleep(seconds: float) -> None:
    if seconds > 60:
        raise TimeoutError(f"would wait for {seconds:.0f} s")


def test_groups_that_are_not_listed_are_counted(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "three"):
        campaign(name)

    assert main(["groups", "--json", "--limit", "2"]) == 0

    output = capsys.readouterr()
    assert len(json.loads(output.out)) == 2
    assert "1 older job groups are not listed; see --limit" in output.err
