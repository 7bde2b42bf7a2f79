"""
Which collectors run for this ledger, when the broker last answered each, and what keeps messages from coming.

Every time is the ledger's own. A collector reports how many seconds ago something happened, never at what time, so the
clocks of two machines are not compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from sqlalchemy import Connection, delete, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.statements import insert

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

#: A collector whose row was not written for this long has ended, or hangs. It writes the row four times meanwhile.
RUNNING_FOR = timedelta(seconds=60)
#: Rows of collectors that have ended are kept for this long.
KEPT_FOR = timedelta(days=7)
#: Longest description of a trouble that is kept (characters).
_MAX_WORDS = 1000

#: Topic and consumer group. The addresses are left out: two collectors may reach one broker by different ones.
Subscription: TypeAlias = tuple[str, str]

_table = schema.collectors.c


@attrs.frozen(kw_only=True)
class CollectorReport:
    """
    What a collector says of itself. Times are in seconds before the report; ``None``: it has not happened yet.

    :param collector_id: Random, and the same in each report of a process.
    :param endpoints: Transport and addresses, ``grpc://HOST:PORT;HOST:PORT``.
    :param running_for: Seconds since it started.
    :param contact_ago: Seconds since the broker last answered.
    :param message_ago: Seconds since the last message came.
    :param trouble: What last kept messages from coming, in words that hold no secrets; empty if nothing did.
    :param trouble_ago: Seconds since that was last so.
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
    """What the ledger knows of a collector, which may have ended."""

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
    #: What last kept messages from coming.
    last_trouble: str | None = None
    last_trouble_at: datetime | None = None

    @property
    def subscription(self) -> Subscription:
        """What it collects: collectors with the same one share its messages."""
        return self.topic, self.consumer_group

    @property
    def trouble(self) -> str:
        """What kept messages from coming when it last reported; empty if nothing did."""
        if self.last_trouble_at is None or (self.last_contact_at and self.last_contact_at > self.last_trouble_at):
            return ""
        return self.last_trouble or ""


@attrs.frozen(kw_only=True)
class Collecting:
    """All collectors that the ledger knows, as of one moment."""

    now: datetime
    #: Those that reported last come first.
    collectors: Sequence[CollectorRecord] = ()

    def is_running(self, collector: CollectorRecord) -> bool:
        """Whether it has reported of late."""
        # A clock that was set back leaves reports of the future behind, which say nothing.
        return abs(self.now - collector.seen_at) <= RUNNING_FOR

    def running(self, subscription: Subscription | None = None) -> list[CollectorRecord]:
        """
        The collectors that have reported of late.

        :param subscription: Only of this one.
        """
        return [
            one
            for one in self.collectors
            if self.is_running(one) and (subscription is None or one.subscription == subscription)
        ]

    def trouble(self, subscription: Subscription | None = None) -> str:
        """
        What keeps messages from coming; empty if nothing is known to. One collector that works is enough.

        :param subscription: Only of this one.
        """
        found: dict[Subscription, list[CollectorRecord]] = defaultdict(list)
        for one in self.running(subscription):
            found[one.subscription].append(one)
        return "; ".join(ones[0].trouble for ones in found.values() if all(one.trouble for one in ones))

    def why_nothing_comes(self, external: str | None) -> str:
        """
        What keeps messages from coming, with the fix; empty if nothing is known to.

        :param external: Connection by which a service has to collect; ``None`` if triggers start collectors: then it is
            no fault that none runs while nobody waits.
        """
        if self.running():
            return self.trouble()
        return f"{self.nobody()}; start one: outbound collect --rocketmq-conn-id {external}" if external else ""

    def nobody(self) -> str:
        """That no collector runs, in words, with the last one that did."""
        if not self.collectors:
            return "no collector has reported to this ledger"
        last = self.collectors[0]
        words = f"no collector runs for this ledger; the last one, on {last.host} (process {last.pid}), reported"
        words += f" {describe_age(self.now - last.seen_at)} ago"
        return f"{words}: {last.trouble}" if last.trouble else words

    def cause_since(self, since: datetime) -> str:
        """
        What has kept messages from coming since then, even if it is over; empty if nothing is known to.

        :param since: By the ledger's clock.
        """
        for one in self.collectors:
            if one.last_trouble_at is not None and one.last_trouble_at >= since:
                return f"{one.last_trouble} (at {one.last_trouble_at:%Y-%m-%d %H:%M} UTC, on {one.host})"
        if not any(one.last_contact_at is not None and one.last_contact_at >= since for one in self.collectors):
            return f"no collector has had an answer from the broker since {since:%Y-%m-%d %H:%M} UTC"
        return ""


class Collectors:
    """Reads and writes of ``collectors``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, report: CollectorReport) -> None:
        """
        Keep a collector's row up to date.

        A collector's first report replaces the rows of those before it with the same subscription on the same host, so
        that one that fails again and again leaves one row.

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
            if connection.execute(update(schema.collectors).where(here).values(changed)).rowcount:
                return
            same = {name: getattr(report, name) for name in ("endpoints", "topic", "consumer_group", "host")}
            ended = [_table.seen_at < now - RUNNING_FOR, *(_table[name] == value for name, value in same.items())]
            connection.execute(delete(schema.collectors).where(*ended))
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
        All that are known.

        :raises LedgerUnavailableError: the database cannot be reached.
        """
        with self._database.read() as connection:
            return read_collectors(connection, self._database.time(connection))

    def cause_for(self, job_group_id: str) -> str:
        """
        What has kept messages from coming since a job group was made; empty if nothing is known to.

        :raises LedgerUnavailableError: the database cannot be reached.
        """
        created_at = select(schema.job_groups.c.created_at).where(schema.job_groups.c.job_group_id == job_group_id)
        with self._database.read() as connection:
            since = connection.execute(created_at).scalar_one_or_none()
            collecting = read_collectors(connection, self._database.time(connection))
        return collecting.trouble() if since is None else collecting.cause_since(since)


def describe_age(age: timedelta) -> str:
    """A length of time, roughly: ``3 s``, ``5 min``, ``2 d``."""
    seconds = max(0.0, age.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def read_collectors(connection: Connection, now: datetime) -> Collecting:
    """
    Every collector's row.

    :param now: The ledger's time.
    """
    columns = [_table[field.name] for field in attrs.fields(CollectorRecord)]
    rows: Any = connection.execute(select(*columns).order_by(_table.seen_at.desc(), _table.collector_id))
    return Collecting(now=now, collectors=tuple(CollectorRecord(**row) for row in rows.mappings()))
