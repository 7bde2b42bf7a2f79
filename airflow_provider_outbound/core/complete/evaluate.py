"""Whether a group is complete: a pure function of the ledger's counts, the API's answer and earlier comparisons."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import attrs

from airflow_provider_outbound.core.ledger.reconcile_state import Confirmation, Gap, ReconcileState
from airflow_provider_outbound.core.models.enums import JobGroupStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress

#: Statuses in which the service does not dial again, even if it counts unfinished jobs. Completed is not one of them:
#: the service may also report it between two days of one strategy.
_GIVEN_UP = (JobGroupStatus.CANCELLED, JobGroupStatus.FAILED)
#: Consecutive incomplete listings without news after which further ones are not expected to bring any.
_EMPTY_SCANS = 5
#: Comparisons come a little early or late: at this part of an interval they count as one interval apart.
_NEARLY = 0.9


class Verdict(StrEnum):
    """The result of comparing the ledger with the API, at one moment."""

    #: The service has not finished, or an assignment is open.
    WAIT = "wait"
    #: The service reports more than the ledger has.
    GAP = "gap"
    #: The service has finished, with fewer jobs than were assigned or with jobs left open.
    SHORT = "short"
    #: Ledger and API agree that every job has ended.
    COMPLETE = "complete"


class Action(StrEnum):
    """What to do after a comparison."""

    #: Compare again after an interval.
    WAIT = "wait"
    #: Read from the API what the ledger lacks, then evaluate once more.
    READ = "read"
    #: The group is complete.
    FINISH = "finish"
    #: The service gave up the group with unfinished jobs.
    FAIL = "fail"


@attrs.frozen(kw_only=True)
class LedgerCounts:
    """
    The ledger's counts of a group's jobs.

    :param total: Jobs in the group.
    :param terminal: Jobs with a final status.
    :param unlisted: Of the others, jobs whose status this package does not know.
    :param expected: Jobs that the group must have: those of finished assignments, or the author's number.
    :param deliberate: Whether the number of jobs was stated, so that zero is a valid number.
    :param assigning: Whether jobs may still be added, or some are in doubt.
    :param gave_up: Whether an assignment ended without reporting the number of its jobs.
    :param assignments: See :attr:`Confirmation.assignments`.
    """

    total: int
    terminal: int
    unlisted: int
    expected: int
    deliberate: bool
    assigning: bool
    gave_up: bool
    assignments: tuple[int, int] = (0, 0)

    @property
    def ended(self) -> int:
        """Jobs that have ended once the service has finished."""
        return self.terminal + self.unlisted

    @property
    def has_ended(self) -> bool:
        """Whether every job in the ledger has ended, by messages alone."""
        return not self.assigning and self.terminal == self.total and self.total >= self.expected


@attrs.frozen(kw_only=True)
class Reading:
    """
    The result of :attr:`Action.READ`.

    :param is_whole: Whether the API returned every requested job and as many as it counts.
    :param has_news: Whether the ledger has more than before.
    """

    is_whole: bool
    has_news: bool


@attrs.frozen(kw_only=True)
class Decision:
    """
    What to do after a comparison.

    :param state: The state to store for the next comparison.
    :param mismatch: With ``FINISH``: whether the ledger and the API disagree on the number of jobs.
    """

    action: Action
    state: ReconcileState
    mismatch: bool = False


def ended_jobs(progress: Progress) -> int:
    """Jobs that the service will not dial again. What its own count of completed jobs includes is not documented."""
    return max(0, progress.total - progress.unfinished)


def compare(counts: LedgerCounts, group: JobGroup) -> Verdict:
    """
    Compare the ledger's counts with the answer of ``DescribeJobGroup``.

    A status that this package does not know only counts as final once the service reports that no job is left to do.
    """
    progress = group.progress
    if progress is None:
        return Verdict.WAIT
    behind = ended_jobs(progress) > counts.ended
    if progress.unfinished and not counts.assigning and group.status in _GIVEN_UP:
        return Verdict.GAP if behind else Verdict.SHORT
    if not _service_is_over(group, counts):
        return Verdict.GAP if behind else Verdict.WAIT
    everything = counts.total >= progress.total >= counts.expected
    if everything and counts.total == counts.ended:
        return Verdict.COMPLETE
    if counts.total < progress.total or behind:
        return Verdict.GAP
    return Verdict.SHORT


def evaluate_completion(
    state: ReconcileState,
    counts: LedgerCounts,
    group: JobGroup,
    now: datetime,
    *,
    interval: float,
    has_messages: bool,
    reading: Reading | None = None,
) -> Decision:
    """
    Decide whether a group is complete, and what the next comparison needs.

    :param state: The state that the last comparison returned.
    :param counts: Read after the API answered, so that messages that arrive meanwhile are not a gap.
    :param now: The time by the ledger's clock.
    :param interval: Seconds between two comparisons.
    :param has_messages: Whether messages are expected; without them gaps are filled from the API at once.
    :param reading: The result of reading, if an earlier decision of this comparison was ``READ``.
    """
    progress = group.progress or Progress()
    verdict = compare(counts, group)
    state = attrs.evolve(state, listed=progress.total, ends_at=group.ends_at, knows_end=True)
    is_old = _Age(now, _NEARLY * interval).is_old
    if reading is None and _should_read(verdict, state, counts, progress, is_old, has_messages=has_messages):
        return Decision(action=Action.READ, state=state)
    state, proven = _note_reading(state, reading)
    state = attrs.evolve(state, gap=_next_gap(verdict, state.gap, counts, progress, now))
    finished, mismatch = verdict is Verdict.COMPLETE, counts.gave_up
    was_read = reading is not None
    if verdict is Verdict.SHORT or (verdict is Verdict.GAP and was_read and _service_is_over(group, counts)):
        since = state.incomplete_since
        if not proven:
            since = None
        elif is_old(since):
            finished = mismatch = True
        elif since is None or since > now:
            # A time in the future was written before the clock was set back.
            since = now
        state = attrs.evolve(state, incomplete_since=since)
    elif verdict is not Verdict.GAP:
        state = attrs.evolve(state, incomplete_since=None)
    if group.status is JobGroupStatus.CANCELLED:
        state = attrs.evolve(state, cancelled=True)
    if not finished:
        return Decision(action=Action.WAIT, state=state)
    if progress.unfinished and group.status is JobGroupStatus.FAILED:
        return Decision(action=Action.FAIL, state=state)
    confirmed = Confirmation(assignments=counts.assignments, mismatch=mismatch)
    return Decision(action=Action.FINISH, state=attrs.evolve(state, confirmed=confirmed), mismatch=mismatch)


def _note_reading(state: ReconcileState, reading: Reading | None) -> tuple[ReconcileState, bool]:
    """Return the state after a reading, and whether jobs that the ledger lacks are proven absent."""
    if reading is None:
        return state, True
    # An incomplete listing proves nothing, unless later ones are incomplete too.
    told = reading.is_whole or reading.has_news
    state = attrs.evolve(state, empty_scans=0 if told else state.empty_scans + 1)
    return state, reading.is_whole or state.empty_scans >= _EMPTY_SCANS


@attrs.frozen
class _Age:
    now: datetime
    seconds: float

    def is_old(self, moment: datetime | None) -> bool:
        """Whether something was first seen at least an interval ago."""
        return moment is not None and (self.now - moment).total_seconds() >= self.seconds


def _should_read(
    verdict: Verdict,
    state: ReconcileState,
    counts: LedgerCounts,
    progress: Progress,
    is_old: Callable[[datetime | None], bool],
    *,
    has_messages: bool,
) -> bool:
    """Whether to read from the API what the ledger lacks. Late messages are waited for, for one interval."""
    if verdict is Verdict.GAP:
        if not has_messages or (counts.has_ended and not progress.unfinished):
            return True
        return state.gap is not None and _persists(state.gap, counts) and is_old(state.gap.since)
    # The complete listing is read at the first and the last confirming comparison only: at every one is too expensive.
    return verdict is Verdict.SHORT and (state.incomplete_since is None or is_old(state.incomplete_since))


def _next_gap(verdict: Verdict, gap: Gap | None, counts: LedgerCounts, progress: Progress, now: datetime) -> Gap | None:
    if verdict is not Verdict.GAP:
        return None
    # A gap in the future was stored before the clock was set back.
    if gap is not None and _persists(gap, counts) and gap.since <= now:
        return gap
    return Gap(ended=ended_jobs(progress), listed=progress.total, since=now)


def _persists(gap: Gap, counts: LedgerCounts) -> bool:
    """Whether what was missing then is still missing; what is missing since a later time is another gap."""
    return gap.ended > counts.ended or gap.listed > counts.total


def _service_is_over(group: JobGroup, counts: LedgerCounts) -> bool:
    """Whether the service will not dial for this group again, and no jobs are being added."""
    progress = group.progress
    if progress is None or progress.unfinished or counts.assigning:
        return False
    # Zero jobs prove nothing while none were assigned yet, or while the service has not counted them yet.
    nothing_expected = counts.gave_up or (counts.deliberate and counts.expected == 0)
    status_says_so = counts.deliberate and group.status is not None and group.status.is_terminal
    return progress.total > 0 or nothing_expected or status_says_so
