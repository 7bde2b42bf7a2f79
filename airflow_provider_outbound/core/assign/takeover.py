"""
Settle what other tasks left in doubt in a group, so that this task can take over contacts of its own list.

A task that works renews its lease, or keeps sending; its contacts stay its own. A task that has done neither when its
lease ends is dead, or between two tries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from airflow_provider_outbound.core.assign.left_out import IN_GROUP, LeaveOut
from airflow_provider_outbound.core.assign.options import AssignOptions
from airflow_provider_outbound.core.assign.screening import CHUNK
from airflow_provider_outbound.core.ledger import (
    Assignment,
    Candidate,
    CandidateStatus,
    Ledger,
    TaskKey,
    UndecidedAssignment,
)
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.reconcile import GroupReader, Lease, settle
from airflow_provider_outbound.exceptions import LeaseLostError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

log = logging.getLogger(__name__)


def settle_others(reader: GroupReader, lease: Lease) -> list[TaskKey]:
    """
    Wait until it is clear which tasks are dead, and settle what they left in doubt in the group.

    Rows that the service does not list are unresolved afterwards, and can be taken over. This task must not have a
    request in flight.

    :param lease: This task's own lease.
    :return: The dead tasks that left something in doubt.
    :raises LeaseLostError: another process took over this task.
    """
    ledger = reader.ledger
    first: dict[str, UndecidedAssignment] = {}
    dead: dict[str, TaskKey] = {}
    pause = _FIRST_PAUSE
    while True:
        lease.check()
        is_waiting = False
        for other in ledger.takeovers.undecided(lease.assignment):
            if other.assignment_id not in first and not other.is_over:
                log.info(
                    "Job group %s: %s has requests in flight; waiting to see whether it is still running",
                    reader.job_group_id,
                    other.task_key,
                )
            seen = first.setdefault(other.assignment_id, other)
            if other.is_over or other.is_settling:
                dead[other.assignment_id] = other.task_key
            if other.is_over:
                _settle(reader, lease, other)
            if other.is_over or other.is_settling or not _has_moved(seen, other):
                is_waiting = True
        if not is_waiting:
            return list(dead.values())
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


class LeftContacts:
    """
    Takes over the contacts of a source that other tasks left.

    :param leave_out: Called with contacts that were gone when this task tried to take them over.
    """

    def __init__(self, ledger: Ledger, assignment: Assignment, options: AssignOptions, leave_out: LeaveOut) -> None:
        self._ledger = ledger
        self._assignment = assignment
        self._options = options
        self._leave_out = leave_out
        self._left: list[Candidate] = []
        self.adopted = 0

    def without(self, contacts: Iterator[tuple[Candidate, CandidateStatus]]) -> Iterator[Candidate]:
        """Yield the contacts to send; take over, in chunks, those that other tasks left."""
        for candidate, status in contacts:
            if status is CandidateStatus.FRESH:
                yield candidate
            elif status is CandidateStatus.LEFT:
                self._left.append(candidate)
                if len(self._left) == CHUNK:
                    self._adopt()
        self._adopt()

    def _adopt(self) -> None:
        if self._left:
            lost = self._ledger.journal.adopt(self._assignment, self._left, dedupe_by=self._options.dedupe_by)
            adopted = len(self._left) - len(lost)
            self.adopted += adopted
            for candidate in lost:
                self._leave_out(IN_GROUP, candidate.contact)
            log.info(
                "Job group %s: took over %s that another task left",
                self._assignment.job_group_id,
                count_of(adopted, "contact"),
            )
            self._left = []


def _has_moved(before: UndecidedAssignment, now: UndecidedAssignment) -> bool:
    """Whether a process worked on an assignment meanwhile."""
    return (before.owner, before.lease_until, before.sent_at) != (now.owner, now.lease_until, now.sent_at)


def _settle(reader: GroupReader, lease: Lease, other: UndecidedAssignment) -> None:
    held = lease.borrow(other)
    if held is None:
        return
    log.info("Job group %s: settling what %s left", reader.job_group_id, other.task_key)
    with held:
        try:
            # Its process may have sent until its lease ended.
            since = min(max(other.sent_at, other.lease_until), reader.ledger.now())
            settled = settle(reader, held, since=since, settle_seconds=other.settle_seconds)
            if settled.absent:
                reader.ledger.journal.mark_unresolved(held.assignment, settled.absent)
        finally:
            try:
                reader.ledger.takeovers.hand_back(held.assignment, other)
            except LeaseLostError as error:
                log.warning("Job group %s: %s", reader.job_group_id, error)
