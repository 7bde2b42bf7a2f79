"""Reading a ledger to show campaigns: nothing is written, nothing waits for long, and indexes are used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from support.seeding import ANSWERED, ANSWERED_LATE, ON_THE_LINE, UNANSWERED, WAITING, seed, task

from airflow_provider_outbound.core.ledger import Ledger, reading
from airflow_provider_outbound.core.ledger.pages import JobFilter
from airflow_provider_outbound.core.ledger.reading import ReadOnlyLedger
from airflow_provider_outbound.exceptions import LedgerError, LedgerMissingError, LedgerVersionError

#: Small tables that are read completely: campaigns and their tasks, and the state of the installation.
SMALL = "job_groups|assignments|collectors|topic_instances|quarantine|request_turns|ledger|ledger_keys|outbound_version"


@pytest.fixture
def page(ledger: Ledger, url: str, key: str) -> Iterator[ReadOnlyLedger]:
    with ReadOnlyLedger(url, [key]) as opened:
        yield opened


def test_counts_calls_and_jobs_are_those_of_the_ledger(ledger: Ledger, page: ReadOnlyLedger) -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    standings = [ANSWERED, ANSWERED_LATE, UNANSWERED, ON_THE_LINE, WAITING]
    references = seed(ledger, "group", standings, task=task(), called_at=moment, unresolved=1)
    numbers = page.pages.numbers("group")
    summary = ledger.results.summary("group")
    assert (numbers.total, numbers.done, numbers.unresolved) == (5, 3, 1)
    assert (numbers.total, numbers.done) == (summary["total"], summary["completed"])
    minutes = page.pages.minutes("group")
    assert sum(minute.calls for minute in minutes) == 6
    assert sum(minute.ended for minute in minutes) == 5
    assert sum(minute.answered for minute in minutes) == 2
    assert minutes[0].at == moment.replace(second=0)
    jobs = page.pages.jobs("group", JobFilter(condition=numbers.matching(outcome="answered").condition()))
    assert [job.reference_id for job in jobs] == references[:2]
    (campaign,) = page.pages.campaigns()
    assert campaign.tasks[0] == task()
    assert (campaign.conn_id, campaign.has_unfinished, campaign.has_unresolved) == ("outboundbot_default", True, True)
    assert [call.caller for call in page.pages.calls(jobs[1])] == ["057*******78", "057*******78"]


def test_each_query_uses_an_index(ledger: Ledger, page: ReadOnlyLedger) -> None:
    for index in range(3):
        seed(
            ledger,
            f"group-{index}",
            [ANSWERED, WAITING],
            task=task(run_id=str(index)),
            first_number=13900000000 + index,
        )
    if not ledger.is_sqlite:
        pytest.skip("PostgreSQL's planner reads tables as small as a test's completely")
    statements: list[tuple[str, Any]] = []

    def note(
        connection: Any,
        cursor: Any,
        statement: Any,
        parameters: Any,
        context: Any,
        executemany: Any,
    ) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(page.engine, "before_cursor_execute", note)
    pages = page.pages
    pages.campaigns()
    numbers = pages.numbers("group-1")
    pages.minutes("group-1")
    pages.tags("group-1")
    pages.jobs("group-1", JobFilter(condition=numbers.condition(), attempts=1), after="a")
    pages.jobs("group-1", JobFilter(reference_ids=["a", "b"]))
    job = pages.job("group-1", "group-1-0000")
    assert job is not None
    pages.calls(job)
    pages.find("group-1", "13900000001")
    pages.person("13900000001")
    pages.status()
    event.remove(page.engine, "before_cursor_execute", note)
    assert len(statements) > 12
    with page.read() as connection:
        for statement, parameters in statements:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            scans = [row[3] for row in plan if re.match(rf"SCAN (?!{SMALL}|CONSTANT ROW|\()", row[3])]
            assert not scans, (statement, scans)


def test_nothing_can_be_written(ledger: Ledger, page: ReadOnlyLedger) -> None:
    with pytest.raises(LedgerError), page.read() as connection:
        connection.execute(text("DELETE FROM jobs"))
    with pytest.raises(LedgerError):
        page.quarantine.drop("0")


def test_a_slow_statement_is_ended(ledger: Ledger, page: ReadOnlyLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STATEMENT_TIMEOUT", 0.05)
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"
    with pytest.raises(LedgerError), page.read() as connection:
        connection.execute(text(slow))
    # The connection can be used again.
    assert page.pages.campaigns() == []


def test_a_ledger_is_neither_created_nor_migrated(url: str, key: str, ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(text("UPDATE outbound_version SET version_num = '0009'"))
    with pytest.raises(LedgerVersionError, match="outbound ledger migrate"):
        ReadOnlyLedger(url, [key])
    with ledger.write() as connection:
        connection.execute(text("DROP TABLE outbound_version"))
    with pytest.raises(LedgerMissingError):
        ReadOnlyLedger(url, [key])


def test_the_first_connection_of_a_group_stays(ledger: Ledger) -> None:
    ledger.groups.note_connection("group", "first")
    ledger.groups.note_connection("group", "second")
    found = ledger.groups.get("group")
    assert found is not None
    assert found.conn_id == "first"


def test_calls_after_a_suspension_show_that_it_is_over(ledger: Ledger, page: ReadOnlyLedger) -> None:
    seed(ledger, "group", [WAITING], task=task(), called_at=datetime.now(UTC) - timedelta(hours=1))
    ledger.groups.note_suspended("group", suspended=True)
    (campaign,) = page.pages.campaigns()
    assert campaign.suspended_at is not None
    ledger.groups.note_suspended("group", suspended=False)
    (campaign,) = page.pages.campaigns()
    assert campaign.suspended_at is None
