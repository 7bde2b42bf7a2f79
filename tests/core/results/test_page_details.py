"""Tags, durations and ends of many jobs come in pages; what a page does not say for certain is asked for job by job."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dialled import DialledCampaign
from support.examples import examples

from airflow_provider_outbound.core.ledger import JobDetails, open_ledger
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.core.results.parse_details import details_of, details_of_row
from airflow_provider_outbound.exceptions import OutboundBotError

#: Interested, refused, without tags, hung up by the person, and nobody answers.
DIGITS = ("00", "38", "54", "43", "60")
NUMBERS = [f"138{index:06}{DIGITS[index % 5]}" for index in range(150)]
ANSWERED = 120
#: Pages of 100 answered jobs, and those that are compared with DescribeJob: one for each set of tags, three without.
PAGES, SAMPLES = 2, 5


def details_by_reference(campaign: DialledCampaign) -> dict[str, JobDetails | None]:
    return {
        r.reference_id: r.details for r in campaign.ledger.results.iter_results(campaign.job_group_id) if r.answered
    }


def truth(campaign: DialledCampaign) -> dict[str, JobDetails]:
    """What DescribeJob says about each answered job, by reference."""
    jobs = [job for job in campaign.jobs() if job["calls"] and job["calls"][-1]["status"].startswith("Succeeded")]
    return {job["reference_id"]: details_of(campaign.client.describe_job(job_id=job["job_id"])) for job in jobs}


def assert_all_right(campaign: DialledCampaign) -> None:
    """Each answered job has its own details."""
    found, expected = details_by_reference(campaign), truth(campaign)
    assert set(found) == set(expected)
    for reference, right in expected.items():
        details = found[reference]
        assert details is not None
        assert dict(details.tags) == dict(right.tags)
        assert (details.hang_up_side, details.conversation_end) == (right.hang_up_side, right.conversation_end)
        for name in ("call_seconds", "ringing_seconds", "talk_seconds"):
            assert getattr(details, name) == pytest.approx(getattr(right, name), abs=0.003)


@pytest.fixture
def many(campaign: DialledCampaign) -> DialledCampaign:
    """150 jobs, 120 of them answered, and the messages about them."""
    campaign.dial(NUMBERS)
    campaign.collect()
    return campaign


def run(campaign: DialledCampaign, **arguments: Any) -> int:
    return campaign.enrich(**arguments)


def asked(campaign: DialledCampaign) -> tuple[int, int]:
    return campaign.requests("QueryJobsWithResult"), campaign.requests("DescribeJob")


def test_pages_say_the_same_as_one_request_for_each_job(many: DialledCampaign) -> None:
    fetched = run(many)

    assert (fetched, asked(many)) == (ANSWERED, (PAGES, SAMPLES))
    assert_all_right(many)
    assert run(many) == 0


def test_pages_whose_order_changes_lose_and_mix_nothing(many: DialledCampaign) -> None:
    many.simulator.faults(listing_reshuffle=True, numbers_masked=True)

    assert run(many) == ANSWERED
    many.simulator.faults()
    assert sum(asked(many)) < ANSWERED / 2
    assert_all_right(many)


def test_a_row_under_the_reference_of_another_job_is_not_believed(many: DialledCampaign) -> None:
    one, other = (many.jobs()[index] for index in (0, 1))

    def swap(cloud: Any) -> None:
        jobs = [cloud.jobs[job["job_id"]] for job in (one, other)]
        jobs[0].contacts, jobs[1].contacts = (
            [{**jobs[index].contacts[0], "referenceId": jobs[1 - index].reference_id}] for index in (0, 1)
        )

    many.simulator.run(swap)

    assert run(many) == ANSWERED
    assert asked(many) == (PAGES, SAMPLES + 2)
    found = details_by_reference(many)
    tags = {reference: dict(details.tags) for reference, details in found.items() if details is not None}
    assert tags[one["reference_id"]] == {"intent": "interested"}
    assert tags[other["reference_id"]] == {"intent": "refused", "do_not_call": "yes"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda call: setattr(call, "started_at", call.started_at + 60), id="another-call"),
        pytest.param(lambda call: setattr(call, "status", "SucceededClientHangUp"), id="another-end"),
    ],
)
def test_a_job_that_was_called_again_meanwhile_is_asked_for(many: DialledCampaign, change: Any) -> None:
    job_id = many.jobs()[0]["job_id"]
    many.simulator.run(lambda cloud: change(cloud.jobs[job_id].calls[-1]))

    assert run(many) == ANSWERED
    assert asked(many) == (PAGES, SAMPLES + 1)


def test_a_service_whose_pages_name_tags_differently_is_asked_for_each_job(
    many: DialledCampaign, caplog: pytest.LogCaptureFixture
) -> None:
    many.simulator.faults(tags_renamed=True)

    with caplog.at_level(logging.WARNING):
        assert run(many) == ANSWERED

    assert "report different tags; each job is asked for" in caplog.text
    assert asked(many) == (1, 1 + ANSWERED)
    assert_all_right(many)


def test_pages_without_any_tags_are_not_believed(campaign: DialledCampaign) -> None:
    """They look the same whether nobody has a tag or the pages leave tags out."""
    campaign.dial([f"138{index:06}54" for index in range(30)])
    campaign.collect()

    assert run(campaign) == 30
    assert asked(campaign) == (1, 30)


def test_tags_that_no_sample_had_are_asked_for(campaign: DialledCampaign) -> None:
    # The last of two pages has the only two people with these tags.
    campaign.dial([f"138{index:06}{'38' if index > 147 else '00'}" for index in range(150)])
    campaign.collect()

    assert run(campaign) == 150
    assert asked(campaign) == (2, 1 + 2)
    assert_all_right(campaign)


def test_without_the_ends_of_calls_pages_have_the_tags_alone(campaign: DialledCampaign) -> None:
    campaign.dial(NUMBERS)
    campaign.collect(ends=False)

    assert run(campaign, tags_only=True) == ANSWERED
    assert asked(campaign) == (PAGES, SAMPLES)
    tags = {name: dict(details.tags) for name, details in details_by_reference(campaign).items() if details}
    assert tags == {name: dict(details.tags) for name, details in truth(campaign).items()}
    before = asked(campaign)[1]
    assert run(campaign) == ANSWERED
    assert asked(campaign) == (PAGES, before + ANSWERED)
    assert_all_right(campaign)


def test_a_few_are_asked_for_one_by_one(many: DialledCampaign) -> None:
    run(many)
    with many.ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM details WHERE reference_id < 'r-0020'")
    before = asked(many)

    assert run(many) == 16
    assert asked(many) == (before[0], before[1] + 16)


def test_pages_read_before_a_failure_are_kept(many: DialledCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    # One method of the client is broken on purpose: the service's own faults cannot begin at the second page.
    original = many.client.query_jobs_with_result

    def breaks(**arguments: Any) -> Any:
        if arguments["page_number"] == 2:
            raise OutboundBotError("out of order")
        return original(**arguments)

    monkeypatch.setattr(many.client, "query_jobs_with_result", breaks)
    with pytest.raises(OutboundBotError, match="out of order"):
        run(many)
    monkeypatch.undo()

    assert sum(details is not None for details in details_by_reference(many).values()) == 100
    assert run(many) == 20


@pytest.mark.parametrize(
    ("task", "tags"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"Extras": [{"Key": "a", "Value": "1"}]}, {"a": "1"}, id="collected"),
        pytest.param({"TagHits": [{"TagGroup": "a", "TagName": "1"}]}, {"a": "1"}, id="older-canvas"),
        pytest.param(
            {"Extras": [{"Key": "a", "Value": "1"}], "TagHits": [{"TagGroup": "a", "TagName": "2"}]},
            None,
            id="contradiction",
        ),
        pytest.param({"TagHits": [{"TagGroup": "a", "TagName": name} for name in "12"]}, None, id="two-values"),
        pytest.param({"Extras": [{"Key": "a", "Value": name} for name in "12"]}, None, id="same-key-twice"),
        pytest.param({"Extras": [{"Value": "1"}]}, None, id="without-a-name"),
        pytest.param({"Extras": "a=1"}, None, id="text"),
        pytest.param({"TagHits": {"a": "1"}}, None, id="object"),
    ],
)
def test_tags_that_are_not_understood_completely_are_not_read(
    task: dict[str, Any], tags: dict[str, str] | None
) -> None:
    row = {"Id": "j", "Status": "Succeeded", "LatestTask": {"Status": "SucceededFinish", **task}}

    details = details_of_row(Job.from_query(row, "g"), None)

    assert (None if details is None else dict(details.tags)) == tags


WORDS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=8) | st.binary()
VALUES = st.recursive(
    WORDS.filter(lambda value: not isinstance(value, bytes)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Key", "Value", "TagGroup", "TagName", "Script", "Speaker"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
TASKS = st.fixed_dictionaries(
    {"Status": st.just("SucceededFinish")},
    optional=dict.fromkeys(
        ("CallTime", "CallDuration", "Extras", "TagHits", "HangUpDirection", "TaskEndReason"), VALUES
    ),
)


@settings(max_examples=examples(300), deadline=None)
@given(TASKS, st.none() | st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)))  # noqa: DTZ001
def test_whatever_a_row_holds_it_is_read_or_left_out(task: dict[str, Any], ended_at: datetime | None) -> None:
    job = Job.from_query({"Id": "j", "Status": "Succeeded", "LatestTask": task}, "g")

    details = details_of_row(job, ended_at)

    if details is not None:
        kept = json.loads(json.dumps(details.to_json()))
        assert JobDetails.from_json(kept) == details
        seconds = (details.call_seconds, details.ringing_seconds, details.talk_seconds)
        assert all(value is None for value in seconds) or all(value is not None and value >= 0 for value in seconds)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["Conversation", "SipCode", "EndTime", "ActualTime", "Status"]), VALUES))
)
def test_whatever_describe_job_answers_is_stored_and_read_again(tasks: list[dict[str, Any]]) -> None:
    job = Job.from_api({"JobId": "j", "Tasks": tasks})

    details = details_of(job, conversations=True)

    assert JobDetails.from_json(json.loads(json.dumps(details.to_json()))) == details


def test_details_of_an_earlier_version_are_read(campaign: DialledCampaign, key: str, tmp_path: Path) -> None:
    old = {"tags": {"intent": "interested"}, "call_seconds": 2.0, "hang_up_side": "ivr"}

    details = JobDetails.from_json(old)

    assert (dict(details.tags), details.call_seconds, details.calls) == ({"intent": "interested"}, 2.0, ())
    with open_ledger(f"sqlite:///{tmp_path}/other.db", [key]) as ledger:
        assert not ledger.details.exist("nobody")
