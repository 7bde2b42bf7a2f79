"""``outbound calls`` and ``outbound person``: what was done, to whom, and nothing that names them."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import update

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.ledger import Candidate, Ledger, Outcomes, TaskKey, open_ledger, schema
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import normalise
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.testing import Simulator

NUMBER = "13812345678"
HOUR = datetime(2026, 5, 4, 9, tzinfo=UTC)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    key, url = Fernet.generate_key().decode(), f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("OUTBOUND_LEDGER_URL", url)
    monkeypatch.setenv("OUTBOUND_LEDGER_KEY", key)
    with open_ledger(url, [key]) as opened:
        yield opened


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main(arguments)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def call(ledger: Ledger, dag: str, number: str = NUMBER, **columns: Any) -> str:
    """A person who was called in a group of a DAG."""
    from airflow_provider_outbound.core.ledger import JobGroupRecord

    key = TaskKey(dag, f"run-{number[-3:]}", "assign")
    group = f"{dag}-{number[-3:]}"
    ledger.groups.record(JobGroupRecord(job_group_id=group, run_key=key.run_key, task_key=key))
    e164 = f"+86{number}"
    identity = ledger.identity
    candidate = Candidate(
        reference_id=identity.reference_id(e164),
        phone_key=identity.phone_key(e164),
        contact=Contact(phone=normalise(number), name="张三", extras={"note": f"call {number}"}),
    )
    assignment = ledger.assignments.open(key, group, owner="me", lease_seconds=60, settle_seconds=0)
    ledger.journal.begin(assignment, [candidate], dedupe_by="phone")
    ledger.journal.record_outcomes(assignment, Outcomes(accepted=[candidate.reference_id]))
    ledger.assignments.close(assignment, 1)
    if columns:
        with ledger.write() as connection:
            connection.execute(
                update(schema.jobs).where(schema.jobs.c.job_group_id == group).values(terminal=True, **columns)
            )
    return group


def test_calls_are_counted_by_dag_and_hour(ledger: Ledger, run: Run) -> None:
    now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(hours=1)
    for index in range(3):
        call(ledger, "spring", f"1381234567{index}", ended_at=now, attempts=index + 1, answered=index == 0)
    call(ledger, "spring", ended_at=now - timedelta(hours=2), attempts=1, answered=True)
    call(ledger, "autumn", ended_at=now, attempts=1, answered=True)
    call(ledger, "old", ended_at=now - timedelta(days=3), attempts=1)
    call(ledger, "never", attempts=0)
    # On a block list: reported as a call, and not dialled. The second one was called before.
    blocked: dict[str, Any] = {"ended_at": now, "call_status": "ContactBlockList"}
    call(ledger, "blocked", attempts=1, started_at=now, **blocked)
    call(ledger, "spring", "13812345679", attempts=2, started_at=now, **blocked)
    # Assigned, and not dialled yet; the service has planned a call of the second one.
    call(ledger, "waiting")
    call(ledger, "planned", attempts=1)

    code, out, _ = run("calls", "--json")
    rows = json.loads(out)

    hour = now.replace(minute=0).isoformat()
    assert code == 0
    assert [row for row in rows if row["hour"] == hour] == [
        {"dag_id": "autumn", "hour": hour, "called": 1, "answered": 1, "calls": 1},
        {"dag_id": "spring", "hour": hour, "called": 4, "answered": 1, "calls": 8},
    ]
    assert {row["dag_id"] for row in rows} == {"autumn", "spring"}
    assert {row["dag_id"] for row in json.loads(run("calls", "--json", "--since", "1w", "--dag", "old")[1])} == {"old"}
    assert "total" in run("calls")[1]


def test_a_period_is_understood_or_refused(ledger: Ledger, run: Run) -> None:
    for wrong in ("1", "0d", "1y", "-1d", "99999d"):
        with pytest.raises(SystemExit):
            run("calls", "--since", wrong)


def test_a_person_is_shown_without_the_number(ledger: Ledger, run: Run) -> None:
    group = call(ledger, "spring", ended_at=HOUR, attempts=1, answered=True, status="Succeeded")

    for options in ((), ("--json",)):
        code, out, err = run("person", *options, stdin=f" {NUMBER[:3]} {NUMBER[3:]}\n")
        assert code == 0
        assert group in out
        assert "张三" in (out if not options else json.loads(out)["jobs"][0]["name"])
        assert NUMBER not in out + err


@pytest.mark.parametrize("stdin", ["", f"{NUMBER}\n{NUMBER}\n", "abc\n"], ids=["none", "two", "text"])
def test_anything_but_one_number_is_refused(ledger: Ledger, run: Run, stdin: str) -> None:
    code, out, err = run("person", "--forget", stdin=stdin)

    assert (code, out) == (1, "")
    assert "Nothing was done" in err
    assert NUMBER not in err


def test_forgetting_reports_what_the_service_still_holds(ledger: Ledger, run: Run) -> None:
    group = call(ledger, "spring", ended_at=HOUR, attempts=1, status="Succeeded")

    code, out, _ = run("person", "--forget", stdin=NUMBER)

    assert code == 0
    assert "erased: jobs 1" in out
    assert group in out
    assert "张三" not in run("person", stdin=NUMBER)[1]


def test_an_open_job_is_named(ledger: Ledger, run: Run) -> None:
    group = call(ledger, "spring")

    code, _, err = run("person", "--forget", stdin=NUMBER)

    assert code == 1
    assert f"job group {group}; wait" in err


def cancel(monkeypatch: pytest.MonkeyPatch, number: str, *arguments: str) -> int:
    """The exit code of a cancellation of one person."""
    monkeypatch.setattr("sys.stdin", io.StringIO(number))
    return main(["person", "--cancel", *arguments])


def statuses(cloud: Simulator, group: str) -> dict[str, str]:
    """The status of each job of a group by number."""
    jobs = cloud.state()["groups"][group]["jobs"]
    return {job["phone_number"]: job["status"] for job in jobs}


def test_one_person_is_cancelled_in_all_groups_and_nobody_else(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", other)
    groups = campaign("spring", 5), campaign("summer", 5, conn_id="other")

    assert cancel(monkeypatch, "138 0000 0003") == 0

    shown = capsys.readouterr()
    for group in groups:
        found = statuses(cloud, group)
        assert found.pop("13800000003") == "Cancelled"
        assert set(found.values()) <= {"Scheduling", "Executing"}
        assert f"{group}: cancel: cancelled 1, on the line 0, ended before 0" in shown.out
    assert "do-not-call list" in shown.out
    assert "13800000003" not in shown.out + shown.err
    with OutboundBotHook().ledger as ledger:
        second_round = ledger.follow_ups.without_blocked(groups[0], list(ledger.results.iter_results(groups[0])))
        assert len(second_round) == 4
        ledger.follow_ups.take_back([ledger.identity.phone_key("+8613800000003")])
        assert not ledger.persons.is_refused("+8613800000003")
    # Once more is no error, and nothing has to be waited for before the person is forgotten.
    assert cancel(monkeypatch, "13800000003") == 0
    shown = capsys.readouterr()
    assert "no job of +86138******03 is under way" in shown.out
    assert shown.err == ""
    monkeypatch.setattr("sys.stdin", io.StringIO("13800000003"))
    assert main(["person", "--forget"]) == 0


def test_who_is_in_no_group_is_no_error_unless_a_task_is_assigning(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = campaign("spring", 2)

    assert cancel(monkeypatch, "13900000000") == 0
    shown = capsys.readouterr()
    assert "no job of +86139******00 is under way" in shown.out
    assert "this ledger has no job of +86139******00, not even an ended one: check the number" in shown.err
    hook = OutboundBotHook()
    with hook.ledger as ledger:
        key = TaskKey("spring", "run-2", "assign")
        ledger.assignments.open(key, group, owner="me", lease_seconds=60, settle_seconds=0)

        assert cancel(monkeypatch, "13900000000") == 1
    assert f"tasks are assigning to {group} and may add this person" in capsys.readouterr().err


def test_a_person_who_cannot_be_cancelled_is_an_error(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = campaign("spring", 2)
    cloud.faults(status_500={"actions": ["CancelJobs"]})

    assert cancel(monkeypatch, "13800000001") == 1
    assert group in capsys.readouterr().err
    cloud.faults()
    connection = json.loads(cloud.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"] = {**connection["extra"], "dry_run": True}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))
    assert cancel(monkeypatch, "13800000001") == 1
    assert "dry_run" in capsys.readouterr().err
    assert "Cancelled" not in statuses(cloud, group).values()


def test_a_person_of_whom_it_is_unknown_whether_they_were_assigned_is_an_error(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = campaign("spring", 2)
    hook = OutboundBotHook()
    with hook.ledger as ledger:
        e164 = "+8613900000000"
        candidate = Candidate(
            reference_id=ledger.identity.reference_id(e164),
            phone_key=ledger.identity.phone_key(e164),
            contact=Contact(phone=normalise(e164)),
        )
        key = TaskKey("spring", "run-2", "assign")
        assignment = ledger.assignments.open(key, group, owner="me", lease_seconds=60, settle_seconds=0)
        ledger.journal.begin(assignment, [candidate], dedupe_by="phone")
        ledger.journal.record_outcomes(assignment, Outcomes(in_doubt=[candidate.reference_id]))
        ledger.assignments.close(assignment, 0)

    assert cancel(monkeypatch, "13900000000") == 1
    assert "it is not known yet whether this person is in the job group" in capsys.readouterr().err


def test_a_group_that_the_service_has_no_more_calls_nobody(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, there = campaign("spring", 5), campaign("summer", 5)
    cloud.run(lambda cloud: cloud.groups.pop(gone))

    assert cancel(monkeypatch, "13800000003") == 0

    assert statuses(cloud, there)["13800000003"] == "Cancelled"
    assert f"outbound: 1 job group no longer exists at the service: {gone}" in capsys.readouterr().err


def test_a_refusal_that_cannot_be_recorded_keeps_no_phone_ringing(
    cloud: Simulator,
    campaign: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    group = campaign("spring", 5)
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("ALTER TABLE refusals RENAME TO hidden")

    assert cancel(monkeypatch, "13800000003") == 1

    assert "the refusal was not recorded: " in capsys.readouterr().err
    assert statuses(cloud, group)["13800000003"] == "Cancelled"


def test_a_person_at_the_terminal_is_asked_first(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = campaign("spring", 2)
    questions: list[str] = []

    def refuse(question: str) -> str:
        questions.append(question)
        return "n"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "13800000001")
    monkeypatch.setattr("builtins.input", refuse)

    assert main(["person", "--cancel"]) == 1

    assert questions == ["Cancel 1 job of +86138******01? It cannot be undone. [y/N] "]
    assert "nothing was done" in capsys.readouterr().out
    assert "Cancelled" not in statuses(cloud, group).values()
    # One wrong digit: what was typed is shown before anything is recorded.
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "13900000001")
    assert main(["person", "--cancel"]) == 1
    assert questions.pop() == (
        "No job of +86139******01 is under way. Record that this person refuses to be called? [y/N] "
    )
    with OutboundBotHook() as hook:
        assert not hook.ledger.persons.is_refused("+8613900000001")
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "13800000001")
    assert main(["person", "--cancel", "--yes"]) == 0


def test_a_ledger_that_may_not_know_the_person_is_an_error(
    cloud: Simulator, campaign: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is another one than that of the tasks, or it was restored to a time before the campaign."""
    hook = OutboundBotHook()
    with hook.ledger:
        assert cancel(monkeypatch, "13800000001") == 1
    assert "has never had a job group, so nothing was done" in capsys.readouterr().err

    group = campaign("spring", 2)
    more = {"contacts": [{"phoneNumber": "13800000009", "referenceId": "r"}], "extras": []}
    hook.client.assign_jobs(job_group_id=group, jobs=[json.dumps(more)])
    assert cancel(monkeypatch, "13800000009") == 1
    assert f"whether this person is in {group} is not known" in capsys.readouterr().err
    others = hook.client.create_job_group(job_group_name="others", script_id=cloud.script_id).job_group_id
    with hook.ledger as ledger:
        ledger.groups.claim_reconcile(others, 60.0)
    assert cancel(monkeypatch, "13800000001") == 1
    assert f"whether this person is in {others}, {group} is not known" in capsys.readouterr().err
