"""The connections of a wait. It may last for days, so a connection that is corrected meanwhile replaces the old one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from airflow_provider_outbound.exceptions import ConnectionMissingError, OutboundBotError
from airflow_provider_outbound.triggers.shared_resources import lookup_limiter

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Fractions of an interval: how long after a lookup a wait looks up its connections again, and how old a lookup by
#: another wait of this process may be to be reused. Together they are less than one, so a correction is noticed within
#: an interval; and a thousand waits ask Airflow about ten times per interval.
_AGAIN, _SHARED = 0.8, 0.1
#: How long a task's wait looks for a connection that Airflow does not find, and the pause between two attempts
#: (seconds): Airflow reports the same if a secrets backend does not answer.
MISSING_SECONDS, MISSING_PAUSE = 60.0, 5.0

#: By connection: when it was last looked up (monotonic), and its fields. A triggerer serves one team, so a connection
#: id means the same connection to all of its waits.
_latest: dict[str, tuple[float, tuple[Any, ...]]] = {}


class Connections(Generic[T]):
    """
    The settings from the connections of one wait, updated when a connection is corrected.

    :param subject: What is waiting, for the log.
    :param conn_ids: The connections.
    :param load: Looks up and validates the connections and returns settings; called within :data:`lookup_limiter`.
    :param interval: The longest time until a correction is noticed (seconds).
    :param patience: How long :meth:`settings` looks for a connection that Airflow does not find (seconds).
    """

    def __init__(
        self,
        subject: str,
        conn_ids: Sequence[str | None],
        load: Callable[[], Awaitable[T]],
        interval: float,
        patience: float = 0.0,
    ) -> None:
        self._subject = subject
        self._conn_ids = [conn_id for conn_id in conn_ids if conn_id is not None]
        self._load = load
        self._interval = interval
        self._patience = patience
        self._due_at = 0.0
        #: Their fields when the settings were loaded, or earlier.
        self._fields: list[tuple[Any, ...]] | None = None
        self._trouble = ""
        self._settings: T | None = None

    async def settings(self) -> T:
        """
        Return the settings, loaded by the first call and by :meth:`corrected`.

        :raises ConnectionMissingError: Airflow has not found a connection for some time.
        :raises OutboundBotConfigError: a connection cannot be used.
        """
        until = time.monotonic() + self._patience
        while self._settings is None:
            try:
                async with lookup_limiter.passed():
                    # The fields first: an edit between the two lookups is then noticed at the next comparison.
                    with contextlib.suppress(Exception):
                        self._fields = await self._look_up(_SHARED * self._interval)
                    self._settings = await self._load()
            except ConnectionMissingError as error:
                if time.monotonic() >= until:
                    raise
                self._log_once(error)
                await asyncio.sleep(MISSING_PAUSE)
            else:
                self._trouble = ""
                self._due_at = time.monotonic() + _AGAIN * self._interval
        return self._settings

    def due_in(self) -> float:
        """Return the time until the connections are looked up again (seconds)."""
        return max(0.0, self._due_at - time.monotonic())

    async def corrected(self, *, at_once: bool = False) -> bool:
        """
        Look up the connections again, if that is due.

        If a connection cannot be looked up or used, the settings stay unchanged: a mistake must not end a wait that
        works.

        :param at_once: Look up now, even if another wait did so a moment ago.
        :return: Whether the settings changed; :meth:`settings` returns the new ones.
        """
        if not at_once and self.due_in():
            return False
        self._due_at = time.monotonic() + _AGAIN * self._interval
        try:
            async with lookup_limiter.passed():
                fields = await self._look_up(0.0 if at_once else _SHARED * self._interval)
                # Compare the raw fields first: loading settings takes time and repeats warnings.
                if fields == self._fields:
                    self._trouble = ""
                    return False
                settings = await self._load()
        except Exception as error:  # noqa: BLE001 - Airflow's API server or a secrets backend may be unavailable
            self._log_once(error)
            return False
        self._trouble, self._fields = "", fields
        if settings == self._settings:
            return False
        self._settings = settings
        log.info("%s: a connection has been changed; the wait uses it from this point on", self._subject)
        return True

    async def _look_up(self, age: float) -> list[tuple[Any, ...]]:
        return [await _look_up(conn_id, age) for conn_id in self._conn_ids]

    def _log_once(self, error: Exception) -> None:
        from airflow_provider_outbound.core.collect.outages import describe_exception

        # Not the text of another library's error, which may contain private data.
        words = str(error) if isinstance(error, OutboundBotError) else describe_exception(error)
        if words != self._trouble:
            what = "the wait continues, its connections unchanged" if self._settings is not None else "will try again"
            log.warning("%s: %s: %s", self._subject, what, words)
        self._trouble = words


async def _look_up(conn_id: str, age: float) -> tuple[Any, ...]:
    """Return the fields of a connection, looked up by a wait of this process at most ``age`` seconds ago."""
    from airflow.sdk import BaseHook

    looked_at, fields = _latest.get(conn_id, (0.0, ()))
    if not fields or time.monotonic() - looked_at >= age:
        found = await BaseHook.aget_connection(conn_id)
        names = ("conn_type", "host", "port", "login", "password", "schema", "extra")
        fields = tuple(getattr(found, name) for name in names)
        _latest[conn_id] = time.monotonic(), fields
    return fields
