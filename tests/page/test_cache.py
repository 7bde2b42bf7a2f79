"""What the page keeps: nobody waits for an answer that was good a moment ago, and nothing forgotten comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.exceptions import LedgerError
from airflow_provider_outbound.page.ledger import Cache


@pytest.fixture
def cache() -> Iterator[Cache]:
    cache = Cache()
    yield cache
    cache.close()


def get_old(cache: Cache, source: Source) -> None:
    """Ask for an answer, and let it be no longer good."""
    assert cache.get("key", source, seconds=0) == 1
    # An answer is good for twenty times as long as it took.
    time.sleep(0.05)


class Source:
    """Counts up with each answer; each waits for the gate."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self) -> int:
        self.asked += 1
        answer = self.asked
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return answer


def test_nobody_waits_for_an_answer_that_was_good_a_moment_ago(cache: Cache) -> None:
    source = Source()
    get_old(cache, source)
    source.gate.clear()
    # Each of these would wait for the gate if it had to work out the answer itself.
    assert [cache.get("key", source, seconds=0) for _ in range(5)] == [1] * 5
    assert source.asked <= 2, "one answer is worked out at a time"
    source.gate.set()
    wait_until(lambda: cache.get("key", source, seconds=0) >= 2, seconds=30, what="a new answer")


def test_the_last_answer_of_an_ended_campaign_is_never_preceded_by_an_older_one(cache: Cache) -> None:
    source = Source()
    get_old(cache, source)
    assert cache.get("key", source, seconds=0, version=7) == 2
    assert cache.get("key", source, seconds=0, version=7) == 2, "an answer with a version stays good"


@pytest.mark.parametrize("forget", ["forget", "clear"])
def test_what_was_read_before_an_action_is_not_shown_after_it(cache: Cache, forget: str) -> None:
    source = Source()
    get_old(cache, source)
    source.gate.clear()
    assert cache.get("key", source, seconds=60) == 1
    wait_until(lambda: source.asked == 2, seconds=30, what="the refresh")
    if forget == "clear":
        cache.clear()
    else:
        cache.forget("key")
    source.gate.set()
    assert cache.get("key", source, seconds=60) == 3
    assert cache.get("key", source, seconds=60) == 3


def test_a_failed_refresh_is_told_and_ended_by_the_next_that_succeeds(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_outbound.page.ledger._RETRY_AFTER", 0.0)
    source = Source()
    get_old(cache, source)
    source.error = LedgerError("ledger: it is away")
    with pytest.raises(LedgerError, match="it is away"):  # noqa: PT012 - the answer is asked for until it fails
        for _ in range(10_000):
            get_old(cache, source)
    source.error = None
    assert cache.get("key", source, seconds=60) > 1


def test_closing_ends_the_thread(cache: Cache) -> None:
    source = Source()
    get_old(cache, source)
    cache.get("key", source, seconds=0)
    cache.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("outbound-page")]
    assert cache.get("key", source, seconds=60) == source.asked
