"""No mixture of numbers makes a wait end too early, or never."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.complete.evaluate import (
    LedgerCounts,
    Reading,
    Verdict,
    compare,
    ended_jobs,
    evaluate_completion,
)
from airflow_provider_outbound.core.ledger.reconcile_state import Confirmation, Gap, Question, ReconcileState
from airflow_provider_outbound.core.models.enums import JobGroupStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress

_few = st.integers(min_value=0, max_value=4)
_groups = st.builds(
    lambda status, executing, paused, ended: JobGroup(
        job_group_id="g",
        status=JobGroupStatus.parse(status),
        progress=Progress(total=executing + paused + ended, executing=executing, paused=paused),
    ),
    st.sampled_from(["Completed", "Executing", "Scheduling", "Cancelled", "Failed", "FutureStatus", None]),
    _few,
    _few,
    _few,
)
_known = st.builds(
    lambda terminal, unlisted, unfinished, expected, deliberate, assigning, gave_up: LedgerCounts(
        total=terminal + unlisted + unfinished,
        terminal=terminal,
        unlisted=unlisted,
        expected=expected if deliberate else 0,
        deliberate=deliberate,
        assigning=assigning,
        gave_up=gave_up,
    ),
    _few,
    _few,
    _few,
    _few,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=examples(600), print_blob=True)
@given(known=_known, group=_groups)
def test_complete_means_that_nothing_is_open_and_nothing_is_missing(known: LedgerCounts, group: JobGroup) -> None:
    verdict = compare(known, group)

    assert group.progress is not None
    if verdict is Verdict.COMPLETE:
        assert group.progress.unfinished == 0
        assert not known.assigning
        assert known.total == known.ended >= group.progress.total >= known.expected
        assert group.progress.total or known.gave_up or (known.deliberate and known.expected == 0)
    if verdict is Verdict.SHORT:
        assert group.progress.unfinished == 0 or group.status in (JobGroupStatus.CANCELLED, JobGroupStatus.FAILED)
        assert not known.assigning


@settings(max_examples=examples(600), print_blob=True)
@given(known=_known, group=_groups)
def test_a_service_that_ended_with_jobs_is_not_waited_for(known: LedgerCounts, group: JobGroup) -> None:
    assert group.progress is not None
    if group.progress.total and not group.progress.unfinished and not known.assigning:
        assert compare(known, group) is not Verdict.WAIT


@given(known=_known, group=_groups)
def test_what_the_service_knows_and_the_ledger_does_not_is_a_gap(known: LedgerCounts, group: JobGroup) -> None:
    assert group.progress is not None
    if ended_jobs(group.progress) > known.ended:
        assert compare(known, group) is Verdict.GAP


def test_an_answer_without_progress_decides_nothing() -> None:
    known = LedgerCounts(total=1, terminal=1, unlisted=0, expected=1, deliberate=True, assigning=False, gave_up=False)

    assert compare(known, JobGroup(job_group_id="g", status=JobGroupStatus.COMPLETED)) is Verdict.WAIT


# Every row of the table is one comparison: what was seen before, what the ledger knows, what the API says now.
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONG_AGO, JUST_NOW, AHEAD = NOW - timedelta(seconds=300), NOW - timedelta(seconds=30), NOW + timedelta(seconds=5)
INTERVAL = 300.0


def _counts(total: int, terminal: int, **more: Any) -> LedgerCounts:
    return LedgerCounts(
        **{
            "total": total,
            "terminal": terminal,
            "unlisted": 0,
            "expected": total,
            "deliberate": True,
            "assigning": False,
            "gave_up": False,
            **more,
        }
    )


def _group(total: int, open_jobs: int = 0, status: str = "Executing") -> JobGroup:
    return JobGroup(
        job_group_id="g", status=JobGroupStatus.parse(status), progress=Progress(total=total, executing=open_jobs)
    )


def _gap(since: datetime, ended: int = 2) -> ReconcileState:
    return ReconcileState(gap=Gap(ended=ended, listed=2, since=since))


def _short(since: datetime, empty_scans: int = 0) -> ReconcileState:
    return ReconcileState(incomplete_since=since, empty_scans=empty_scans)


WHOLE, PARTIAL = Reading(is_whole=True, has_news=False), Reading(is_whole=False, has_news=False)


@pytest.mark.parametrize(
    ("state", "counts", "group", "reading", "action", "mismatch"),
    [
        # The service still dials.
        (ReconcileState(), _counts(2, 1), _group(2, 1), None, "wait", False),
        # Both agree.
        (ReconcileState(), _counts(2, 2), _group(2, 0, "Completed"), None, "finish", False),
        (ReconcileState(), _counts(2, 2, gave_up=True), _group(2), None, "finish", True),
        # The ledger lags: late messages deserve an interval, unless everything that is known has ended.
        (ReconcileState(), _counts(2, 0), _group(2, 1), None, "wait", False),
        (_gap(JUST_NOW), _counts(2, 0), _group(2, 0), None, "wait", False),
        (_gap(LONG_AGO), _counts(2, 0), _group(2, 0), None, "read", False),
        (_gap(LONG_AGO, ended=1), _counts(2, 1), _group(2, 0), None, "wait", False),
        (ReconcileState(), _counts(1, 1, expected=0), _group(2, 0), None, "read", False),
        # The service is over and short of jobs: believed after an interval, and after a reading that left none out.
        (ReconcileState(), _counts(2, 2), _group(1), None, "read", False),
        (ReconcileState(), _counts(2, 2), _group(1), WHOLE, "wait", True),
        (_short(JUST_NOW), _counts(2, 2), _group(1), None, "wait", False),
        (_short(LONG_AGO), _counts(2, 2), _group(1), None, "read", False),
        (_short(LONG_AGO), _counts(2, 2), _group(1), WHOLE, "finish", True),
        (_short(LONG_AGO), _counts(2, 2), _group(1), PARTIAL, "wait", False),
        (_short(LONG_AGO, empty_scans=4), _counts(2, 2), _group(1), PARTIAL, "finish", True),
        # Seen by a clock that has been set back since: the interval begins again.
        (_short(AHEAD), _counts(2, 2), _group(1), WHOLE, "wait", False),
        # The service gave up.
        (_short(LONG_AGO), _counts(2, 1), _group(2, 1, "Failed"), WHOLE, "fail", False),
        (_short(LONG_AGO), _counts(2, 1), _group(2, 1, "Cancelled"), WHOLE, "finish", True),
    ],
)
def test_the_decision_is_a_table(
    state: ReconcileState,
    counts: LedgerCounts,
    group: JobGroup,
    reading: Reading | None,
    action: str,
    mismatch: bool,
) -> None:
    decision = evaluate_completion(state, counts, group, NOW, interval=INTERVAL, has_messages=True, reading=reading)

    assert decision.action == action
    assert decision.mismatch is (mismatch and action == "finish")
    assert (decision.state.confirmed is not None) is (action == "finish")
    assert decision.state.listed == (group.progress.total if group.progress else 0)


def test_without_messages_every_gap_is_read_at_once() -> None:
    decision = evaluate_completion(
        ReconcileState(), _counts(2, 0), _group(2, 1), NOW, interval=INTERVAL, has_messages=False
    )

    assert decision.action == "read"


_moments = st.datetimes(timezones=st.just(UTC))
_states = st.builds(
    ReconcileState,
    listed=st.none() | _few,
    knows_end=st.just(True),
    ends_at=st.none() | _moments,
    confirmed=st.none() | st.builds(Confirmation, assignments=st.tuples(_few, _few), mismatch=st.booleans()),
    question=st.none()
    | st.builds(Question, about=st.lists(_few, max_size=3).map(tuple), next_at=_moments, delay=st.floats(1, 300)),
    gap=st.none() | st.builds(Gap, ended=_few, listed=_few, since=_moments),
    incomplete_since=st.none() | _moments,
    empty_scans=_few,
    expects_messages=st.booleans(),
    cancelled=st.booleans(),
    cancelled_at=st.none() | _moments,
)


@given(state=_states)
def test_a_state_survives_its_row(state: ReconcileState) -> None:
    assert ReconcileState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_rows_of_every_version_are_read() -> None:
    row = {
        "listed": 3,
        "ends_at": None,
        "asked": {"about": [1, 3], "next": "2026-03-02T12:00:00+00:00", "delay": 2.0},
        "barren": 2,
        "gap": {"ended": 1, "listed": 3, "at": "2026-03-02T12:00:00+00:00"},
        "short_at": "2026-03-02T12:00:00+00:00",
        "confirmed": {"of": [1, 3], "mismatch": False},
        "cancelled": True,
        "cancelled_at": "2026-03-02T12:00:00+00:00",
    }

    assert ReconcileState.from_json(row) == ReconcileState(
        listed=3,
        knows_end=True,
        question=Question(about=(1, 3), next_at=NOW, delay=2.0),
        empty_scans=2,
        gap=Gap(ended=1, listed=3, since=NOW),
        incomplete_since=NOW,
        confirmed=Confirmation(assignments=(1, 3), mismatch=False),
        cancelled=True,
        cancelled_at=NOW,
    )
    assert ReconcileState.from_json(row).to_json() == row
    assert ReconcileState.from_json({"listed": 1}).knows_end is False
    assert ReconcileState.from_json(None) == ReconcileState()
