"""What the page shows of campaigns: the ledger's numbers, each campaign once, and no phone number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from support.examples import examples
from support.seeding import (
    ANSWERED,
    ANSWERED_LATE,
    BLOCKED,
    CALL_FAILED,
    ON_THE_LINE,
    SILENT,
    UNANSWERED,
    WAITING,
    seed,
    task,
)

from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger, schema

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]

STANDINGS = [ANSWERED, ANSWERED_LATE, BLOCKED, CALL_FAILED, ON_THE_LINE, SILENT, UNANSWERED, WAITING]
#: A number of the tests, in any form in which it can be dialled.
NUMBER = re.compile(r"(?:\+?86)?1[3-9][\d\s-]{9,}|057112345678")
_counter = iter(range(10_000))


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(standings=st.lists(st.sampled_from(STANDINGS), max_size=12), unresolved=st.integers(0, 2))
def test_numbers_are_those_of_the_ledger_and_no_answer_has_a_phone_number(
    standings: Any, unresolved: Any, ask: Callable[..., Any], ledger: Ledger
) -> None:
    count = next(_counter)
    group = f"group-{count}"
    references = seed(
        ledger, group, standings, task=task(run_id=group), first_number=13100000000 + 100 * count, unresolved=unresolved
    )
    expected = ledger.results.summary(group)

    answers = [ask("user", f"campaigns?run_id={group}"), ask("user", f"campaigns/{group}")]
    (listed,), shown = answers[0].json()["campaigns"], answers[1].json()
    for one in (listed, shown["campaign"]):
        assert one["total"] == expected["total"]
        assert one["done"] == expected["completed"]
        assert one["unresolved"] == expected["unresolved"] == unresolved
        for name in ("answered", "unanswered", "not_dialled", "other"):
            assert one[name] == expected[name]
    assert {row["key"]: row["count"] for row in shown["outcomes"]} == {
        name: expected[name] for name in ("answered", "unanswered", "not_dialled", "other")
    }
    calls = sum(len(standing[2]) for standing in standings)
    assert sum(point["calls"] for point in shown["per_minute"]) == calls
    # Whether a call on the line will be answered is unknown.
    ended = sum(status != "Executing" for standing in standings for status in standing[2])
    assert sum(point["ended"] for point in shown["per_minute"]) == ended
    assert sum(hour["calls"] for hour in shown["by_hour"]) == ended
    assert sum(hour["answered"] for hour in shown["by_hour"]) <= ended
    for outcome, number in (("answered", expected["answered"]), ("open", None)):
        answers.append(ask("user", f"campaigns/{group}/jobs?outcome={outcome}"))
        found = answers[-1].json()
        assert len(found["jobs"]) == found["total_matching"]
        assert number is None or len(found["jobs"]) == number
    answers += [ask("user", f"campaigns/{group}/jobs"), ask("user", f"campaigns/{group}/jobs?outcome=none")]
    assert [job["reference_id"] for job in answers[-2].json()["jobs"]] == references
    answers += [ask("user", f"campaigns/{group}/jobs/{reference}") for reference in references[:2]]
    answers.append(ask("user", "person/search", {"phone_number": str(13100000000 + 100 * count)}))
    answers.append(ask("user", f"campaigns/{group}/jobs/search", {"text": f"+86 131 {100 * count:08d}"}))
    for answer in answers:
        assert answer.status_code == 200
        assert not NUMBER.search(re.sub(r"20\d\d-\d\d-\d\dT[\d:.]+Z", "", answer.text)), answer.text
    found = [one["job"]["reference_id"] for one in answers[-2].json()["campaigns"]]
    assert found == references[:1]
    assert [job["reference_id"] for job in answers[-1].json()["jobs"]] == references[:1]


def test_the_identity_in_a_name_is_shown_and_a_number_is_not(ask: Callable[..., Any], ledger: Ledger) -> None:
    """Twelve hexadecimal digits may look like a phone number."""
    for number in range(40):
        key = task(run_id=f"run {number}")
        seed(ledger, f"g{number}", [WAITING], task=key, first_number=13500000000 + number)
        name = f"call 13800138000 {key.short_key}"
        ledger.groups.record(JobGroupRecord(job_group_id=f"g{number}", run_key=key.run_key, task_key=key, name=name))

    shown = {one["id"]: one["name"] for one in ask("user", "campaigns?limit=100").json()["campaigns"]}

    for number in range(40):
        assert shown[f"g{number}"].endswith(f" {task(run_id=f'run {number}').short_key}")
        assert "13800138000" not in shown[f"g{number}"]
    siblings = ask("user", "campaigns/g0").json()["siblings"]
    assert [one["name"] for one in siblings] == [shown[one["id"]] for one in siblings]
    assert len(siblings) > 1
    assert all(one["dialled"] == 0 for one in siblings)


def test_each_status_that_the_filter_offers_finds_its_jobs(ask: Callable[..., Any], ledger: Ledger) -> None:
    seed(ledger, "group", [ANSWERED, UNANSWERED, ON_THE_LINE, WAITING, WAITING, SILENT], task=task())
    with ledger.write() as connection:
        silent = (schema.jobs.c.job_group_id == "group", schema.jobs.c.status.is_(None))
        connection.execute(update(schema.jobs).where(*silent).values(state="unresolved"))

    offered = {one["key"]: one["count"] for one in ask("user", "campaigns/group").json()["statuses"]}

    assert offered == {"Scheduling": 2, "Succeeded": 1, "Failed": 1, "Executing": 1, "unresolved": 1}
    for status, count in offered.items():
        found = ask("user", f"campaigns/group/jobs?status={status}").json()
        assert [job["status"] for job in found["jobs"]] == [status] * count
        assert found["total_matching"] == count


def test_who_was_not_dialled_is_not_counted_as_dialled(ask: Callable[..., Any], ledger: Ledger) -> None:
    """The service also reports a call of somebody on a block list; the second one was called before that."""
    blocked = ("Failed", "ContactBlockList", ("ContactBlockList",))
    blocked_later = ("Failed", "ContactBlockList", ("Busy", "ContactBlockList"))
    seed(ledger, "group", [ANSWERED, UNANSWERED, blocked, blocked_later], task=task())

    shown = ask("user", "campaigns/group").json()

    assert {step["key"]: step["count"] for step in shown["funnel"]} == {
        "assigned": 4,
        "dialled": 3,
        "answered": 1,
        "finished": 4,
    }
    assert sum(point["calls"] for point in shown["per_minute"]) == 4
    assert sum(hour["calls"] for hour in shown["by_hour"]) == 4


def test_paging_shows_each_campaign_once_while_others_are_added(ask: Callable[..., Any], ledger: Ledger) -> None:
    before = [f"old-{index:02d}" for index in range(11)]
    for index, group in enumerate(before):
        standings = [ANSWERED] if index % 3 else [WAITING]
        seed(ledger, group, standings, task=task(run_id=group), first_number=13200000000 + index)
    seen: list[str] = []
    path = "campaigns?limit=4"
    for index in range(10):
        page = ask("user", path).json()
        seen += [one["id"] for one in page["campaigns"]]
        if page["next"] is None:
            break
        seed(ledger, f"new-{index}", [WAITING], task=task(run_id=f"new-{index}"), first_number=13300000000 + index)
        path = f"campaigns?limit=4&after={page['next']}"
    assert len(seen) == len(set(seen))
    assert set(before) <= set(seen)


def test_paging_shows_each_job_once_while_others_are_added(ask: Callable[..., Any], ledger: Ledger) -> None:
    references = seed(ledger, "group", [ANSWERED] * 12, task=task())
    seen: list[str] = []
    after = ""
    while after is not None:
        page = ask("user", f"campaigns/group/jobs?limit=5&after={after}").json()
        seen += [job["reference_id"] for job in page["jobs"]]
        if not after:
            # Assigned by others, before and behind the place reached.
            for number, prefix in ((13900000000, "a"), (13900000001, "group-0007"), (13900000002, "z")):
                seed(ledger, "group", [ANSWERED], first_number=number, prefix=prefix)
        after = page["next"]
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name in references] == references
    assert {"group-0007-0000", "z-0000"} <= set(seen)


@pytest.mark.parametrize("after", ["nonsense", "WzFd", "e30=", "bm90IGpzb24="])
def test_a_wrong_place_in_the_list_is_refused(after: str, ask: Callable[..., Any], ledger: Ledger) -> None:
    answer = ask("user", f"campaigns?after={after}")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("after: ")


def test_what_needs_attention_stands_first(ask: Callable[..., Any], ledger: Ledger) -> None:
    seed(ledger, "unresolved", [ANSWERED], task=task(run_id="1"), unresolved=1)
    # The service reports a call of somebody on a block list, and does not dial it.
    reported = ("Failed", "ContactBlockList", ("ContactBlockList",))
    seed(ledger, "nobody-dialled", [BLOCKED, reported], task=task(run_id="2"), first_number=13400000000)
    seed(ledger, "running", [WAITING], task=task(run_id="3"), first_number=13400000010)
    seed(ledger, "done", [ANSWERED], task=task(run_id="4"), first_number=13400000020)
    found = ask("user", "campaigns").json()["campaigns"]
    assert [(one["id"], one["state"], one["attention"]) for one in found] == [
        ("nobody-dialled", "failed", "failed"),
        ("unresolved", "completed", "unresolved"),
        ("running", "running", None),
        ("done", "completed", None),
    ]


def test_a_campaign_is_not_running_before_its_window(ask: Callable[..., Any], ledger: Ledger) -> None:
    now = datetime.now(UTC)
    for name, begin in (("before", now + timedelta(hours=5)), ("within", now - timedelta(hours=1))):
        seed(ledger, name, [WAITING], task=task(run_id=name), first_number=13400000000 + len(name) * 10)
        window = {"starts_at": begin, "ends_at": begin + timedelta(hours=3)}
        with ledger.write() as connection:
            connection.execute(
                update(schema.job_groups).where(schema.job_groups.c.job_group_id == name).values(**window)
            )

    found = {one["id"]: one for one in ask("user", "campaigns").json()["campaigns"]}

    assert {name: one["state"] for name, one in found.items()} == {"before": "waiting", "within": "running"}
    assert found["before"]["window_begin"].startswith(f"{now + timedelta(hours=5):%Y-%m-%dT%H:%M}")
    assert [one["id"] for one in ask("user", "campaigns?state=waiting").json()["campaigns"]] == ["before"]
    assert ask("admin", "campaigns/before").json()["actions"] == ["suspend", "cancel"]


def test_a_campaign_that_others_suspended_is_shown_so(ask: Callable[..., Any], ledger: Ledger) -> None:
    """As a comparison with the API has found it: this ledger has no command, because it was restored since."""
    seed(ledger, "group", [WAITING, WAITING], task=task())
    with ledger.write() as connection:
        # Read from the service during a suspension; a resumption leaves the rows as they are until the next reading.
        connection.execute(update(schema.jobs).values(status="Paused"))
    for paused_at, state in ((datetime.now(UTC), "suspended"), (None, "running")):
        known = ledger.groups.state("group").reconcile_state
        ledger.groups.save_reconcile_state("group", attrs.evolve(known, paused_at=paused_at))
        assert ask("user", "campaigns/group").json()["campaign"]["state"] == state


def test_filters_choose_campaigns(ask: Callable[..., Any], campaigns: Any) -> None:
    def ids(query: str) -> list[str]:
        return [one["id"] for one in ask("admin", f"campaigns?{query}").json()["campaigns"]]

    assert ids("state=running") == ["running"]
    assert ids("dag_id=no-longer") == ["deleted"]
    assert ids("text=spring") == ["running"]
    assert ids("dag_id=campaign&run_id=earlier") == ["ended"]
    assert ids("dag_id=campaign&run_id=earlier&task_id=create&map_index=-1") == ["ended"]
    # A task that waits has no campaign of its own: those of its run.
    assert ids("dag_id=campaign&run_id=earlier&task_id=wait&map_index=-1") == ["ended"]
    assert ids("to=2020-01-01T00:00:00Z") == []


def test_an_unchanged_answer_is_not_sent_again(ask: Callable[..., Any], campaigns: Any) -> None:
    first = ask("user", "campaigns/ended")
    again = ask("user", "campaigns/ended", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "private, no-cache"


def test_tags_are_counted_and_found_with_numbers_masked(ask: Callable[..., Any], ledger: Ledger) -> None:
    from airflow_provider_outbound.core.ledger import JobDetails

    references = seed(ledger, "group", [ANSWERED] * 3, task=task())
    tags = [{"wish": "call back"}, {"wish": "call 13812345678"}, {"wish": "call back"}]
    results = ledger.results.iter_results("group")
    ledger.details.save([(result, JobDetails(tags=tag)) for result, tag in zip(results, tags, strict=True)])

    shown = ask("user", "campaigns/group").json()["tags"]
    assert shown[0] == {"key": "wish=call back", "count": 2}
    assert "13812345678" not in json.dumps(shown)
    found = ask("user", "campaigns/group/jobs?tag=wish%3Dcall back&limit=1").json()
    assert [job["reference_id"] for job in found["jobs"]] == [references[0]]
    rest = ask("user", f"campaigns/group/jobs?tag=wish%3Dcall back&after={found['next']}").json()
    assert [job["reference_id"] for job in rest["jobs"]] == [references[2]]


def test_a_search_that_is_no_number_says_so_without_repeating_it(ask: Callable[..., Any], ledger: Ledger) -> None:
    seed(ledger, "group", [ANSWERED], task=task())
    answer = ask("user", "person/search", {"phone_number": "1381234567890123"})
    assert answer.status_code == 422
    assert "1381234567890123" not in answer.text
    assert ask("user", "person/search", {"phone_number": "13900001111"}).json() == {"campaigns": []}
    assert "13900002222" not in ask("user", "person/search", {"number": "13900002222"}).text


def test_an_empty_ledger_has_no_campaigns(ask: Callable[..., Any], ledger: Ledger) -> None:
    assert ask("user", "campaigns").json()["empty"] == "no_campaigns"
