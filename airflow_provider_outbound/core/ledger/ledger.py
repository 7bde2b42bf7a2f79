"""The ledger whole: its database, and the rooms that read and write it."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_outbound.core.ledger.collectors import Collectors
from airflow_provider_outbound.core.ledger.database import Database
from airflow_provider_outbound.core.ledger.details import Details
from airflow_provider_outbound.core.ledger.event_log import EventLog
from airflow_provider_outbound.core.ledger.follow_ups import FollowUps
from airflow_provider_outbound.core.ledger.inbox import Inbox
from airflow_provider_outbound.core.ledger.jobs import Jobs
from airflow_provider_outbound.core.ledger.quarantine import Quarantine
from airflow_provider_outbound.core.ledger.rate_limiter import SharedRateLimiter
from airflow_provider_outbound.core.ledger.retention import Retention


class Ledger(Database):
    """
    Who was sent to which job group, and what came of it. See :class:`Database` for parameters and errors.

    ``jobs`` is the journal and the state of jobs and groups, ``inbox`` takes messages in, ``events`` gives them to
    readers that come later, ``details`` keeps what else the API tells of jobs that have ended, ``follow_ups`` knows
    whom a follow-up has reached, ``quarantine`` holds messages that could not be read, ``retention`` purges what is
    over for long, ``turns`` spaces out requests, ``collectors`` knows which collectors run and what troubles them.
    """

    def __init__(self, url: str, keys: Sequence[str], *, require_keys: bool = True) -> None:
        super().__init__(url, keys, require_keys=require_keys)
        self.jobs = Jobs(self)
        self.inbox = Inbox(self, self.jobs)
        self.turns = SharedRateLimiter(self)
        self.collectors = Collectors(self)
        self.quarantine = Quarantine(self, self.inbox.record_within)
        self.details = Details(self)
        self.events = EventLog(self)
        self.follow_ups = FollowUps(self)
        self.retention = Retention(self, self.jobs, self.follow_ups)


def open_ledger(url: str, keys: Sequence[str], *, require_keys: bool = True) -> Ledger:
    """
    Open a ledger, made or migrated if need be. See :class:`Database` for parameters and errors.

    :return: The ledger; close it, or use it in a ``with`` statement.
    """
    return Ledger(url, keys, require_keys=require_keys)
