"""Arguments and results of the ledger's methods. Nothing here needs a database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import attrs

from airflow_provider_outbound.core.ledger.reconcile_state import Confirmation, ReconcileState, Tombstone
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.enums import CallStatus, EventType, FailureReason, JobStatus, Outcome
from airflow_provider_outbound.core.models.job_details import JobDetails


@attrs.frozen
class TaskKey:
    """One task of one DAG run; each map index of a mapped task is a task of its own."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        index = "" if self.map_index < 0 else f" (map index {self.map_index})"
        return f"task {self.task_id}{index} of run {self.run_id} of DAG {self.dag_id}"

    @property
    def short_key(self) -> str:
        """The end of the name of the group that this task creates, because the API searches names, not descriptions."""
        return self.run_key[:12]

    @property
    def run_key(self) -> str:
        """Identity of what this task creates: 32 hexadecimal digits, the same for every try and in every ledger."""
        return _short_hash([self.dag_id, self.run_id, self.task_id, self.map_index])

    def assignment_id(self, job_group_id: str) -> str:
        """Identity of this task's assignment to one group."""
        return _short_hash([self.dag_id, self.run_id, self.task_id, self.map_index, job_group_id])


def _short_hash(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@attrs.frozen(kw_only=True)
class JobGroupRecord:
    """A job group in the ledger."""

    job_group_id: str
    run_key: str | None = None
    task_key: TaskKey | None = None
    instance_id: str | None = None
    script_id: str | None = None
    name: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    purged_at: datetime | None = None
    #: The Airflow connection that controls it.
    conn_id: str | None = None
    #: When it came into the ledger; ``None``: it is not from there.
    created_at: datetime | None = attrs.field(default=None, eq=False)


#: States of an assignment.
OPEN, CLOSED, ABANDONED = "open", "sealed", "abandoned"


class JobState(StrEnum):
    """The state of a row of the journal."""

    #: Committed before its request.
    SENDING = "sending"
    #: In the group: the service accepted it, listed it, or sent a message about it.
    ACCEPTED = "accepted"
    #: The request was refused: the row is free again.
    REFUSED = "refused"
    #: The service may have acted on the request.
    IN_DOUBT = "in_doubt"
    #: Absent from the listings for long enough; its status is unknown.
    UNRESOLVED = "unresolved"


class CandidateStatus(StrEnum):
    """The status of a contact that a task wants to assign, according to the journal."""

    #: No row, or a refused one: it may be sent.
    FRESH = "fresh"
    #: In the group, by this assignment.
    ACCEPTED = "accepted"
    #: Sent by this assignment, with unknown status.
    DOUBT = "doubt"
    #: Sent by this assignment; its status stays unknown.
    UNRESOLVED = "unresolved"
    #: In the group, or being sent, by another assignment or under another reference.
    DUPLICATE = "duplicate"
    #: Left unresolved by another task, which has not finished and is not running: it may be taken over.
    LEFT = "left"
    #: The reference already belongs to another number.
    CONFLICT = "conflict"
    #: Not to be sent, only because its person has had enough calls; see :class:`CallCap`.
    CAPPED = "capped"


@attrs.frozen(kw_only=True)
class Candidate:
    """A contact with its two identities in this ledger."""

    reference_id: str
    phone_key: str
    contact: Contact = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class CallCap:
    """
    How often one person may be called, over all job groups of this ledger.

    :param most: The maximum number of calls. A job counts for its known calls, or for one if none is known.
    :param period: How far back calls count.
    """

    most: int
    period: timedelta


@attrs.define(kw_only=True)
class Outcomes:
    """The outcomes of requests, as references of their rows."""

    #: The service accepted them.
    accepted: list[str] = attrs.field(factory=list)
    #: The service refused their request, or it was never sent: the rows are free again.
    refused: list[str] = attrs.field(factory=list)
    #: The service may have acted on their request.
    in_doubt: list[str] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.accepted or self.refused or self.in_doubt)

    def add(self, other: Outcomes) -> None:
        """Add other outcomes to these."""
        self.accepted += other.accepted
        self.refused += other.refused
        self.in_doubt += other.in_doubt


@attrs.frozen(kw_only=True)
class Begun:
    """Candidates to be sent by this process; those whose persons have had enough calls; and those of faster tasks."""

    candidates: list[Candidate]
    capped: list[Candidate]
    lost: list[Candidate]


@attrs.frozen(kw_only=True)
class Assignment:
    """An assignment whose lease this process holds."""

    assignment_id: str
    job_group_id: str
    owner: str
    #: Whether an earlier try had opened it.
    reopened: bool
    #: Whether an earlier try had finished it.
    was_closed: bool


@attrs.frozen(kw_only=True)
class OpenAssignment:
    """An assignment that is not finished, as other processes see it."""

    assignment_id: str
    lease_until: datetime
    settle_seconds: int


@attrs.frozen(kw_only=True)
class UndecidedAssignment:
    """Another task's assignment with requests in doubt or in flight."""

    assignment_id: str
    task_key: TaskKey
    owner: str
    #: Whether the owner is a process that settles the requests that the task left in doubt.
    is_settling: bool
    #: Whether the task abandoned it.
    is_abandoned: bool
    #: Whether no process works on it: its lease has expired, or its task abandoned it.
    is_over: bool
    lease_until: datetime
    settle_seconds: int
    #: When the last of these requests was journalled.
    sent_at: datetime


@attrs.frozen(kw_only=True)
class Doubt:
    """A row on whose request the service may have acted."""

    reference_id: str
    sent_at: datetime


@attrs.frozen(kw_only=True)
class Listed:
    """The numbers of jobs in a recorded listing."""

    #: Jobs of this ledger.
    matched: int
    #: Jobs assigned by others.
    foreign: int


@attrs.frozen(kw_only=True)
class GroupState:
    """What a waiting task needs at every poll; cheap to read. ``known``: whether the group is in the ledger."""

    known: bool
    changed: int
    open_assignments: tuple[OpenAssignment, ...]
    closed_assignments: int
    #: Assignments that ended without reporting the number of their jobs.
    abandoned_assignments: int
    #: The number of jobs of all finished assignments in the group.
    closed: int
    has_doubt: bool
    has_unfinished: bool
    reconcile_state: ReconcileState
    #: When the group's rows were purged; ``None``: they were not.
    purged_at: datetime | None
    #: When this package suspended all its jobs; ``None``: it did not, or resumed them.
    suspended_at: datetime | None = None
    tombstone: Tombstone | None = None

    @property
    def is_cancelled(self) -> bool:
        """Whether this package cancelled the group."""
        return self.reconcile_state.cancelled_at is not None

    @property
    def suspended_since(self) -> datetime | None:
        """When this package suspended all jobs, unless it cancelled them."""
        return None if self.is_cancelled else self.suspended_at

    @property
    def is_assigning(self) -> bool:
        """Whether jobs may still be added, or some are in doubt."""
        return bool(self.open_assignments) or self.has_doubt

    @property
    def finished_assignments(self) -> tuple[int, int]:
        """The number of finished assignments, and the number of their jobs: see :class:`Confirmation`."""
        return self.closed_assignments, self.closed

    @property
    def confirmed(self) -> Confirmation | None:
        """The confirmation that every job has ended, unless more was assigned since."""
        found = self.reconcile_state.confirmed
        return found if found is not None and found.assignments == self.finished_assignments else None


@attrs.frozen(kw_only=True)
class Counts:
    """The numbers of a group's jobs, by state."""

    #: Jobs known to be in the group.
    total: int
    terminal: int
    in_doubt: int
    unresolved: int
    foreign: int


@attrs.frozen(kw_only=True)
class Unfinished:
    """A job in the group without a final status."""

    reference_id: str
    job_id: str | None


@attrs.frozen(kw_only=True)
class JobResult:
    """The result of one job."""

    job_group_id: str
    reference_id: str
    job_id: str | None
    status: JobStatus | None
    failure_reason: FailureReason | None
    call_status: CallStatus | None
    outcome: Outcome
    answered: bool
    #: The number of known calls; the API only reports the latest.
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    #: 1, and one more for each time the job completed again.
    revision: int
    #: ``message`` or ``api``; ``None`` while the status is unknown.
    source: str | None
    is_foreign: bool
    #: Whether the contact could be decrypted with the keys given.
    decrypted: bool
    #: Whether the contact was erased on request.
    is_forgotten: bool = False
    phone_number: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    honorific: str | None = attrs.field(default=None, repr=False)
    role: str | None = attrs.field(default=None, repr=False)
    extras: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    #: ``None``: not requested since the job ended (again), or not readable with the keys given.
    details: JobDetails | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the outcome is final: a contact that will be dialled again is not unanswered yet."""
        return self.status is not None and (self.status.is_terminal or not self.status.is_known)

    @property
    def state(self) -> str:
        """Identifies what is known about the job, so that outdated details can be recognised."""
        return f"{self.revision}/{self.attempts}"


@attrs.frozen(kw_only=True)
class RecordedCall:
    """A call that has a recording, or will have one."""

    job_id: str
    #: ``None`` if no message or listing has reported it yet.
    task_id: str | None
    #: Whether a RecordingReady message arrived.
    has_notice: bool


@attrs.frozen(kw_only=True)
class LoggedEvent:
    """An entry of the event log: what happened to which job, without personal data."""

    sequence: int
    event_type: EventType
    job_group_id: str
    job_id: str
    #: From the message; ``None`` if it has no time.
    occurred_at: datetime | None


@attrs.frozen(kw_only=True)
class EventPage:
    """
    Part of the event log.

    :param events: In the order in which they were recorded.
    :param upto: Where to continue: ``events`` has every requested event up to this sequence number.
    :param is_full: Whether more events may be available.
    """

    events: tuple[LoggedEvent, ...]
    upto: int
    is_full: bool


@attrs.frozen(kw_only=True)
class Incoming:
    """A message as the broker delivered it."""

    body: bytes = attrs.field(repr=False)
    message_id: str
    topic: str
    #: Why ``body`` is not the message's text; empty if it is.
    fault: str = ""
    #: If ``body`` is only the head of the message: the number of bytes delivered.
    head_of: int | None = None


@attrs.frozen(kw_only=True)
class Recorded:
    """The result of recording a batch of messages; all of it is committed."""

    new: int
    repeated: int
    quarantined: int
    #: About purged groups: counted on their tombstones, not stored.
    purged: int = 0
    #: From bot instances that are not this ledger's: counted, not stored.
    others: int = 0

    def __add__(self, other: Recorded) -> Recorded:
        """Add the numbers of two batches."""
        return Recorded(**{name: value + getattr(other, name) for name, value in attrs.asdict(self).items()})
