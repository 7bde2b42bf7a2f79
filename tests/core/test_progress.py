"""Progress lines: at a bounded pace, true, and in one format."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.progress import BUSY_SECONDS, IDLE_SECONDS, ProgressLog, describe_progress

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Lines that are logged; unlike pytest's fixture, also for each example of a property test."""
    handler = _Lines()
    logger = logging.getLogger("airflow_provider_outbound.core.progress")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def test_a_line_says_how_far_it_is_and_whether_it_will_fit() -> None:
    ends_at = NOW + timedelta(hours=1, minutes=30)
    line = describe_progress(50, 200, "jobs complete", answered=20, per_minute=5.0, ends_at=ends_at, now=NOW)
    late = describe_progress(50, 200, "jobs complete", per_minute=1.0, ends_at=ends_at, now=NOW)

    assert line == (
        "50 of 200 jobs complete, 20 answered, 5.0 per minute, expected end 2026-05-04 12:30 UTC,"
        " its window ends in 1 h 30 min"
    )
    assert late == (
        "50 of 200 jobs complete, 1.0 per minute, expected end 2026-05-04 14:30 UTC, after its window,"
        " its window ends in 1 h 30 min"
    )


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        pytest.param({"done": 7, "total": None}, "7 rows", id="total-unknown"),
        pytest.param({"done": 0, "total": 5, "per_minute": 0.0}, "0 of 5 rows, 0.0 per minute", id="stalled"),
        pytest.param({"done": 5, "total": 5, "per_minute": 2.0}, "5 of 5 rows, 2.0 per minute", id="done"),
        pytest.param({"done": 0, "total": 5, "ends_at": NOW}, "0 of 5 rows, its window has ended", id="window-over"),
        pytest.param({"done": 3, "total": 5, "is_suspended": True}, "3 of 5 rows, suspended", id="suspended"),
        pytest.param(
            {"done": 1, "total": 10**12, "per_minute": 1e-9}, "1 of 1000000000000 rows, 0.0 per minute", id="never"
        ),
    ],
)
def test_a_line_says_no_more_than_is_known(given_: dict[str, object], expected: str) -> None:
    assert describe_progress(unit="rows", now=NOW, **given_) == expected  # type: ignore[arg-type]


@settings(max_examples=examples(200), deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0, 400), st.integers(0, 3)), max_size=60))
def test_lines_come_at_a_bounded_pace(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    times: list[float] = []
    progress = ProgressLog("Job group g", "jobs complete", clock=clock)
    done = 0
    with recorded() as lines:
        for seconds, more in steps:
            clock.seconds += seconds
            done += more
            waited = clock.seconds - times[-1] if times else 0.0
            before = len(lines)
            progress.offer(done, 1000)
            times += [clock.seconds] * (len(lines) - before)
            assert waited < IDLE_SECONDS or len(lines) > before

    assert all(later - earlier >= BUSY_SECONDS for earlier, later in pairwise(times))


def test_the_rate_is_that_of_the_last_minutes(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = ProgressLog("Job group g", "jobs complete", clock=clock)
    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        for minute in range(60):
            clock.seconds = 60.0 * minute
            # Ten a minute for half an hour, then two.
            progress.offer(10 * min(minute, 30) + 2 * max(0, minute - 30), 1000)

    rates = [re.search(r"([\d.]+) per minute", message) for message in caplog.messages]
    assert rates[0] is None
    assert {float(rate[1]) for rate in rates[1:30] if rate} == {10.0}
    assert rates[-1] is not None
    assert float(rates[-1][1]) == 2.0


def test_what_was_read_at_once_is_no_pace(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    progress = ProgressLog("Job group g", "jobs complete", clock=lambda: now)
    with caplog.at_level("INFO"):
        for minute in range(6):
            now = 60.0 * minute
            if minute == 3:
                # Five hundred results came from the API.
                progress.forget_rate()
            progress.offer(10 * minute + 500 * (minute >= 3), 1000)

    rates = [message.partition(", ")[2].partition(",")[0] for message in caplog.messages]
    assert rates == ["", "10.0 per minute", "10.0 per minute", "", "10.0 per minute", "10.0 per minute"]


def test_no_end_is_expected_of_what_is_suspended(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = ProgressLog("Job group g", "jobs complete", clock=clock)
    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        for minute in range(60):
            clock.seconds = 60.0 * minute
            # Calls that were on the line still end after the suspension.
            progress.offer(10 * min(minute, 6), 1000, is_suspended=minute >= 5)

    dialled, suspended = caplog.messages[:5], caplog.messages[5:]
    assert all("expected end" in message for message in dialled[1:])
    assert len(suspended) > 3
    assert all(message.endswith("of 1000 jobs complete, suspended") for message in suspended)


def test_what_takes_little_time_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = ProgressLog("Job group g", "contacts assigned", from_zero=True, clock=clock)
    with caplog.at_level(logging.INFO, "airflow_provider_outbound"):
        progress.offer(25)
        assert not caplog.messages
        clock.seconds = 60.0
        progress.offer(6_000)

    assert caplog.messages == ["Job group g: 6000 contacts assigned, 6000.0 per minute"]
