"""The ledger knows which collectors run, when the broker last answered each, and what keeps messages from coming."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from support import ledgers
from support.examples import examples

from airflow_provider_outbound.core.ledger import Collecting, CollectorRecord, Ledger, schema

NOW = datetime(2026, 5, 1, 8, 30, tzinfo=UTC)
#: The broker has not answered this one yet.
REPORT = attrs.evolve(ledgers.REPORT, contact_ago=None)


def let_pass(ledger: Ledger, passed: timedelta) -> None:
    """Let time pass for all reports made so far."""
    table = schema.collectors
    with ledger.write() as connection:
        connection.execute(update(table).values(seen_at=ledger.time(connection) - passed))


def hosts(ledger: Ledger) -> list[str]:
    return sorted(one.host for one in ledger.collectors.read().collectors)


def test_a_collectors_row_is_kept_up_to_date_by_the_ledgers_clock(ledger: Ledger) -> None:
    ledger.collectors.report(REPORT)
    ledger.collectors.report(
        attrs.evolve(REPORT, running_for=45.0, contact_ago=2.0, message_ago=5.0, trouble="away", trouble_ago=20.0)
    )

    collecting = ledger.collectors.read()
    (one,) = collecting.collectors
    assert (one.topic, one.consumer_group, one.host, one.pid) == ("calls", "GID_ours", "alpha", 7)
    assert one.last_contact_at is not None
    assert one.last_message_at is not None
    assert one.last_trouble_at is not None
    assert one.seen_at - one.started_at < timedelta(seconds=60)
    assert (one.seen_at - one.last_contact_at).total_seconds() == pytest.approx(2)
    assert (one.seen_at - one.last_message_at).total_seconds() == pytest.approx(5)
    assert (one.seen_at - one.last_trouble_at).total_seconds() == pytest.approx(20)
    assert collecting.is_running(one)
    # It is over, and still known.
    assert (one.trouble, one.last_trouble) == ("", "away")


def test_a_collector_that_is_started_again_and_again_leaves_one_row(ledger: Ledger) -> None:
    ledger.collectors.report(attrs.evolve(REPORT, collector_id="0" * 32, host="beta"))
    for number in range(5):
        ledger.collectors.report(attrs.evolve(REPORT, collector_id=f"{number:032}", pid=number))
        let_pass(ledger, timedelta(minutes=2))

    assert hosts(ledger) == ["alpha", "beta"]
    assert not ledger.collectors.read().running()


def test_two_collectors_of_one_host_have_a_row_each(ledger: Ledger) -> None:
    ledger.collectors.report(REPORT)
    ledger.collectors.report(attrs.evolve(REPORT, collector_id="2" * 32))

    assert hosts(ledger) == ["alpha", "alpha"]
    assert len(ledger.collectors.read().running()) == 2


def test_a_collector_that_was_restarted_at_once_is_forgotten_a_minute_later(ledger: Ledger) -> None:
    """Its row would look like a collector that hangs, for a week."""
    ledger.collectors.report(REPORT)
    restarted = attrs.evolve(REPORT, collector_id="2" * 32, pid=8)
    ledger.collectors.report(restarted)
    assert len(ledger.collectors.read().collectors) == 2

    let_pass(ledger, timedelta(seconds=61))
    ledger.collectors.report(restarted)

    (left,) = ledger.collectors.read().collectors
    assert left.pid == 8


def test_a_collector_that_ended_days_ago_is_forgotten_when_another_starts(ledger: Ledger) -> None:
    ledger.collectors.report(REPORT)
    let_pass(ledger, timedelta(days=6))
    ledger.collectors.report(attrs.evolve(REPORT, collector_id="2" * 32, host="beta"))
    assert hosts(ledger) == ["alpha", "beta"]

    let_pass(ledger, timedelta(days=8))
    ledger.collectors.report(attrs.evolve(REPORT, collector_id="3" * 32, host="gamma"))
    assert hosts(ledger) == ["gamma"]


def test_a_report_of_the_future_says_nothing(ledger: Ledger) -> None:
    """As a clock that was set back leaves it."""
    ledger.collectors.report(REPORT)
    let_pass(ledger, timedelta(hours=-1))

    assert not ledger.collectors.read().running()


def test_why_a_groups_messages_did_not_come(ledger: Ledger) -> None:
    from airflow_provider_outbound.core.ledger import JobGroupRecord

    ledger.groups.record(JobGroupRecord(job_group_id="g1"))
    assert "no collector has received an answer" in ledger.collectors.cause_for("g1")

    # Before the group was made: no cause.
    ledger.collectors.report(attrs.evolve(REPORT, contact_ago=0.0, trouble="away", trouble_ago=3600.0))
    assert ledger.collectors.cause_for("g1") == ""

    ledger.collectors.report(attrs.evolve(REPORT, contact_ago=0.0, trouble="no such group", trouble_ago=0.0))
    assert ledger.collectors.cause_for("g1").startswith("no such group (at ")
    assert ledger.collectors.cause_for("unknown") == "no such group"


def record(**changes: Any) -> CollectorRecord:
    values = {
        "endpoints": "grpc://broker:8081",
        "topic": "calls",
        "consumer_group": "GID_ours",
        "host": "alpha",
        "pid": 7,
        "started_at": NOW - timedelta(hours=1),
        "seen_at": NOW,
        **changes,
    }
    return CollectorRecord(**values)


WELL = record(last_contact_at=NOW)
REFUSED = record(last_trouble="refused", last_trouble_at=NOW, last_contact_at=NOW - timedelta(minutes=5))
LOST = record(last_trouble="lost", last_trouble_at=NOW)
ENDED = attrs.evolve(REFUSED, seen_at=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("collectors", "expected"),
    [
        pytest.param([], "", id="none"),
        pytest.param([WELL], "", id="well"),
        pytest.param([record()], "", id="has-just-begun"),
        pytest.param([REFUSED], "refused", id="refused"),
        pytest.param([LOST], "lost", id="never-answered"),
        pytest.param([REFUSED, WELL], "", id="one-that-works-is-enough"),
        pytest.param([ENDED], "", id="ended"),
        pytest.param([ENDED, LOST], "lost", id="ended-and-another"),
        pytest.param([attrs.evolve(REFUSED, topic="other"), WELL], "refused", id="of-another-subscription"),
        pytest.param([attrs.evolve(REFUSED, topic="other"), LOST], "refused; lost", id="two-subscriptions"),
    ],
)
def test_what_keeps_messages_from_coming(collectors: list[CollectorRecord], expected: str) -> None:
    assert Collecting(now=NOW, collectors=collectors).trouble() == expected


def test_only_collectors_of_the_same_subscription_count() -> None:
    collecting = Collecting(now=NOW, collectors=[attrs.evolve(REFUSED, topic="other"), WELL])

    assert collecting.trouble(("calls", "GID_ours")) == ""
    assert collecting.trouble(("other", "GID_ours")) == "refused"
    assert collecting.running(("nobody", "GID_ours")) == []


def test_the_last_collector_is_named_where_none_runs() -> None:
    assert Collecting(now=NOW).nobody() == "no collector has reported to this ledger"
    words = Collecting(now=NOW, collectors=[ENDED]).nobody()

    at = f"{ENDED.seen_at:%Y-%m-%d %H:%M:%S} UTC"
    assert words == (
        f"no collector runs for this ledger; the last one, on alpha (process 7), last reported at {at}: refused"
    )
    # A wait logs them once only if they stay the same.
    assert Collecting(now=NOW + timedelta(seconds=10), collectors=[ENDED]).nobody() == words


_MOMENTS = st.none() | st.integers(0, 300).map(lambda seconds: NOW - timedelta(seconds=seconds))
_RECORDS = st.builds(
    record,
    topic=st.sampled_from(["calls", "other"]),
    seen_at=st.integers(-120, 300).map(lambda seconds: NOW - timedelta(seconds=seconds)),
    last_contact_at=_MOMENTS,
    last_trouble_at=_MOMENTS,
    last_trouble=st.just("trouble"),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(_RECORDS, max_size=5))
def test_trouble_is_told_if_and_only_if_no_running_collector_of_a_subscription_works(
    collectors: list[CollectorRecord],
) -> None:
    def works(one: CollectorRecord) -> bool:
        never = NOW - timedelta(days=1)
        return one.last_trouble_at is None or (one.last_contact_at or never) > one.last_trouble_at

    running = [one for one in collectors if -60 <= (NOW - one.seen_at).total_seconds() <= 60]
    topics = {one.topic for one in running}
    stuck = [topic for topic in topics if not any(works(one) for one in running if one.topic == topic)]

    assert Collecting(now=NOW, collectors=collectors).trouble() == "; ".join(["trouble"] * len(stuck))


def test_a_long_description_is_cut(ledger: Ledger) -> None:
    ledger.collectors.report(attrs.evolve(REPORT, trouble="x" * 5000, trouble_ago=0.0))

    (one,) = ledger.collectors.read().collectors
    assert one.last_trouble == "x" * 1000
