"""The ledger: its database, and the objects that read and write it."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_outbound.core.ledger.assignments import Assignments
from airflow_provider_outbound.core.ledger.calls import Calls
from airflow_provider_outbound.core.ledger.collectors import Collectors
from airflow_provider_outbound.core.ledger.database import Database
from airflow_provider_outbound.core.ledger.details import Details
from airflow_provider_outbound.core.ledger.event_log import EventLog
from airflow_provider_outbound.core.ledger.follow_ups import FollowUps
from airflow_provider_outbound.core.ledger.groups import Groups
from airflow_provider_outbound.core.ledger.inbox import Inbox
from airflow_provider_outbound.core.ledger.journal import Journal
from airflow_provider_outbound.core.ledger.persons import Persons
from airflow_provider_outbound.core.ledger.quarantine import Quarantine
from airflow_provider_outbound.core.ledger.rate_limiter import SharedRateLimiter
from airflow_provider_outbound.core.ledger.results import Results
from airflow_provider_outbound.core.ledger.retention import Retention
from airflow_provider_outbound.core.ledger.takeovers import Takeovers
from airflow_provider_outbound.core.ledger.tombstones import Tombstones


class Ledger(Database):
    """
    Who was assigned to which job group, and the results. See :class:`Database` for parameters and errors.

    ``groups`` are the job groups, ``assignments`` the tasks that assign to them, ``takeovers`` the assignments that
    such tasks left unfinished. ``journal`` has each job before its request is sent, ``results`` what messages and
    listings report of it, ``calls`` its calls. ``inbox`` records messages, and ``events`` is their log for later
    readers. ``details`` stores what the API reports about ended jobs beyond their outcome. ``follow_ups`` stores
    which contacts a follow-up has processed. ``quarantine`` holds messages that could not be read. ``retention``
    purges what finished long ago, and ``tombstones`` are what remains of purged groups. ``persons`` finds and erases
    what is known about one person. ``turns`` spaces out requests. ``collectors`` stores which collectors run, and their
    problems.
    """

    def __init__(self, url: str, keys: Sequence[str], *, require_keys: bool = True) -> None:
        super().__init__(url, keys, require_keys=require_keys)
        self.groups = Groups(self)
        self.assignments = Assignments(self, self.groups)
        self.takeovers = Takeovers(self, self.assignments)
        self.journal = Journal(self, self.assignments, self.takeovers)
        self.results = Results(self, self.groups)
        self.inbox = Inbox(self, self.groups)
        self.turns = SharedRateLimiter(self)
        self.collectors = Collectors(self)
        self.quarantine = Quarantine(self, self.inbox.record_within)
        self.details = Details(self)
        self.calls = Calls(self)
        self.events = EventLog(self)
        self.follow_ups = FollowUps(self)
        self.retention = Retention(self, self.groups, self.follow_ups)
        self.tombstones = Tombstones(self)
        self.persons = Persons(self, self.groups, self.results, self.retention)


def open_ledger(url: str, keys: Sequence[str], *, require_keys: bool = True) -> Ledger:
    """
    Open a ledger, and create or migrate it if necessary. See :class:`Database` for parameters and errors.

    :return: The ledger; close it, or use it in a ``with`` statement.
    """
    return Ledger(url, keys, require_keys=require_keys)
