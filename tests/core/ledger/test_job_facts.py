from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_outbound.core.ledger.job_facts import LATEST, JobFacts
from airflow_provider_outbound.core.models.enums import CallStatus
from airflow_provider_outbound.core.models.job import Call

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def call(task_id: str, status: str, seconds: float | None) -> Call:
    began = None if seconds is None else T0 + timedelta(seconds=seconds)
    return Call(task_id=task_id, status=CallStatus.parse(status), planned_at=T0, started_at=began)


@pytest.mark.parametrize(
    ("known", "listed", "expected"),
    [
        pytest.param(
            [("t1", "Executing", 0)], ("SucceededFinish", 0), ("SucceededFinish", True, 1), id="the-end-came-by-the-api"
        ),
        pytest.param([("t1", "Executing", None)], ("SucceededFinish", 3), ("SucceededFinish", True, 1), id="planned"),
        pytest.param([("t1", "Executing", 0)], ("Busy", None), ("Busy", False, 1), id="no-time-in-the-listing"),
        pytest.param(
            [("t1", "NoAnswer", 0)], ("SucceededFinish", 5), ("SucceededFinish", True, 2), id="the-second-by-the-api"
        ),
        pytest.param([("t1", "NoAnswer", 0)], ("NoAnswer", 5), ("NoAnswer", False, 1), id="the-same-at-another-moment"),
        pytest.param(
            [("t1", "NoAnswer", 0), ("t2", "Busy", 90)], ("NoAnswer", 0), ("Busy", False, 2), id="an-older-listing"
        ),
    ],
)
def test_calls_by_messages_and_by_the_api_are_one_story(
    known: list[tuple[str, str, float | None]], listed: tuple[str, float | None], expected: tuple[str, bool, int]
) -> None:
    calls = [call(*each) for each in [*known, (LATEST, *listed)]]
    for order in (calls, calls[::-1]):
        row = JobFacts(job_group_id="g", reference_id="r", phone_key=None, unique_phone=False, state="accepted")

        row.apply_calls(order)

        assert (row.call_status, row.answered, row.attempts) == expected


def test_a_call_right_after_another_is_not_taken_for_it() -> None:
    """The first call ended unanswered; the listing tells of the second, which began at once and was answered."""
    begun = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    first = Call(
        task_id="task-1",
        status=CallStatus("NoAnswer"),
        started_at=begun,
        ended_at=begun + timedelta(milliseconds=400),
    )
    second = Call(
        task_id=LATEST,
        status=CallStatus("SucceededFinish"),
        started_at=begun + timedelta(milliseconds=500),
        ended_at=begun + timedelta(seconds=2),
    )
    facts = JobFacts(job_group_id="g", reference_id="r", phone_key=None, unique_phone=False, state="accepted")

    facts.apply_calls([first, second])

    assert (facts.attempts, facts.answered) == (2, True)
