"""The state of the simulated service: job groups, jobs and calls."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import attrs

from airflow_provider_outbound.simulator.outcomes import Outcome
from airflow_provider_outbound.simulator.strategy import Strategy

#: Final statuses of a job.
ENDED = frozenset({"Succeeded", "Failed", "Cancelled"})


@attrs.define(kw_only=True, eq=False)
class Call:
    """One attempt to reach a contact (a "task" in the API and in messages)."""

    task_id: str
    call_id: str
    calling_number: str
    called_number: str
    status: str = "Executing"
    #: Unix seconds on the service's clock.
    planned_at: float
    started_at: float
    answered_at: float | None = None
    ended_at: float | None = None
    #: File name, once the recording is ready.
    recording: str | None = None

    @property
    def talked_seconds(self) -> float:
        """Seconds between the answer and the end; 0 if nobody answered."""
        return 0.0 if self.answered_at is None or self.ended_at is None else self.ended_at - self.answered_at


@attrs.define(kw_only=True, eq=False)
class Job:
    """One contact to be called."""

    job_id: str
    group: Group = attrs.field(repr=False)
    contacts: Sequence[Mapping[str, Any]] = attrs.field(repr=False)
    extras: Sequence[Mapping[str, Any]] = attrs.field(repr=False)
    calling_numbers: Sequence[str]
    strategy: Strategy
    outcome: Outcome
    #: Real seconds (monotonic) at assignment, for listings that lag.
    assigned_at: float
    #: When the next attempt is planned, Unix seconds on the service's clock.
    next_at: float | None = None
    failure_reason: str | None = None
    status: str = "Scheduling"
    calls: list[Call] = attrs.field(factory=list)
    attempts_by_day: Counter[date] = attrs.field(factory=Counter)
    #: Requested during a call; takes effect when it ends.
    pause_wanted: bool = False
    cancel_wanted: bool = False
    #: Counts plans, so that outdated entries of the dialler's heap are recognised.
    plan: int = 0

    @property
    def phone_number(self) -> str:
        """The number that is dialled."""
        return str(self.contacts[0]["phoneNumber"])

    @property
    def reference_id(self) -> str:
        """The client's own id of the contact."""
        return str(self.contacts[0]["referenceId"])

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status in ENDED

    def set_status(self, status: str, failure_reason: str | None = None) -> None:
        """Change the status and the group's counts."""
        self.group.counts[self.status] -= 1
        self.group.counts[status] += 1
        self.status = status
        self.failure_reason = failure_reason


@attrs.define(kw_only=True, eq=False)
class Group:
    """A job group."""

    group_id: str
    name: str
    description: str
    script_id: str
    created_at: float
    modified_at: float
    strategy: Strategy
    strategy_id: str
    recall_strategy: Mapping[str, Any] = attrs.field(factory=dict)
    calling_numbers: Sequence[str] = ()
    recall_calling_numbers: Sequence[str] = ()
    priority: str = "Daily"
    ringing_duration: int = 25
    min_concurrency: int = 0
    jobs: list[Job] = attrs.field(factory=list, repr=False)
    #: Calls placed.
    calls: int = 0
    #: Jobs by status.
    counts: Counter[str] = attrs.field(factory=Counter)
    #: A status that replaces the one derived from the jobs.
    forced_status: str | None = None

    @property
    def status(self) -> str:
        """The group's status, derived from its jobs unless a test has set one."""
        if self.forced_status is not None:
            return self.forced_status
        waiting, executing, paused = (self.counts[name] for name in ("Scheduling", "Executing", "Paused"))
        total = len(self.jobs)
        if not total:
            return "Scheduling"
        if executing:
            return "Executing"
        if waiting:
            # A group is executing between two attempts too.
            return "Executing" if self.calls else "Scheduling"
        if paused:
            return "Paused"
        return "Cancelled" if self.counts["Cancelled"] == total else "Completed"


@attrs.define(kw_only=True, eq=False)
class Agenda:
    """The dialler's next actions, earliest first; entries of the same instant keep their order."""

    _heap: list[tuple[float, int, str, Job, int]] = attrs.field(factory=list)
    _order: Any = attrs.field(factory=itertools.count)

    def add(self, at: float, kind: str, job: Job) -> None:
        """Plan ``kind`` for ``job`` at ``at`` (Unix seconds)."""
        heapq.heappush(self._heap, (at, next(self._order), kind, job, job.plan))

    def next_at(self) -> float | None:
        """When the earliest entry is due."""
        return self._heap[0][0] if self._heap else None

    def pop(self) -> tuple[float, str, Job, int]:
        """Remove and return the earliest entry: time, kind, job, and the job's plan number when it was added."""
        at, _, kind, job, plan = heapq.heappop(self._heap)
        return at, kind, job, plan

    def clear(self) -> None:
        """Remove all entries."""
        self._heap.clear()
