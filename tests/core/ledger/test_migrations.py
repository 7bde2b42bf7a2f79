"""Ledgers of earlier versions: brought up with every row, by many at once, beside a collector of the old version."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from cryptography.fernet import Fernet
from sqlalchemy import Connection, MetaData, create_engine, event, select, text

from airflow_provider_outbound.core.ledger import Incoming, migrations, open_ledger, schema
from airflow_provider_outbound.core.ledger.cipher import FieldCipher, Identity
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.exceptions import LedgerKeyError

VERSIONS = Path(migrations.__file__).parent / "versions"
REVISIONS = sorted(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))
EARLIER = [revision for revision in REVISIONS if revision != schema.REVISION]
WHEN = datetime(2026, 5, 1, 8, 30, tzinfo=UTC)
PATIENCE = 120.0
#: Tables that every version has.
FILLED = {"ledger", "job_groups", "assignments", "jobs", "calls", "recordings", "events", "quarantine", "cursors"}

#: A message as it was kept; what it says is in the other rows too.
MESSAGE = (
    b'{"eventType":"JobComplete","eventTime":1777624200000,"groupId":"g1","id":"job-1","status":"Succeeded",'
    b'"contacts":[{"phoneNumber":"13900000001","referenceId":"ref-1"}],'
    b'"tasks":[{"id":"task-1","status":"SucceededFinish"}]}'
)


def build(url: str, key: str, revision: str) -> None:
    """A ledger as the version of that revision left it: a row of each kind, written with the columns of then."""
    engine = create_engine(url)
    cipher, identity = FieldCipher([key]), Identity(b"i" * 32)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(VERSIONS.parent))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = MetaData()
        tables.reflect(connection)
        fill(connection, tables, cipher, identity)
    engine.dispose()


def fill(connection: Connection, tables: MetaData, cipher: FieldCipher, identity: Identity) -> None:
    at = WHEN.replace(tzinfo=None) if connection.dialect.name == "sqlite" else WHEN
    contact = {
        "phone_number": "13900000001",
        "name": "张三",
        "honorific": None,
        "role": None,
        "extras": {"city": "杭州"},
    }
    task = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    job = {"job_group_id": "g1", "assignment_id": "a1", "unique_phone": True, "sent_at": at}
    content: dict[str, list[dict[str, Any]]] = {
        "ledger": [
            {"id": 1, "ledger_id": "l1", "identity_key": cipher.encrypt(b"i" * 32), "sequence": 7, "created_at": at}
        ],
        "job_groups": [{"job_group_id": "g1", "run_key": "key", **task, "created_at": at, "changed": 7}],
        "assignments": [
            {
                "assignment_id": "a1",
                **task,
                "job_group_id": "g1",
                "state": "sealed",
                "sealed_count": 1,
                "owner": "o",
                "lease_until": at,
                "settle_seconds": 120,
                "opened_at": at,
            }
        ],
        "jobs": [
            {
                **job,
                "reference_id": "ref-1",
                "phone_key": identity.phone_key("+8613900000001"),
                "state": "accepted",
                "job_id": "job-1",
                "status": "Succeeded",
                "terminal": True,
                "call_status": "SucceededFinish",
                "answered": True,
                "attempts": 1,
                "started_at": at,
                "ended_at": at,
                "status_time": 1777624200000,
                "status_hash": Event.from_message(MESSAGE).hash,
                "source": "message",
                "completions": [Event.from_message(MESSAGE).completion],
                "contact": cipher.encrypt_json({**contact, "e164": "+8613900000001"}),
            },
            {
                **job,
                "reference_id": "ref-2",
                "phone_key": identity.phone_key("+8613900000002"),
                "state": "in_doubt",
                "contact": cipher.encrypt_json({**contact, "e164": "+8613900000002"}),
            },
        ],
        "calls": [
            {
                "job_id": "job-1",
                "task_id": "task-1",
                "job_group_id": "g1",
                "status": "SucceededFinish",
                "started_at": at,
                "ended_at": at,
                "body": cipher.encrypt(b"{}"),
            }
        ],
        "recordings": [
            {
                "task_id": "task-1",
                "file_name": "a.wav",
                "job_group_id": "g1",
                "job_id": "job-1",
                "body": cipher.encrypt(b"{}"),
                "recorded_at": at,
            }
        ],
        "events": [
            {
                "sequence": 7,
                "hash": Event.from_message(MESSAGE).hash,
                "event_type": "JobComplete",
                "job_group_id": "g1",
                "job_id": "job-1",
                "occurred_at": at,
                "recorded_at": at,
                "topic": "t",
                "body": cipher.encrypt(MESSAGE),
            }
        ],
        "quarantine": [
            {"hash": "0" * 64, "topic": "t", "reason": "empty", "recorded_at": at, "body": cipher.encrypt(b"")}
        ],
        "cursors": [{"name": "crm", "sequence": 5, "moved_at": at}],
    }
    if "ledger_keys" in tables.tables:
        content["ledger_keys"] = [{"key_id": cipher.key_ids[0], "noted_at": at, "rekey_id": None}]
    for name, rows in content.items():
        for row in rows:
            connection.execute(tables.tables[name].insert(), row)


def contents(url: str, columns: dict[str, list[str]] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; of the columns given, else of all."""
    engine = create_engine(url)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        wanted = columns or {name: [column.name for column in table.c] for name, table in tables.tables.items()}
        found = {
            name: [
                tuple(row)
                for row in connection.execute(
                    select(*(tables.tables[name].c[column] for column in names)).order_by(
                        *tables.tables[name].primary_key.columns
                    )
                )
            ]
            for name, names in wanted.items()
            if name != "outbound_version"
        }
    engine.dispose()
    return found


def columns_of(url: str) -> dict[str, list[str]]:
    engine = create_engine(url)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
    engine.dispose()
    return {name: [column.name for column in table.c] for name, table in tables.tables.items()}


def test_the_newest_revision_is_the_schemas() -> None:
    assert REVISIONS[-1] == schema.REVISION


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_keeps_every_row(url: str, key: str, revision: str) -> None:
    build(url, key, revision)
    columns, before = columns_of(url), contents(url)
    assert {name for name, rows in before.items() if rows} >= FILLED

    with open_ledger(url, [key]) as ledger:
        assert (ledger.found_revision, ledger.ledger_id) == (revision, "l1")

    assert contents(url, columns) == before


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_ledger_that_was_brought_up_has_the_schema_of_a_new_one(url: str, key: str, revision: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    build(url, key, revision)

    with open_ledger(url, [key]) as ledger, ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "outbound_version"})
        assert compare_metadata(context, schema.metadata) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_an_earlier_version_knew_is_known(url: str, key: str, revision: str) -> None:
    build(url, key, revision)

    with open_ledger(url, [key]) as ledger:
        # Its result is read, and its message is not counted again.
        assert ledger.inbox.record([Incoming(body=MESSAGE, message_id="m", topic="t")]).repeated == 1
        (result,) = ledger.results.iter_results("g1")
        assert (result.phone_number, result.answered, result.revision) == ("13900000001", True, 1)
        # Its task finds its group and its assignment again, with the doubt it left.
        assert ledger.groups.find("key") is not None
        assert ledger.groups.state("g1").closed == 1
        assert ledger.groups.state("g1").has_doubt
        assert [message.reason for message in ledger.quarantine.iter_messages()] == ["empty"]
        # Its people are recognised: nobody is called twice across an upgrade.
        assert ledger.identity.phone_key("+8613900000001") == Identity(b"i" * 32).phone_key("+8613900000001")


def test_ten_processes_at_once_bring_a_ledger_up_once(url: str, key: str) -> None:
    # From the first revision, because the longest way leaves the most room for others to come in between.
    build(url, key, EARLIER[0])
    columns, before = columns_of(url), contents(url)
    program = (
        "import sys; from airflow_provider_outbound.core.ledger import open_ledger\n"
        "ledger = open_ledger(sys.argv[1], [sys.argv[2]]); print(ledger.ledger_id)"
    )

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, url, key], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(10)
    ]
    answers = [process.communicate(timeout=PATIENCE) for process in processes]

    assert [process.returncode for process in processes] == [0] * 10, answers
    assert {out for out, _ in answers} == {"l1\n"}
    assert contents(url, columns) == before


class OldCollector(threading.Thread):
    """Writes as the version of an earlier revision does: its columns, its lock, its order of tables."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self.body = FieldCipher([key]).encrypt(b"b")
        self.engine = create_engine(url, connect_args={"timeout": 60} if url.startswith("sqlite") else {})
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
            event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        self.tables = MetaData()
        self.tables.reflect(self.engine)
        self.written = 0
        self.error: BaseException | None = None
        self.wrote = threading.Condition()
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                with self.engine.begin() as connection:
                    self.write(connection, f"old-{self.written}")
                with self.wrote:
                    self.written += 1
                    self.wrote.notify_all()
                time.sleep(0.002)  # as long as a broker takes for the next message
        except BaseException as error:
            self.error = error
            with self.wrote:
                self.wrote.notify_all()
        finally:
            self.engine.dispose()

    def write(self, connection: Connection, name: str) -> None:
        tables = self.tables.tables
        if connection.dialect.name != "sqlite":
            connection.execute(text("SELECT id FROM ledger FOR UPDATE"))
        sequence = connection.execute(text("UPDATE ledger SET sequence = sequence + 1 RETURNING sequence")).scalar_one()
        at = WHEN.replace(tzinfo=None) if connection.dialect.name == "sqlite" else WHEN
        jobs = tables["jobs"]
        group = {"job_group_id": "g1", "job_id": name}
        connection.execute(
            tables["events"].insert(),
            {**group, "sequence": sequence, "hash": name, "event_type": "e", "recorded_at": at, "body": self.body},
        )
        assert connection.execute(select(jobs.c.job_id).where(jobs.c.job_id == name)).first() is None
        connection.execute(jobs.insert(), {**group, "reference_id": name, "unique_phone": False, "state": "accepted"})

    def wait_for(self, more: int) -> None:
        """Wait until it has written more."""
        with self.wrote:
            until = self.written + more
            assert self.wrote.wait_for(lambda: self.written >= until or self.error is not None, PATIENCE)
        assert self.error is None


@pytest.mark.parametrize("revision", EARLIER)
def test_an_old_collector_goes_on_while_the_ledger_is_brought_up(url: str, key: str, revision: str) -> None:
    build(url, key, revision)
    collector = OldCollector(url, key)
    collector.start()
    try:
        collector.wait_for(30)

        with open_ledger(url, [key]) as ledger:
            assert ledger.found_revision == revision
            collector.wait_for(30)
            collector.stop.set()
            collector.join(PATIENCE)
            assert collector.error is None

            kept = {result.reference_id for result in ledger.results.iter_results("g1")}
            assert kept == {"ref-1", *(f"old-{number}" for number in range(collector.written))}
    finally:
        collector.stop.set()
        collector.join(PATIENCE)


def test_a_key_that_is_rotated_leaves_old_rows_readable_and_writes_new_ones(url: str, key: str) -> None:
    newer = Fernet.generate_key().decode()
    later = MESSAGE.replace(b"job-1", b"job-9").replace(b"13900000001", b"13900000009").replace(b"ref-1", b"ref-9")
    with open_ledger(url, [key]) as ledger:
        ledger.inbox.record([Incoming(body=MESSAGE, message_id="m", topic="t")])

    with open_ledger(url, [newer, key]) as ledger:
        ledger.inbox.record([Incoming(body=later, message_id="m", topic="t")])
        both = list(ledger.results.iter_results("g1"))
        ledger.encrypt_identity()
    with pytest.raises(LedgerKeyError, match="not among the keys given"):
        open_ledger(url, [newer])
    with open_ledger(url, [newer], require_keys=False) as ledger:
        without_the_old_one = list(ledger.results.iter_results("g1"))
        summary = ledger.results.summary("g1")

    assert [(result.job_id, result.decrypted) for result in both] == [("job-1", True), ("job-9", True)]
    assert [(result.job_id, result.decrypted, result.phone_number) for result in without_the_old_one] == [
        ("job-1", False, None),
        ("job-9", True, "13900000009"),
    ]
    assert (summary["total"], summary["answered"]) == (2, 2)


def test_messages_about_rows_of_a_lost_key_are_still_taken_in(url: str, key: str) -> None:
    newer = Fernet.generate_key().decode()
    again = MESSAGE.replace(b"1777624200000", b"1777624300000").replace(b"SucceededFinish", b"SucceededTransfer")
    with open_ledger(url, [newer, key]) as ledger:
        ledger.encrypt_identity()
    with open_ledger(url, [key, newer]) as ledger:
        ledger.inbox.record([Incoming(body=MESSAGE, message_id="m", topic="t")])
    with pytest.raises(LedgerKeyError, match="not among the keys given"):
        open_ledger(url, [newer])

    with open_ledger(url, [newer], require_keys=False) as ledger:
        assert ledger.inbox.record([Incoming(body=again, message_id="m", topic="t")]).new == 1
        (result,) = ledger.results.iter_results("g1")

    assert (result.decrypted, result.answered) == (False, True)
