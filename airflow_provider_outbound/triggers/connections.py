"""The connections of a wait, which may last for days: one that is corrected meanwhile is taken up."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.triggers.shared_resources import lookup_limiter

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Parts of an interval: after how long a wait looks its connections up again, and how old what another wait of this
#: process found may be. Together they are less than an interval, and a thousand waits ask Airflow ten times in one.
_AGAIN, _SHARED = 0.8, 0.1

#: By connection: when it was looked up again (monotonic), and its fields then. A triggerer serves one team, so a name
#: means the same connection to all of its waits.
_latest: dict[str, tuple[float, tuple[Any, ...]]] = {}


class Connections(Generic[T]):
    """
    What the connections of one wait say, and whether they have been corrected since.

    :param subject: Whose wait it is, for the log.
    :param conn_ids: The connections.
    :param load: Looks them up, checks them and makes settings of them; called inside :data:`lookup_limiter`.
    :param interval: Within how many seconds a correction is noticed.
    """

    def __init__(
        self, subject: str, conn_ids: Sequence[str | None], load: Callable[[], Awaitable[T]], interval: float
    ) -> None:
        self._subject = subject
        self._conn_ids = [conn_id for conn_id in conn_ids if conn_id is not None]
        self._load = load
        self._interval = interval
        self._due_at = 0.0
        #: Their fields when they were last read, or before.
        self._fields: list[tuple[Any, ...]] | None = None
        self._trouble = ""
        self._settings: T | None = None

    async def settings(self) -> T:
        """
        What they say; looked up by the first call, and by :meth:`corrected`.

        :raises OutboundBotConfigError: one of them cannot be used.
        """
        if self._settings is None:
            async with lookup_limiter.passed():
                # The fields first: what is edited between the two lookups differs from them at the next.
                with contextlib.suppress(Exception):
                    self._fields = await self._look_up(_SHARED * self._interval)
                self._settings = await self._load()
            self._due_at = time.monotonic() + _AGAIN * self._interval
        return self._settings

    def due_in(self) -> float:
        """Seconds until they are looked up again."""
        return max(0.0, self._due_at - time.monotonic())

    async def corrected(self, *, at_once: bool = False) -> bool:
        """
        Look them up again, if it is time.

        One that cannot be looked up or used now is left as it was: a mistake must not end a wait that works.

        :param at_once: Whether to look them up now, whoever did it a moment ago.
        :return: Whether they say something else than before; :meth:`settings` is that.
        """
        if not at_once and self.due_in():
            return False
        self._due_at = time.monotonic() + _AGAIN * self._interval
        try:
            async with lookup_limiter.passed():
                fields = await self._look_up(0.0 if at_once else _SHARED * self._interval)
                # Compared as Airflow has them first: reading them again takes time, and repeats what it warns of.
                if fields == self._fields:
                    self._trouble = ""
                    return False
                settings = await self._load()
        except Exception as error:  # noqa: BLE001 - Airflow's API server or a secrets backend may be away
            self._tell(error)
            return False
        self._trouble, self._fields = "", fields
        if settings == self._settings:
            return False
        self._settings = settings
        log.info("%s: a connection has been changed; the wait uses it from here on", self._subject)
        return True

    async def _look_up(self, age: float) -> list[tuple[Any, ...]]:
        return [await _look_up(conn_id, age) for conn_id in self._conn_ids]

    def _tell(self, error: Exception) -> None:
        from airflow_provider_outbound.core.collect.worker import describe_exception

        # Not the text of another library's error: it may hold what it was given.
        words = str(error) if isinstance(error, OutboundBotError) else describe_exception(error)
        if words != self._trouble:
            log.warning("%s: the wait goes on with its connections as they were: %s", self._subject, words)
        self._trouble = words


async def _look_up(conn_id: str, age: float) -> tuple[Any, ...]:
    """The fields of a connection, looked up by a wait of this process no longer than ``age`` seconds ago."""
    from airflow.sdk import BaseHook

    looked_at, fields = _latest.get(conn_id, (0.0, ()))
    if not fields or time.monotonic() - looked_at >= age:
        found = await BaseHook.aget_connection(conn_id)
        names = ("conn_type", "host", "port", "login", "password", "schema", "extra")
        fields = tuple(getattr(found, name) for name in names)
        _latest[conn_id] = time.monotonic(), fields
    return fields
