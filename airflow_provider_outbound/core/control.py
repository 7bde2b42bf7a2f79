"""
Suspend, resume or cancel assigned jobs, and check whether the command has taken effect.

Repeating a command is safe: jobs that are already in the requested state stay in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core.client.base import MAX_JOBS_PER_REQUEST
from airflow_provider_outbound.core.models.enums import JobStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress
from airflow_provider_outbound.exceptions import (
    LedgerError,
    OutboundBotApiError,
    OutboundBotError,
    OutboundBotNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import GroupState, Ledger

log = logging.getLogger(__name__)


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

    def describe(self, client: OutboundBotClient) -> JobGroup:
        """Fetch the group from the API."""
        return client.describe_job_group(**self._of_group)

    def send(
        self, client: OutboundBotClient, ledger: Ledger, check: Callable[[JobGroup], None] = lambda _: None
    ) -> None:
        """
        Send the command. If the group has ended, this is a success, whatever the service answers.

        :param check: Raises if the command must not be sent now; not called for a group that has ended.
        :raises OutboundBotNotFoundError: there is no such group.
        """
        has_ended = self._has_ended(client, check)
        act = {
            Action.SUSPEND: client.suspend_jobs,
            Action.RESUME: client.resume_jobs,
            Action.CANCEL: client.cancel_jobs,
        }
        try:
            act[self.action](
                job_ids=self.job_ids, reference_ids=self.reference_ids, all_jobs=self.all_jobs, **self._of_group
            )
        except OutboundBotApiError as error:
            # The command was sent anyway, because progress may lag behind. A refusal is then not a failure.
            if not has_ended:
                raise
            log.info("Job group %s has ended: %s", self.job_group_id, error)
        if self.action is Action.CANCEL and self.all_jobs and not has_ended:
            # A sensor with on_cancelled="fail" must also detect a group that was cancelled part-way.
            ledger.groups.note_cancelled(self.job_group_id)
        elif self.all_jobs and not has_ended:
            self._note_suspended(ledger)

    def _note_suspended(self, ledger: Ledger) -> None:
        try:
            ledger.groups.note_suspended(self.job_group_id, suspended=self.action is Action.SUSPEND)
        except LedgerError as error:
            # Only for who looks at the campaign: the command itself has taken effect.
            log.warning("Job group %s: the ledger could not record the %s: %s", self.job_group_id, self.action, error)

    def _has_ended(self, client: OutboundBotClient, check: Callable[[JobGroup], None]) -> bool:
        try:
            group = self.describe(client)
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
        if group.progress is not None and group.progress.total > 0 and group.progress.unfinished == 0:
            return True
        check(group)
        return False

    def by_job_id(self, client: OutboundBotClient, ledger: Ledger) -> JobCommand:
        """The same command with job ids instead of reference ids, as :meth:`remaining` needs it."""
        if not self.reference_ids:
            return self
        found = ledger.results.job_ids(self.job_group_id, self.reference_ids)
        if missing := set(self.reference_ids) - found.keys():
            # No message or listing has reported their ids yet, or another program assigned them.
            jobs = client.iter_jobs_by_group(**self._of_group)
            found |= {job.reference_id: job.job_id for job in jobs if job.reference_id in missing}
        return attrs.evolve(self, job_ids=(*self.job_ids, *found.values()), reference_ids=())

    def remaining(self, client: OutboundBotClient) -> int | None:
        """
        Count the jobs that are not in the requested state yet.

        :return: ``None`` if the API cannot answer now.
        :raises OutboundBotApiError: it refused, and a retry would not help.
        """
        before = _LEFT_BEHIND[self.action]
        try:
            if self.all_jobs:
                progress = self.describe(client).progress or Progress()
                return sum(int(getattr(progress, _COUNTS[status])) for status in before)
            starts = range(0, len(self.job_ids), MAX_JOBS_PER_REQUEST)
            parts = (self.job_ids[start : start + MAX_JOBS_PER_REQUEST] for start in starts)
            return sum(
                job.status in before
                for part in parts
                for job in client.list_jobs(job_ids=part, instance_id=self.instance_id)
            )
        except OutboundBotError as error:
            if error.is_transient:
                return None
            raise


def is_over(state: GroupState) -> bool:
    """Whether the ledger shows that a group has ended, so that no request to the API is needed."""
    return state.reconcile_state.confirmed is not None and not state.has_unfinished and not state.is_assigning
