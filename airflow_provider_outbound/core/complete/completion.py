"""Waiting for a job group, one look at a time: the state between looks lives in the ledger, so any process goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_outbound.core.complete.abandoned import ABANDONED_AFTER, settle_dead_assignments
from airflow_provider_outbound.core.complete.judge import (
    Known,
    Verdict,
    ended_jobs,
    judge,
    service_is_over,
)
from airflow_provider_outbound.core.complete.wait_log import WaitLog
from airflow_provider_outbound.core.models.enums import JobGroupStatus
from airflow_provider_outbound.core.models.job import Job, JobGroup, Progress
from airflow_provider_outbound.exceptions import (
    JobGroupFailedError,
    JobGroupPurgedError,
    LedgerUnavailableError,
    OutboundBotApiError,
    OutboundBotError,
    OutboundBotNotFoundError,
    OutboundBotThrottlingError,
    OutboundBotTransportError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import GroupState, Ledger

log = logging.getLogger(__name__)

#: Counts, and times as ISO 8601 text: small, and JSON throughout.
Summary: TypeAlias = dict[str, Any]

#: The ledger says "done" and the API lags: first pause before asking it again, seconds; it doubles each time.
CONFIRM_DELAY = 1.0
#: Up to so many open jobs are looked up one by one, with all their calls; more are read from the group's listing.
FEW = 99
#: Listings that left jobs out, and told nothing new, until it is believed that more of them would not either.
_BARREN = 5
#: Two looks are an interval apart if not more than this part of it is missing: claims come a little early or late.
_NEARLY = 0.9


class Completion:
    """
    Says when every job of a group has ended.

    :param ledger: What messages and listings told.
    :param client: The API, asked about once an interval.
    :param job_group_id: The group.
    :param instance_id: Its instance; ``None``: the ledger's record of the group, then the client's.
    :param expected_jobs: How many jobs the group must have, where others assign.
    :param reconcile_interval: Seconds between two looks at the API, whichever processes wait for the group.
    :param messages: Whether messages are expected; without them the API alone tells, and gaps are filled at once.
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
        self._expected_jobs = expected_jobs
        self._interval = reconcile_interval
        self._messages = messages
        self._abandoned_after = abandoned_after
        # This process's own memory: when it may try again, and what it has logged.
        self._claim_at = 0.0
        self._confirm_at: float | None = None
        self._log = WaitLog(job_group_id, reconcile_interval)

    def check(self) -> Summary | None:
        """
        Look once; blocking, and cheap while nothing changed.

        An API or a ledger that does not answer now is told once in the log, and asked again later.

        :return: The summary once every job has ended, else ``None``.
        :raises JobGroupFailedError: the group does not exist (any more), or failed with jobs still to do.
        :raises JobGroupPurgedError: the ledger's rows of the group were purged.
        :raises OutboundBotAuthenticationError: the API refuses the credentials.
        """
        try:
            with self._existing():
                summary = self._check()
        except OutboundBotError as error:
            if not _passes(error):
                raise
            self._log.trouble(error)
            summary = None
        else:
            self._log.works()
        if summary is None:
            self._log.next_request(self._due, self.next_check_in())
        return summary

    def next_check_in(self) -> float:
        """Seconds until :meth:`check` has something to do even if no message comes."""
        return max(0.0, self._due - time.monotonic())

    @property
    def _due(self) -> float:
        """When to ask next, by this process's clock."""
        return self._claim_at if self._confirm_at is None else min(self._claim_at, self._confirm_at)

    def summary(self, *, mismatch: bool = False, timed_out: bool = False) -> Summary:
        """What the group came to so far, from the ledger."""
        observed = self._ledger.jobs.state(self.job_group_id).observed
        counted = self._ledger.jobs.summary(self.job_group_id)
        return self._summarise(counted, observed, mismatch=mismatch, timed_out=timed_out)

    def _summarise(
        self, counted: Mapping[str, Any], observed: Mapping[str, Any], *, mismatch: bool, timed_out: bool = False
    ) -> Summary:
        # Of a group that has ended, a status we have no word for is final too.
        counts = dict(counted)
        unlisted = counts.pop("unlisted")
        if timed_out:
            unlisted = 0
        completed = counts["completed"] + unlisted
        return {
            "job_group_id": self.job_group_id,
            **counts,
            "completed": completed,
            "other": counts["other"] + unlisted,
            "answer_rate": round(counts["answered"] / completed, 4) if completed else 0.0,
            "mismatch": mismatch,
            "timed_out": timed_out,
            "group_cancelled": bool(observed.get("cancelled")),
        }

    def take_listing(self) -> int:
        """
        Take in what the API lists of the whole group, with the outcome of each job's latest call.

        :return: How many jobs it listed; a listing whose order changes between its pages leaves some out.
        """
        seen: set[str] = set()
        nameless: list[str] = []

        def listed() -> Iterator[Job]:
            for job in self._client.iter_jobs_with_result(
                job_group_id=self.job_group_id, instance_id=self._instance_id
            ):
                seen.add(job.job_id)
                if job.reference_id or job.phone_number:
                    yield job
                else:
                    # The contact is part of the latest call: of a job without any call nothing tells whose it is.
                    nameless.append(job.job_id)
            for first in range(0, len(nameless), FEW):
                part = nameless[first : first + FEW]
                yield from self._client.list_jobs(job_ids=part, instance_id=self._instance_id)

        self._ledger.jobs.record_listing(self.job_group_id, listed())
        return len(seen)

    @cached_property
    def _instance_id(self) -> str | None:
        """The author's, else that of the ledger's record; ``None`` leaves it to the client."""
        record = None if self._given_instance_id else self._ledger.jobs.get_job_group(self.job_group_id)
        return record.instance_id if record else self._given_instance_id

    def describe(self) -> JobGroup:
        """
        Ask the API about the group.

        :raises JobGroupFailedError: it does not exist (any more).
        """
        with self._existing():
            return self._client.describe_job_group(job_group_id=self.job_group_id, instance_id=self._instance_id)

    def ends_at(self) -> datetime | None:
        """
        When the group's window ends, by the ledger if that knows.

        :return: ``None`` if it has no end, or if the API does not answer now.
        :raises JobGroupFailedError: the group does not exist (any more).
        """
        record = self._ledger.jobs.get_job_group(self.job_group_id)
        if record is not None and record.ends_at is not None:
            return record.ends_at
        seen = self._ledger.jobs.state(self.job_group_id).observed
        if "ends_at" in seen:
            return None if seen["ends_at"] is None else datetime.fromisoformat(seen["ends_at"])
        try:
            return self.describe().ends_at
        except OutboundBotError as error:
            if not _passes(error):
                raise
            return None

    @contextmanager
    def _existing(self) -> Iterator[None]:
        """Say in words that there is no such group."""
        try:
            yield
        except OutboundBotNotFoundError as error:
            if not error.code.startswith("NotExist.JobGroup"):
                raise
            raise JobGroupFailedError(
                f"job group {self.job_group_id} does not exist: it was deleted, or belongs to another instance than"
                f" {self._instance_id or self._client.settings.instance_id} ({error.code})"
            ) from None

    def cancel(self) -> bool:
        """
        Ask the API to end every job of the group, unless all have ended.

        :return: Whether there was anything to end.
        """
        progress = self.describe().progress or Progress()
        # What was assigned a moment ago may not be counted yet.
        everything = progress.total >= self._ledger.jobs.counts(self.job_group_id).total
        if everything and not progress.unfinished and not _is_assigning(self._ledger.jobs.state(self.job_group_id)):
            return False
        self._client.cancel_jobs(job_group_id=self.job_group_id, all_jobs=True, instance_id=self._instance_id)
        note_cancelled(self._ledger, self.job_group_id)
        return True

    def _check(self) -> Summary | None:
        state = self._ledger.jobs.state(self.job_group_id)
        if state.purged_at is not None:
            raise JobGroupPurgedError(self.job_group_id, state.purged_at)
        confirmed = state.observed.get("confirmed")
        if confirmed is not None and confirmed["of"] == _signature(state) and not _is_assigning(state):
            return self.summary(mismatch=confirmed["mismatch"])
        # Both questions are asked each time: a look made to confirm is this interval's look too.
        asked, claimed = self._may_confirm(state), self._claim()
        return self._look(state, asked) if asked or claimed else None

    def _claim(self) -> bool:
        """Ask to be the process that looks in this interval; asks the ledger only when it may say yes."""
        if time.monotonic() < self._claim_at:
            return False
        claimed = self._ledger.jobs.claim_look(self.job_group_id, self._interval)
        wait = self._interval if claimed else self._until_due()
        # Counted from here: by the ledger's clock the interval began before.
        self._claim_at = time.monotonic() + wait
        return claimed

    def _until_due(self) -> float:
        """Seconds until the turn after the one that another process has; never more than an interval."""
        due_at = self._ledger.jobs.next_look_at(self.job_group_id)
        if due_at is None:
            return 0.0
        return min(self._interval, max(0.0, (due_at - self._ledger.now()).total_seconds()))

    def _may_confirm(self, state: GroupState) -> dict[str, Any] | None:
        """
        Whether the ledger says "done" and it is time to ask the API: at once, then ever more rarely.

        :return: A note of the question for later looks; ``None`` if it is not to be asked now.
        """
        self._confirm_at = None
        if not state.known or state.has_unfinished or _is_assigning(state):
            return None
        about = _signature(state)
        if not state.sealed_assignments:
            # Nobody sealed: the ledger alone cannot tell how many are to come, so an earlier look says it.
            known, _, _ = self._read()
            if not known.has_ended or known.total < max(1, state.observed.get("listed", 0)):
                return None
            about.append(known.total)
        now = self._ledger.now()
        asked = state.observed.get("asked")
        delay = CONFIRM_DELAY
        if asked is not None and asked["about"] == about:
            wait = (datetime.fromisoformat(asked["next"]) - now).total_seconds()
            # Longer than that it is not meant to be: the clock has been set back.
            if 0 < wait <= max(self._interval, CONFIRM_DELAY):
                self._confirm_at = time.monotonic() + wait
                return None
            delay = min(asked["delay"] * 2, self._interval)
        self._confirm_at = time.monotonic() + delay
        return {"about": about, "next": (now + timedelta(seconds=delay)).isoformat(), "delay": delay}

    def _look(self, before: GroupState, asked: Mapping[str, Any] | None) -> Summary | None:
        """Compare with the API, fill what the ledger lacks, decide."""
        try:
            return self._compare(before, asked)
        except OutboundBotError:
            if asked is not None:
                # Kept where the next look finds it, in whichever process: a service in trouble is not asked faster.
                self._ledger.jobs.save_observed(self.job_group_id, {**before.observed, "asked": asked})
            raise

    def _compare(self, before: GroupState, asked: Mapping[str, Any] | None) -> Summary | None:
        jobs, group_id = self._ledger.jobs, self.job_group_id
        if _is_assigning(before):
            settle_dead_assignments(
                self._ledger, self._client, group_id, self._instance_id, dead_for=self._abandoned_after
            )
        group = self.describe()
        progress = group.progress or Progress()
        # Read after the API answered, so that messages which came meanwhile are no gap.
        known, state, counted = self._read()
        verdict = judge(known, group)
        now = self._ledger.now()
        ends_at = None if group.ends_at is None else group.ends_at.isoformat()
        notes = {**state.observed, "listed": progress.total, "ends_at": ends_at}
        if self._messages:
            # Kept, so that the ledger's status can tell a group whose messages are missing from one that needs none.
            notes["messages"] = True
        if asked is not None:
            notes["asked"] = dict(asked)
        filled = self._should_fill(verdict, known, progress, notes, now)
        proven = True
        if filled:
            lacking, all_told = known, self._fill(known, progress)
            known, state, counted = self._read()
            verdict = judge(known, group)
            if self._messages:
                self._log.silence(counted)
            notes["barren"] = 0 if all_told or known != lacking else notes.get("barren", 0) + 1
            # A listing that left jobs out proves nothing, unless it goes on like that.
            proven = all_told or notes["barren"] >= _BARREN
        if verdict is not Verdict.GAP:
            notes.pop("gap", None)
        elif "gap" not in notes or not _holds(notes["gap"], known) or _is_ahead(notes["gap"]["at"], now):
            notes["gap"] = {"ended": ended_jobs(progress), "listed": progress.total, "at": now.isoformat()}
        total = max(known.total, known.expected, progress.total)
        log.info("Job group %s: %d of %d jobs complete", group_id, known.ended, total)
        if verdict is Verdict.GAP and not filled:
            self._log.late_messages(ended_jobs(progress), known.ended)
        finished, mismatch = verdict is Verdict.COMPLETE, known.gave_up
        if verdict is Verdict.SHORT or (verdict is Verdict.GAP and filled and service_is_over(group, known)):
            if not proven:
                notes.pop("short_at", None)
            elif self._is_old(notes.get("short_at"), now):
                finished = mismatch = True
            elif "short_at" not in notes or _is_ahead(notes["short_at"], now):
                notes["short_at"] = now.isoformat()
        elif verdict is not Verdict.GAP:
            notes.pop("short_at", None)
        if group.status is JobGroupStatus.CANCELLED:
            notes["cancelled"] = True
        if finished and progress.unfinished and group.status is JobGroupStatus.FAILED:
            jobs.save_observed(group_id, notes)
            raise JobGroupFailedError(
                f"job group {group_id} has failed: the service dials no more, with {progress.unfinished} of"
                f" {progress.total} jobs still to do; see the console for the reason"
            )
        if finished:
            notes["confirmed"] = {"of": _signature(state), "mismatch": mismatch}
        jobs.save_observed(group_id, notes)
        if not finished:
            return None
        if mismatch:
            log.warning(
                "Job group %s ended with %d of %d jobs complete; the service lists %d",
                group_id,
                known.ended,
                total,
                progress.total,
            )
        if self._messages:
            self._log.recovered(counted)
        return self._summarise(counted, notes, mismatch=mismatch)

    def _should_fill(
        self, verdict: Verdict, known: Known, progress: Progress, notes: Mapping[str, Any], now: datetime
    ) -> bool:
        """Whether to ask the API for what the ledger lacks; messages that are merely late deserve an interval."""
        if verdict is Verdict.GAP:
            if not self._messages or (known.has_ended and not progress.unfinished):
                return True
            gap = notes.get("gap")
            return gap is not None and _holds(gap, known) and self._is_old(gap["at"], now)
        # Reading a whole listing at every confirming look would be much; at the first and the last is enough.
        return verdict is Verdict.SHORT and ("short_at" not in notes or self._is_old(notes["short_at"], now))

    def _is_old(self, moment: str | None, now: datetime) -> bool:
        """Whether something was seen an interval ago already."""
        return moment is not None and (now - datetime.fromisoformat(moment)).total_seconds() >= _NEARLY * self._interval

    def _fill(self, known: Known, progress: Progress) -> bool:
        """
        Take in from the API what no message told.

        :return: Whether it left out none of the jobs that it was asked for and counts itself.
        """
        unfinished = self._ledger.jobs.unfinished(self.job_group_id, FEW + 1)
        job_ids = [job.job_id for job in unfinished if job.job_id is not None]
        if known.total < progress.total or len(unfinished) > FEW or len(job_ids) < len(unfinished):
            return self.take_listing() >= progress.total
        found = self._client.list_jobs(job_ids=job_ids, instance_id=self._instance_id)
        self._ledger.jobs.record_listing(self.job_group_id, found)
        return True

    def _read(self) -> tuple[Known, GroupState, Mapping[str, Any]]:
        state = self._ledger.jobs.state(self.job_group_id)
        counted = self._ledger.jobs.summary(self.job_group_id)
        known = Known(
            total=counted["total"],
            terminal=counted["completed"],
            unlisted=counted["unlisted"],
            expected=max(state.sealed, self._expected_jobs or 0),
            deliberate=state.sealed_assignments > 0 or self._expected_jobs is not None,
            assigning=_is_assigning(state),
            gave_up=state.abandoned_assignments > 0,
        )
        return known, state, counted


def note_cancelled(ledger: Ledger, job_group_id: str) -> None:
    """
    Remember that all jobs of a group were cancelled by one of us.

    The service calls a group cancelled too, but not where some of its jobs had ended before, as far as is known.
    """
    observed = ledger.jobs.state(job_group_id).observed
    now = ledger.now().isoformat()
    ledger.jobs.save_observed(job_group_id, {**observed, "cancelled": True, "cancelled_at": now})


def _is_assigning(state: GroupState) -> bool:
    return bool(state.open_assignments) or state.has_doubt


def _signature(state: GroupState) -> list[int]:
    """What a verdict is about: another assignment makes it void."""
    return [state.sealed_assignments, state.sealed]


def _holds(gap: Mapping[str, Any], known: Known) -> bool:
    """Whether what was missing at an earlier look is missing still; what went missing since is another gap."""
    return bool(gap["ended"] > known.ended or gap["listed"] > known.total)


def _is_ahead(moment: str, now: datetime) -> bool:
    """Whether something was seen in the future: by a clock that has been set back since."""
    return datetime.fromisoformat(moment) > now


def _passes(error: OutboundBotError) -> bool:
    """Whether waiting may mend it: no answer, an unusable one, throttling, a ledger that cannot be reached now."""
    if isinstance(error, OutboundBotApiError):
        return error.in_doubt or isinstance(error, OutboundBotThrottlingError)
    return isinstance(error, OutboundBotTransportError | LedgerUnavailableError)
