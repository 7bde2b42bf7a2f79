"""The ledger of this process, opened on first use, and answers that are kept for a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import attrs

from airflow_provider_outbound import config
from airflow_provider_outbound.core.ledger.reading import ReadOnlyLedger
from airflow_provider_outbound.exceptions import OutboundBotError

T = TypeVar("T")

#: How long a ledger that could not be opened is left alone (seconds): each attempt may take a thread for that long.
_RETRY_AFTER = 5.0
#: Answers that are kept.
_MOST_KEPT = 5_000
#: An answer is kept for at least this many times as long as it took, so that aggregates use little of the machine.
_COST_FACTOR = 20.0


@attrs.define(kw_only=True)
class _Kept:
    value: Any
    version: Hashable
    until: float
    #: Why there is no value.
    error: OutboundBotError | None = None


class Cache:
    """Keeps answers by key. Threads may share it; of several that need one answer, one works it out."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._working: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], T], *, seconds: float, version: Hashable = None) -> T:
        """
        Return the answer to ``key``. A failure is kept too, for some seconds: those that wait for it must not each try.

        :param make: Works out the answer.
        :param seconds: How long the answer is good for; at least twenty times as long as it took.
        :param version: An answer of another version is only good until its time is over.
        :raises OutboundBotError: ``make`` raised it.
        """
        kept = self._fresh(key, version)
        if kept is not None:
            return cast("T", self._value(kept))
        with self._lock:
            working = self._working.setdefault(key, threading.Lock())
        with working:
            kept = self._fresh(key, version)
            if kept is not None:
                return cast("T", self._value(kept))
            begun = time.monotonic()
            try:
                value = make()
            except OutboundBotError as error:
                self._keep(key, _Kept(value=None, version=None, until=time.monotonic() + _RETRY_AFTER, error=error))
                raise
            ended = time.monotonic()
            self._keep(
                key, _Kept(value=value, version=version, until=ended + max(seconds, _COST_FACTOR * (ended - begun)))
            )
        return value

    def clear(self) -> None:
        """Forget all answers."""
        with self._lock:
            self._kept.clear()

    def forget(self, key: Hashable) -> None:
        """Forget one answer."""
        with self._lock:
            self._kept.pop(key, None)

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

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        with self._lock:
            self._kept[key] = kept
            self._working.pop(key, None)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)


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
        with self._lock:
            ledger, self._ledger, self._failure = self._ledger, None, None
        self.cache.clear()
        if ledger is not None:
            ledger.close()


#: Of this process.
shared = LedgerOfProcess()
