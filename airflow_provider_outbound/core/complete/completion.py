"""
Waiting for a job group, one check at a time.

The state between checks is in the ledger, so any process can continue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core import control
from airflow_provider_outbound.core.complete.abandoned import ABANDONED_AFTER, settle_dead_assignments
from airflow_provider_outbound.core.complete.comparison_times import ComparisonTimes
from airflow_provider_outbound.core.complete.counts import Summary, read_counts, summarise
from airflow_provider_outbound.core.complete.dialling_log import DiallingLog, is_suspended
from airflow_provider_outbound.core.complete.evaluate import (
    Action,
    Decision,
    LedgerCounts,
    Reading,
    ended_jobs,
    evaluate_completion,
)
from airflow_provider_outbound.core.complete.wait_log import WaitLog
from airflow_provider_outbound.core.complete.wait_progress import WaitProgress
from airflow_provider_outbound.core.control import JobCommand
from airflow_provider_outbound.core.ledger.reconcile_state import Question, ReconcileState
from airflow_provider_outbound.core.models.job import JobGroup, Progress
from airflow_provider_outbound.core.reconcile import GroupReader
from airflow_provider_outbound.exceptions import (
    JobGroupFailedError,
    JobGroupPurgedError,
    OutboundBotError,
    OutboundBotNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import GroupState, Ledger

log = logging.getLogger(__name__)

#: Up to this number, open jobs are looked up by id, with all their calls; more are read from the group's listing.
FEW = 99


class Completion:
    """
    Determines when every job of a group has ended.

    :param ledger: The ledger, with what messages and listings have reported.
    :param client: The API client; it is used about once per interval.
    :param job_group_id: The group.
    :param instance_id: Its instance; ``None``: the one in the ledger's record of the group, otherwise the client's.
    :param expected_jobs: The number of jobs that the group must have, if others assign.
    :param reconcile_interval: Seconds between two comparisons with the API, over all processes that wait for the group.
    :param messages: Whether messages are expected; without them gaps are filled from the API at once.
    :param abandoned_after: Seconds after the end of its lease at which an assignment counts as dead.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: OutboundBotClient,
        job_group_id: str,
        *,
        instance_id: str | None = None,
        expected_jobs: int | None = None,
        reconcile_interval: float = 300.0,
        messages: bool = True,
        abandoned_after: float = ABANDONED_AFTER,
    ) -> None:
        self.job_group_id = job_group_id
        self._ledger = ledger
        self._client = client
        self._given_instance_id = instance_id
        self._interval = reconcile_interval
        self._messages = messages
        self._abandoned_after = abandoned_after
        # State of this process only: what it has logged, and when it may ask the API again.
        self._log = WaitLog(job_group_id, reconcile_interval)
        self._dialling = DiallingLog(job_group_id)
        # No bound method: in a cycle of references, the client would keep its connections until a garbage collection.
        self._read = partial(read_counts, ledger, job_group_id, expected_jobs)
        self._times = ComparisonTimes(ledger, job_group_id, reconcile_interval, self._read)
        self.progress = WaitProgress(job_group_id, self._read)
        #: Number of the group's last change in the ledger, as of the last check.
        self.changes = -1

    def check(self) -> Summary | None:
        """
        Check once. Blocks, and is cheap while nothing has changed.

        If the API or the ledger does not answer, this is logged once, and the next check will try again.

        :return: The summary once every job has ended, otherwise ``None``.
        :raises JobGroupFailedError: the group does not exist, or failed with unfinished jobs.
        :raises JobGroupPurgedError: the ledger's rows of the group were purged.
        :raises OutboundBotAuthenticationError: the API refuses the credentials.
        """
        try:
            with self._existing():
                summary = self._check()
        except OutboundBotError as error:
            if not error.is_transient:
                raise
            self._log.trouble(error)
            summary = None
        else:
            self._log.works()
        if summary is None:
            self._log.next_request(self._times.due, self.next_check_in())
        return summary

    def next_check_in(self) -> float:
        """Seconds until :meth:`check` has something to do even if no message arrives."""
        return max(0.0, self._times.due - time.monotonic())

    def summary(self, *, mismatch: bool = False, timed_out: bool = False) -> Summary:
        """The results of the group so far, from the ledger."""
        state = self._ledger.groups.state(self.job_group_id).reconcile_state
        counted = self._ledger.results.summary(self.job_group_id)
        return summarise(self.job_group_id, counted, state, mismatch=mismatch, timed_out=timed_out)

    def take_listing(self) -> int:
        """
        Record the complete listing of the group, with the outcome of each job's latest call.

        :return: The number of jobs listed. A listing whose order changes between pages leaves some out.
        """
        return self._reader.read_results()

    @cached_property
    def _reader(self) -> GroupReader:
        return GroupReader(
            client=self._client, ledger=self._ledger, job_group_id=self.job_group_id, instance_id=self._instance_id
        )

    @cached_property
    def _instance_id(self) -> str | None:
        """The given instance, otherwise the one in the ledger's record; ``None``: the client's."""
        record = None if self._given_instance_id else self._ledger.groups.get(self.job_group_id)
        return record.instance_id if record else self._given_instance_id

    def describe(self) -> JobGroup:
        """
        Ask the API about the group.

        :raises JobGroupFailedError: it does not exist.
        """
        with self._existing():
            return self._reader.describe()

    def ends_at(self) -> datetime | None:
        """
        When the group's window ends, from the ledger if it is there, otherwise from the API.

        :return: ``None`` if it has no end, or if the API does not answer now.
        :raises JobGroupFailedError: the group does not exist.
        """
        record = self._ledger.groups.get(self.job_group_id)
        if record is not None and record.ends_at is not None:
            return record.ends_at
        state = self._ledger.groups.state(self.job_group_id).reconcile_state
        if state.knows_end:
            return state.ends_at
        try:
            return self.describe().ends_at
        except OutboundBotError as error:
            if not error.is_transient:
                raise
            return None

    @contextmanager
    def _existing(self) -> Iterator[None]:
        """Translate the error that there is no such group."""
        try:
            yield
        except OutboundBotNotFoundError as error:
            if not error.code.startswith("NotExist.JobGroup"):
                raise
            raise JobGroupFailedError(
                f"job group {self.job_group_id} does not exist: it was deleted, or belongs to an instance other than"
                f" {self._instance_id or self._client.settings.instance_id} ({error.code}); check job_group_id,"
                " instance_id and outboundbot_conn_id"
            ) from None

    def cancel(self) -> bool:
        """
        Ask the API to cancel every job of the group, unless all have ended.

        :return: Whether there was anything to cancel.
        :raises JobGroupFailedError: the group does not exist.
        """
        command = JobCommand.for_group(
            control.Action.CANCEL, self.job_group_id, lambda: self._ledger, instance_id=self._given_instance_id
        )
        with self._existing():
            return command.send_unless_ended(self._client, lambda: self._ledger)

    def _check(self) -> Summary | None:
        state = self._ledger.groups.state(self.job_group_id)
        self.changes = state.changed
        if state.purged_at is not None:
            raise JobGroupPurgedError(self.job_group_id, state.purged_at)
        if state.confirmed is not None and not state.is_assigning:
            return self.summary(mismatch=state.confirmed.mismatch)
        self._dialling.checked(state.suspended_since, is_cancelled=state.is_cancelled)
        # Both are evaluated each time: a comparison to confirm is also this interval's comparison.
        question = self._times.may_confirm(state)
        is_claimed = self._times.claim()
        return self._look(state, question) if question or is_claimed else None

    def _look(self, before: GroupState, question: Question | None) -> Summary | None:
        """Compare with the API, read what the ledger lacks, and decide."""
        try:
            return self._compare(before, question)
        except OutboundBotError:
            if question is not None:
                # Stored for the next check in any process, so that a failing service is not asked more often.
                asked = attrs.evolve(before.reconcile_state, question=question)
                self._ledger.groups.save_reconcile_state(self.job_group_id, asked)
            raise

    def _compare(self, before: GroupState, question: Question | None) -> Summary | None:
        if before.is_assigning:
            settle_dead_assignments(self._reader, dead_for=self._abandoned_after)
        group = self.describe()
        # Read after the API answered, so that messages that arrived meanwhile are not a gap.
        counts, state, counted = self._read()
        known = state.reconcile_state
        if question is not None:
            known = attrs.evolve(known, question=question)
        if self._messages:
            known = attrs.evolve(known, expects_messages=True)
        progress = group.progress or Progress()
        is_paused = progress.unfinished > 0 and is_suspended(
            group.status, progress, by_us=state.suspended_since is not None
        )
        known = attrs.evolve(known, paused_at=(known.paused_at or self._ledger.now()) if is_paused else None)
        decision = self._evaluate(known, counts, group)
        was_read = decision.action is Action.READ
        if was_read:
            lacking, is_whole = counts, self._fill(counts, progress)
            counts, _, counted = self._read()
            reading = Reading(is_whole=is_whole, has_news=counts != lacking)
            decision = self._evaluate(known, counts, group, reading)
            if self._messages:
                self.progress.caught_up()
                self._log.silence(counted, self._cause(counted))
        self._ledger.groups.save_reconcile_state(self.job_group_id, decision.state)
        total = self.progress.compared(group, counts, counted, is_suspended=is_paused)
        self._dialling.compared(group, lambda: self._ledger.assignments.strategies(self.job_group_id))
        if decision.state.gap is not None and not was_read:
            self._log.late_messages(ended_jobs(progress), counts.ended)
        if decision.action is Action.FAIL:
            raise JobGroupFailedError(
                f"job group {self.job_group_id} has failed: the service stopped dialling before {progress.unfinished}"
                f" of {progress.total} jobs had ended; see the service's console for the reason"
            )
        if decision.action is not Action.FINISH:
            return None
        if decision.mismatch:
            log.warning(
                "Job group %s ended with %d of %d jobs complete; the service lists %d%s",
                self.job_group_id,
                counts.ended,
                total,
                progress.total,
                "; a task gave up assigning to it, so contacts may be missing: clear that task" * counts.gave_up,
            )
        if self._messages:
            self._log.recovered(counted, self._cause(counted))
        return summarise(self.job_group_id, counted, decision.state, mismatch=decision.mismatch)

    def _cause(self, counted: Mapping[str, Any]) -> str:
        """Why messages did not arrive; only looked up if results came from the API."""
        return self._ledger.collectors.cause_for(self.job_group_id) if counted["recovered"] else ""

    def _evaluate(
        self, state: ReconcileState, counts: LedgerCounts, group: JobGroup, reading: Reading | None = None
    ) -> Decision:
        now = self._ledger.now()
        return evaluate_completion(
            state, counts, group, now, interval=self._interval, has_messages=self._messages, reading=reading
        )

    def _fill(self, counts: LedgerCounts, progress: Progress) -> bool:
        """
        Record from the API what no message has reported.

        :return: Whether the API returned every requested job and as many as it counts.
        """
        unfinished = self._ledger.results.unfinished(self.job_group_id, FEW + 1)
        job_ids = [job.job_id for job in unfinished if job.job_id is not None]
        if counts.total < progress.total or len(unfinished) > FEW or len(job_ids) < len(unfinished):
            return self.take_listing() >= progress.total
        found = self._client.list_jobs(job_ids=job_ids, instance_id=self._instance_id)
        self._ledger.results.record_listing(self.job_group_id, found)
        return {job.job_id for job in found}.issuperset(job_ids)
