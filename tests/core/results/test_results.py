"""Results leave the ledger once each, whole, and harmless."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.messages import job_complete, store

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.follow_up import follow_up, from_results
from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger
from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus
from airflow_provider_outbound.core.results import COLUMNS, enrich, export, iter_results
from airflow_provider_outbound.exceptions import JobGroupPurgedError, JobGroupUnknownError, OutboundBotConfigError

GROUP = "group-1"


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_a_job_in_json_lines(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    tell(1, call="SucceededFinish", extras={"city": "杭州"})
    tell(2, status="Failed", reason="NoAnswer", call="NoAnswer")
    tell(2, status="Failed", reason="NoAnswer", call="NoAnswer")
    path = tmp_path / "new" / "results.jsonl"

    written = export(ledger, GROUP, path)

    first, second = rows_of(path)
    assert list(first) == list(COLUMNS)
    assert (first["reference_id"], first["outcome"], first["extras"]) == ("r-0001", "answered", {"city": "杭州"})
    assert (first["attempts"], first["answered"], first["started_at"]) == (1, True, "2023-11-14T22:13:20.000+00:00")
    assert (second["outcome"], second["failure_reason"], second["call_status"]) == ("unanswered",) + ("NoAnswer",) * 2
    assert written == {"path": str(path), "rows": 2, "counts": {"answered": 1, "unanswered": 1}}


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_numbers_and_names_are_written_only_if_asked_for(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, suffix: str
) -> None:
    tell(1, name="Zhang", extras={"note": "or 138-0000-0001"})
    path = tmp_path / f"results.{suffix}"

    export(ledger, GROUP, path)
    without = path.read_text(encoding="utf-8")
    export(ledger, GROUP, path, include_phone_number=True)

    assert "13800000001" not in without
    assert "0000-0001" not in without
    assert "Zhang" not in without
    assert (rows_of(path)[0]["phone_number"], rows_of(path)[0]["name"]) == ("13800000001", "Zhang")


def test_a_csv_holds_no_formula(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    for number, name in enumerate(["=1+1", "+cmd", "-cmd", "@cmd", "\tcmd"], start=1):
        tell(number, name=name, phone=f"+8613800000{number:03}", extras={"note": "=2"})
    path = tmp_path / "results.csv"

    export(ledger, GROUP, path, include_phone_number=True)

    rows = rows_of(path)
    assert [row["name"] for row in rows] == ["'=1+1", "'+cmd", "'-cmd", "'@cmd", "'\tcmd"]
    assert rows[0]["phone_number"] == "+8613800000001"  # a number is no formula, and can be assigned again
    assert json.loads(rows[0]["extras"]) == {"note": "=2"}
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_only_the_outcome_asked_for(ledger: Ledger, tell: Callable[..., None]) -> None:
    tell(1, call="SucceededFinish")
    tell(2, status="Failed", reason="NoAnswer", call="NoAnswer")
    tell(3, status="Failed", reason="ContactBlockList", call="NoAnswer")
    tell(4, status="Failed", reason="TimeUp")
    tell(5, status="Failed", reason="CallFailed", call="Busy")
    tell(6, event="CallFinished", status="Executing", call="NoAnswer")

    def references(only: str) -> list[int]:
        return [int(result.reference_id[2:]) for result in iter_results(ledger, GROUP, only)]

    assert references("answered") == [1]
    # Neither somebody on a block list, nor somebody who will be dialled again.
    assert references("unanswered") == [2, 5]
    assert references("not_dialled") == [3, 4]
    assert references("failed") == [2, 3, 4, 5]
    assert references("Busy") == [5]
    assert references("TimeUp") == [4]
    assert references("Executing") == [6]


def test_a_job_that_goes_on_has_no_outcome_yet(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    tell(1, event="CallFinished", status="Executing", call="NoAnswer")

    written = export(ledger, GROUP, tmp_path / "r.jsonl")

    assert rows_of(tmp_path / "r.jsonl")[0]["outcome"] is None
    assert written["counts"] == {"open": 1}


def test_an_unknown_word_is_refused_with_the_list(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"'unansered' is not one of answered.*unanswered"):
        export(ledger, GROUP, tmp_path / "r.csv", only="unansered")

    assert not list(tmp_path.glob("*.csv"))


def test_an_unknown_format_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"'r.xls' has no known suffix; end it in .jsonl, .csv"):
        export(ledger, GROUP, tmp_path / "r.xls")


def test_a_folder_that_cannot_be_written_is_said_in_words(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path
) -> None:
    tell(1)
    (tmp_path / "file").touch()

    with pytest.raises(OutboundBotConfigError, match="cannot be written: "):
        export(ledger, GROUP, tmp_path / "file" / "r.csv")


def test_a_failure_leaves_the_older_file_and_no_part(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The ledger is broken on purpose: nothing outside it can make a reader fail half way.
    tell(1)
    folder = tmp_path / "out"
    export(ledger, GROUP, folder / "r.jsonl")
    before = (folder / "r.jsonl").read_text()

    def broken(_: str) -> Iterator[Any]:
        yield from [next(ledger.results.__class__.iter_results(ledger.results, GROUP))]
        raise RuntimeError("lost")

    monkeypatch.setattr(ledger.results, "iter_results", broken)
    with pytest.raises(RuntimeError, match="lost"):
        export(ledger, GROUP, folder / "r.jsonl")

    assert (folder / "r.jsonl").read_text() == before
    assert [path.name for path in folder.iterdir()] == ["r.jsonl"]


def test_a_path_in_a_store_is_written_too(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    tell(1)
    for _ in range(2):
        export(ledger, GROUP, ObjectStoragePath(f"file://{tmp_path}/store/r.csv"))

    assert len(rows_of(tmp_path / "store" / "r.csv")) == 1
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["r.csv"]


def test_many_rows_come_once_each(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    store(ledger, *(job_complete(GROUP, f"job-{n}", f"138{n:08}", f"r-{n}", at=1) for n in range(1203)))

    assert export(ledger, GROUP, tmp_path / "r.jsonl")["rows"] == 1203
    assert len({row["reference_id"] for row in rows_of(tmp_path / "r.jsonl")}) == 1203


@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(
    jobs=st.lists(
        st.tuples(
            st.sampled_from(["Succeeded", "Failed", "Cancelled"]),
            st.none() | st.sampled_from([str(reason) for reason in FailureReason]) | st.just("FutureReason"),
            st.none() | st.sampled_from([str(status) for status in CallStatus]) | st.just("FutureStatus"),
        ),
        max_size=8,
    ),
    number=st.integers(min_value=0),
)
def test_the_outcomes_add_up_to_the_jobs(
    ledger: Ledger,
    tell: Callable[..., None],
    tmp_path: Path,
    jobs: list[tuple[str, str | None, str | None]],
    number: int,
) -> None:
    group = f"g-{number}-{len(list(tmp_path.glob('*.jsonl')))}"
    ledger.groups.record(JobGroupRecord(job_group_id=group))
    for index, (status, reason, call) in enumerate(jobs):
        tell(index, group=group, status=status, reason=reason, call=call)
    path = tmp_path / f"{len(list(tmp_path.glob('*.jsonl')))}.jsonl"

    written = export(ledger, group, path)
    summary = ledger.results.summary(group)

    assert written["rows"] == sum(written["counts"].values()) == summary["total"] == len(jobs)
    for outcome in ("answered", "unanswered", "not_dialled"):
        assert written["counts"].get(outcome, 0) == summary[outcome]
        assert sum(1 for _ in iter_results(ledger, group, outcome)) == summary[outcome]
    assert Counter(row["status"] for row in rows_of(path)) == Counter(summary["by_status"])
    blocked = {row["reference_id"] for row in rows_of(path) if row["failure_reason"] == "ContactBlockList"}
    assert not blocked & {result.reference_id for result in iter_results(ledger, group, "unanswered")}
    assert [row for row in rows_of(path) if not JobStatus(row["status"]).is_terminal] == []


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda ledger, group, _: iter_results(ledger, group), id="iter"),
        pytest.param(lambda ledger, group, folder: export(ledger, group, folder / "r.jsonl"), id="export"),
        pytest.param(lambda ledger, group, _: follow_up(ledger, group, "sms"), id="follow-up"),
        pytest.param(
            lambda ledger, group, _: list(from_results(lambda: nullcontext(ledger), group, None)), id="contacts"
        ),
        pytest.param(lambda ledger, group, _: enrich(ledger, cast("OutboundBotClient", None), group), id="enrich"),
    ],
)
def test_a_group_that_is_unknown_or_purged_is_the_same_clear_error_everywhere(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path, read: Callable[..., Any]
) -> None:
    (tmp_path / "r.jsonl").write_text("good\n")
    tell(1, group="purged")
    ledger.retention.purge(timedelta(0), job_group_id="purged")

    with pytest.raises(JobGroupUnknownError, match="job group nine: the ledger does not know it; check the id"):
        read(ledger, "nine", tmp_path)
    with pytest.raises(JobGroupPurgedError, match="job group purged: its rows were purged"):
        read(ledger, "purged", tmp_path)

    assert (tmp_path / "r.jsonl").read_text() == "good\n"
