"""
Suspend, resume or cancel assigned jobs, and check whether the command has taken effect.

Repeating a suspension or a cancellation is safe: jobs that are already in the requested state stay in it. A repeated
resumption also resumes what somebody suspended in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from airflow_provider_outbound.core.allowed import check_allowed
from airflow_provider_outbound.core.client.base import MAX_JOBS_PER_REQUEST
from airflow_provider_outbound.core.models.enums import JobGroupStatus, JobStatus
from airflow_provider_outbound.core.models.job import Job, JobGroup
from airflow_provider_outbound.exceptions import (
    JobGroupCancelledError,
    LedgerError,
    LedgerUnavailableError,
    OutboundBotApiError,
    OutboundBotConfigError,
    OutboundBotError,
    OutboundBotNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import GroupState, Ledger

log = logging.getLogger(__name__)

#: Opens the ledger, or raises: stopping calls does not depend on it.
OpenLedger: TypeAlias = "Callable[[], Ledger]"


class Action(StrEnum):
    """What a command does to jobs."""

    SUSPEND = "suspend"
    RESUME = "resume"
    CANCEL = "cancel"


#: Statuses that no job has once an action has taken effect. A suspended or cancelled job whose call is in progress
#: stays in Executing until the call ends.
_LEFT_BEHIND = {
    Action.SUSPEND: (JobStatus.SCHEDULING, JobStatus.EXECUTING),
    Action.RESUME: (JobStatus.PAUSED,),
    Action.CANCEL: (JobStatus.SCHEDULING, JobStatus.EXECUTING, JobStatus.PAUSED),
}
#: The number of ids that an error names.
_SHOWN = 5
#: The field of a group's progress that counts each status.
_COUNTS = {JobStatus.SCHEDULING: "scheduling", JobStatus.EXECUTING: "executing", JobStatus.PAUSED: "paused"}


@attrs.frozen(kw_only=True)
class JobCommand:
    """
    An action on jobs of a group: all jobs, or those named.

    :param instance_id: The group's bot instance; ``None``: the client's.
    """

    action: Action
    job_group_id: str
    instance_id: str | None = None
    job_ids: tuple[str, ...] = ()
    reference_ids: tuple[str, ...] = ()
    all_jobs: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the command names no job."""
        return not (self.all_jobs or self.job_ids or self.reference_ids)

    @property
    def _of_group(self) -> dict[str, Any]:
        return {"job_group_id": self.job_group_id, "instance_id": self.instance_id}

    @classmethod
    def for_group(
        cls, action: Action, job_group_id: str, open_ledger: OpenLedger, instance_id: str | None = None
    ) -> JobCommand:
        """
        Return a command for all jobs of a group.

        :param instance_id: The group's bot instance; ``None``: as the ledger has it, if it can be read.
        """
        if instance_id is None:
            with _without_ledger(job_group_id, action):
                record = open_ledger().groups.get(job_group_id)
                instance_id = record.instance_id if record else None
        return cls(action=action, job_group_id=job_group_id, instance_id=instance_id, all_jobs=True)

    def describe(self, client: OutboundBotClient, *, urgent: bool = False) -> JobGroup:
        """
        Fetch the group from the API.

        :param urgent: Whether to ask at once, whatever the connection's rate limit.
        """
        return client.describe_job_group(urgent=urgent, **self._of_group)

    def send(
        self, client: OutboundBotClient, open_ledger: OpenLedger, check: Callable[[JobGroup], None] = lambda _: None
    ) -> None:
        """
        Send the command. If the group has ended, this is a success, whatever the service answers.

        Jobs are suspended and cancelled even if the ledger cannot be used.

        :param check: Raises if the command must not be sent now; not called for a group that has ended.
        :raises OutboundBotNotFoundError: there is no such group.
        :raises JobGroupCancelledError: the group was to be resumed, but was cancelled.
        :raises LedgerError: the command was sent, but the ledger could not record it.
        """
        has_ended = self._has_ended(client, open_ledger, check)
        try:
            self._act(client)
        except OutboundBotApiError as error:
            # The command was sent anyway, because progress may lag behind. A refusal is then not a failure.
            if not has_ended:
                raise
            log.info("Job group %s has ended: %s", self.job_group_id, error)
        # A resumption is recorded whether or not there was a job to resume: tasks may assign to the group again.
        if self.all_jobs and (not has_ended or self.action is Action.RESUME):
            self._note(open_ledger)

    def send_unless_ended(self, client: OutboundBotClient, open_ledger: OpenLedger) -> bool:
        """
        Send the command, unless every job of the group has ended.

        :return: Whether it was sent.
        :raises OutboundBotNotFoundError: there is no such group.
        :raises LedgerError: the command was sent, but the ledger could not record it.
        """
        if self._has_ended(client, open_ledger, lambda _: None):
            return False
        self._act(client)
        self._note(open_ledger)
        return True

    def check_allowed(self, client: OutboundBotClient, allowed: frozenset[str] | None) -> None:
        """
        Make sure that the jobs that the command resumes are for numbers that the connection allows.

        :param allowed: The only numbers that may be called, E.164; ``None``: all.
        :raises OutboundBotConfigError: a job is for another number.
        """
        if allowed is not None:
            check_allowed(self._named_jobs(client), self.job_group_id, allowed)

    def _named_jobs(self, client: OutboundBotClient) -> Iterator[Job]:
        """The jobs that the command names, as the API lists them."""
        yield from self._list_jobs(client, self.job_ids)
        if self.all_jobs or self.reference_ids:
            for job in client.iter_jobs_by_group(**self._of_group):
                if self.all_jobs or job.reference_id in self.reference_ids:
                    yield job

    def _act(self, client: OutboundBotClient) -> None:
        act = {
            Action.SUSPEND: client.suspend_jobs,
            Action.RESUME: client.resume_jobs,
            Action.CANCEL: client.cancel_jobs,
        }
        act[self.action](
            job_ids=self.job_ids, reference_ids=self.reference_ids, all_jobs=self.all_jobs, **self._of_group
        )

    def _note(self, open_ledger: OpenLedger) -> None:
        """Record the command, for tasks that assign to the group or wait for it, and for who looks at the campaign."""
        try:
            groups = open_ledger().groups
            if self.action is Action.CANCEL:
                groups.note_cancelled(self.job_group_id)
            else:
                groups.note_suspended(self.job_group_id, suspended=self.action is Action.SUSPEND)
        except OutboundBotError as error:
            kind = LedgerUnavailableError if error.is_transient else LedgerError
            failure = kind(
                f"job group {self.job_group_id}: the service accepted {self.action}, but the ledger could not record"
                f" it, so tasks that assign to the group or wait for it do not know: {error}. Repeat the command once"
                " the ledger works again"
            )
            failure.is_sent = True
            raise failure from error

    def _has_ended(self, client: OutboundBotClient, open_ledger: OpenLedger, check: Callable[[JobGroup], None]) -> bool:
        try:
            # Before calls are stopped, this must not wait for the turns of tasks that assign.
            group = self.describe(client, urgent=self.action is not Action.RESUME)
        except OutboundBotNotFoundError:
            raise
        except Exception as error:
            if self.action is Action.RESUME:
                raise
            # An unusable answer must not keep phones ringing.
            why = error if isinstance(error, OutboundBotError) else type(error).__name__
            log.warning(
                "Job group %s: sending %s although its state is unknown: %s", self.job_group_id, self.action, why
            )
            return False
        if self.action is Action.RESUME and self.all_jobs:
            self._refuse_cancelled(group, open_ledger)
        progress = group.progress
        if progress is not None and progress.total > 0 and progress.unfinished == 0:
            with _without_ledger(self.job_group_id, self.action):
                ledger = open_ledger()
                # A task may be assigning, and jobs that were just assigned may not be counted yet.
                is_assigning = ledger.groups.state(self.job_group_id).is_assigning
                if not is_assigning and progress.total >= ledger.results.counts(self.job_group_id).total:
                    return True
        check(group)
        return False

    def _refuse_cancelled(self, group: JobGroup, open_ledger: OpenLedger) -> None:
        """Raise if the group was cancelled, and no job has been assigned since that could be resumed."""
        progress = group.progress
        if progress is None or progress.paused or progress.scheduling:
            return
        if group.status == JobGroupStatus.CANCELLED or open_ledger().groups.state(group.job_group_id).is_cancelled:
            raise JobGroupCancelledError(
                f"job group {group.job_group_id} was cancelled, and cancelled jobs cannot be resumed; a new DAG run"
                " calls its whole list: leave out those who were called, or pass max_calls_per_contact. Nothing was"
                " sent"
            )
        if progress.cancelled:
            # Perhaps only some were cancelled, and the others ended: the service does not say.
            log.warning(
                "Job group %s: no job is suspended; %d were cancelled, and cannot be resumed",
                self.job_group_id,
                progress.cancelled,
            )

    def check_not_cancelled(self, client: OutboundBotClient) -> None:
        """
        Make sure that none of the jobs that were resumed by id was cancelled before: the service ignores those.

        :raises JobGroupCancelledError: some were.
        """
        if self.action is not Action.RESUME:
            return
        cancelled = [job.job_id for job in self._list_jobs(client, self.job_ids) if job.status == JobStatus.CANCELLED]
        if cancelled:
            raise JobGroupCancelledError(
                f"job group {self.job_group_id}: {len(cancelled)} of {len(set(self.job_ids))} jobs were cancelled, and"
                f" cancelled jobs cannot be resumed ({_shown(cancelled)}), so it was sent for the others only; leave"
                " them out, and assign these people again if they are to be called"
            )

    def by_job_id(self, client: OutboundBotClient, open_ledger: OpenLedger) -> JobCommand:
        """
        The same command with job ids instead of reference ids, as :meth:`remaining` needs it.

        :raises OutboundBotError: none of the reference ids is in the group; or some are not, and a task is still
            assigning to it, or they were to be resumed.
        """
        if not self.reference_ids:
            return self
        found: dict[str | None, str] = {}
        with _without_ledger(self.job_group_id, self.action):
            found |= open_ledger().results.job_ids(self.job_group_id, self.reference_ids)
        if missing := set(self.reference_ids) - found.keys():
            # No message or listing has reported their ids yet, or another program assigned them.
            jobs = client.iter_jobs_by_group(**self._of_group)
            found |= {job.reference_id: job.job_id for job in jobs if job.reference_id in missing}
        if missing := set(self.reference_ids) - found.keys():
            self._report_missing(len(missing), open_ledger)
        return attrs.evolve(self, job_ids=(*self.job_ids, *found.values()), reference_ids=())

    def _report_missing(self, count: int, open_ledger: OpenLedger) -> None:
        text = f"job group {self.job_group_id}: {self.action}: {count} of {len(set(self.reference_ids))} reference_ids"
        with _without_ledger(self.job_group_id, self.action):
            if self.action is not Action.RESUME and open_ledger().groups.state(self.job_group_id).open_assignments:
                raise OutboundBotError(
                    f"{text} are not in the group yet. A task is still assigning contacts to it, and may add them, so"
                    " that they are called: try again once that task has ended"
                )
        text += " are not in the group, so nothing was done about them"
        if self.action is Action.RESUME or (count == len(set(self.reference_ids)) and not self.job_ids):
            raise OutboundBotError(
                f"{text}. Correct reference_ids; contacts without one of their own have a hash, which exports show as"
                " reference_id"
            )
        # Not an error: of a list of people who opted out, only some may be in this campaign.
        log.warning("%s", text)

    def was_suspended_again(self, open_ledger: OpenLedger) -> bool:
        """Whether somebody has suspended the group with this package since the command resumed all its jobs."""
        if self.action is not Action.RESUME or not self.all_jobs:
            return False
        # A resumption of all jobs clears it.
        return open_ledger().groups.state(self.job_group_id).suspended_at is not None

    def remaining(self, client: OutboundBotClient) -> int | None:
        """
        Count the jobs that are not in the requested state yet.

        :return: ``None`` if the API cannot answer now.
        :raises OutboundBotApiError: it refused, and a retry would not help.
        """
        before = _LEFT_BEHIND[self.action]
        try:
            if self.all_jobs:
                progress = self.describe(client).progress
                if progress is None:
                    return None
                return sum(int(getattr(progress, _COUNTS[status])) for status in before)
            return sum(job.status in before for job in self._list_jobs(client, self.job_ids))
        except OutboundBotError as error:
            if error.is_transient:
                return None
            raise

    def check_found(self, client: OutboundBotClient, job_ids: Sequence[str]) -> None:
        """
        Make sure that the group has these jobs: the service ignores unknown ids, so nothing was done about them.

        :param job_ids: The jobs by the ids that the author gave.
        :raises OutboundBotError: some are not in the group.
        """
        found = {job.job_id for job in self._list_jobs(client, job_ids)}
        if missing := [job_id for job_id in dict.fromkeys(job_ids) if job_id not in found]:
            raise OutboundBotError(
                f"job_ids: {len(missing)} of {len(set(job_ids))} are not in job group {self.job_group_id}"
                f" ({_shown(missing)}), so {self.action} did nothing about them; it was sent for the others. Correct"
                " job_ids; jobs that were assigned a moment ago are found by a retry"
            )

    def _list_jobs(self, client: OutboundBotClient, job_ids: Sequence[str]) -> Iterator[Job]:
        for start in range(0, len(job_ids), MAX_JOBS_PER_REQUEST):
            part = job_ids[start : start + MAX_JOBS_PER_REQUEST]
            for job in client.list_jobs(job_ids=part, instance_id=self.instance_id):
                if job.job_group_id in (None, self.job_group_id):
                    yield job


def _shown(job_ids: Sequence[str]) -> str:
    return ", ".join(job_ids[:_SHOWN]) + (", …" if len(job_ids) > _SHOWN else "")


def is_over(state: GroupState) -> bool:
    """Whether the ledger shows that a group has ended, so that no request to the API is needed."""
    # No sensor confirms the end of a group to which nobody was assigned.
    is_empty = state.closed_assignments > 0 and not (state.closed or state.abandoned_assignments)
    has_ended = state.reconcile_state.confirmed is not None or (state.is_cancelled and is_empty)
    return has_ended and not state.has_unfinished and not state.is_assigning


@contextmanager
def _without_ledger(job_group_id: str, action: Action) -> Iterator[None]:
    """Continue without what the ledger knows if it cannot be used, unless people are called afterwards."""
    try:
        yield
    except (LedgerError, OutboundBotConfigError) as error:
        if action is Action.RESUME:
            raise
        log.warning("Job group %s: %s continues without the ledger: %s", job_group_id, action, error)
