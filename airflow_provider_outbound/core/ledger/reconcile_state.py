"""What comparing a job group with the API has shown so far: the typed form of ``job_groups.observed``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Confirmation:
    """
    Every job of the group has ended, according to the ledger and the API.

    :param assignments: The number of finished assignments at that time, and the number of their jobs in the group. A
        later assignment makes the confirmation void.
    :param mismatch: Whether the two disagree on the number of jobs.
    """

    assignments: tuple[int, int]
    mismatch: bool


@attrs.frozen(kw_only=True)
class Question:
    """
    According to the ledger all jobs have ended, and the API was asked to confirm it.

    :param about: The state of the ledger at that time.
    :param next_at: When the API is asked again, by the ledger's clock.
    :param delay: Seconds between the question and ``next_at``; the next delay is twice as long.
    """

    about: tuple[int, ...]
    next_at: datetime
    delay: float


@attrs.frozen(kw_only=True)
class Gap:
    """
    The API reported more than the ledger had.

    :param ended: Jobs that had ended, according to the API.
    :param listed: Jobs in the group, according to the API.
    :param since: When this was first seen, by the ledger's clock.
    """

    ended: int
    listed: int
    since: datetime


@attrs.frozen(kw_only=True)
class ReconcileState:
    """
    What earlier comparisons of a group with the API have shown. It is in the ledger, so that any process can continue.

    :param listed: The number of jobs in the group, according to the API; ``None``: it was not asked yet.
    :param ends_at: When the group's window ends, according to the API; ``None`` with ``knows_end``: it has no end.
    :param knows_end: Whether the API was asked for ``ends_at``.
    :param confirmed: Set once the group is complete.
    :param question: Set while the API lags behind the ledger.
    :param gap: Set while the ledger lags behind the API.
    :param incomplete_since: Since when the service has been finished with fewer jobs than were assigned.
    :param empty_scans: Consecutive listings that left jobs out and showed nothing new.
    :param expects_messages: Whether a wait expected messages about the group.
    :param cancelled: Whether the group was cancelled, by this package or according to the API.
    :param cancelled_at: When this package cancelled it, by the ledger's clock.
    :param paused_at: Since when the API has reported it as suspended, by the ledger's clock.
    """

    listed: int | None = None
    ends_at: datetime | None = None
    knows_end: bool = False
    confirmed: Confirmation | None = None
    question: Question | None = None
    gap: Gap | None = None
    incomplete_since: datetime | None = None
    empty_scans: int = 0
    expects_messages: bool = False
    cancelled: bool = False
    cancelled_at: datetime | None = None
    paused_at: datetime | None = None

    @classmethod
    def from_json(cls, row: Mapping[str, Any] | None) -> ReconcileState:
        """Read a row of any version of this package."""
        row = row or {}
        confirmed, question, gap = row.get("confirmed"), row.get("asked"), row.get("gap")
        return cls(
            listed=row.get("listed"),
            ends_at=_moment(row.get("ends_at")),
            knows_end="ends_at" in row,
            confirmed=confirmed
            and Confirmation(
                assignments=(confirmed["of"][0], confirmed["of"][1]), mismatch=bool(confirmed["mismatch"])
            ),
            question=question
            and Question(
                about=tuple(question["about"]),
                next_at=datetime.fromisoformat(question["next"]),
                delay=float(question["delay"]),
            ),
            gap=gap and Gap(ended=gap["ended"], listed=gap["listed"], since=datetime.fromisoformat(gap["at"])),
            incomplete_since=_moment(row.get("short_at")),
            empty_scans=row.get("barren", 0),
            expects_messages=bool(row.get("messages")),
            cancelled=bool(row.get("cancelled")),
            cancelled_at=_moment(row.get("cancelled_at")),
            paused_at=_moment(row.get("paused_at")),
        )

    def to_json(self) -> dict[str, Any]:
        """The row, with the keys that every version of this package reads."""
        confirmed, question, gap = self.confirmed, self.question, self.gap
        row: dict[str, Any] = {
            "listed": self.listed,
            "confirmed": confirmed and {"of": list(confirmed.assignments), "mismatch": confirmed.mismatch},
            "asked": question
            and {"about": list(question.about), "next": question.next_at.isoformat(), "delay": question.delay},
            "gap": gap and {"ended": gap.ended, "listed": gap.listed, "at": gap.since.isoformat()},
            "short_at": self.incomplete_since and self.incomplete_since.isoformat(),
            "barren": self.empty_scans or None,
            "messages": self.expects_messages or None,
            "cancelled": self.cancelled or None,
            "cancelled_at": self.cancelled_at and self.cancelled_at.isoformat(),
            "paused_at": self.paused_at and self.paused_at.isoformat(),
        }
        kept = {name: value for name, value in row.items() if value is not None}
        return kept | ({"ends_at": self.ends_at and self.ends_at.isoformat()} if self.knows_end else {})


@attrs.frozen(kw_only=True)
class Tombstone:
    """
    What remains of a purged group, in the same column.

    :param last_at: When the group last changed; ``None``: not known.
    :param jobs: The number of its jobs.
    :param late_messages: The number of messages about it that arrived after the purge.
    :param deleted: Whether the service does not have the group any more either.
    """

    last_at: datetime | None = None
    jobs: int = 0
    late_messages: int = 0
    deleted: bool = False

    @classmethod
    def from_json(cls, row: Mapping[str, Any] | None) -> Tombstone:
        """Read a row of any version of this package."""
        row = row or {}
        return cls(
            last_at=_moment(row.get("last_at")),
            jobs=row.get("jobs", 0),
            late_messages=row.get("late", 0),
            deleted=bool(row.get("deleted")),
        )

    def to_json(self) -> dict[str, Any]:
        """The row, with the keys that every version of this package reads."""
        row = {"last_at": self.last_at and self.last_at.isoformat(), "jobs": self.jobs}
        rare = {"late": self.late_messages, "deleted": self.deleted}
        return row | {name: value for name, value in rare.items() if value}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
