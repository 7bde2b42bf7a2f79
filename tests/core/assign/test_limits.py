"""What bounds an assignment: max_jobs, the calls a person may have, the length of a request; and awkward sources."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import attrs
import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import update
from support.campaigns import KEY, Campaign, MakeSimulator, numbers

from airflow_provider_outbound.core.contacts import PathLike, from_items, from_path
from airflow_provider_outbound.core.ledger import CallCap, JobGroupRecord, TaskKey, open_ledger, schema
from airflow_provider_outbound.core.models.job import Job, JobGroup
from airflow_provider_outbound.exceptions import (
    OutboundBotApiError,
    OutboundBotContactsError,
    OutboundBotWrongTimeError,
)
from airflow_provider_outbound.simulator.testing import Simulator

WEEK = timedelta(days=7)
DUPLICATES = int(os.environ.get("OUTBOUND_TEST_DUPLICATES", "200000"))


def other_group(campaign: Campaign, name: str) -> Campaign:
    return attrs.evolve(campaign.another(name), key=TaskKey(name, "run", "assign"))


def test_max_jobs_takes_the_first_and_stays_so_in_later_tries(campaign: Campaign) -> None:
    contacts = numbers(20)

    for expected in (12, 0):
        result = campaign.assign(contacts, max_jobs=12)
        assert (result.read, result.assigned, result.newly_assigned, result.capped) == (20, 12, expected, 8)
    assert campaign.each_once(contacts[:12])

    assert campaign.assign(contacts, max_jobs=15).newly_assigned == 3


def test_max_jobs_holds_although_answers_are_lost(campaign: Campaign) -> None:
    campaign.simulator.faults(answer_lost={"actions": ["AssignJobs"], "probability": 0.5})

    campaign.finish(numbers(40), max_jobs=20, settle_seconds=1.0)

    assert campaign.each_once(numbers(20))


def test_a_person_is_not_called_more_often_than_the_cap_by_all_dags_together(campaign: Campaign) -> None:
    cap = CallCap(most=2, period=WEEK)
    campaign.assign(numbers(10))
    second, third = other_group(campaign, "second"), other_group(campaign, "third")

    assert second.assign(numbers(5), cap=cap).capped == 0
    result = third.assign(numbers(10), cap=cap)

    assert (result.assigned, result.capped) == (5, 5)
    assert set(campaign.jobs_per_number().values()) == {2}
    # Those that are in the group already are not counted against themselves.
    assert third.assign(numbers(10), cap=cap).assigned == 5
    # Nor is there a cap for who sets none.
    assert other_group(campaign, "fourth").assign(numbers(10)).assigned == 10


def test_two_groups_that_meet_do_not_both_take_the_last_call(campaign: Campaign, tmp_path: Path) -> None:
    groups = [other_group(campaign, f"group {index}") for index in range(3)]

    def assign(group: Campaign) -> Any:
        path = tmp_path / f"{group.job_group_id}.csv"
        return group.assign(numbers(60), cap=CallCap(most=1, period=WEEK), rejects_path=path)

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(assign, groups))

    assert campaign.each_once(numbers(60))
    assert sum(result.assigned for result in results) == 60
    assert [result.assigned + result.capped for result in results] == [60] * 3
    # Whoever lost the race is in the file, too.
    assert [Path(result.rejects_path).read_text().count(",capped\n") for result in results] == [
        result.capped for result in results
    ]


@pytest.mark.parametrize(
    ("status", "calls", "counted"),
    [
        pytest.param("Succeeded", ["SucceededFinish"] * 3, 3, id="each-call-counts"),
        pytest.param("Cancelled", [], 0, id="cancelled-before-it-rang"),
        pytest.param("Failed", ["ContactBlockList"], 0, id="reported-and-not-dialled"),
        pytest.param("Failed", ["Busy", "ContactBlockList"], 2, id="dialled-before-that"),
        pytest.param("Scheduling", [], 1, id="yet-to-ring"),
    ],
)
def test_what_counts_as_a_call(campaign: Campaign, status: str, calls: Any, counted: Any) -> None:
    (number,) = numbers(1)
    campaign.assign([number])
    (listed,) = campaign.client.list_jobs_by_group(job_group_id=campaign.job_group_id, page_number=1).items
    began = datetime.now(UTC) - timedelta(days=1)
    made = [{"TaskId": f"t{index}", "Status": one, "ActualTime": _ms(began)} for index, one in enumerate(calls)]
    raw = {**listed.raw, "Status": status, "Tasks": made}
    campaign.ledger.results.record_listing(campaign.job_group_id, [Job.from_api(raw)])

    results = [
        other_group(campaign, f"at most {most}").assign([number], cap=CallCap(most=most, period=WEEK)).assigned
        for most in (counted or 1, counted + 1)
    ]

    assert results == ([0, 1] if counted else [1, 0])


def test_calls_before_the_period_do_not_count(campaign: Campaign) -> None:
    campaign.assign(numbers(3))

    later = other_group(campaign, "later")

    assert later.assign(numbers(3), cap=CallCap(most=1, period=timedelta(microseconds=1))).assigned == 3


def test_who_is_yet_to_be_called_counts_however_long_ago_the_contact_was_sent(campaign: Campaign) -> None:
    """Assigned at night, for a window in the afternoon: a run in the morning would call everybody once more."""
    cap = CallCap(most=1, period=timedelta(hours=7))
    campaign.simulator.set_clock(speed=0)
    now = datetime.now(UTC)
    ends = {"tonight": now + timedelta(hours=8), "over": now - timedelta(hours=8)}
    results = {}
    for name, ends_at in ends.items():
        group = other_group(campaign, name)
        group.ledger.groups.record(JobGroupRecord(job_group_id=group.job_group_id, ends_at=ends_at))
        people = [f"13{len(name):02}{index:07}" for index in range(3)]
        group.assign(people)
        with group.ledger.write() as connection:
            ours = schema.jobs.c.job_group_id == group.job_group_id
            connection.execute(update(schema.jobs).where(ours).values(sent_at=now - timedelta(hours=10)))

        results[name] = other_group(campaign, f"after {name}").assign(people, cap=cap)
        # Nobody counts against the group that has the contact already.
        assert group.assign(people, cap=cap).assigned == 3

    assert {name: (result.assigned, result.capped) for name, result in results.items()} == {
        "tonight": (0, 3),
        "over": (3, 0),
    }


def test_who_was_read_back_from_the_service_counts(campaign: Campaign, tmp_path: Path) -> None:
    """As after a restore of the ledger: when these people were assigned is not known any more."""
    campaign.simulator.set_clock(speed=0)
    people = numbers(3)
    campaign.assign(people)
    with open_ledger(f"sqlite:///{tmp_path}/restored.db", [KEY]) as restored:
        again = attrs.evolve(campaign, ledger=restored)
        assert again.assign(people).newly_assigned == 0

        result = other_group(again, "later").assign(people, cap=CallCap(most=1, period=WEEK))

    assert (result.assigned, result.capped) == (0, 3)
    assert campaign.each_once(people)


def test_long_contacts_go_in_smaller_requests(campaign: Campaign) -> None:
    contacts = [{"phone": number, "note": "好" * 3_000} for number in numbers(20)]
    shorter = [{"phone": number, "note": "x" * 10_000} for number in numbers(40)[20:]]

    result = campaign.assign([*contacts, *shorter], batch_size=20)

    assert (result.assigned, result.unresolved) == (40, 0)
    assert campaign.each_once(numbers(40))
    jobs = [job for group in campaign.simulator.state()["groups"].values() for job in group["jobs"]]
    assert len(jobs) == 40
    assert campaign.requests("AssignJobs") > 4


def test_names_that_templates_or_databases_trip_over(campaign: Campaign) -> None:
    names = ["{{ ds }}", "NUL\x00NUL", "';DROP TABLE jobs;--", "李\u202e宁", "\ud800", "a\r\nb", "%s %(x)s", "😀" * 50]
    contacts = [{"phone": number, "name": name, "k{{}}": name} for number, name in zip(numbers(8), names, strict=True)]

    assert campaign.assign(contacts).assigned == 8

    listed = campaign.client.list_jobs_by_group(job_group_id=campaign.job_group_id, page_number=1).items
    sent = {job.raw["Contacts"][0]["ContactName"] for job in listed}
    assert {"{{ ds }}", "NUL NUL", "';DROP TABLE jobs;--", "a  b", "%s %(x)s"} <= sent
    assert {item.name for item in campaign.ledger.results.iter_results(campaign.job_group_id)} == sent


def test_many_duplicates_are_one_job(campaign: Campaign) -> None:
    (number,) = numbers(1)

    contacts = from_items({"phone": number} for _ in range(DUPLICATES))
    result = campaign.assign(contacts, on_invalid="skip", lease_seconds=60)

    assert (result.read, result.assigned, result.duplicates) == (DUPLICATES, 1, DUPLICATES - 1)


def test_an_iterator_is_assigned_and_stops_at_the_first_row_that_is_no_contact(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*numbers(7), "nonsense", *numbers(12)[7:]]

    with pytest.raises(OutboundBotContactsError, match=r'row 8 .*; fix it, or pass on_invalid="skip"\. ') as caught:
        campaign.assign(from_items(iter(rows)))

    assert str(caught.value).count("fix") == 1
    assert "they are not checked before the first is assigned" in caplog.text
    assert set(campaign.jobs_per_number()) <= set(numbers(7))
    result = campaign.assign(from_items(iter(numbers(12))))
    assert (result.read, result.assigned) == (12, 12)
    assert campaign.each_once(numbers(12))


def test_an_iterator_whose_bad_rows_are_skipped(campaign: Campaign) -> None:
    result = campaign.assign(from_items(iter([*numbers(3), "nonsense"])), on_invalid="skip")

    assert (result.assigned, result.rejected) == (3, 1)


def test_a_source_that_disappears_half_way_loses_nothing(campaign: Campaign, tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"

    def rows() -> Iterator[Any]:
        for number in numbers(12):
            yield {"phone": number}
        raise OSError("the mount is gone")

    with pytest.raises(OSError, match="gone"):
        campaign.assign(from_items(rows()), on_invalid="skip")
    path.write_text("".join(json.dumps({"phone": number}) + "\n" for number in numbers(20)))

    result = campaign.assign(from_path(path))

    assert (result.read, result.assigned, result.unresolved) == (20, 20, 0)
    assert campaign.each_once(numbers(20))


def test_a_file_that_is_broken_half_way_says_who_was_called_and_a_retry_continues(
    campaign: Campaign, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    people = numbers(450)
    how: dict[str, Any] = {"batch_size": 50, "lease_seconds": 60.0}
    whole = "phone,name\n" + "".join(f"{number},Li\n" for number in people)
    path.write_text(whole.replace(f"{people[430]},Li", f'{people[430]},"Li'))

    with pytest.raises(OutboundBotContactsError, match=r"people\.csv line 432: a quote opens .*Nobody was called"):
        campaign.assign(from_path(path), on_invalid="fail", **how)
    assert campaign.jobs_per_number() == {}
    with pytest.raises(OutboundBotContactsError, match=r"people\.csv line 432: a quote opens a cell") as caught:
        campaign.assign(from_path(path), on_invalid="skip", **how)
    called = campaign.jobs_per_number()
    assert 0 < len(called) <= 430
    assert f"{len(called)} contacts are assigned already; the others are not" in str(caught.value)

    path.write_text(whole)
    result = campaign.assign(from_path(path), on_invalid="skip", **how)

    assert (result.read, result.assigned, result.unresolved) == (450, 450, 0)
    assert campaign.each_once(people)


def test_an_error_after_the_first_calls_does_not_say_that_nobody_was_called(campaign: Campaign, tmp_path: Path) -> None:
    """The second file has the fault, and its error names no half-true ending of its own."""
    narrow = pa.table({"phone": pa.array([13800000000.0], pa.float32())})
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "1.csv").write_text("phone\n" + "\n".join(numbers(450)))
    parquet.write_table(narrow, folder / "2.parquet")

    with pytest.raises(OutboundBotContactsError, match="float32") as caught:
        campaign.assign(from_path(folder), on_invalid="skip", batch_size=50, lease_seconds=60.0)

    assert "Nobody was called" not in str(caught.value)
    assert f"{len(campaign.jobs_per_number())} contacts are assigned already" in str(caught.value)


def test_a_window_that_ends_meanwhile_says_who_was_called(campaign: Campaign) -> None:
    asked = []

    def guard(_group: JobGroup) -> None:
        asked.append(campaign.jobs_per_number())
        if asked[-1]:
            raise OutboundBotWrongTimeError("the strategy's window was over; pass a later end. Nobody was called")

    with pytest.raises(OutboundBotWrongTimeError) as caught:
        campaign.assign(numbers(450), guard=guard, batch_size=50, max_parallel_requests=1)

    called = len(campaign.jobs_per_number())
    assert 0 < called < 450
    assert str(caught.value) == (
        f"the strategy's window was over; pass a later end. {called} contacts are assigned already; the others are not"
    )


def test_a_window_that_ends_before_contacts_are_sent_again_says_who_was_called(campaign: Campaign) -> None:
    """The first request of 40 is lost, and the rules refuse to send it again after the others were assigned."""
    campaign.simulator.faults(reset={"actions": ["AssignJobs"], "times": 1})

    def guard(_group: JobGroup) -> None:
        if len(campaign.jobs_per_number()) == 35:
            raise OutboundBotWrongTimeError("dialling now is outside calling_hours. Nobody was called")

    with pytest.raises(OutboundBotWrongTimeError) as caught:
        campaign.assign(numbers(40), guard=guard, max_parallel_requests=1)

    assert str(caught.value) == (
        "dialling now is outside calling_hours. 35 contacts are assigned already, and 5 more may be; the others are not"
    )
    assert len(campaign.jobs_per_number()) == 35


def test_a_refusal_part_way_says_who_was_called(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    refused = OutboundBotApiError("AssignJobs", "InvalidParameter", in_doubt=False)
    asked = []

    def guard(_group: JobGroup) -> None:
        asked.append(campaign.jobs_per_number())
        if asked[-1]:
            raise refused

    with pytest.raises(OutboundBotApiError):
        campaign.assign(numbers(450), guard=guard, batch_size=50, max_parallel_requests=1)

    called = len(campaign.jobs_per_number())
    assert 0 < called < 450
    assert f"{called} contacts are assigned already; the others are not" in caplog.text


def test_a_group_that_is_all_assigned_is_read_once_more_only(campaign: Campaign, tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text("".join(json.dumps({"phone": number}) + "\n" for number in numbers(20)))
    campaign.assign(from_path(path))

    opened = []

    @attrs.frozen
    class Counted:
        name: str = path.name

        def open(self, mode: Any) -> Any:
            opened.append(mode)
            return path.open(mode)

    assert campaign.assign(from_path(cast("PathLike", Counted()))).newly_assigned == 0
    assert opened == ["rb"]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def test_a_service_that_bears_few_requests_a_second_gets_few(
    simulator_factory: MakeSimulator, make_campaign: Callable[[Simulator], Campaign]
) -> None:
    campaign = make_campaign(simulator_factory(max_requests_per_second=12))

    assert campaign.assign(numbers(150), max_parallel_requests=8).assigned == 150

    assert campaign.each_once(numbers(150))
    counts = campaign.simulator.run(lambda cloud: cloud.counts())
    assert 0 < counts["throttled"] < counts["requests"]["AssignJobs"] / 2
