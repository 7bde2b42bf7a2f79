from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text

from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger, open_ledger
from airflow_provider_outbound.exceptions import (
    LedgerKeyError,
    LedgerUnavailableError,
    LedgerVersionError,
    OutboundBotConfigError,
)


def test_a_ledger_keeps_its_identity_when_keys_rotate(url: str, key: str) -> None:
    with open_ledger(url, [key]) as first:
        phone_key = first.identity.phone_key("+8613800000000")
        ledger_id = first.ledger_id
    newer = Fernet.generate_key().decode()

    with open_ledger(url, [newer, key]) as rotated:
        assert rotated.ledger_id == ledger_id
        assert rotated.identity.phone_key("+8613800000000") == phone_key


def test_two_ledgers_know_a_number_by_different_names(tmp_path: Path, key: str) -> None:
    with (
        open_ledger(f"sqlite:///{tmp_path}/one.db", [key]) as one,
        open_ledger(f"sqlite:///{tmp_path}/two.db", [key]) as two,
    ):
        assert one.identity.phone_key("+8613800000000") != two.identity.phone_key("+8613800000000")


def test_a_wrong_key_is_refused_with_the_mend(url: str, key: str) -> None:
    open_ledger(url, [key]).close()

    with pytest.raises(LedgerKeyError, match="set the key it was created with"):
        open_ledger(url, [Fernet.generate_key().decode()])


def test_no_key_is_refused_with_the_command_that_makes_one(url: str) -> None:
    with pytest.raises(LedgerKeyError, match=r"Fernet\.generate_key"):
        open_ledger(url, [])


def test_a_newer_ledger_is_refused(ledger: Ledger, url: str, key: str) -> None:
    with ledger.write() as connection:
        connection.execute(text("UPDATE outbound_version SET version_num = '9999'"))

    with pytest.raises(LedgerVersionError, match="9999 is newer"):
        open_ledger(url, [key])


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        pytest.param("sqlite:////proc/none/ledger.db", LedgerUnavailableError, "ledger_url", id="unwritable"),
        pytest.param("sqlite://", OutboundBotConfigError, "in memory", id="memory"),
        pytest.param("mysql://host/db", OutboundBotConfigError, "neither sqlite nor postgresql", id="mysql"),
        pytest.param("what", OutboundBotConfigError, "not a database URL", id="no-url"),
        pytest.param("postgresql://nobody:word@127.0.0.1:1/none", LedgerUnavailableError, "refused", id="no-server"),
    ],
)
def test_a_ledger_that_cannot_be_opened_is_one_clear_line(
    bad: str, key: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        open_ledger(bad, [key])

    assert "\n" not in str(raised.value)
    assert ":word" not in str(raised.value)


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path, key: str) -> None:
    open_ledger(f"sqlite:///{tmp_path}/ledger.db", [key]).close()

    assert (tmp_path / "ledger.db").stat().st_mode & 0o077 == 0


def test_a_ledger_opened_twice_is_not_taken_from_its_process_by_another(ledger: Ledger, url: str, key: str) -> None:
    """A file's locks are its process's: closing it by hand gives up those of every connection, and the next to leave
    takes the write-ahead log away from under them."""
    program = (
        "import sys; from airflow_provider_outbound.core.ledger import open_ledger\n"
        "with open_ledger(sys.argv[1], [sys.argv[2]]) as ledger, ledger.write() as connection:\n"
        "    print(ledger.take_sequence(connection, 1))"
    )

    def number_taken_by_another_process() -> int:
        command = [sys.executable, "-c", program, url, key]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)

    open_ledger(url, [key]).close()
    first = number_taken_by_another_process()
    with ledger.write() as connection:
        second = ledger.take_sequence(connection, 1)

    assert (second, number_taken_by_another_process()) == (first + 1, first + 2)


def test_ten_processes_that_start_at_once_make_one_ledger(url: str, key: str) -> None:
    program = (
        "import sys; from airflow_provider_outbound.core.ledger import open_ledger\n"
        "ledger = open_ledger(sys.argv[1], [sys.argv[2]]); print(ledger.ledger_id)"
    )
    command = [sys.executable, "-c", program, url, key]

    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(10)
    ]
    answers = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0] * 10, answers
    assert len({out for out, _ in answers}) == 1


@contextmanager
def another_that_creates(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process's connection to the new file, before it has switched it to WAL."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_opening_waits_for_another_process_that_creates_the_same_file(tmp_path: Path, key: str) -> None:
    path = tmp_path / "ledger.db"
    with another_that_creates(path) as other:
        timer = threading.Timer(0.5, other.execute, ["COMMIT"])
        timer.start()
        with open_ledger(f"sqlite:///{path}", [key]) as ledger:
            assert ledger.ledger_id
        timer.join()


def test_a_file_that_another_process_never_releases_is_an_error(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_outbound.core.ledger.sqlite.BUSY_TIMEOUT", 0.2)
    path = tmp_path / "ledger.db"
    with another_that_creates(path), pytest.raises(LedgerUnavailableError, match="database is locked"):
        open_ledger(f"sqlite:///{path}", [key])


@pytest.mark.parametrize("option", ["password", "sslpassword", "passfile"])
def test_an_error_shows_no_option_of_the_url(key: str, option: str) -> None:
    url = f"postgresql://dialler:s3cret@127.0.0.1:1/calls?{option}=s3cret&connect_timeout=2"

    with pytest.raises(LedgerUnavailableError, match=r"127\.0\.0\.1:1/calls") as refused:
        open_ledger(url, [key])

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("takes_its_place", [False, True])
def test_a_file_that_was_moved_is_not_written_any_more(tmp_path: Path, key: str, takes_its_place: bool) -> None:
    """Whoever stops calls uses the file at the path, and would not reach a task that goes on in the other one."""
    path = tmp_path / "ledger.db"
    with open_ledger(f"sqlite:///{path}", [key]) as ledger:
        ledger.groups.record(JobGroupRecord(job_group_id="before"))
        path.rename(tmp_path / "moved.db")
        if takes_its_place:
            with open_ledger(f"sqlite:///{path}", [key]):
                pass

        with pytest.raises(LedgerUnavailableError, match="the file that this process has opened"):
            ledger.groups.record(JobGroupRecord(job_group_id="after"))
        with pytest.raises(LedgerUnavailableError, match="put it back, or restart"):
            ledger.groups.get("before")

        assert path.exists() == takes_its_place
        if not takes_its_place:
            (tmp_path / "moved.db").rename(path)
            assert ledger.groups.get("before") is not None
            assert ledger.groups.get("after") is None
