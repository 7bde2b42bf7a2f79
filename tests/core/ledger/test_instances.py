"""Events of other bots on a shared topic are counted, and nothing of them is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.messages import incoming, job_complete

from airflow_provider_outbound.core.ledger import Candidate, Incoming, JobGroupRecord, Ledger, TaskKey, examine, schema
from airflow_provider_outbound.core.ledger.instances import MAX_NAMED, RECENT_DAYS
from airflow_provider_outbound.core.rocketmq.bodies import unpack

OURS, THEIRS = "bot-ours", "bot-theirs"


def message(instance: Any, group: str = "g1", job: str = "job-1", topic: str = "t", **more: Any) -> Incoming:
    body = job_complete(group, job, "13900000001", f"ref-{job}", at=1, name="李四", instanceId=instance, **more)
    return incoming(body, topic=topic)


def rows(ledger: Ledger, *tables: str) -> dict[str, int]:
    return {name: examine(ledger).rows[name] for name in tables}


def counted(ledger: Ledger) -> dict[str, tuple[bool, int, int]]:
    return {one.instance_id: (one.is_named, one.stored, one.skipped) for one in examine(ledger).instances}


def test_events_of_another_bot_are_counted_and_not_stored(ledger: Ledger) -> None:
    recording = {"taskId": "t", "fileName": "f", "url": "https://a/b"}
    theirs = [
        message(THEIRS, "g2", f"theirs-{kind}", eventType=kind, recording=recording)
        for kind in ("JobComplete", "Dialing", "CallAnswered", "CallFinished", "RecordingReady", "Novel")
    ]

    recorded = ledger.inbox.record([*theirs, message(OURS)], instance_ids=[OURS])

    assert (recorded.new, recorded.others, recorded.quarantined) == (1, 6, 0)
    assert rows(ledger, "events", "jobs", "job_groups", "recordings", "calls", "quarantine") == {
        "events": 1, "jobs": 1, "job_groups": 1, "recordings": 0, "calls": 0, "quarantine": 0,
    }  # fmt: skip
    assert counted(ledger) == {OURS: (True, 1, 0), THEIRS: (False, 0, 6)}
    assert examine(ledger).shared_topics == {}


def test_a_lot_of_nothing_but_other_bots_takes_no_number_of_the_event_log(ledger: Ledger) -> None:
    before = ledger.groups.newest()

    ledger.inbox.record([message(THEIRS)], instance_ids=[OURS])

    assert ledger.groups.newest() == before


def test_several_bots_can_be_named(ledger: Ledger) -> None:
    lot = [message(name, job=name) for name in (OURS, THEIRS, "bot-third")]

    assert ledger.inbox.record(lot, instance_ids=[OURS, THEIRS]).others == 1
    assert counted(ledger) == {OURS: (True, 1, 0), THEIRS: (True, 1, 0), "bot-third": (False, 0, 1)}


@pytest.mark.parametrize("instance", [None, "", [], {"a": 1}, True])
def test_a_message_that_names_no_bot_is_stored(ledger: Ledger, instance: Any) -> None:
    assert ledger.inbox.record([message(instance)], instance_ids=[OURS]).new == 1


def test_a_group_of_our_own_is_ours_whatever_bot_its_messages_name(
    ledger: Ledger, candidates: Callable[[int], list[Candidate]]
) -> None:
    ledger.groups.record(JobGroupRecord(job_group_id="made", run_key="key", task_key=TaskKey("d", "r", "t")))
    ledger.assignments.open(TaskKey("d", "r", "t2"), "filled", owner="o", lease_seconds=60, settle_seconds=1)
    ledger.inbox.record([message(THEIRS, "heard-of", "job-0")])  # before any bot was named

    lot = [message(THEIRS, group, f"job-{group}") for group in ("made", "filled", "heard-of", "unknown")]
    recorded = ledger.inbox.record(lot, instance_ids=[OURS])

    assert (recorded.new, recorded.others) == (2, 2)


def test_what_cannot_be_read_is_kept_whosever_it_is(ledger: Ledger) -> None:
    recorded = ledger.inbox.record([Incoming(body=b"?", message_id="m", topic="t")], instance_ids=[OURS])

    assert (recorded.quarantined, counted(ledger)) == (1, {})


def test_a_lot_with_one_bad_message_counts_the_same(ledger: Ledger) -> None:
    lot = [message(OURS), message(THEIRS), message(OURS, job="j\ud800"), Incoming(body=b"", message_id="m", topic="t")]
    lot.append(Incoming(body=unpack(b"\x28\xb5\x2f\xfd"), message_id="m", topic="t", fault="packed with zstd"))

    recorded = ledger.inbox.record(lot, instance_ids=[OURS])

    assert (recorded.new, recorded.others, recorded.quarantined) == (1, 1, 3)
    assert counted(ledger) == {OURS: (True, 1, 0), THEIRS: (False, 0, 1)}


def test_a_topic_that_several_bots_share_is_told_of_while_none_is_named(ledger: Ledger) -> None:
    ledger.inbox.record([message(OURS)])
    assert examine(ledger).shared_topics == {}

    ledger.inbox.record([message(THEIRS, "g2", "job-2"), message(OURS, "g3", "job-3", topic="other")])
    assert examine(ledger).shared_topics == {"t": [OURS, THEIRS]}

    ledger.inbox.record([message(OURS, job="job-4")], instance_ids=[OURS])
    assert examine(ledger).shared_topics == {}


def test_a_bot_that_has_been_silent_for_long_does_not_share_a_topic(ledger: Ledger) -> None:
    ledger.inbox.record([message(OURS), message(THEIRS, "g2", "job-2")])
    table = schema.topic_instances
    with ledger.write() as connection:
        long_ago = ledger.time(connection) - timedelta(days=RECENT_DAYS + 1)
        connection.execute(table.update().where(table.c.instance_id == THEIRS).values(last_at=long_ago))

    assert examine(ledger).shared_topics == {}


def test_the_counts_are_bounded_and_hold_no_number(ledger: Ledger) -> None:
    lot = [message(f"bot-{number}", job=f"job-{number}") for number in range(MAX_NAMED + 50)]
    numbers = ["13800138000", "+86 138-0013-8000", "x" * 129, "a\0b"]
    ledger.inbox.record([*lot, *(message(number, job=f"n-{number[:20]!a}") for number in numbers)])

    found = counted(ledger)
    assert len(found) <= MAX_NAMED + 1
    assert sum(stored for _, stored, _ in found.values()) == len(lot) + len(numbers)
    assert [name for name in found if name and not name.startswith("bot-")] == []
