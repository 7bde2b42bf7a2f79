"""Readers of the event log see every event once, in order, from cursors of their own."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from support.messages import job_complete, store

from airflow_provider_outbound.core.ledger import Ledger


def record(ledger: Ledger, numbers: Sequence[int], *, event: str = "JobComplete", group: str = "group-1") -> None:
    store(ledger, *(job_complete(group, f"job-{number}", None, None, eventType=event) for number in numbers))


def read_all(ledger: Ledger, after: int, limit: int, **conditions: object) -> list[str]:
    jobs: list[str] = []
    while (page := ledger.events.read(after, limit, **conditions)).events:  # type: ignore[arg-type]
        jobs += [event.job_id for event in page.events]
        after = page.upto
    return jobs


def test_pages_follow_each_other_without_a_gap(ledger: Ledger) -> None:
    record(ledger, range(10))

    first = ledger.events.read(0, 4)

    assert [event.job_id for event in first.events] == [f"job-{number}" for number in range(4)]
    assert (first.is_full, first.upto) == (True, first.events[-1].sequence)
    assert read_all(ledger, first.upto, 4) == [f"job-{number}" for number in range(4, 10)]


def test_what_was_not_asked_for_is_passed_over(ledger: Ledger) -> None:
    record(ledger, [1, 2])
    record(ledger, [3], event="CallAnswered")
    record(ledger, [4], group="group-2")

    assert read_all(ledger, 0, 10, event_types=["CallAnswered"]) == ["job-3"]
    assert read_all(ledger, 0, 10, job_group_id="group-2") == ["job-4"]
    nothing = ledger.events.read(0, 10, event_types=["RecordingReady"])
    assert (nothing.events, nothing.is_full) == ((), False)
    assert nothing.upto == ledger.events.read(0, 10).events[-1].sequence


def test_a_cursor_begins_with_the_present_and_never_goes_back(ledger: Ledger) -> None:
    record(ledger, [1, 2])
    begin = ledger.events.open_cursor("a")
    record(ledger, [3, 4])

    assert read_all(ledger, begin, 10) == ["job-3", "job-4"]
    ledger.events.move_cursor("a", begin + 2)
    ledger.events.move_cursor("a", begin + 1)
    assert ledger.events.open_cursor("a") == begin + 2
    assert ledger.events.open_cursor("b") == begin + 2


def test_a_reader_misses_nothing_that_writers_record_meanwhile(ledger: Ledger) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    batches = [[writer * 1000 + index for index in range(20)] for writer in range(12)]
    over = threading.Event()

    def write(numbers: list[int]) -> None:
        for start in range(0, 20, 5):
            record(ledger, numbers[start : start + 5], event=rng.choice(["JobComplete", "Dialing"]))

    def read() -> list[str]:
        seen: list[str] = []
        after = 0
        while True:
            is_last = over.is_set()
            page = ledger.events.read(after, 7)
            seen += [event.job_id for event in page.events]
            after = page.upto
            if is_last and not page.events:
                return seen

    with ThreadPoolExecutor(5) as threads:
        reading = threads.submit(read)
        for written in [threads.submit(write, numbers) for numbers in batches]:
            written.result()
        over.set()
        seen = reading.result()

    assert sorted(seen) == sorted(f"job-{number}" for numbers in batches for number in numbers)
