"""``outbound ledger rekey``: after it the old key may go, before it nobody can drop it unnoticed; on both databases."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Connection, LargeBinary, MetaData, delete, func, select, update
from support.ledgers import REPORT
from support.messages import job_complete, store

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.ledger import JobDetails, Ledger, Recorded, open_ledger, schema
from airflow_provider_outbound.core.ledger.cipher import FieldCipher
from airflow_provider_outbound.core.ledger.rekey import Rekey
from airflow_provider_outbound.exceptions import LedgerKeyError

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
OLD_ID, NEW_ID, OTHER_ID = (FieldCipher([key]).key_ids[0] for key in (OLD, NEW, OTHER))
PERSON = "+8613900000001"
#: Of ``json.loads``: everything in the ledger opens with the first key, and nothing needs another one.
DONE = {"unreadable": 0, "discarded": 0, "needed": []}

Run = Callable[..., tuple[int, str, str]]


def message(job: int = 1, **more: Any) -> dict[str, Any]:
    blocked = {"status": "Failed", "failureReason": "ContactBlockList"}
    calls = [{"id": f"task-{job}", "status": "NoAnswer"}]
    return job_complete("g1", f"job-{job}", f"1390000{job:04d}", f"ref-{job}", *calls, **{**blocked, **more})


def fill(ledger: Ledger) -> None:
    """A row in each table that holds something encrypted."""
    recording = {"taskId": "task-1", "fileName": "a.wav", "url": "https://bucket/a.wav"}
    store(ledger, message(1), message(2), message(1, eventType="RecordingReady", recording=recording), b"not JSON")
    (first, _) = ledger.results.iter_results("g1")
    nothing: dict[str, Any] = {field.name: None for field in attrs.fields(JobDetails)}
    empty = JobDetails(**nothing)
    ledger.details.save([(first, empty)])


def stored(ledger: Ledger) -> dict[tuple[str, str], list[bytes]]:
    """Everything that the database holds as bytes, by table and column, found without the package's models."""
    found: dict[tuple[str, str], list[bytes]] = {}
    tables = MetaData()
    with ledger.read() as connection:
        tables.reflect(connection)
        for table in tables.sorted_tables:
            for column in table.c:
                if isinstance(column.type, LargeBinary):
                    keys = table.primary_key.columns
                    values = connection.execute(select(column).where(column.is_not(None)).order_by(*keys)).scalars()
                    found[table.name, column.name] = list(values)
    return found


def opened(ledger: Ledger, *keys: str) -> dict[tuple[str, str], list[bytes]]:
    """As :func:`stored`, decrypted with these keys alone."""
    cipher = FieldCipher(keys)
    return {name: [cipher.decrypt(token) for token in tokens] for name, tokens in stored(ledger).items()}


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the keys that commands are given."""

    def set_keys(*keys: str) -> None:
        monkeypatch.setenv("OUTBOUND_LEDGER_KEY", ",".join(keys))

    return set_keys


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger of the old key, with a row of each kind, some in the format of earlier versions."""
    with open_ledger(ledger_url, [OLD]) as made:
        fill(made)
        with made.write() as connection:
            token = connection.execute(
                select(schema.jobs.c.contact).where(schema.jobs.c.job_id == "job-2")
            ).scalar_one()
            earlier = Fernet(OLD).encrypt(made.cipher.decrypt(token))
            connection.execute(update(schema.jobs).where(schema.jobs.c.job_id == "job-2").values(contact=earlier))
        yield made


@pytest.fixture
def outbound(ledger_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a subcommand of ``outbound ledger``; returns its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["ledger", *arguments, "--ledger-url", ledger_url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_after_a_rekey_everything_opens_with_the_new_key_alone(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    before = opened(ledger, OLD)
    use(NEW, OLD)

    code, out, _ = outbound("rekey", "--json")

    found = json.loads(out)
    assert code == 0
    rows = sum(map(len, before.values()))
    assert found["rows_by_key"] == {OLD_ID: rows}
    assert (found["encrypted"], found["dropped"]) == (rows, [OLD_ID])
    assert found.items() >= DONE.items()
    use(NEW)
    with open_ledger(ledger_url, [NEW]) as rotated:
        assert opened(rotated, NEW) == before
        assert all(result.decrypted for result in rotated.results.iter_results("g1"))
    assert outbound("status")[0] == 0


def test_no_encrypted_column_is_forgotten(ledger: Ledger) -> None:
    """A new one appears in the database, and has to be filled here."""
    encrypted = {name for name, tokens in stored(ledger).items() if tokens}

    assert set(stored(ledger)) == encrypted == {(column.table.name, column.name) for column in schema.ENCRYPTED}


def test_a_number_keeps_its_name_and_a_refusal_holds(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    name = ledger.identity.phone_key(PERSON)
    results = list(ledger.results.iter_results("g1"))
    ledger.follow_ups.keep_refusals("g1")
    use(NEW, OLD)
    assert outbound("rekey")[0] == 0

    with open_ledger(ledger_url, [NEW]) as rotated:
        assert rotated.identity.phone_key(PERSON) == name
        assert rotated.follow_ups.without_blocked("g1", results) == []
        with rotated.write() as connection:  # the refusals alone must do
            connection.execute(update(schema.jobs).values(failure_reason=None, call_status=None))
        assert rotated.follow_ups.without_blocked("g1", results) == []
        assert rotated.follow_ups.take_back([rotated.identity.phone_key(PERSON)]) == 1


def test_a_dry_run_counts_every_row_and_changes_nothing(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        store(newer, message(3))
    before = stored(ledger)
    use(NEW, OLD)

    code, out, _ = outbound("rekey", "--dry-run", "--json")

    found = json.loads(out)
    new = sum(FieldCipher([NEW]).find(token) is not None for tokens in before.values() for token in tokens)
    assert new == 3  # a contact, a call and an event
    assert found["rows_by_key"] == {NEW_ID: 3, OLD_ID: sum(map(len, before.values())) - 3}
    assert (code, found["encrypted"], found["needed"]) == (0, 0, [OLD_ID])
    assert stored(ledger) == before


def test_status_names_the_key_that_is_still_needed(ledger: Ledger, outbound: Run, use: Callable[..., None]) -> None:
    use(NEW, OLD)

    code, out, _ = outbound("status", "--json")

    found = json.loads(out)
    assert code == 0
    assert [(key["key_id"], key["is_first"], key["is_needed"]) for key in found["keys"]] == [
        (NEW_ID, True, False),
        (OLD_ID, False, True),
    ]
    assert found["keys"][1]["rows_in_sample"] == found["tried_to_decrypt"] > 5
    assert any(OLD_ID in warning and "do not drop it" in warning for warning in found["warnings"])
    assert found["errors"] == []
    assert OLD_ID in outbound("status")[1]


def test_a_key_that_is_dropped_too_early_is_named_and_everything_that_calls_refuses(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        newer.encrypt_identity()
        store(newer, message(3))
    use(NEW)

    with pytest.raises(LedgerKeyError, match=rf"key {OLD_ID}, which is not among the keys given \({NEW_ID}\)"):
        open_ledger(ledger_url, [NEW])
    code, out, err = outbound("status", "--json")
    assert (code, OLD_ID in err, OLD_ID in json.loads(out)["errors"][0]) == (1, True, True)
    code, _, err = outbound("rekey")
    assert (code, OLD_ID in err) == (1, True)
    assert "\n" not in err.strip()
    # It is not forgotten by that.
    with pytest.raises(LedgerKeyError, match=OLD_ID):
        open_ledger(ledger_url, [NEW])
    use(NEW, OLD)
    assert outbound("rekey")[0] == 0
    open_ledger(ledger_url, [NEW]).close()


def test_a_machine_that_lacks_the_new_key_is_refused(ledger: Ledger, ledger_url: str) -> None:
    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        store(newer, message(3))

    with pytest.raises(LedgerKeyError, match=f"encrypted with key {NEW_ID}, which is not among"):
        open_ledger(ledger_url, [OLD])
    open_ledger(ledger_url, [OLD, NEW]).close()


def test_a_key_that_is_missing_and_not_needed_is_forgotten(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    with open_ledger(ledger_url, [OTHER, OLD]) as other:  # which writes nothing encrypted
        other.events.open_cursor("crm")
    use(OLD)
    with pytest.raises(LedgerKeyError, match=OTHER_ID):
        open_ledger(ledger_url, [OLD])
    (error,) = json.loads(outbound("status", "--json")[1])["errors"]
    assert f"key {OTHER_ID} may be needed and is not given, though the keys given open all " in error

    code, out, _ = outbound("rekey", "--json")

    assert (code, json.loads(out)["dropped"]) == (0, [OTHER_ID])
    open_ledger(ledger_url, [OLD]).close()


def test_a_process_that_still_writes_with_the_old_key_keeps_it_needed(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    """``ledger`` is such a process, opened before the new key was known."""
    written: list[Recorded] = []

    def write_once(_: Any) -> None:
        if not written:
            written.append(store(ledger, message(9)))

    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        assert Rekey(newer, report=write_once).run().needed == (OLD_ID,)
    with pytest.raises(LedgerKeyError, match=OLD_ID):
        open_ledger(ledger_url, [NEW])

    use(NEW, OLD)
    code, out, _ = outbound("rekey", "--json")
    assert (code, json.loads(out)["dropped"]) == (0, [OLD_ID])
    store(ledger, message(10))
    with pytest.raises(LedgerKeyError, match=OLD_ID):
        open_ledger(ledger_url, [NEW])


def seen(ledger: Ledger, ago: float) -> None:
    """Let the collectors' last report be that many seconds old."""
    with ledger.write() as connection:
        at = ledger.time(connection) - timedelta(seconds=ago)
        connection.execute(update(schema.collectors).values(seen_at=at))


def test_an_idle_collector_that_was_not_restarted_keeps_its_key_needed(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    """
    ``ledger`` is its, opened with the old key: it writes nothing but a report now and then, until a message comes.

    Each further rekey says the same, because it waits for such a report.
    """
    use(NEW, OLD)
    for _ in range(3):
        ledger.collectors.report(REPORT)
        seen(ledger, ago=14)
        report = threading.Timer(1.0, ledger.collectors.report, [REPORT])
        report.start()
        code, out, _ = outbound("rekey", "--json")
        report.join()

        assert (code, json.loads(out)["dropped"], json.loads(out)["needed"]) == (1, [], [OLD_ID])


def test_collectors_that_use_the_new_key_or_have_ended_are_not_in_the_way(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    use(NEW, OLD)
    ledger.collectors.report(REPORT)
    seen(ledger, ago=58)
    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        restarted = attrs.evolve(REPORT, collector_id="2" * 32)
        report = threading.Timer(1.0, newer.collectors.report, [restarted])
        report.start()
        code, out, _ = outbound("rekey", "--json")
        report.join()

    assert (code, json.loads(out)["dropped"]) == (0, [OLD_ID])


def test_a_row_that_changes_while_it_is_encrypted_again_keeps_the_change(ledger: Ledger, ledger_url: str) -> None:
    """Between reading a page and writing it, others write."""
    newest = FieldCipher([NEW]).encrypt(b'{"changed": true}')

    class Meanwhile(Rekey):
        def _work_through(self, column: Any, page: Any) -> bool:
            if column.table is schema.jobs:
                with ledger.write() as connection:
                    changed = update(schema.jobs).where(schema.jobs.c.job_id == "job-1").values(contact=newest)
                    connection.execute(changed)
            return super()._work_through(column, page)

    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        Meanwhile(newer).run()
        with newer.read() as connection:
            kept = connection.execute(select(schema.jobs.c.contact).where(schema.jobs.c.job_id == "job-1")).scalar_one()

    assert kept == newest


def test_collecting_goes_on_while_a_ledger_is_rekeyed(ledger: Ledger, ledger_url: str) -> None:
    store(ledger, *(message(job) for job in range(100, 400)))
    errors: list[BaseException] = []
    stop = threading.Event()
    written = 0

    def collect() -> None:
        nonlocal written
        try:
            with open_ledger(ledger_url, [NEW, OLD]) as newer:
                while not stop.is_set():
                    # A new job, and more about one that was written with the old key.
                    again = message(100 + written % 300, eventTime=1_800_000_000_000 + written, status="Succeeded")
                    store(newer, message(2000 + written), again)
                    written += 1
        except BaseException as error:
            errors.append(error)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        deadline = time.monotonic() + 60
        while not (written or errors):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with open_ledger(ledger_url, [NEW, OLD]) as newer:
            rekeyed = Rekey(newer).run()
    finally:
        stop.set()
        collector.join()

    assert errors == []
    assert (rekeyed.needed, rekeyed.unreadable) == ((), 0)
    with open_ledger(ledger_url, [NEW]) as rotated:
        opened(rotated, NEW)
        assert rotated.results.summary("g1")["total"] == 302 + written


def test_a_rekey_that_is_killed_is_finished_by_the_next(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    store(ledger, *(message(job) for job in range(100, 3100)))
    before = opened(ledger, OLD)
    use(NEW, OLD)
    command = [sys.executable, "-c", "from airflow_provider_outbound.cli import main; main()", "ledger", "rekey"]
    process = subprocess.Popen([*command, "--ledger-url", ledger_url])

    def has_begun() -> bool:
        with ledger.read() as connection:
            first = connection.execute(
                select(schema.calls.c.body).order_by(schema.calls.c.job_id).limit(1)
            ).scalar_one()
        return FieldCipher([NEW]).find(first) is not None

    deadline = time.monotonic() + 120
    while not has_begun():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sum(FieldCipher([NEW]).find(token) is not None for tokens in stored(ledger).values() for token in tokens)
    rows = sum(map(len, before.values()))
    assert 0 < done < rows
    with pytest.raises(LedgerKeyError, match=OLD_ID):
        open_ledger(ledger_url, [NEW])

    code, out, _ = outbound("rekey", "--json")

    found = json.loads(out)
    assert (code, found["rows_by_key"], found["encrypted"]) == (0, {NEW_ID: done, OLD_ID: rows - done}, rows - done)
    with open_ledger(ledger_url, [NEW]) as rotated:
        assert opened(rotated, NEW) == before


def test_of_a_lost_key_what_nobody_can_read_is_discarded_and_who_was_called_stays_known(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        newer.encrypt_identity()
        store(newer, message(3))
        before = newer.results.summary("g1")
        events = newer.events.read(0, 100)
    use(NEW)

    code, _, err = outbound("rekey")
    assert (code, "lost for good" in err) == (1, True)
    code, out, _ = outbound("rekey", "--discard-unreadable", "--json")

    found = json.loads(out)
    assert (code, found["unreadable"], found["dropped"]) == (0, 0, [OLD_ID])
    assert found["discarded"] == 2 + 2 + 1 + 3 + 1 + 1  # contacts, calls, recording, events, details, quarantine
    with open_ledger(ledger_url, [NEW]) as left:
        opened(left, NEW)
        assert left.results.summary("g1") == before
        assert left.events.read(0, 100) == events
        assert [result.phone_number for result in left.results.iter_results("g1")] == [None, None, "13900000003"]
        store(left, message(1), message(2))  # which are known, and not counted again
        assert left.results.summary("g1") == before
        with left.read() as connection:
            names = connection.execute(select(schema.jobs.c.phone_key)).scalars().all()
        assert left.identity.phone_key(PERSON) in names
    assert outbound("status")[0] == 0


def test_rows_that_nobody_noted_a_key_for_are_an_error_from_then_on(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None]
) -> None:
    """A process of an earlier version wrote them, with a key that is gone."""
    with ledger.write() as connection:
        connection.execute(update(schema.jobs).values(contact=Fernet(OTHER).encrypt(b"{}")))
    use(OLD)

    assert outbound("status")[0] == 1
    code, _, err = outbound("rekey")

    assert (code, "2 rows" in err, "identifier is unknown" in err) == (1, True, True)
    with pytest.raises(LedgerKeyError, match="a key whose identifier is not known"):
        open_ledger(ledger_url, [OLD])
    use(OLD, OTHER)
    assert outbound("rekey")[0] == 0
    open_ledger(ledger_url, [OLD]).close()


def test_no_key_shows(ledger: Ledger, outbound: Run, use: Callable[..., None]) -> None:
    use(NEW, OLD)

    said = "".join(
        f"{out}{err}" for _, out, err in (outbound("status"), outbound("rekey", "--dry-run"), outbound("rekey"))
    )

    for key in (OLD, NEW):
        assert not any(key[start : start + 8] in said for start in range(len(key) - 8))


def test_status_samples_both_ends_of_a_large_table(
    ledger: Ledger, ledger_url: str, outbound: Run, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_outbound.core.ledger.keys.TRIALS", 3)
    store(ledger, *(message(job) for job in range(10, 30)))
    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        store(newer, message(99))  # the last of the jobs, calls and events
    use(NEW, OLD)

    found = json.loads(outbound("status", "--json")[1])

    rows = {key["key_id"]: key["rows_in_sample"] for key in found["keys"]}
    assert rows[NEW_ID] == 3
    # Six each of jobs, calls and events, and the one or two rows of the others, once each.
    assert rows[NEW_ID] + rows[OLD_ID] == found["tried_to_decrypt"] == 6 * 3 + 3


def forget_notes(connection: Connection) -> None:
    """As an earlier version left the ledger."""
    connection.execute(delete(schema.ledger_keys))


@pytest.mark.parametrize("lost", [pytest.param(False, id="both-keys"), pytest.param(True, id="one-was-dropped")])
def test_a_ledger_of_an_earlier_version_keeps_all_the_keys_it_may_need(
    ledger: Ledger, ledger_url: str, lost: bool
) -> None:
    with open_ledger(ledger_url, [NEW, OLD]) as newer:
        newer.encrypt_identity()
    with ledger.write() as connection:
        forget_notes(connection)

    if lost:
        with pytest.raises(LedgerKeyError, match="a key whose identifier is not known"):
            open_ledger(ledger_url, [NEW])
        return
    open_ledger(ledger_url, [NEW, OLD]).close()
    with pytest.raises(LedgerKeyError, match=OLD_ID):
        open_ledger(ledger_url, [NEW])


def test_a_contact_that_no_key_opens_is_neither_doubted_nor_guessed(ledger: Ledger, ledger_url: str) -> None:
    """To take the service's answer for another person's job would call this one again."""
    from airflow_provider_outbound.core.models.job import Job

    with open_ledger(ledger_url, [NEW, OLD]) as newer, newer.write() as connection:
        contact = newer.cipher.encrypt_json({"phone_number": "1", "e164": "+12025550123"})
        doubtful = {"state": "in_doubt", "job_id": None, "terminal": False, "contact": contact}
        assignment = {
            "assignment_id": "a1",
            "dag_id": "d",
            "run_id": "r",
            "task_id": "t",
            "map_index": -1,
            "job_group_id": "g1",
            "state": "open",
            "owner": "o",
            "lease_until": newer.time(connection),
            "settle_seconds": 120,
            "opened_at": newer.time(connection),
        }
        connection.execute(schema.assignments.insert().values(assignment))
        here = schema.jobs.c.reference_id == "ref-1"
        phone_key = newer.identity.phone_key("+12025550123")
        connection.execute(update(schema.jobs).where(here).values(**doubtful, phone_key=phone_key, assignment_id="a1"))

    listed = Job(job_id="job-x", job_group_id="g1", reference_id="ref-1", phone_number="13912345678", status=None)
    with pytest.raises(LedgerKeyError, match="none of the keys"):
        ledger.results.record_listing("g1", [listed])

    with ledger.read() as connection:
        rows = connection.execute(select(func.count()).select_from(schema.jobs)).scalar_one()
    assert rows == 2
