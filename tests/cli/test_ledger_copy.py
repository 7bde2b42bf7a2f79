"""``outbound ledger copy``: with another database, a ledger still knows whom it called; into both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import select, update
from support.campaigns import KEY, Campaign, numbers
from support.ledgers import REPORT
from support.messages import job_complete, store
from support.simulated import client_of

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.ledger import JobDetails, Ledger, TaskKey, open_ledger, schema
from airflow_provider_outbound.simulator.testing import Simulator

Copy = Callable[..., tuple[int, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "old" / "ledger.db"


@pytest.fixture
def source(file: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{file}", [KEY]) as opened:
        yield opened


@pytest.fixture
def copy(ledger_url: str, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Copy:
    """Runs the command; returns its exit code, and what it printed."""
    monkeypatch.setenv("OUTBOUND_LEDGER_KEY", KEY)

    def run(path: Path = file) -> tuple[int, str]:
        code = main(["ledger", "copy", "--ledger-url", ledger_url, "--from", str(path)])
        return code, "".join(capsys.readouterr())

    return run


def fill(ledger: Ledger) -> None:
    """A row in each table."""
    recording = {"taskId": "task-1", "fileName": "a.wav", "url": "https://bucket/a.wav"}
    blocked = job_complete("g1", "job-1", "13900000001", "ref-1", status="Failed", failureReason="ContactBlockList")
    answered = job_complete("g1", "job-2", "13900000002", "ref-2", {"id": "task-1", "status": "SucceededFinish"})
    store(ledger, blocked, answered, {**answered, "eventType": "RecordingReady", "recording": recording}, b"not JSON")
    nothing: dict[str, Any] = {field.name: None for field in attrs.fields(JobDetails)}
    rows = list(ledger.results.iter_results("g1"))
    ledger.details.save([(rows[1], JobDetails(**nothing))])
    ledger.follow_ups.mark("sms", rows)
    assignment = ledger.assignments.open(
        TaskKey("dag", "run", "assign"), "g1", owner="worker", lease_seconds=60, settle_seconds=0
    )
    ledger.assignments.close(assignment, 0)
    ledger.collectors.report(REPORT)
    ledger.turns.take("connection", 1, 0.1)
    with ledger.write() as connection:
        now = ledger.time(connection)
        connection.execute(schema.cursors.insert().values(name="crm", sequence=1, moved_at=now))
        connection.execute(schema.refusals.insert().values(phone_key="k" * 32, refused_at=now))
        connection.execute(update(schema.collectors).values(seen_at=now - timedelta(hours=1)))


def rows_of(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, by table. JSON's null is not SQL's."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with ledger.read() as connection:
        for table in schema.metadata.sorted_tables:
            columns = [*table.columns, *(column.is_(None) for column in table.columns)]
            rows = connection.execute(select(*columns).order_by(*table.primary_key.columns))
            found[table.name] = [tuple(row) for row in rows]
    return found


def test_every_row_of_every_table_is_copied(source: Ledger, copy: Copy, file: Path, ledger_url: str) -> None:
    fill(source)
    before = rows_of(source)

    code, out = copy()

    with open_ledger(ledger_url, [KEY]) as target:
        assert target.ledger_id == source.ledger_id
        after = rows_of(target)
    assert [name for name, rows in before.items() if not rows] == []
    assert (code, after) == (0, before)
    assert f"{sum(map(len, before.values()))} rows were copied to " in out
    assert f"Move {file} aside now" in out


def test_a_campaign_continues_with_the_copy_and_calls_nobody_twice(
    source: Ledger, copy: Copy, ledger_url: str, simulator: Simulator
) -> None:
    campaign = Campaign(simulator=simulator, client=client_of(simulator.ready), ledger=source)
    campaign.assign(numbers(20))
    assert copy()[0] == 0

    with open_ledger(ledger_url, [KEY]) as target:
        result = attrs.evolve(campaign, ledger=target).assign(numbers(30))

    assert (result.assigned, result.newly_assigned) == (30, 10)
    assert campaign.each_once(numbers(30))


def test_a_ledger_that_is_in_use_is_not_copied(source: Ledger, copy: Copy, ledger_url: str) -> None:
    source.collectors.report(REPORT)
    assert "a collector on alpha (process 7) used the one to copy" in copy()[1]

    with source.write() as connection:
        connection.execute(update(schema.collectors).values(seen_at=source.time(connection) - timedelta(hours=1)))
    key = TaskKey("dag", "run", "assign")
    assignment = source.assignments.open(key, "g1", owner="worker", lease_seconds=60, settle_seconds=0)
    code, out = copy()

    assert (code, "1 task is assigning contacts with the one to copy" in out) == (1, True)
    with open_ledger(ledger_url, [KEY]) as target:
        assert rows_of(target)["job_groups"] == []
    source.assignments.close(assignment, 0)
    assert copy()[0] == 0


def test_a_ledger_with_rows_is_not_written_over(source: Ledger, copy: Copy, ledger_url: str) -> None:
    fill(source)
    with open_ledger(ledger_url, [KEY]) as target:
        store(target, job_complete("g9", "job-9", "13900000009", "ref-9"))
        before = rows_of(target)

    code, out = copy()

    assert (code, "is in use: it has rows in " in out) == (1, True)
    with open_ledger(ledger_url, [KEY]) as target:
        assert rows_of(target) == before


def test_a_file_that_is_missing_or_configured_itself_is_refused(
    source: Ledger, copy: Copy, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy(tmp_path / "missing.db") == (
        1,
        f"outbound: --from: there is no file {tmp_path}/missing.db; give the SQLite file of the ledger to copy\n",
    )
    assert main(["ledger", "copy", "--ledger-url", f"sqlite:///{file}", "--from", str(file)]) == 1
    assert "is the configured ledger; set ledger_url to the new database first" in capsys.readouterr().err
