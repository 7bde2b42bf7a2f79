"""One row for each call, from messages, from listings and from DescribeJob; and what was said, for its owner alone."""

from __future__ import annotations

import csv
import json
import re
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from sqlalchemy import Engine, text
from support.dialled import DialledCampaign
from support.messages import call, job_complete, store

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.core.results import count_tags, export, export_to_table
from airflow_provider_outbound.core.results.columns import CALL_COLUMNS
from airflow_provider_outbound.exceptions import OutboundBotConfigError

GROUP = "group-1"
#: Interested, no answer at first and then a conversation, no answer, not dialled.
NUMBERS = [f"138000000{digits:02}" for digits in (0, 52, 60, 88)]
DIGITS = re.compile(r"138\d{8}")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def moment(value: str) -> datetime:
    return datetime.fromisoformat(value)


@pytest.fixture
def redialled(campaign: DialledCampaign) -> DialledCampaign:
    """A campaign in which each person may be called twice."""
    campaign.job_group_id = campaign.new_group("twice", strategy_json=json.dumps(TWICE))
    campaign.dial(NUMBERS)
    return campaign


TWICE = {
    "maxAttemptsPerDay": 2,
    "minAttemptInterval": 0,
    "workingTime": [{"beginTime": "00:00:00", "endTime": "23:59:59"}],
}


def calls_of(campaign: DialledCampaign, path: Path, **arguments: Any) -> list[dict[str, Any]]:
    campaign.export(path, level="call", **arguments)
    return lines(path)


def test_each_call_is_a_row_with_what_messages_reported(redialled: DialledCampaign, tmp_path: Path) -> None:
    redialled.collect()

    rows = calls_of(redialled, tmp_path / "r.jsonl")

    expected = [
        (job["reference_id"], attempt, call["task_id"], call["status"])
        for job in redialled.jobs()
        for attempt, call in enumerate(job["calls"], start=1)
    ]
    assert [(r["reference_id"], r["attempt"], r["task_id"], r["status"]) for r in rows] == sorted(expected)
    assert len(rows) == 6
    assert list(rows[0]) == list(CALL_COLUMNS)
    assert all(moment(row["started_at"]) <= moment(row["ended_at"]) for row in rows)
    # Nothing but the API reports these.
    assert {row["sip_code"] for row in rows} == {row["hang_up_side"] for row in rows} == {None}


def test_what_the_api_adds_belongs_to_the_same_calls(redialled: DialledCampaign, tmp_path: Path) -> None:
    redialled.collect()
    before = calls_of(redialled, tmp_path / "before.jsonl")

    asked = redialled.enrich(level="call")
    rows = calls_of(redialled, tmp_path / "r.jsonl")

    assert asked == redialled.requests("DescribeJob") == 3  # the fourth was not dialled
    same = ("reference_id", "attempt", "task_id", "status", "started_at", "ended_at")
    assert [[row[name] for name in same] for row in rows] == [[row[name] for name in same] for row in before]
    by_status = {row["status"]: row for row in rows}
    answered, unanswered = by_status["SucceededFinish"], by_status["NoAnswer"]
    assert (answered["sip_code"], answered["hang_up_side"], answered["end_reason"]) == ("200", "ivr", "FINISHED")
    assert (unanswered["sip_code"], unanswered["talk_seconds"], unanswered["answered_at"]) == ("480", None, None)
    whole = (moment(answered["ended_at"]) - moment(answered["started_at"])).total_seconds()
    assert answered["ringing_seconds"] + answered["talk_seconds"] == pytest.approx(whole, abs=0.002)
    assert moment(answered["started_at"]) <= moment(answered["answered_at"]) <= moment(answered["ended_at"])
    assert redialled.enrich(level="call") == 0


def test_a_call_that_only_a_listing_reported_is_one_call(redialled: DialledCampaign, tmp_path: Path) -> None:
    listed = redialled.client.iter_jobs_with_result(job_group_id=redialled.job_group_id)
    redialled.ledger.results.record_listing(redialled.job_group_id, listed)
    alone = calls_of(redialled, tmp_path / "alone.jsonl", only="answered")

    redialled.enrich(level="call")
    rows = calls_of(redialled, tmp_path / "r.jsonl", only="answered")

    assert [(row["reference_id"], row["attempt"], row["task_id"]) for row in alone] == [
        ("r-0000", 1, None),
        ("r-0001", 1, None),
    ]
    assert [(row["reference_id"], row["attempt"]) for row in rows] == [("r-0000", 1), ("r-0001", 1), ("r-0001", 2)]
    assert None not in [row["task_id"] for row in rows]


def test_the_time_of_an_answer_comes_from_its_message(
    ledger: Ledger, tell: Callable[..., None], tmp_path: Path
) -> None:
    began = 1_700_000_000_000
    for event, at, end in (("CallAnswered", 4_000, None), ("CallAnswered", 4_500, None), ("JobComplete", 9_000, 9_000)):
        status = "SucceededFinish" if end else "Executing"
        body = job_complete(
            GROUP,
            "job",
            "13800000001",
            "r",
            call("call", status, began, endTime=end and began + end, callingNumber="02155550000"),
            at=began + at,
            eventType=event,
            status="Succeeded" if end else "Executing",
        )
        store(ledger, body)

    export(ledger, GROUP, tmp_path / "r.jsonl", level="call")

    (row,) = lines(tmp_path / "r.jsonl")
    assert (row["ringing_seconds"], row["talk_seconds"], row["calling_number"]) == (4.0, 5.0, "021******00")
    assert row["answered_at"] == "2023-11-14T22:13:24.000+00:00"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_numbers_are_in_a_file_of_calls_only_if_asked_for(
    redialled: DialledCampaign, tmp_path: Path, suffix: str
) -> None:
    redialled.collect()
    arguments: dict[str, Any] = {"level": "call"}

    without = redialled.export(tmp_path / f"without.{suffix}", **arguments)
    redialled.export(tmp_path / f"with.{suffix}", include_phone_number=True, **arguments)

    def read(name: str) -> str:
        path = tmp_path / f"{name}.{suffix}"
        return str(parquet.read_table(path).to_pylist()) if suffix == "parquet" else path.read_text()

    assert (without["rows"], without["counts"]) == (6, {"answered": 2, "not_dialled": 1, "unanswered": 3})
    assert not DIGITS.search(read("without"))
    assert len(set(DIGITS.findall(read("with")))) == 4
    assert stat.S_IMODE((tmp_path / f"with.{suffix}").stat().st_mode) == 0o600


def test_a_table_of_calls_is_replaced_row_by_row(redialled: DialledCampaign, warehouse: Engine) -> None:
    redialled.collect()
    with warehouse.connect() as connection:
        export_to_table(redialled.ledger, redialled.job_group_id, connection, "calls", level="call")
    redialled.enrich(level="call", conversation=True)

    with warehouse.connect() as connection:
        for _ in range(2):
            result = export_to_table(redialled.ledger, redialled.job_group_id, connection, "calls", level="call")
        with pytest.raises(OutboundBotConfigError, match="lacks the columns conversation"):
            export_to_table(
                redialled.ledger, redialled.job_group_id, connection, "calls", level="call", conversation=True
            )
        rows = connection.execute(text("SELECT reference_id, attempt, sip_code FROM calls ORDER BY 1, 2")).all()

    assert (result["rows"], len(rows)) == (6, 6)
    assert [tuple(row) for row in rows[:3]] == [("r-0000", 1, "200"), ("r-0001", 1, "480"), ("r-0001", 2, "200")]


def test_a_call_that_two_reports_showed_as_two_leaves_one_row_in_a_table(
    redialled: DialledCampaign, warehouse: Engine
) -> None:
    """The listing knows when it began; the message that names it does not, until a later one does."""
    (job,) = [job for job in redialled.jobs() if job["reference_id"] == "r-0000"]
    (made,) = job["calls"]
    listed = redialled.client.iter_jobs_with_result(job_group_id=redialled.job_group_id)
    redialled.ledger.results.record_listing(redialled.job_group_id, listed)
    named = call(made["task_id"], made["status"], None)
    redialled.tell(job, eventType="CallFinished", status="Executing", tasks=[named])

    def attempts() -> list[Any]:
        with warehouse.connect() as connection:
            export_to_table(redialled.ledger, redialled.job_group_id, connection, "calls", level="call")
            found = connection.execute(text("SELECT reference_id, attempt FROM calls ORDER BY 1, 2")).all()
        return [row.attempt for row in found if row.reference_id == "r-0000"]

    before = attempts()
    redialled.collect()

    assert (before, attempts()) == ([1, 2], [1])


def test_a_table_of_jobs_is_not_taken_for_one_of_calls(redialled: DialledCampaign, warehouse: Engine) -> None:
    redialled.collect()

    with warehouse.connect() as connection:
        connection.execute(
            text(
                "CREATE TABLE t (job_group_id varchar(128), reference_id varchar(256),"
                " PRIMARY KEY (job_group_id, reference_id))"
            )
        )
        for name in CALL_COLUMNS[2:]:
            connection.execute(text(f"ALTER TABLE t ADD COLUMN {name} text"))
        connection.commit()
        with pytest.raises(OutboundBotConfigError, match="no unique key of job_group_id and reference_id and attempt"):
            export_to_table(redialled.ledger, redialled.job_group_id, connection, "t", level="call")
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 0


class TestConversations:
    """``conversation=True``."""

    SAID = ("您好,请问您现在方便吗?", "好的,你说。", "好的,再见。")

    @pytest.fixture
    def said(self, redialled: DialledCampaign) -> DialledCampaign:
        redialled.collect()
        redialled.enrich(conversation=True)
        return redialled

    @pytest.mark.parametrize("level", ["job", "call"])
    @pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
    def test_is_an_object_of_its_row(self, said: DialledCampaign, tmp_path: Path, suffix: str, level: str) -> None:
        path = tmp_path / f"r.{suffix}"

        result = said.export(path, conversation=True, level=level)

        rows = lines(path) if suffix == "jsonl" else parquet.read_table(path).to_pylist()
        turns = rows[0]["conversation"] if suffix == "jsonl" else json.loads(rows[0]["conversation"])
        assert [turn["speaker"] for turn in turns] == ["Robot", "Contact", "Robot"]
        assert tuple(turn["text"] for turn in turns) == self.SAID
        assert [moment(turn["at"]) for turn in turns] == sorted(moment(turn["at"]) for turn in turns)
        assert {bool(row["conversation"]) for row in rows if row["status"] in ("NoAnswer", "Failed")} == {False}
        assert "conversation_path" not in result
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("gz", ["", ".gz"])
    def test_is_a_second_file_beside_a_csv(self, said: DialledCampaign, tmp_path: Path, gz: str) -> None:
        import gzip

        result = said.export(tmp_path / f"r.csv{gz}", conversation=True)

        path = tmp_path / f"r.conversation.jsonl{gz}"
        content = gzip.decompress(path.read_bytes()) if gz else path.read_bytes()
        found = [json.loads(line) for line in content.decode().splitlines()]
        assert result["conversation_path"] == str(path)
        assert [row["reference_id"] for row in found] == ["r-0000", "r-0001"]
        assert list(found[0]) == ["job_group_id", "reference_id", "job_id", "conversation"]
        assert tuple(turn["text"] for turn in found[0]["conversation"]) == self.SAID
        assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob("r.*")} == {0o600}
        if not gz:
            with (tmp_path / "r.csv").open(encoding="utf-8-sig", newline="") as file:
                assert "conversation" not in next(csv.reader(file))

    def test_is_not_exported_before_it_was_fetched(self, redialled: DialledCampaign, tmp_path: Path) -> None:
        redialled.collect()
        redialled.enrich()

        with pytest.raises(
            OutboundBotConfigError, match=r"conversation: what was said in 2 answered jobs .* enrich=True"
        ):
            redialled.export(tmp_path / "r.jsonl", conversation=True)

        assert not list(tmp_path.glob("r.*"))

    def test_is_neither_stored_unasked_nor_readable_in_the_ledger(
        self, redialled: DialledCampaign, tmp_path: Path
    ) -> None:
        redialled.collect()
        redialled.enrich(level="call")
        before = [r.details for r in redialled.ledger.results.iter_results(redialled.job_group_id) if r.details]
        redialled.enrich(conversation=True)
        redialled.ledger.close()

        assert {call.conversation for details in before for call in details.calls} == {None}
        said = self.SAID[1].encode()
        assert not [path for path in tmp_path.glob("ledger.db*") if said in path.read_bytes()]

    def test_numbers_that_were_spoken_are_masked(self, said: DialledCampaign, tmp_path: Path) -> None:
        import attrs

        from airflow_provider_outbound.core.models.job_details import Turn

        result = next(iter(said.ledger.results.iter_results(said.job_group_id)))
        turn = Turn(speaker="Contact", text="打我另一个号码 13912345678")
        assert result.details is not None
        calls = tuple(attrs.evolve(call, conversation=(turn,)) for call in result.details.calls)
        said.ledger.details.save([(result, attrs.evolve(result.details, calls=calls))])

        texts = []
        for shown in (False, True):
            said.export(tmp_path / "r.jsonl", conversation=True, include_phone_number=shown)
            texts.append(lines(tmp_path / "r.jsonl")[0]["conversation"][0]["text"])

        assert texts == ["打我另一个号码 139******78", "打我另一个号码 13912345678"]


class TestCounts:
    """The funnel of an export, and the tags of a group."""

    def test_the_funnel_is_there_once_all_details_are(self, redialled: DialledCampaign, tmp_path: Path) -> None:
        redialled.collect()
        before = redialled.export(tmp_path / "r.jsonl")["counts"]
        redialled.enrich()

        counts = redialled.export(tmp_path / "r.jsonl")["counts"]

        assert before == {"answered": 2, "not_dialled": 1, "unanswered": 1}
        assert counts == before | {"funnel": {"dialled": 3, "answered": 2, "finished": 2, "tagged": 1}}

    def test_tags_are_counted_by_value(self, redialled: DialledCampaign) -> None:
        redialled.collect()
        before = count_tags(redialled.ledger, redialled.job_group_id)
        redialled.enrich()

        assert before == {}
        assert count_tags(redialled.ledger, redialled.job_group_id) == {"intent=interested": 1}

    @pytest.mark.parametrize(
        ("values", "counted"),
        [
            pytest.param([f"address {number}" for number in range(30)], {"said": 30}, id="many-values"),
            pytest.param(["x" * 41, "yes"], {"said": 2}, id="long"),
            pytest.param(["13912345678", "yes"], {"said": 2}, id="number"),
            pytest.param(["yes", "yes", "no"], {"said=yes": 2, "said=no": 1}, id="few"),
        ],
    )
    def test_what_people_said_is_not_in_the_counts(
        self, ledger: Ledger, tell: Callable[..., None], values: list[str], counted: dict[str, int]
    ) -> None:
        from airflow_provider_outbound.core.ledger import JobDetails

        for number in range(len(values)):
            tell(number, call="SucceededFinish")
        results = list(ledger.results.iter_results(GROUP))
        ledger.details.save(
            [(result, JobDetails(tags={"said": value})) for result, value in zip(results, values, strict=True)]
        )

        assert count_tags(ledger, GROUP) == counted


def test_an_unknown_level_is_refused(ledger: Ledger, tell: Callable[..., None], tmp_path: Path) -> None:
    tell(1)

    with pytest.raises(OutboundBotConfigError, match="level: 'calls' is not one of 'job', 'call'"):
        export(ledger, GROUP, tmp_path / "r.csv", level="calls")

    assert not (tmp_path / "r.csv").exists()
