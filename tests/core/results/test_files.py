"""Files of results: typed, whole or not there, harmless, and written in constant memory."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from cryptography.fernet import Fernet
from pyarrow import parquet

from airflow_provider_outbound.core.ledger import JobDetails, JobGroupRecord, Ledger, open_ledger
from airflow_provider_outbound.core.results import COLUMNS, export
from airflow_provider_outbound.exceptions import OutboundBotConfigError

GROUP = "group-1"
#: A multiple of 2,000; two hundred thousand are promised.
ROWS = int(os.environ.get("OUTBOUND_TEST_ROWS", "40000"))


def rows_of(path: Path) -> list[dict[str, Any]]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return list(parquet.read_table(path).to_pylist())
    if name.endswith(".xlsx"):
        with closing(openpyxl.load_workbook(path, read_only=True)) as book:
            header, *rows = book.active.values
        return [dict(zip(header, row, strict=True)) for row in rows]
    content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    if name.endswith(".csv"):
        return list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    return [json.loads(line) for line in content.decode().splitlines()]


ALL_SUFFIXES = pytest.mark.parametrize("suffix", ["csv", "jsonl", "ndjson", "csv.gz", "jsonl.gz", "parquet", "xlsx"])


def test_parquet_has_the_same_types_whatever_is_in_it(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path
) -> None:
    ledger.groups.record(JobGroupRecord(job_group_id="nobody"))
    export(ledger, "nobody", tmp_path / "empty.parquet")
    tell(1, call="SucceededFinish", extras={"city": "杭州", "note": "13800000001"})
    result = next(iter(ledger.results.iter_results(GROUP)))
    ledger.details.save([(result, JobDetails(tags={"意向": "有"}, call_seconds=7.25))])

    export(ledger, GROUP, tmp_path / "r.parquet")

    schema = parquet.read_schema(tmp_path / "r.parquet")
    assert schema == parquet.read_schema(tmp_path / "empty.parquet")
    assert schema.names == list(COLUMNS)
    assert schema.field("started_at").type == pa.timestamp("ms", tz="UTC")
    assert (schema.field("answered").type, schema.field("attempts").type) == (pa.bool_(), pa.int64())
    assert (schema.field("talk_seconds").type, schema.field("extras").type) == (pa.float64(), pa.string())
    (row,) = rows_of(tmp_path / "r.parquet")
    assert row["started_at"] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert json.loads(row["extras"]) == {"city": "杭州", "note": "138******01"}
    assert (json.loads(row["tags"]), row["call_seconds"], row["talk_seconds"]) == ({"意向": "有"}, 7.25, None)


@ALL_SUFFIXES
def test_every_format_has_the_same_columns_and_no_number(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, suffix: str
) -> None:
    tell(1, name="Zhang", extras={"note": "call 138 0000 0001 again"})
    tell(2)
    path = tmp_path / f"r.{suffix}"

    written = export(ledger, GROUP, path)

    rows = rows_of(path)
    assert (written["rows"], len(rows)) == (2, 2)
    assert list(rows[0]) == list(COLUMNS)
    assert [row["reference_id"] for row in rows] == ["r-0001", "r-0002"]
    for secret in ("13800000001", "138 0000 0001", "Zhang"):
        assert secret not in str(rows)


def test_a_name_without_suffix_goes_by_the_format_said(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path
) -> None:
    tell(1)
    export(ledger, GROUP, tmp_path / "results", file_format="parquet")

    assert len(parquet.read_table(tmp_path / "results").to_pylist()) == 1
    with pytest.raises(OutboundBotConfigError, match="Parquet is already compressed; omit"):
        export(ledger, GROUP, tmp_path / "r.parquet.gz")


def test_equal_results_are_equal_files(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    tell(1, extras={"a": "b"})
    for suffix in ("csv.gz", "parquet", "jsonl", "xlsx"):
        export(ledger, GROUP, tmp_path / f"1.{suffix}")
        export(ledger, GROUP, tmp_path / f"2.{suffix}")

        assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()


@pytest.mark.parametrize("text", ["＝1+1", "＋1a", "－a", "＠a", "\n=1", "=", "-1+1", "+86 138 0000 0000"])
def test_no_cell_of_a_csv_is_run(ledger: Ledger, tell: Callable[..., None], tmp_path: Path, text: str) -> None:
    tell(1, name=text)

    export(ledger, GROUP, tmp_path / "r.csv", include_phone_number=True)

    with (tmp_path / "r.csv").open(encoding="utf-8-sig", newline="") as file:
        assert next(csv.DictReader(file))["name"] == f"'{text}"


def test_a_job_that_ran_again_is_a_new_revision(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    tell(1, status="Failed", reason="NoAnswer", call="NoAnswer")
    export(ledger, GROUP, tmp_path / "before.jsonl")
    tell(1, call="SucceededFinish", call_id="second")
    tell(1, call="SucceededFinish", call_id="second")

    export(ledger, GROUP, tmp_path / "after.jsonl")

    (before,), (after,) = rows_of(tmp_path / "before.jsonl"), rows_of(tmp_path / "after.jsonl")
    assert (before["outcome"], before["revision"], before["attempts"]) == ("unanswered", 1, 1)
    assert (after["outcome"], after["revision"], after["attempts"]) == ("answered", 2, 2)


def test_a_reference_of_others_that_is_a_number_is_not_shown(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path
) -> None:
    tell(1, reference="13800000001")
    tell(2, reference="customer 13800")

    export(ledger, GROUP, tmp_path / "r.jsonl")
    export(ledger, GROUP, tmp_path / "n.jsonl", include_phone_number=True)

    for name in ("r.jsonl", "n.jsonl"):
        references = [row["reference_id"] for row in rows_of(tmp_path / name)]
        assert max(references).startswith("hmac:")
        assert "customer 13800" in references
        assert "13800000001" not in references


def test_rows_under_a_lost_key_are_written_without_contact_and_said(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sqlalchemy import update

    from airflow_provider_outbound.core.ledger import schema

    tell(1, name="Zhang", call="SucceededFinish", extras={"city": "杭州"})
    tell(2, extras={"city": "北京"})
    lost = Fernet(Fernet.generate_key()).encrypt(b"{}")
    with ledger.write() as connection:
        connection.execute(update(schema.jobs).where(schema.jobs.c.reference_id == "r-0001").values(contact=lost))

    written = export(ledger, GROUP, tmp_path / "r.jsonl", include_phone_number=True)

    first, second = rows_of(tmp_path / "r.jsonl")
    assert written["rows"] == 2
    assert (first["outcome"], first["phone_number"], first["extras"]) == ("answered", None, {})
    assert second["extras"] == {"city": "北京"}
    assert "contacts of 1 row cannot be decrypted" in caplog.text


_SLOW = """
import sys
from pathlib import Path
from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.core.results import export

def slow(original):
    def results(group):
        for number, result in enumerate(original(group)):
            if number == 1:
                print("half", flush=True)
                sys.stdin.read()
            yield result
    return results

with open_ledger(sys.argv[1], [sys.argv[2]]) as ledger:
    ledger.results.iter_results = slow(ledger.results.iter_results)
    export(ledger, "group-1", Path(sys.argv[3]))
"""


@pytest.fixture
def half_way(ledger: Ledger, key: str) -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Starts an export in a process of its own, which stops half way."""
    children: list[subprocess.Popen[bytes]] = []

    def start(path: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _SLOW, str(ledger.engine.url), key, str(path)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


@ALL_SUFFIXES
def test_a_kill_half_way_leaves_the_older_file_and_the_next_export_tidies_up(
    ledger: Ledger,
    tell: Callable[..., None],
    tmp_path: Path,
    half_way: Callable[[Path], subprocess.Popen[bytes]],
    suffix: str,
) -> None:
    path = tmp_path / "out" / f"r[1].{suffix}"
    tell(1)
    export(ledger, GROUP, path)
    tell(2)
    child = half_way(path)

    child.send_signal(signal.SIGKILL)
    child.wait()

    (part,) = [other for other in path.parent.iterdir() if other != path]
    assert part.name.startswith(".")
    assert len(rows_of(path)) == 1
    os.utime(part, (1, 1))
    export(ledger, GROUP, path)
    assert len(rows_of(path)) == 2
    assert list(path.parent.iterdir()) == [path]


def test_another_export_does_not_tidy_up_what_is_being_written(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, half_way: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    path = tmp_path / "out" / "r.jsonl"
    tell(1)
    tell(2)
    child = half_way(path)
    (part,) = path.parent.iterdir()
    os.utime(part, (1, 1))

    export(ledger, GROUP, path)
    child.communicate(b"", timeout=60)

    assert child.returncode == 0
    assert len(rows_of(path)) == 2
    assert list(path.parent.iterdir()) == [path]


def test_two_exports_at_once_leave_one_whole_file(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    for number in range(60):
        tell(number)
    path = tmp_path / "out" / "r.parquet"
    threads = [threading.Thread(target=export, args=(ledger, GROUP, path)) for _ in range(4)]

    for thread in threads:
        thread.start()
    seen = 0
    deadline = time.monotonic() + 60
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        if path.exists():
            assert len(rows_of(path)) == 60
            seen += 1
    for thread in threads:
        thread.join()

    assert len(rows_of(path)) == 60
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["csv", "jsonl.gz", "parquet"])
def test_a_store_gets_whole_files_only(
    ledger: Ledger, tell: Callable[..., None], suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The ledger is broken on purpose: nothing outside it can make a reader fail half way.
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    tell(1)
    path = ObjectStoragePath(f"memory://results-{suffix}/out/r.{suffix}")
    export(ledger, GROUP, path)
    before = path.read_bytes()
    tell(2)
    results = list(ledger.results.iter_results(GROUP))

    def broken(_: str) -> Iterator[Any]:
        yield results[0]
        raise RuntimeError("lost")

    with monkeypatch.context() as patched:
        patched.setattr(ledger.results, "iter_results", broken)
        with pytest.raises(RuntimeError, match="lost"):
            export(ledger, GROUP, path)
    after_failure = path.read_bytes()
    export(ledger, GROUP, path)

    assert after_failure == before
    assert path.read_bytes() != before
    assert [child.name for child in path.parent.iterdir()] == [f"r.{suffix}"]


_MANY = """
import json, resource, sys
from pathlib import Path
from sqlalchemy import create_engine, insert
from airflow_provider_outbound.core.ledger import JobState, open_ledger, schema
from airflow_provider_outbound.core.results import export, export_to_table

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder, rows = Path(sys.argv[1]), int(sys.argv[3])
with open_ledger(f"sqlite:///{folder}/many.db", [sys.argv[2]]) as ledger:
    contact = ledger.cipher.encrypt_json({"phone_number": "13800000000", "extras": {"city": "x" * 40}})
    with ledger.write() as connection:
        ledger.groups.ensure_group(connection, "few")
        ledger.groups.ensure_group(connection, "many")
        for start in range(0, rows + 6000, 2000):
            connection.execute(insert(schema.jobs), [
                {
                    "job_group_id": "few" if number >= rows else "many",
                    "reference_id": f"r-{number:06}",
                    "unique_phone": False,
                    "state": JobState.ACCEPTED,
                    "job_id": f"job-{number}",
                    "status": "Succeeded",
                    "terminal": True,
                    "contact": contact if number % 10 == 0 else None,
                }
                for number in range(start, start + 2000)
            ])
    def run(group):
        with create_engine(f"sqlite:///{folder}/warehouse.db").connect() as connection:
            return [
                export(ledger, group, folder / "r.parquet")["rows"],
                export_to_table(ledger, group, connection, "results")["rows"],
            ]
    few = run("few")
    before = peak()
    many = run("many")
    print(json.dumps({"few": few, "many": many, "grown_kib": peak() - before}))
"""


def test_many_rows_in_constant_memory(tmp_path: Path, key: str) -> None:
    """In a process of its own, whose peak is its alone; what a few thousand rows need does not count as growth."""
    done = subprocess.run(
        [sys.executable, "-c", _MANY, str(tmp_path), key, str(ROWS)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["few"] == [6000] * 2
    assert measured["many"] == [ROWS] * 2
    assert measured["grown_kib"] < 48 * 1024


def test_the_ledger_can_be_read_by_another_process_meanwhile(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, key: str
) -> None:
    tell(1)
    with open_ledger(str(ledger.engine.url), [key]) as other:
        assert export(other, GROUP, tmp_path / "r.csv")["rows"] == 1


def test_who_may_read_a_file_is_kept_and_numbers_are_for_their_owner_alone(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path
) -> None:
    tell(1)
    (tmp_path / "kept.csv").touch()
    (tmp_path / "kept.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to(tmp_path / "kept.csv")

    export(ledger, GROUP, tmp_path / "link.csv")
    for suffix in ("csv", "jsonl.gz", "parquet"):
        export(ledger, GROUP, tmp_path / f"numbers.{suffix}", include_phone_number=True)
        assert (tmp_path / f"numbers.{suffix}").stat().st_mode & 0o777 == 0o600

    assert (tmp_path / "kept.csv").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "link.csv").is_symlink()
    assert len(rows_of(tmp_path / "kept.csv")) == 1
