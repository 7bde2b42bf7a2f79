"""Each contact gets one job, whatever the service answers."""

from __future__ import annotations

import codecs
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import KEY, Campaign, numbers
from support.processes import until

from airflow_provider_outbound.core.assign.screening import CHUNK
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import TaskKey, open_ledger
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.exceptions import (
    OutboundBotAuthenticationError,
    OutboundBotConfigError,
    OutboundBotContactsError,
    OutboundBotError,
    OutboundBotNotFoundError,
    OutboundBotWrongTimeError,
)


def test_every_contact_gets_one_job(campaign: Campaign) -> None:
    contacts = numbers(63)

    result = campaign.assign(contacts)

    assert campaign.each_once(contacts)
    assert result.to_dict() == {
        "job_group_id": campaign.job_group_id,
        "read": 63,
        "assigned": 63,
        "newly_assigned": 63,
        "duplicates": 0,
        "excluded": 0,
        "capped": 0,
        "rejected": 0,
        "unresolved": 0,
        "rejects_path": None,
    }
    state = campaign.ledger.groups.state(campaign.job_group_id)
    assert (state.closed, state.open_assignments, state.has_doubt) == (63, (), False)


def test_a_second_try_sends_nothing_and_says_the_same(campaign: Campaign) -> None:
    contacts = numbers(12)
    campaign.assign(contacts)
    requests = campaign.requests("AssignJobs")

    result = campaign.assign(contacts)

    assert (result.assigned, result.newly_assigned, result.duplicates) == (12, 0, 0)
    assert campaign.requests("AssignJobs") == requests


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({"answer_lost": {"probability": 0.4}}, id="answer-lost"),
        pytest.param({"late": {"seconds": 0.3, "probability": 0.3}}, id="acts-late"),
        pytest.param({"partial_batch": {"probability": 0.4}}, id="accepted-in-part"),
        pytest.param({"throttle": {"probability": 0.4}}, id="throttled"),
        pytest.param({"throttle_503": {"probability": 0.4}}, id="throttled-with-503-acted"),
        pytest.param({"throttle_503": {"probability": 0.4, "acts": False}}, id="throttled-with-503-not-acted"),
        pytest.param({"html": {"probability": 0.3}}, id="html"),
        pytest.param({"status_500": {"probability": 0.15}, "status_503": {"probability": 0.15}}, id="5xx"),
        pytest.param({"reset": {"probability": 0.3}}, id="reset"),
        pytest.param({"success_false": {"probability": 0.3}}, id="success-false-acted"),
        pytest.param({"success_false": {"probability": 0.3, "acts": False}}, id="success-false-not-acted"),
        pytest.param({"ids_shuffled": True}, id="ids-shuffled"),
        pytest.param({"answer_lost": {"probability": 0.4}, "listing_lag": {"seconds": 0.8}}, id="lost-and-lagging"),
        pytest.param(
            {"answer_lost": {"probability": 0.4}, "listing_reshuffle": True}, id="lost-and-listing-in-changing-order"
        ),
        pytest.param({"answer_lost": {"probability": 0.4}, "numbers_masked": True}, id="lost-and-numbers-masked"),
        pytest.param(
            {"answer_lost": {"probability": 0.2}, "reset": {"probability": 0.2}, "throttle": {"probability": 0.2}},
            id="lost-reset-and-throttled",
        ),
    ],
)
def test_no_number_twice_and_none_missing(campaign: Campaign, faults: dict[str, Any]) -> None:
    contacts = numbers(130)
    acting = {
        name: {"actions": ["AssignJobs"], **value} if isinstance(value, dict) and "listing" not in name else value
        for name, value in faults.items()
    }
    campaign.simulator.faults(**acting)

    result = campaign.finish(contacts, settle_seconds=1.5, lease_seconds=30.0)

    assert campaign.each_once(contacts)
    assert (result.assigned, result.unresolved) == (130, 0)
    struck = campaign.simulator.state()["faults"]
    assert all(fault["struck"] for fault in struck.values()), struck


def test_numbers_abroad_that_show_without_their_plus_are_called_once(campaign: Campaign) -> None:
    contacts = ["+447911123456", "+14155552671", "+85291234567"]
    campaign.simulator.faults(answer_lost={"actions": ["AssignJobs"], "times": 1}, plus_dropped=True)

    result = campaign.assign(contacts)

    assert (result.assigned, result.unresolved) == (3, 0)
    assert campaign.each_once(contacts)


def test_a_group_larger_than_a_page_is_read_whole_although_its_order_changes(campaign: Campaign) -> None:
    contacts = numbers(230)
    campaign.assign(contacts[:225], batch_size=75)
    campaign.simulator.faults(answer_lost={"actions": ["AssignJobs"]}, listing_reshuffle=True)

    result = campaign.assign(contacts)

    assert campaign.each_once(contacts)
    assert result.unresolved == 0


def test_held_contacts_are_reported_and_not_sent_again(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    contacts = numbers(10)
    campaign.simulator.faults(reset={"actions": ["AssignJobs"], "times": 1})

    result = campaign.assign(contacts, on_unresolved="hold")

    assert (result.assigned, result.unresolved) == (5, 5)
    assert sum(campaign.jobs_per_number().values()) == 5
    assert [record.levelno for record in caplog.records if "5 contacts are unresolved" in record.message] == [
        logging.ERROR
    ]
    # A later try of an author who changed their mind.
    assert campaign.assign(contacts, on_unresolved="resend").unresolved == 0
    assert campaign.each_once(contacts)


def test_a_contact_that_shows_up_after_all_is_not_sent_again(campaign: Campaign) -> None:
    """The journal said unresolved; the next try reads the group before it sends."""
    contacts = numbers(5)
    campaign.simulator.faults(late={"actions": ["AssignJobs"], "seconds": 3.0, "times": 1})
    held = campaign.assign(contacts, on_unresolved="hold", settle_seconds=0.2)
    assert held.unresolved == 5
    until(lambda: len(campaign.jobs_per_number()) == 5, "five jobs")

    result = campaign.assign(contacts)

    assert (result.assigned, result.unresolved) == (5, 0)
    assert campaign.each_once(contacts)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param("key", OutboundBotAuthenticationError, id="wrong-key"),
        pytest.param("group", OutboundBotNotFoundError, id="unknown-group"),
    ],
)
def test_a_refusal_for_good_stops_at_once(campaign: Campaign, fault: Any, error: type[Exception]) -> None:
    if fault == "key":
        settings = type(campaign.client.settings)(
            access_key_id=campaign.simulator.access_key_id,
            access_key_secret="wrong",
            endpoint=campaign.simulator.api,
            instance_id=campaign.simulator.instance_id,
        )
        campaign.client = type(campaign.client)(settings)
    else:
        campaign.job_group_id = "no-such-group"

    with pytest.raises(error):
        campaign.assign(numbers(50))

    assert not campaign.jobs_per_number()


def test_a_refused_batch_is_free_for_the_next_try(campaign: Campaign) -> None:
    contacts = numbers(5)
    errors = [OutboundBotWrongTimeError("too late")]

    def guard(group: JobGroup) -> None:
        if errors:
            raise errors.pop()

    with pytest.raises(OutboundBotWrongTimeError):
        campaign.assign(contacts, guard=guard)
    assert len(campaign.ledger.groups.state(campaign.job_group_id).open_assignments) == 1

    assert campaign.assign(contacts, guard=guard).newly_assigned == 5


@pytest.mark.parametrize("allowed", [pytest.param(0, id="before-any"), pytest.param(6, id="in-the-middle")])
def test_what_was_journalled_and_not_sent_is_free_again(campaign: Campaign, allowed: Any) -> None:
    contacts = numbers(200)
    asked = itertools.count()

    def guard(_group: JobGroup) -> None:
        if next(asked) >= allowed:
            raise OutboundBotWrongTimeError("it is late")

    with pytest.raises(OutboundBotWrongTimeError, match="it is late"):
        campaign.assign(contacts, guard=guard)

    counts = campaign.ledger.results.counts(campaign.job_group_id)
    # On a busy machine a request may get no answer in time; but none that was not sent is among those in doubt.
    assert counts.total + counts.in_doubt <= 5 * allowed
    assert counts.unresolved == 0
    assert campaign.assign(contacts).assigned == 200
    assert campaign.each_once(contacts)


def test_after_an_interrupt_only_what_was_sent_is_held(campaign: Campaign) -> None:
    def interrupted() -> Iterator[str]:
        # Beyond what is looked up in the ledger at a time, so that some are on their way when the task is told to end.
        yield from numbers(CHUNK + 50)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        campaign.assign(from_items(interrupted()))

    counts = campaign.ledger.results.counts(campaign.job_group_id)
    assert 0 < counts.total + counts.in_doubt <= campaign.requests("AssignJobs") * 5
    assert counts.unresolved == 0
    assert campaign.assign(numbers(CHUNK)).assigned == CHUNK
    assert campaign.each_once(numbers(CHUNK))


def test_the_guard_is_not_asked_where_nothing_is_to_be_sent(campaign: Campaign) -> None:
    """A run that was fully assigned in time succeeds when it is cleared the next day."""
    contacts = numbers(5)
    campaign.assign(contacts)

    def guard(group: JobGroup) -> None:
        raise OutboundBotWrongTimeError("too late")

    assert campaign.assign(contacts, guard=guard).assigned == 5


def test_duplicates_within_a_source_and_between_tasks(campaign: Campaign) -> None:
    first, second = numbers(5), numbers(8)
    campaign.assign([*first, "+86 " + first[0], {"phone": first[1], "reference_id": "other"}])

    result = campaign.assign(second, key=TaskKey("dag", "run", "assign-more"))

    assert (result.read, result.assigned, result.duplicates) == (8, 3, 5)
    assert campaign.each_once(second)


def test_one_person_under_two_references_where_the_author_says_so(campaign: Campaign) -> None:
    number = numbers(1)[0]
    contacts = [{"phone": number, "reference_id": "order-a"}, {"phone": number, "reference_id": "order-b"}]

    result = campaign.assign([*contacts, contacts[0]], dedupe_by="reference_id")

    assert (result.assigned, result.duplicates) == (2, 1)
    assert campaign.jobs_per_number() == {number: 2}


@pytest.mark.parametrize("known_by", ["the source", "the ledger"])
def test_a_reference_with_another_number_is_refused(campaign: Campaign, known_by: str) -> None:
    one, two = numbers(2)
    contacts = [{"phone": one, "reference_id": "vip"}, {"phone": two, "reference_id": "vip"}]
    if known_by == "the ledger":
        campaign.assign([contacts[0]])
        contacts = [contacts[1]]

    with pytest.raises(OutboundBotContactsError, match="reference_id belongs to another number") as caught:
        campaign.assign(contacts)

    assert two not in str(caught.value)
    assert two not in campaign.jobs_per_number()
    assert campaign.assign(contacts, on_invalid="skip").rejected == 1


def test_an_invalid_contact_stops_all_before_anything_is_sent(campaign: Campaign, tmp_path: Path) -> None:
    contacts = [*numbers(30), "12", {"name": "nobody"}]

    with pytest.raises(OutboundBotContactsError, match=r"2 of 32 contacts cannot be used: row 31 .*row 32: no phone"):
        campaign.assign(contacts)

    assert not campaign.jobs_per_number()
    rejects = tmp_path / "rejects.csv"
    result = campaign.assign(contacts, on_invalid="skip", rejects_path=rejects)
    assert (result.assigned, result.rejected, result.rejects_path) == (30, 2, str(rejects))
    # Excel needs the byte order mark to read Chinese.
    assert rejects.read_bytes().startswith(codecs.BOM_UTF8)
    assert len(rejects.read_text(encoding="utf-8-sig").splitlines()) == 3


def test_rejects_of_an_earlier_version_are_replaced(campaign: Campaign, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    # Earlier versions wrote neither a byte order mark nor, in the first of them, lines.
    rejects.write_text("row,phone_number,reason,file\n1,***,not a phone number,\n")

    for bad in ("12", "13"):
        campaign.assign([*numbers(1), bad], on_invalid="skip", rejects_path=rejects)

    assert len(rejects.read_text(encoding="utf-8-sig").splitlines()) == 2
    rejects.write_bytes(codecs.BOM_UTF8)
    with pytest.raises(OutboundBotConfigError, match=r"^rejects_path: .* is not a file of rejects"):
        campaign.assign(numbers(1), on_invalid="skip", rejects_path=rejects)


@pytest.mark.parametrize("on_invalid", ["fail", "skip"])
def test_contacts_without_the_reference_id_that_was_mapped_are_counted_once(
    campaign: Campaign, caplog: pytest.LogCaptureFixture, on_invalid: str
) -> None:
    people = [
        {"phone": number, "客户编号": "" if index < 3 else f"c-{index}"} for index, number in enumerate(numbers(4))
    ]

    source = from_items(people, columns={"reference_id": "客户编号"})
    campaign.assign(source, on_invalid=on_invalid, excluded=frozenset({"+8613800000000"}))

    # The first is on a do-not-call list, so nobody misses its id.
    (line,) = [message for message in caplog.messages if "no reference id" in message]
    assert line == "2 contacts have no reference id in column '客户编号': theirs are derived from their numbers"


def test_the_log_names_who_was_left_out_and_why(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    """By reference id, or by place; never by number, and not without end."""
    caplog.set_level("INFO")
    people: list[dict[str, str]] = [{"phone": number, "reference_id": f"c-{n}"} for n, number in enumerate(numbers(3))]
    people += [{**people[1], "reference_id": "c-9"}, {"phone": numbers(1)[0]}]
    people += [{"phone": number, "reference_id": f"late-{n}"} for n, number in enumerate(numbers(60)[30:])]
    people += [{"phone": f"1380000{n}"} for n in range(5)]

    campaign.assign(from_items(people), excluded=frozenset({"+8613800000000"}), max_jobs=2, on_invalid="skip")

    lines = [message for message in caplog.messages if message.startswith("Left out")]
    assert lines == [
        "Left out, excluded: c-0, row 5",
        "Left out, duplicates: c-9",
        f"Left out, over a limit: {', '.join(f'late-{n}' for n in range(20))}, …",
    ]
    (rejects,) = [message for message in caplog.messages if "not contacts" in message]
    assert "5 of 40 rows are not contacts and were left out: row 36 (" in rejects
    assert rejects.endswith("; and 2 more")
    assert "13800000" not in rejects


def test_nobody_misses_a_reference_id_that_was_not_mapped(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    campaign.assign(numbers(2))

    assert "reference id" not in caplog.text


def test_excluded_numbers_are_not_called(campaign: Campaign) -> None:
    contacts = numbers(6)

    result = campaign.assign(
        contacts,
        excluded=frozenset({f"+86{contacts[0]}"}),
        allowed=frozenset(f"+86{number}" for number in contacts[:4]),
    )

    assert (result.read, result.assigned, result.excluded) == (6, 3, 3)
    assert campaign.each_once(contacts[1:4])


def test_jobs_of_another_ledger_are_recognised(campaign: Campaign, tmp_path: Path) -> None:
    """Two ledgers on one group are against the rules; what one did before the other began is still seen."""
    contacts = numbers(12)
    campaign.assign(contacts[:7])
    with open_ledger(f"sqlite:///{tmp_path}/other.db", [KEY]) as other:
        campaign.ledger = other

        result = campaign.assign(contacts)

    assert (result.assigned, result.duplicates) == (5, 7)
    assert campaign.each_once(contacts)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 100),
        ("batch_size", 0),
        ("batch_size", True),
        ("max_parallel_requests", 0),
        ("settle_seconds", -1),
        ("on_invalid", "ignore"),
        ("on_unresolved", "call"),
        ("dedupe_by", "name"),
    ],
)
def test_an_option_out_of_range_is_named(campaign: Campaign, option: str, value: Any) -> None:
    with pytest.raises(OutboundBotConfigError, match=f"^{option}: {value!r} is "):
        campaign.assign(numbers(1), **{option: value})


def test_no_number_in_logs_or_errors(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    contacts = numbers(20)

    with pytest.raises(OutboundBotError) as caught:
        campaign.assign([*contacts, {"phone": "1380000", "name": "Zhang San"}])
    campaign.simulator.faults(html=True)
    with pytest.raises(OutboundBotError) as refused:
        campaign.assign(contacts)

    for error in (caught, refused):
        assert [name for name in ("1380000", "Zhang San", *contacts) if name in str(error.value)] == []
    logged = [record.getMessage() for record in caplog.records]
    assert [text for text in logged if any(number in text for number in contacts)] == []
