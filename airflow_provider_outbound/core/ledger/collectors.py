"""
Which collectors run for this ledger, when the broker last answered each, and why messages do not arrive.

Every time is the ledger's own. A collector reports how many seconds ago something happened, not when, so the clocks of
two machines are never compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from sqlalchemy import Connection, delete, not_, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.statements import insert

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

#: A collector whose row was not written for this long has ended, or hangs. One that runs writes it four times as often.
RUNNING_FOR = timedelta(seconds=60)
#: How long the rows of ended collectors are kept.
KEPT_FOR = timedelta(days=7)
#: Longest description of a problem that is kept (characters).
_MAX_WORDS = 1000

#: Topic and consumer group, without addresses: two collectors may reach one broker by different addresses.
Subscription: TypeAlias = tuple[str, str]

_table = schema.collectors.c


@attrs.frozen(kw_only=True)
class CollectorReport:
    """
    A collector's report about itself. Times are in seconds before the report; ``None``: it has not happened yet.

    :param collector_id: Random, and the same in each report of a process.
    :param endpoints: Transport and addresses, ``grpc://HOST:PORT;HOST:PORT``.
    :param running_for: Seconds since it started.
    :param contact_ago: Seconds since the broker last answered.
    :param message_ago: Seconds since the last message arrived.
    :param trouble: The last reason why messages did not arrive, without secrets; empty if there was none.
    :param trouble_ago: Seconds since that reason last applied.
    """

    collector_id: str
    endpoints: str
    topic: str
    consumer_group: str
    host: str
    pid: int
    running_for: float
    contact_ago: float | None = None
    message_ago: float | None = None
    trouble: str = ""
    trouble_ago: float | None = None


@attrs.frozen(kw_only=True)
class CollectorRecord:
    """The ledger's record of a collector, which may have ended."""

    endpoints: str
    topic: str
    consumer_group: str
    host: str
    pid: int
    started_at: datetime
    #: When it last reported.
    seen_at: datetime
    #: When the broker last answered it.
    last_contact_at: datetime | None = None
    last_message_at: datetime | None = None
    #: The last reason why messages did not arrive.
    last_trouble: str | None = None
    last_trouble_at: datetime | None = None

    @property
    def subscription(self) -> Subscription:
        """Topic and consumer group: collectors with the same subscription share its messages."""
        return self.topic, self.consumer_group

    @property
    def trouble(self) -> str:
        """Why messages did not arrive when it last reported; empty if there was no problem."""
        if self.last_trouble_at is None or (self.last_contact_at and self.last_contact_at > self.last_trouble_at):
            return ""
        return self.last_trouble or ""


@attrs.frozen(kw_only=True)
class Collecting:
    """All collectors in the ledger, at one moment."""

    now: datetime
    #: The latest report first.
    collectors: Sequence[CollectorRecord] = ()

    def is_running(self, collector: CollectorRecord) -> bool:
        """Whether it has reported recently."""
        # A clock that was set back leaves reports in the future, which prove nothing.
        return abs(self.now - collector.seen_at) <= RUNNING_FOR

    def running(self, subscription: Subscription | None = None) -> list[CollectorRecord]:
        """
        The collectors that have reported recently.

        :param subscription: Only those of this subscription.
        """
        return [
            one
            for one in self.collectors
            if self.is_running(one) and (subscription is None or one.subscription == subscription)
        ]

    def trouble(self, subscription: Subscription | None = None) -> str:
        """
        Why messages do not arrive; empty if no cause is known. One working collector per subscription is enough.

        :param subscription: Only this subscription.
        """
        found: dict[Subscription, list[CollectorRecord]] = defaultdict(list)
        for one in self.running(subscription):
            found[one.subscription].append(one)
        return "; ".join(ones[0].trouble for ones in found.values() if all(one.trouble for one in ones))

    def why_nothing_comes(self, external: str | None) -> str:
        """
        Why messages do not arrive, and the fix; empty if no cause is known.

        :param external: The connection that a separate collector has to use; ``None`` if triggers start collectors,
            which they only do while a task waits.
        """
        if self.running():
            return self.trouble()
        return f"{self.nobody()}; start one: outbound collect --rocketmq-conn-id {external}" if external else ""

    def nobody(self) -> str:
        """A message that no collector runs, which names the last one that did."""
        if not self.collectors:
            return "no collector has reported to this ledger"
        last = self.collectors[0]
        # A time and not an age, because waits log these words whenever they change.
        words = f"no collector runs for this ledger; the last one, on {last.host} (process {last.pid}), last reported"
        words += f" at {last.seen_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{words}: {last.trouble}" if last.trouble else words

    def cause_since(self, since: datetime) -> str:
        """
        Why messages did not arrive at some time since then, even if they arrive again; empty if no cause is known.

        :param since: By the ledger's clock.
        """
        for one in self.collectors:
            if one.last_trouble_at is not None and one.last_trouble_at >= since:
                return f"{one.last_trouble} (at {one.last_trouble_at:%Y-%m-%d %H:%M} UTC, on {one.host})"
        if not any(one.last_contact_at is not None and one.last_contact_at >= since for one in self.collectors):
            return f"no collector has received an answer from the broker since {since:%Y-%m-%d %H:%M} UTC"
        return ""


class Collectors:
    """Reads and writes of ``collectors``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, report: CollectorReport) -> None:
        """
        Keep a collector's row up to date.

        It replaces the rows of ended collectors with the same subscription on the same host. So one that keeps failing
        leaves one row, and one that was restarted leaves none.

        :raises LedgerUnavailableError: the database cannot be reached or written now.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)

            def at(seconds_ago: float | None) -> datetime | None:
                return None if seconds_ago is None else now - timedelta(seconds=seconds_ago)

            changed = {
                "seen_at": now,
                "last_contact_at": at(report.contact_ago),
                "last_message_at": at(report.message_ago),
                "last_trouble": report.trouble[:_MAX_WORDS] or None,
                "last_trouble_at": at(report.trouble_ago),
            }
            here = _table.collector_id == report.collector_id
            same = {name: getattr(report, name) for name in ("endpoints", "topic", "consumer_group", "host")}
            ended = [_table.seen_at < now - RUNNING_FOR, *(_table[name] == value for name, value in same.items())]
            connection.execute(delete(schema.collectors).where(not_(here), *ended))
            if connection.execute(update(schema.collectors).where(here).values(changed)).rowcount:
                return
            connection.execute(delete(schema.collectors).where(_table.seen_at < now - KEPT_FOR))
            values = {
                **same,
                **changed,
                "collector_id": report.collector_id,
                "pid": report.pid,
                "started_at": at(report.running_for),
            }
            connection.execute(insert(connection, schema.collectors).values(values))

    def read(self) -> Collecting:
        """
        All collectors in the ledger.

        :raises LedgerUnavailableError: the database cannot be reached.
        """
        with self._database.read() as connection:
            return read_collectors(connection, self._database.time(connection))

    def cause_for(self, job_group_id: str) -> str:
        """
        Why messages did not arrive at some time since a job group was created; empty if no cause is known.

        :raises LedgerUnavailableError: the database cannot be reached.
        """
        created_at = select(schema.job_groups.c.created_at).where(schema.job_groups.c.job_group_id == job_group_id)
        with self._database.read() as connection:
            since = connection.execute(created_at).scalar_one_or_none()
            collecting = read_collectors(connection, self._database.time(connection))
        return collecting.trouble() if since is None else collecting.cause_since(since)


def describe_age(age: timedelta) -> str:
    """An approximate length of time: ``3 s``, ``5 min``, ``2 d``."""
    seconds = max(0.0, age.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def read_collectors(connection: Connection, now: datetime) -> Collecting:
    """
    Read every collector's row.

    :param now: The ledger's time.
    """
    columns = [_table[field.name] for field in attrs.fields(CollectorRecord)]
    rows: Any = connection.execute(select(*columns).order_by(_table.seen_at.desc(), _table.collector_id))
    return Collecting(now=now, collectors=tuple(CollectorRecord(**row) for row in rows.mappings()))
