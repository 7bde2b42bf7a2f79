"""What the ledger is given and gives; nothing here needs a database."""

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


@attrs.frozen
class TaskKey:
    """One task of one DAG run; a mapped task is one for each map index."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        index = "" if self.map_index < 0 else f" (map index {self.map_index})"
        return f"task {self.task_id}{index} of run {self.run_id} of DAG {self.dag_id}"

    @property
    def run_key(self) -> str:
        """Identity of what this task makes: the same for every try and in every ledger. 32 hexadecimal digits."""
        return _short_hash([self.dag_id, self.run_id, self.task_id, self.map_index])

    def assignment_id(self, job_group_id: str) -> str:
        """Identity of this task's assignment to one group."""
        return _short_hash([self.dag_id, self.run_id, self.task_id, self.map_index, job_group_id])


def _short_hash(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@attrs.frozen(kw_only=True)
class JobGroupRecord:
    """A job group that the ledger knows."""

    job_group_id: str
    run_key: str | None = None
    task_key: TaskKey | None = None
    instance_id: str | None = None
    script_id: str | None = None
    name: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    purged_at: datetime | None = None


#: States of an assignment.
OPEN, CLOSED, ABANDONED = "open", "sealed", "abandoned"


class JobState(StrEnum):
    """Where a row of the journal stands."""

    #: Committed before its request.
    SENDING = "sending"
    #: In the group: the service said so, or listed it, or sent a message about it.
    ACCEPTED = "accepted"
    #: The request was refused: the row is free again.
    REFUSED = "refused"
    #: The request may have been acted on.
    IN_DOUBT = "in_doubt"
    #: Absent from the listings long enough; nobody knows.
    UNRESOLVED = "unresolved"


class CandidateStatus(StrEnum):
    """What the journal says of a contact that somebody wants to assign."""

    #: Nothing, or a refusal: it may be sent.
    FRESH = "fresh"
    #: In the group by this assignment.
    ACCEPTED = "accepted"
    #: Sent by this assignment, fate unknown.
    DOUBT = "doubt"
    #: Sent by this assignment, fate never to be known.
    UNRESOLVED = "unresolved"
    #: In the group, or on its way there, by another assignment or under another reference.
    DUPLICATE = "duplicate"
    #: Left unresolved by another task, which has not finished and does not work now: it may be taken over.
    LEFT = "left"
    #: The reference is known with another number.
    CONFLICT = "conflict"
    #: It may be sent, but for the number of calls its person has had; see :class:`CallCap`.
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
    How often one person may be called, by whichever job group of this ledger.

    :param most: Calls; a job counts for those that are known of it, and for one while none is.
    :param period: How far back they count.
    """

    most: int
    period: timedelta


@attrs.define(kw_only=True)
class Outcomes:
    """What became of requests, as references of their rows."""

    #: The service took them.
    accepted: list[str] = attrs.field(factory=list)
    #: The service refused their request, or it was never made: the rows are free again.
    refused: list[str] = attrs.field(factory=list)
    #: Their request may have been acted on.
    in_doubt: list[str] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.accepted or self.refused or self.in_doubt)

    def add(self, other: Outcomes) -> None:
        """Take in others."""
        self.accepted += other.accepted
        self.refused += other.refused
        self.in_doubt += other.in_doubt


@attrs.frozen(kw_only=True)
class Begun:
    """Candidates that were written down as ``sending``."""

    #: This process's to send now.
    candidates: list[Candidate]
    #: How many may not be sent, because their persons have had their calls.
    capped: int


@attrs.frozen(kw_only=True)
class Assignment:
    """An assignment that this process holds the lease of."""

    assignment_id: str
    job_group_id: str
    owner: str
    #: Whether an earlier try had opened it.
    reopened: bool
    #: Whether an earlier try had finished it.
    was_closed: bool


@attrs.frozen(kw_only=True)
class OpenAssignment:
    """An assignment that is not finished, as others see it."""

    assignment_id: str
    lease_until: datetime
    settle_seconds: int


@attrs.frozen(kw_only=True)
class UndecidedAssignment:
    """Another task's assignment with requests in doubt, or under way."""

    assignment_id: str
    task_key: TaskKey
    owner: str
    #: Whether the owner is a process that settles what the task left.
    is_settling: bool
    #: Whether the task gave it up.
    is_abandoned: bool
    #: Whether nobody works on it: its lease has ended, or its task gave it up.
    is_over: bool
    lease_until: datetime
    settle_seconds: int
    #: When the last of these requests was journalled.
    sent_at: datetime


@attrs.frozen(kw_only=True)
class Doubt:
    """A row whose request may have been acted on."""

    reference_id: str
    sent_at: datetime


@attrs.frozen(kw_only=True)
class Listed:
    """What a listing told."""

    #: Jobs that are rows of ours.
    matched: int
    #: Jobs assigned by others.
    foreign: int


@attrs.frozen(kw_only=True)
class GroupState:
    """What a waiter needs at every tick; cheap to read."""

    #: Whether the ledger has heard of the group.
    known: bool
    changed: int
    open_assignments: tuple[OpenAssignment, ...]
    closed_assignments: int
    #: Those that ended without saying how many jobs they left.
    abandoned_assignments: int
    #: Sum of the numbers of jobs that finished assignments left in the group.
    closed: int
    has_doubt: bool
    has_unfinished: bool
    reconcile_state: ReconcileState
    #: When the group's rows were purged; ``None``: they are there.
    purged_at: datetime | None
    #: What is left of it then.
    tombstone: Tombstone | None = None

    @property
    def is_assigning(self) -> bool:
        """Whether jobs may still be added, or some are in doubt."""
        return bool(self.open_assignments) or self.has_doubt

    @property
    def finished_assignments(self) -> tuple[int, int]:
        """How many assignments have finished, and the number of jobs they left: what a confirmation is about."""
        return self.closed_assignments, self.closed

    @property
    def confirmed(self) -> Confirmation | None:
        """The confirmation that every job has ended, unless something was assigned since."""
        found = self.reconcile_state.confirmed
        return found if found is not None and found.assignments == self.finished_assignments else None


@attrs.frozen(kw_only=True)
class Counts:
    """How many jobs stand where."""

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
class JobDetails:
    """What the API tells of an answered job beyond its outcome; of the answered call that began last. Seconds."""

    #: Tag or variable of the script, and what the conversation gave for it.
    tags: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    #: From dialling to the end.
    call_seconds: float | None = None
    ringing_seconds: float | None = None
    #: After somebody took the call.
    talk_seconds: float | None = None
    #: ``client`` or ``ivr``, as the service calls the person and the robot.
    hang_up_side: str | None = None
    #: How the conversation ended, e.g. ``FINISHED`` or ``CLIENT_HANGUP``.
    conversation_end: str | None = None


@attrs.frozen(kw_only=True)
class JobResult:
    """What came of one job."""

    job_group_id: str
    reference_id: str
    job_id: str | None
    status: JobStatus | None
    failure_reason: FailureReason | None
    call_status: CallStatus | None
    outcome: Outcome
    answered: bool
    #: Calls we know of; the API tells of the latest only.
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    #: 1, and one more for each time the job completed again.
    revision: int
    #: ``message`` or ``api``; ``None`` while nothing is known.
    source: str | None
    is_foreign: bool
    #: Whether the contact could be read with the keys at hand.
    decrypted: bool
    phone_number: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    honorific: str | None = attrs.field(default=None, repr=False)
    role: str | None = attrs.field(default=None, repr=False)
    extras: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    #: ``None``: not asked for since the job ended (again), or not readable with the keys at hand.
    details: JobDetails | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the outcome is final: who is going to be dialled again is not unanswered yet."""
        return self.status is not None and (self.status.is_terminal or not self.status.is_known)

    @property
    def state(self) -> str:
        """Names what is known of the job, so that a copy of details can be told to be out of date."""
        return f"{self.revision}/{self.attempts}"


@attrs.frozen(kw_only=True)
class RecordedCall:
    """A call that has a recording, or will have one."""

    job_id: str
    #: ``None`` where no message and no listing told it yet.
    task_id: str | None
    #: Whether a RecordingReady came.
    has_notice: bool


@attrs.frozen(kw_only=True)
class LoggedEvent:
    """An entry of the event log: what happened to which job, without anything of the person."""

    sequence: int
    event_type: EventType
    job_group_id: str
    job_id: str
    #: As its message says; ``None`` if it does not.
    occurred_at: datetime | None


@attrs.frozen(kw_only=True)
class EventPage:
    """
    Part of the event log.

    :param events: In the order in which they were recorded.
    :param upto: Where to read on: nothing that was asked for stands before it and is not in ``events``.
    :param is_full: Whether there may be more already.
    """

    events: tuple[LoggedEvent, ...]
    upto: int
    is_full: bool


@attrs.frozen(kw_only=True)
class Incoming:
    """A message as the broker gave it."""

    body: bytes = attrs.field(repr=False)
    message_id: str
    topic: str
    #: Why ``body`` is not the message's text; empty if it is.
    fault: str = ""
    #: If ``body`` is only the head of what was delivered: how many bytes that was.
    head_of: int | None = None


@attrs.frozen(kw_only=True)
class Recorded:
    """What became of a batch of messages; all of it is committed."""

    new: int
    repeated: int
    quarantined: int
    #: About groups that were purged: counted on their tombstones, and not kept.
    purged: int = 0
    #: Of bot instances that are not this ledger's: counted, and not kept.
    others: int = 0

    def __add__(self, other: Recorded) -> Recorded:
        """Two batches as one."""
        return Recorded(**{name: value + getattr(other, name) for name, value in attrs.asdict(self).items()})
