"""
Acting on jobs that are assigned already: suspend, resume, cancel, and whether it has taken effect.

Repeating an order is safe: jobs that are as asked for already stay so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core.client.api import MAX_JOBS_PER_REQUEST
from airflow_provider_outbound.core.models.enums import JobStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress
from airflow_provider_outbound.exceptions import (
    OutboundBotApiError,
    OutboundBotError,
    OutboundBotNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import GroupState, Ledger

log = logging.getLogger(__name__)


class Action(StrEnum):
    """What can be done to jobs."""

    SUSPEND = "suspend"
    RESUME = "resume"
    CANCEL = "cancel"


#: Statuses that no job has any more once an action has taken effect. Suspended and cancelled jobs whose call is on the
#: line go on executing until it ends.
_LEFT_BEHIND = {
    Action.SUSPEND: (JobStatus.SCHEDULING, JobStatus.EXECUTING),
    Action.RESUME: (JobStatus.PAUSED,),
    Action.CANCEL: (JobStatus.SCHEDULING, JobStatus.EXECUTING, JobStatus.PAUSED),
}
#: What a group's progress counts of them.
_COUNTS = {JobStatus.SCHEDULING: "scheduling", JobStatus.EXECUTING: "executing", JobStatus.PAUSED: "paused"}


@attrs.frozen(kw_only=True)
class JobCommand:
    """
    What to do to which jobs of a group: all, or those named.

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
        """Whether no job is meant."""
        return not (self.all_jobs or self.job_ids or self.reference_ids)

    @property
    def _of_group(self) -> dict[str, Any]:
        return {"job_group_id": self.job_group_id, "instance_id": self.instance_id}

    def describe(self, client: OutboundBotClient) -> JobGroup:
        """Ask the API about the group."""
        return client.describe_job_group(**self._of_group)

    def send(
        self, client: OutboundBotClient, ledger: Ledger, check: Callable[[JobGroup], None] = lambda _: None
    ) -> None:
        """
        Act. A group that has ended is a success, whatever the service says of it.

        :param check: Raises what forbids to act on the group now; not asked about one that has ended.
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
            # Asked all the same, because progress may lag behind; that it refuses then is no failure.
            if not has_ended:
                raise
            log.info("Job group %s has ended: %s", self.job_group_id, error)
        if self.action is Action.CANCEL and self.all_jobs and not has_ended:
            # A sensor with on_cancelled="fail" must know it of a group that is cancelled part-way, too.
            ledger.groups.note_cancelled(self.job_group_id)

    def _has_ended(self, client: OutboundBotClient, check: Callable[[JobGroup], None]) -> bool:
        try:
            group = self.describe(client)
        except OutboundBotNotFoundError:
            raise
        except Exception as error:
            if self.action is Action.RESUME:
                raise
            # An answer that cannot be used must not let phones go on ringing.
            why = error if isinstance(error, OutboundBotError) else type(error).__name__
            log.warning(
                "Job group %s: %s is sent although its state is unknown: %s", self.job_group_id, self.action, why
            )
            return False
        if group.progress is not None and group.progress.total > 0 and group.progress.unfinished == 0:
            return True
        check(group)
        return False

    def by_job_id(self, client: OutboundBotClient, ledger: Ledger) -> JobCommand:
        """The same order with job ids instead of reference ids, as :meth:`remaining` needs it."""
        if not self.reference_ids:
            return self
        found = ledger.results.job_ids(self.job_group_id, self.reference_ids)
        if missing := set(self.reference_ids) - found.keys():
            # No message or listing has told their ids yet, or others assigned them.
            jobs = client.iter_jobs_by_group(**self._of_group)
            found |= {job.reference_id: job.job_id for job in jobs if job.reference_id in missing}
        return attrs.evolve(self, job_ids=(*self.job_ids, *found.values()), reference_ids=())

    def remaining(self, client: OutboundBotClient) -> int | None:
        """
        How many jobs are not as asked for yet.

        :return: ``None`` if the API does not answer now.
        :raises OutboundBotApiError: it refuses for good.
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
    """Whether the ledger knows that a group has ended, so that the API need not be asked."""
    return state.reconcile_state.confirmed is not None and not state.has_unfinished and not state.is_assigning
