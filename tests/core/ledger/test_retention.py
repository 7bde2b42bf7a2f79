"""What is over for long is purged, and stays known as a tombstone."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, update
from support.messages import T0, incoming, job_complete

from airflow_provider_outbound.core.ledger import (
    CallCap,
    Candidate,
    Incoming,
    JobGroupRecord,
    Ledger,
    Outcomes,
    TaskKey,
    open_ledger,
    schema,
)
from airflow_provider_outbound.core.ledger import retention as retention_module
from airflow_provider_outbound.core.ledger.reconcile_state import Confirmation, ReconcileState, Tombstone
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.exceptions import JobGroupPurgedError, LedgerError

OLD = timedelta(days=40)
LIMIT = timedelta(days=30)
KEY = TaskKey("dag", "run", "create")
PATIENCE = 60.0
OF_GROUPS = (schema.assignments, schema.jobs, schema.calls, schema.recordings, schema.events)


def message(group: str = "g1", job: int = 1, *, kind: str = "JobComplete", at: int = 1, **more: Any) -> Incoming:
    number, reference = f"1390000{job:04d}", f"customer-{group}-{job}"
    called = {"id": f"{group}-{job}-0", "status": "SucceededFinish", "calledNumber": number}
    fields = {"eventType": kind, "instanceId": "i", **more}
    return incoming(job_complete(group, f"{group}-{job}", number, reference, called, at=T0 + at, name="李四", **fields))


def campaign(ledger: Ledger, group: str = "g1", jobs: int = 3) -> None:
    """A group with a row in every table."""
    ledger.groups.record(JobGroupRecord(job_group_id=group, run_key=f"key-{group}", task_key=KEY))
    assignment = ledger.assignments.open(
        TaskKey("dag", "run", "assign"), group, owner="o", lease_seconds=60, settle_seconds=1
    )
    ledger.inbox.record([message(group, job) for job in range(jobs)])
    recording = {"taskId": f"{group}-1-0", "fileName": "a.wav", "url": "oss://bucket/a.wav"}
    ledger.inbox.record([message(group, 1, kind="RecordingReady", at=2, recording=recording)])
    ledger.assignments.close(assignment, 0)


def let_time_pass(ledger: Ledger, by: timedelta = OLD) -> None:
    """Move everything the ledger knows of into the past."""
    moments = [
        column
        for table in schema.metadata.sorted_tables
        for column in table.c
        if column.name.endswith(("_at", "_until"))
    ]
    with ledger.write() as connection:
        for column in moments:
            for row in connection.execute(select(*column.table.primary_key.columns, column.label("moment"))).mappings():
                if row["moment"] is not None:
                    here = [key == row[key.name] for key in column.table.primary_key.columns]
                    connection.execute(update(column.table).where(*here).values({column: row["moment"] - by}))


def rows(ledger: Ledger, group: str) -> dict[str, int]:
    with ledger.read() as connection:
        return {
            table.name: connection.execute(
                select(func.count()).select_from(table).where(table.c.job_group_id == group)
            ).scalar_one()
            for table in OF_GROUPS
        }


def left(ledger: Ledger, group: str) -> dict[str, int]:
    """Tables that still have rows of a group, and how many."""
    return {table: count for table, count in rows(ledger, group).items() if count}


def test_a_purged_group_leaves_nothing_but_its_tombstone(ledger: Ledger) -> None:
    campaign(ledger, "old")
    let_time_pass(ledger)
    campaign(ledger, "new")
    assert all(rows(ledger, "old").values()), rows(ledger, "old")
    kept = rows(ledger, "new")

    purge = ledger.retention.purge(LIMIT)

    assert [(group.job_group_id, group.dag_id, group.jobs) for group in purge.purged] == [("old", "dag", 3)]
    assert (purge.passed_over, purge.events) == ((), 0)
    assert left(ledger, "old") == {}
    assert rows(ledger, "new") == kept
    tombstone = ledger.groups.find("key-old")
    assert tombstone is not None
    assert (tombstone.job_group_id, tombstone.task_key) == ("old", KEY)
    assert tombstone.purged_at is not None


def test_a_second_purge_finds_nothing_to_do(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.retention.purge(LIMIT)

    again = ledger.retention.purge(LIMIT)

    assert (again.purged, again.passed_over, again.events) == ((), (), 0)


def test_a_dry_run_says_what_would_go_and_changes_nothing(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    before = rows(ledger, "g1")

    purge = ledger.retention.purge(LIMIT, dry_run=True)

    assert [group.job_group_id for group in purge.purged] == ["g1"]
    assert purge.events == 0  # its own are not counted twice
    assert rows(ledger, "g1") == before
    group = ledger.groups.get("g1")
    assert group is not None
    assert group.purged_at is None


def test_what_a_purge_deleted_is_gone_from_the_file(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(path: Any, **options: Any) -> sqlite3.Connection:
        # As SQLite is built on systems other than Debian's: it does not overwrite what it deletes unless told to.
        connection: sqlite3.Connection = connect(path, **options)
        connection.execute("PRAGMA secure_delete=OFF").close()
        return connection

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3.dbapi2, "connect", forgetful)

    def on_disk() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.glob("ledger.db*"))

    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [key]) as ledger:
        campaign(ledger, jobs=50)
        let_time_pass(ledger)
        assert b"customer-g1-1" in on_disk()
        with closing(connect(tmp_path / "ledger.db")) as somebody_else:
            assert somebody_else.execute("SELECT count(*) FROM jobs").fetchall() == [(50,)]

            ledger.retention.purge(LIMIT)

            assert b"customer-g1-1" not in on_disk()


def test_late_messages_of_a_purged_group_are_counted_and_recreate_nothing(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.retention.purge(LIMIT)
    before = ledger.groups.state("g1").changed

    first = ledger.inbox.record([message(job=1), message(job=9, at=5), message("other", 1)])
    ledger.inbox.record([message(job=1)])

    assert (first.new, first.purged, first.repeated) == (1, 2, 0)
    assert left(ledger, "g1") == {}
    assert _tombstone(ledger).late_messages == 3
    assert ledger.groups.state("g1").changed == before  # nobody is woken for them


def test_an_unstorable_message_beside_a_late_one_does_not_hide_it(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.retention.purge(LIMIT)

    recorded = ledger.inbox.record([message(job=1), message("other", 1, status="Fu\x00ture"), message("other", 2)])

    assert recorded.purged == 1
    assert recorded.new + recorded.quarantined == 2


def test_nobody_assigns_lists_or_reads_results_of_a_purged_group(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.retention.purge(LIMIT)

    with pytest.raises(JobGroupPurgedError, match="job group g1: its rows were purged"):
        ledger.assignments.open(TaskKey("dag", "run", "assign"), "g1", owner="o", lease_seconds=60, settle_seconds=1)
    with pytest.raises(JobGroupPurgedError):
        ledger.results.record_listing("g1", [Job(job_id="g1-1", job_group_id="g1", status=None)])
    with pytest.raises(JobGroupPurgedError):
        list(ledger.results.iter_results("g1"))
    assert left(ledger, "g1") == {}


def test_what_a_waiter_saw_last_does_not_overwrite_a_tombstone(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.retention.purge(LIMIT)
    tombstone = _tombstone(ledger)

    ledger.groups.save_reconcile_state("g1", ReconcileState(listed=1))

    assert _tombstone(ledger) == tombstone


def _wait(ledger: Ledger) -> None:
    assert ledger.groups.claim_reconcile("g1", 300)


def _wait_in_a_triggerer_that_is_down(ledger: Ledger) -> None:
    assert ledger.groups.claim_reconcile("g1", 300)
    with ledger.write() as connection:
        moment = ledger.time(connection) - timedelta(hours=20)
        connection.execute(update(schema.job_groups).values(look_due_at=moment))


def _assign(ledger: Ledger) -> None:
    ledger.assignments.open(TaskKey("dag", "run", "more"), "g1", owner="o", lease_seconds=60, settle_seconds=1)
    let_time_pass(ledger)


def _lag(ledger: Ledger) -> None:
    with ledger.write() as connection:
        now = ledger.time(connection)
        connection.execute(schema.cursors.insert().values(name="crm", sequence=1, moved_at=now))


def _speak(ledger: Ledger) -> None:
    ledger.inbox.record([message(job=7)])


def _have_an_open_window(ledger: Ledger) -> None:
    ledger.groups.record(JobGroupRecord(job_group_id="g1", ends_at=ledger.now() + timedelta(days=1)))


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        pytest.param(_wait, "may have a waiting task", id="waiter"),
        pytest.param(_wait_in_a_triggerer_that_is_down, "may have a waiting task", id="waiter-without-triggerer"),
        pytest.param(_assign, "assignment that is not finished", id="open-assignment"),
        pytest.param(_lag, r"cursor crm .* has not read", id="lagging-cursor"),
        pytest.param(_speak, "too recent: it last changed", id="recent-event"),
        pytest.param(_have_an_open_window, "too recent: its window ends at", id="window"),
    ],
)
def test_a_group_in_use_is_passed_over_and_said_so(ledger: Ledger, act: Callable[[Ledger], None], reason: str) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    act(ledger)
    before = rows(ledger, "g1")

    purge = ledger.retention.purge(LIMIT, job_group_id="g1")

    assert purge.purged == ()
    assert [group.job_group_id for group in purge.passed_over] == ["g1"]
    assert re.search(reason, purge.passed_over[0].reason), purge.passed_over
    assert rows(ledger, "g1") == before


def test_all_that_keeps_a_group_is_said_at_once_and_until_when(ledger: Ledger) -> None:
    ends_at = ledger.now() + timedelta(hours=3)
    dialling(ledger, ends_at=ends_at)
    _wait(ledger)
    _lag(ledger)

    purge = ledger.retention.purge(timedelta(0), job_group_id="g1")

    (kept,) = purge.passed_over
    window, over = (moment.isoformat(timespec="seconds") for moment in (ends_at, ends_at + timedelta(days=1)))
    assert kept.reason.startswith(f"is too recent: its window ends at {window}; it may have a waiting task until ")
    assert "; it has events that cursor crm" in kept.reason
    assert f"; it has jobs that have not ended and may still be dialled until {over}: cancel them" in kept.reason


def test_a_complete_group_is_purged_by_name_though_its_window_is_open(ledger: Ledger) -> None:
    dialling(ledger, ends_at=ledger.now() + timedelta(hours=3))
    _confirm(ledger)

    assert ledger.retention.purge(timedelta(days=30)).purged == ()
    assert [group.job_group_id for group in ledger.retention.purge(timedelta(0), job_group_id="g1").purged] == ["g1"]


def test_jobs_of_unknown_fate_that_were_given_up_do_not_stay_for_ever(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    assignment = ledger.assignments.open(
        TaskKey("dag", "run", "assign"), "g1", owner="o", lease_seconds=60, settle_seconds=1
    )
    contacts = candidates(1)
    ledger.journal.begin(assignment, contacts, dedupe_by="phone")
    ledger.journal.record_outcomes(assignment, Outcomes(in_doubt=[contacts[0].reference_id]))
    ledger.assignments.abandon(assignment)
    let_time_pass(ledger)

    assert [group.jobs for group in ledger.retention.purge(LIMIT).purged] == [1]
    with pytest.raises(JobGroupPurgedError):
        ledger.assignments.open(TaskKey("dag", "run", "assign"), "g1", owner="o", lease_seconds=60, settle_seconds=1)


def test_a_complete_group_is_purged_as_soon_as_its_last_look_is_over(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.groups.claim_reconcile("g1", 0)
    ledger.groups.save_reconcile_state("g1", _confirmed(1, 0))

    assert [group.job_group_id for group in ledger.retention.purge(LIMIT).purged] == ["g1"]


def test_what_happens_while_a_group_is_examined_saves_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    examine = retention_module.Retention._examine

    def interrupted(self: Any, group: Any, before: Any) -> Any:
        # Only the moment is forced: the code that runs then is the real one.
        found = examine(self, group, before)
        ledger.inbox.record([message(job=8)])
        return found

    monkeypatch.setattr(retention_module.Retention, "_examine", interrupted)
    purge = ledger.retention.purge(LIMIT)

    assert purge.purged == ()
    assert purge.passed_over[0].reason == "is in use"
    assert rows(ledger, "g1")["jobs"] == 4


def test_an_unknown_group_is_one_clear_line(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="job group nine: the ledger does not know it"):
        ledger.retention.purge(LIMIT, job_group_id="nine")


def test_events_that_every_cursor_has_passed_are_forgotten_and_results_stay(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.inbox.record([message(job=7)])
    with ledger.read() as connection:
        sequences = list(
            connection.execute(select(schema.events.c.sequence).order_by(schema.events.c.sequence)).scalars()
        )
    with ledger.write() as connection:
        now = ledger.time(connection)
        for name, at in (("slow", sequences[1]), ("quick", sequences[3])):
            connection.execute(schema.cursors.insert().values(name=name, sequence=at, moved_at=now))
    results = list(ledger.results.iter_results("g1"))

    assert ledger.retention.purge(LIMIT, dry_run=True).events == 2
    purge = ledger.retention.purge(LIMIT)

    assert purge.events == 2
    with ledger.read() as connection:
        left = connection.execute(select(schema.events.c.sequence).order_by(schema.events.c.sequence)).scalars()
        assert list(left) == sequences[2:]
    assert list(ledger.results.iter_results("g1")) == results


def test_an_event_that_comes_while_old_ones_are_forgotten_stays(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.groups.claim_reconcile("g1", 300)  # the group stays, its events go
    delete = retention_module.Retention._delete

    def interrupted(self: Any, *arguments: Any, **options: Any) -> int:
        # Only the moment is forced: the code that runs then is the real one.
        ledger.inbox.record([message(job=8)])
        return delete(self, *arguments, **options)

    monkeypatch.setattr(retention_module.Retention, "_delete", interrupted)

    assert ledger.retention.purge(LIMIT).events == 4
    assert rows(ledger, "g1")["events"] == 1


def test_a_message_that_comes_again_after_its_event_was_forgotten_counts_once(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.inbox.record([message(job=7)])
    ledger.retention.purge(LIMIT)
    before = ledger.results.summary("g1")

    ledger.inbox.record([message(job=1)])

    assert ledger.results.summary("g1") == before
    assert {result.revision for result in ledger.results.iter_results("g1")} == {1}


def test_a_cap_whose_period_reaches_into_purged_groups_is_told(ledger: Ledger) -> None:
    campaign(ledger)
    let_time_pass(ledger)
    ledger.retention.purge(LIMIT)
    cap = CallCap(most=1, period=timedelta(days=60))

    assert ledger.retention.forgotten_since(ledger.now() - cap.period) == 1
    assert ledger.retention.forgotten_since(ledger.now() - LIMIT) == 0
    with ledger.write() as connection:  # as an older version may do
        connection.execute(update(schema.job_groups).values(observed={"listed": 3}))
    assert ledger.retention.forgotten_since(ledger.now() - LIMIT) == 1


def test_collecting_goes_on_between_small_transactions(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "BATCH", 20)
    campaign(ledger, "old", jobs=300)
    let_time_pass(ledger)
    deleted: list[int] = []

    @event.listens_for(ledger.engine, "after_cursor_execute")
    def count(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE"):
            deleted.append(cursor.rowcount)

    recorded: list[int] = []
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            recorded.append(ledger.inbox.record([message("new", len(recorded))]).new)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        purge = ledger.retention.purge(LIMIT)
    finally:
        stop.set()
        collector.join(PATIENCE)

    assert [group.job_group_id for group in purge.purged] == ["old"]
    assert max(deleted) <= 20
    assert sum(deleted) == 300 * 3 + 1 + 1 + 1  # jobs, calls, events; the recording, its event, the assignment
    assert set(recorded) == {1}
    assert ledger.results.summary("new")["total"] == len(recorded)


def test_two_purges_at_once_take_each_group_once(ledger: Ledger, url: str, key: str) -> None:
    names = [f"g{number}" for number in range(6)]
    for name in names:
        campaign(ledger, name)
    let_time_pass(ledger)
    purged: list[str] = []
    began = threading.Barrier(2)

    def purge() -> None:
        with open_ledger(url, [key]) as own:
            began.wait(PATIENCE)
            purged.extend(group.job_group_id for group in own.retention.purge(LIMIT).purged)

    threads = [threading.Thread(target=purge) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(purged) == names
    assert {name: tables for name in names if (tables := left(ledger, name))} == {}


def test_a_purge_that_was_killed_is_finished_by_the_next(ledger: Ledger, url: str, key: str) -> None:
    campaign(ledger, jobs=200)
    let_time_pass(ledger)
    program = (
        "import sys; from datetime import timedelta; from airflow_provider_outbound.core.ledger import open_ledger\n"
        "from airflow_provider_outbound.core.ledger import retention; retention.BATCH = 1\n"
        "open_ledger(sys.argv[1], [sys.argv[2]]).retention.purge(timedelta(days=30))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, url, key])
    try:
        deadline = time.monotonic() + PATIENCE
        while ledger.groups.state("g1").purged_at is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    assert any(rows(ledger, "g1").values())

    ledger.retention.purge(LIMIT)

    assert left(ledger, "g1") == {}


def dialling(ledger: Ledger, group: str = "g1", *, ends_at: Any = None) -> None:
    """A group with a job that has ended, one on the line and one to come."""
    ledger.groups.record(JobGroupRecord(job_group_id=group, run_key=group, task_key=KEY, ends_at=ends_at))
    ledger.inbox.record([message(group, 1), message(group, 2, kind="Dialing", status="Executing", tasks=[])])
    ledger.inbox.record([message(group, 3, kind="Dialing", status="Scheduling", tasks=[])])


def _end_the_window(ledger: Ledger) -> None:
    ledger.groups.record(JobGroupRecord(job_group_id="g1", ends_at=ledger.now() - timedelta(days=2)))


def _confirmed(assignments: int, jobs: int) -> ReconcileState:
    return ReconcileState(confirmed=Confirmation(assignments=(assignments, jobs), mismatch=True))


def _tombstone(ledger: Ledger) -> Tombstone:
    found = ledger.groups.state("g1").tombstone
    assert found is not None
    return found


def _cancel(ledger: Ledger) -> None:
    ledger.groups.note_cancelled("g1")
    long_ago = ReconcileState(cancelled=True, cancelled_at=ledger.now() - timedelta(days=2))
    with ledger.write() as connection:
        connection.execute(update(schema.job_groups).values(observed=long_ago.to_json()))


def _confirm(ledger: Ledger) -> None:
    ledger.groups.save_reconcile_state("g1", _confirmed(0, 0))


def _end_the_jobs(ledger: Ledger) -> None:
    ledger.inbox.record([message("g1", 2, at=9), message("g1", 3, at=9)])


@pytest.mark.parametrize("age", [timedelta(0), OLD])
def test_a_group_that_may_still_be_dialled_is_never_purged(ledger: Ledger, age: timedelta) -> None:
    dialling(ledger)
    let_time_pass(ledger, age)

    for purge in (
        ledger.retention.purge(timedelta(0), job_group_id="g1"),
        ledger.retention.purge(timedelta(0)),
        ledger.retention.purge(timedelta(0), dry_run=True),
    ):
        assert purge.purged == ()
        assert "has jobs that have not ended" in purge.passed_over[0].reason

    assert rows(ledger, "g1")["jobs"] == 3
    assert [group.job_group_id for group in ledger.groups.list_all()] == ["g1"]


@pytest.mark.parametrize("act", [_end_the_window, _cancel, _confirm, _end_the_jobs])
def test_once_nothing_can_be_dialled_it_is_purged(ledger: Ledger, act: Callable[[Ledger], None]) -> None:
    dialling(ledger)
    act(ledger)

    assert [group.job_group_id for group in ledger.retention.purge(timedelta(0), job_group_id="g1").purged] == ["g1"]


@pytest.mark.parametrize("act", [_cancel, _confirm])
def test_what_is_assigned_after_that_may_be_dialled_again(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]], act: Callable[[Ledger], None]
) -> None:
    dialling(ledger)
    act(ledger)
    assignment = ledger.assignments.open(
        TaskKey("dag", "run", "more"), "g1", owner="o", lease_seconds=60, settle_seconds=1
    )
    contacts = candidates(1)
    ledger.journal.begin(assignment, contacts, dedupe_by="phone")
    ledger.journal.record_outcomes(assignment, Outcomes(accepted=[contacts[0].reference_id]))
    ledger.assignments.close(assignment, 1)

    purge = ledger.retention.purge(timedelta(0), job_group_id="g1")

    assert "has jobs that have not ended" in purge.passed_over[0].reason


def test_an_interrupted_purge_that_is_run_again_says_what_it_did(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "BATCH", 20)
    campaign(ledger, "g1", jobs=50)
    campaign(ledger, "g2", jobs=5)
    let_time_pass(ledger)
    deleted = 0

    @event.listens_for(ledger.engine, "after_cursor_execute")
    def kill(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal deleted
        if statement.startswith("DELETE"):
            deleted += cursor.rowcount
            if deleted > 60:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.retention.purge(LIMIT, job_group_id="g1")
    event.remove(ledger.engine, "after_cursor_execute", kill)
    remaining = sum(left(ledger, "g1").values())
    assert remaining
    others = rows(ledger, "g2")

    dry = ledger.retention.purge(LIMIT, job_group_id="g1", dry_run=True)
    again = ledger.retention.purge(LIMIT, job_group_id="g1")

    for purge in (dry, again):
        assert [(group.job_group_id, group.rows) for group in purge.finished] == [("g1", remaining)]
        assert (purge.purged, purge.passed_over) == ((), ())
    assert left(ledger, "g1") == {}
    assert rows(ledger, "g2") == others
