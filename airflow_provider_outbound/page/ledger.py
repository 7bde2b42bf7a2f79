"""The ledger of this process, opened on first use, and answers that are kept for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import attrs

from airflow_provider_outbound import config
from airflow_provider_outbound.core.ledger.reading import ReadOnlyLedger
from airflow_provider_outbound.exceptions import OutboundBotError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a ledger that could not be opened is left alone (seconds): each attempt may take a thread for that long.
_RETRY_AFTER = 5.0
#: Answers that are kept.
_MOST_KEPT = 5_000
#: An answer is kept for at least this many times as long as it took, so that aggregates use little of the machine.
_COST_FACTOR = 20.0
#: How long an answer that is no longer good is still given while it is worked out again (seconds). A browser that
#: watches asks more often than that.
_STALE = 15.0


@attrs.define(kw_only=True)
class _Kept:
    value: Any
    version: Hashable
    until: float
    #: Why there is no value.
    error: OutboundBotError | None = None


class Cache:
    """
    Keeps answers by key. Threads may share it; of several that need one answer, one works it out.

    An answer that is no longer good is worked out again by a thread of the cache, and requests meanwhile get the old
    one. The thread begins with the first such answer and ends in :meth:`close`, or when the process ends.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._working: dict[Hashable, threading.Lock] = {}
        self._refreshing: set[Hashable] = set()
        self._refresher: ThreadPoolExecutor | None = None
        #: Changes when something is forgotten: what was read before then is not kept.
        self._generation = 0

    def get(self, key: Hashable, make: Callable[[], T], *, seconds: float, version: Hashable = None) -> T:
        """
        Return the answer to ``key``. A failure is kept too, for some seconds: those that wait for it must not each try.

        :param make: Works out the answer.
        :param seconds: How long the answer is good for; at least twenty times as long as it took.
        :param version: An answer of another version is only good until its time is over.
        :raises OutboundBotError: ``make`` raised it.
        """
        kept = self._fresh(key, version) or self._stale(key, make, seconds, version)
        if kept is not None:
            return cast("T", self._value(kept))
        with self._lock:
            working = self._working.setdefault(key, threading.Lock())
        with working:
            kept = self._fresh(key, version)
            return cast("T", self._value(kept or self._make(key, make, seconds, version)))

    def clear(self) -> None:
        """Forget all answers."""
        with self._lock:
            self._kept.clear()
            self._generation += 1

    def forget(self, key: Hashable) -> None:
        """Forget one answer."""
        with self._lock:
            self._kept.pop(key, None)
            self._generation += 1

    def close(self) -> None:
        """Forget all answers, and end the thread that works them out again."""
        with self._lock:
            refresher, self._refresher = self._refresher, None
            self._refreshing.clear()
        if refresher is not None:
            refresher.shutdown(cancel_futures=True)
        self.clear()

    @staticmethod
    def _value(kept: _Kept) -> Any:
        if kept.error is not None:
            raise kept.error.with_traceback(None)
        return kept.value

    def _fresh(self, key: Hashable, version: Hashable) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept.move_to_end(key)
        is_same = version is not None and kept.version == version
        return kept if is_same or time.monotonic() < kept.until else None

    def _stale(self, key: Hashable, make: Callable[[], Any], seconds: float, version: Hashable) -> _Kept | None:
        """The answer that was good until a moment ago, if it can be worked out again meanwhile."""
        with self._lock:
            kept = self._kept.get(key)
            # An answer that gets a version is the last of its campaign: nobody should see the one before.
            if kept is None or kept.error is not None or kept.version != version:
                return None
            if time.monotonic() >= kept.until + _STALE:
                return None
            if key not in self._refreshing:
                self._refreshing.add(key)
                if self._refresher is None:
                    self._refresher = ThreadPoolExecutor(1, thread_name_prefix="outbound-page")
                self._refresher.submit(self._refresh, key, make, seconds, version)
        return kept

    def _refresh(self, key: Hashable, make: Callable[[], Any], seconds: float, version: Hashable) -> None:
        try:
            # A request may have done so while this waited for its turn.
            if self._fresh(key, version) is None:
                self._make(key, make, seconds, version)
        except Exception as error:  # noqa: BLE001 - the next request works it out itself, and answers the error
            log.debug("An answer could not be refreshed: %s", type(error).__name__)
        finally:
            with self._lock:
                self._refreshing.discard(key)

    def _make(self, key: Hashable, make: Callable[[], Any], seconds: float, version: Hashable) -> _Kept:
        with self._lock:
            generation = self._generation
        begun = time.monotonic()
        try:
            kept = _Kept(value=make(), version=version, until=0.0)
        except OutboundBotError as error:
            kept = _Kept(value=None, version=None, until=time.monotonic() + _RETRY_AFTER, error=error)
        else:
            ended = time.monotonic()
            kept.until = ended + max(seconds, _COST_FACTOR * (ended - begun))
        with self._lock:
            self._working.pop(key, None)
            if generation == self._generation:
                self._kept[key] = kept
                self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return kept


class LedgerOfProcess:
    """
    One ledger per process. It is opened by the first request, not when the api-server starts: a server that forks its
    workers must not share connections with them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ledger: ReadOnlyLedger | None = None
        self._failure: OutboundBotError | None = None
        self._retry_at = 0.0
        self.cache = Cache()

    def get(self) -> ReadOnlyLedger:
        """
        The ledger, opened if necessary.

        :raises OutboundBotConfigError: ``[outbound]`` cannot be used.
        :raises LedgerError: the ledger cannot be used; it is tried again some seconds later.
        """
        with self._lock:
            if self._ledger is not None:
                return self._ledger
            if self._failure is not None and time.monotonic() < self._retry_at:
                raise self._failure.with_traceback(None)
            try:
                settings = config.load()
                self._ledger = ReadOnlyLedger(settings.ledger_url, settings.ledger_keys)
            except OutboundBotError as error:
                self._failure = error
                self._retry_at = time.monotonic() + _RETRY_AFTER
                raise
            self._failure = None
            return self._ledger

    def close(self) -> None:
        """Close its connections and forget what was read; a later request opens it again."""
        self.cache.close()
        with self._lock:
            ledger, self._ledger, self._failure = self._ledger, None, None
        if ledger is not None:
            ledger.close()


#: Of this process.
shared = LedgerOfProcess()
