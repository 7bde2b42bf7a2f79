"""An assignment that did not do what it was asked fails, and what it reports adds up."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.campaigns import Campaign, numbers
from support.examples import examples

from airflow_provider_outbound.core.ledger import CallCap, TaskKey
from airflow_provider_outbound.exceptions import AssignmentUnresolvedError

LEFT_OUT = ("duplicates", "excluded", "capped", "rejected")
COUNTS = ("assigned", *LEFT_OUT, "unresolved")


def adds_up(result: Any) -> bool:
    """Whether the counts, and those of the sentence, add up to the number of contacts read."""
    read, *parts = map(int, re.findall(r"\d+", str(result).partition(";")[0]))
    counted = sum(getattr(result, name) for name in COUNTS)
    return bool(counted == sum(parts) == read == result.read)


def left_out(path: Path) -> list[dict[str, str]]:
    """The rows of a file of those who were left out."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("status_500", id="500"),
        pytest.param("status_503", id="503"),
        pytest.param("reset", id="reset"),
        pytest.param("html", id="html"),
    ],
)
def test_a_service_that_is_down_for_longer_than_it_may_be_is_no_success(campaign: Campaign, fault: Any) -> None:
    contacts = numbers(12)
    campaign.simulator.faults(**{fault: {"actions": ["AssignJobs"]}})

    with pytest.raises(AssignmentUnresolvedError, match="12 contacts read: 0 assigned, 12 unresolved") as caught:
        campaign.assign(contacts, settle_seconds=0.3)

    assert "a retry of this task sends them again" in str(caught.value)
    # Nobody who waits may believe that the assignment is finished.
    assert len(campaign.ledger.groups.state(campaign.job_group_id).open_assignments) == 1
    campaign.simulator.faults()
    result = campaign.assign(contacts)
    assert (result.assigned, result.newly_assigned, result.unresolved) == (12, 12, 0)
    assert campaign.each_once(contacts)


def test_some_of_whom_the_service_took_are_kept_by_the_try_that_fails(campaign: Campaign) -> None:
    contacts = numbers(20)
    campaign.assign(contacts[:10])
    campaign.simulator.faults(status_500={"actions": ["AssignJobs"]})

    with pytest.raises(AssignmentUnresolvedError, match="20 contacts read: 10 assigned, 10 unresolved"):
        campaign.assign(contacts, settle_seconds=0.3)

    campaign.simulator.faults()
    assert campaign.assign(contacts).newly_assigned == 10
    assert campaign.each_once(contacts)


def test_a_group_that_is_never_listed_whole_sends_nobody_again_and_fails(campaign: Campaign) -> None:
    contacts = numbers(5)
    campaign.simulator.faults(reset={"actions": ["AssignJobs"]})
    campaign.assign(contacts, settle_seconds=0.2, on_unresolved="hold")
    requests = campaign.requests("AssignJobs")
    # As many jobs as the listing counts are never met.
    campaign.simulator.run(lambda cloud: _hide_last(cloud, campaign.job_group_id))

    with pytest.raises(AssignmentUnresolvedError, match="5 contacts read: 0 assigned, 5 unresolved") as caught:
        campaign.assign(contacts, settle_seconds=0.2)

    assert "no unresolved contact was sent again; clear this task later" in str(caught.value)
    assert campaign.requests("AssignJobs") == requests


def _hide_last(cloud: Any, group_id: str) -> None:
    group = cloud.groups[group_id]

    class Longer(list[Any]):  # a listing whose total is one more than its jobs
        def __len__(self) -> int:
            return super().__len__() + 1

    group.jobs = Longer(group.jobs)


def test_what_the_author_asked_to_hold_is_a_success(campaign: Campaign) -> None:
    campaign.simulator.faults(status_500={"actions": ["AssignJobs"]})

    result = campaign.assign(numbers(7), settle_seconds=0.2, on_unresolved="hold")

    assert (result.assigned, result.unresolved) == (0, 7)
    assert adds_up(result)


@settings(
    max_examples=examples(25),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_every_sum_adds_up(campaign: Campaign, tmp_path: Path, data: st.DataObject) -> None:
    """Over lists with duplicates, exclusions, rejects, limits and lost answers, in several tries with their files."""
    draw = data.draw
    people = [f"139{index:08d}" for index in range(30)]
    tries = [
        # A list of nothing but rejects fails its task.
        [
            *draw(st.lists(st.sampled_from([*people, "nonsense", {"name": "nobody"}]), max_size=40)),
            draw(st.sampled_from(people)),
        ]
        for _ in range(2)
    ]
    campaign.job_group_id = campaign.new_group("sums")
    options: dict[str, Any] = {
        "on_invalid": "skip",
        "on_unresolved": "hold",
        "settle_seconds": 0.05,
        "excluded": frozenset(f"+86{number}" for number in draw(st.lists(st.sampled_from(people), max_size=5))),
        "max_jobs": draw(st.none() | st.integers(1, 20)),
        "rejects_path": tmp_path / "rejects.csv",
    }

    for index, contacts in enumerate(tries):
        probability = draw(st.sampled_from([0.0, 0.5]))
        campaign.simulator.faults(
            reset={"actions": ["AssignJobs"], "probability": probability},
            answer_lost={"actions": ["AssignJobs"], "probability": probability},
        )
        result = campaign.assign(contacts, key=TaskKey("dag", "run", f"t{index}"), **options)
        assert adds_up(result), result
        assert result.read == len(contacts)
        rows = left_out(tmp_path / "rejects.csv")
        assert Counter(row["counted_as"] for row in rows) == +Counter(
            {name: getattr(result, name) for name in LEFT_OUT}
        )
        # Each row of the list is left out once at most, and all the others were assigned.
        assert len({row["row"] for row in rows}) == len(rows)
    campaign.simulator.faults()


def test_everybody_who_is_left_out_is_in_the_file_with_the_reason(campaign: Campaign, tmp_path: Path) -> None:
    one, two, three, four, five, six, seven, eight = numbers(8)
    cap = CallCap(most=1, period=timedelta(days=7))
    campaign.assign([one], key=TaskKey("dag", "run", "before"))
    campaign.another("elsewhere").assign([two])
    contacts = [
        {"phone": number, "reference_id": f"c-{index}"}
        for index, number in enumerate([one, two, three, three, four, five, six, seven, eight], 1)
    ]
    contacts.insert(5, {"phone": "12", "reference_id": "c-bad"})
    contacts.append({"phone": numbers(9)[8], "reference_id": seven})

    result = campaign.assign(
        contacts,
        cap=cap,
        excluded=frozenset({f"+86{four}"}),
        allowed=frozenset(f"+86{number}" for number in numbers(9) if number != five),
        max_jobs=3,
        on_invalid="skip",
        rejects_path=tmp_path / "rejects.csv",
    )

    assert result.assigned == 3
    path = Path(result.rejects_path or "")
    rows = left_out(path)
    reasons = {row["row"]: row["reason"] for row in rows}
    assert {row["row"]: (row["reference_id"], row["counted_as"]) for row in rows} == {
        "1": ("c-1", "duplicates"),
        "2": ("c-2", "capped"),
        "4": ("c-4", "duplicates"),
        "5": ("c-5", "excluded"),
        "6": ("c-bad", "rejected"),
        "7": ("c-6", "excluded"),
        "10": ("c-9", "capped"),
        "11": ("", "rejected"),
    }
    assert reasons["1"] == "it is in the job group already"
    assert reasons["2"] == "it has had max_calls_per_contact calls"
    assert reasons["4"] == "it is in the list more than once"
    assert reasons["5"] == "it is among the exclusions"
    assert "allowed_phone_numbers" in reasons["7"]
    assert reasons["10"] == "max_jobs is reached"
    text = path.read_text(encoding="utf-8-sig")
    assert not [number for number in numbers(9) if number in text]


def test_contacts_of_an_earlier_try_that_are_not_read_any_more_are_named(campaign: Campaign) -> None:
    campaign.assign(numbers(10))

    result = campaign.assign(numbers(15)[5:], excluded=frozenset({f"+86{numbers(6)[5]}"}))

    assert (result.read, result.assigned, result.excluded, result.not_read) == (10, 15, 1, 6)
    assert str(result) == (
        "10 contacts read: 15 assigned, 1 excluded; 6 of these were assigned by an earlier try and are not among those"
        " read now; this try assigned 5"
    )
    assert str(campaign.assign(numbers(10))).endswith("; this try assigned 0")


def test_a_task_that_calls_nobody_of_its_list_warns(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    result = campaign.assign(numbers(3), excluded=frozenset(f"+86{number}" for number in numbers(3)))

    assert (result.assigned, result.excluded) == (0, 3)
    assert "this task calls nobody, because all 3 contacts were left out" in caplog.text
    caplog.clear()
    campaign.assign(numbers(3), excluded=frozenset({f"+86{numbers(1)[0]}"}))
    assert "this task calls nobody" not in caplog.text
