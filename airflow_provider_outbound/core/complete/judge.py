"""The decision alone: what the ledger knows and what the API says, taken together. No input, no output, no clock."""

from __future__ import annotations

from enum import StrEnum

import attrs

from airflow_provider_outbound.core.models.enums import JobGroupStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress

#: In these the service dials no more, even if it counts jobs that have not ended. Not so Completed, which it may also
#: say between two days of one strategy.
_GIVEN_UP = (JobGroupStatus.CANCELLED, JobGroupStatus.FAILED)


class Verdict(StrEnum):
    """What two sources say together."""

    #: The service still works, or somebody still assigns.
    WAIT = "wait"
    #: The service knows more than the ledger.
    GAP = "gap"
    #: The service has ended, with fewer jobs than were assigned or with jobs it leaves open.
    SHORT = "short"
    #: Both agree that every job has ended.
    COMPLETE = "complete"


@attrs.frozen(kw_only=True)
class Known:
    """
    What the ledger knows of a group, in numbers of jobs.

    :param total: Jobs in the group.
    :param terminal: Those with a final status.
    :param unlisted: Of the others, those whose last status is a word that is not listed.
    :param expected: Jobs that the group must have: what finished assignments left in it, or the author's number.
    :param deliberate: Whether somebody said how many jobs there are, so that none at all is an answer too.
    :param assigning: Whether jobs may still be added, or some are in doubt.
    :param gave_up: Whether an assignment ended without saying how many jobs it left.
    """

    total: int
    terminal: int
    unlisted: int
    expected: int
    deliberate: bool
    assigning: bool
    gave_up: bool

    @property
    def ended(self) -> int:
        """Jobs that have ended if the service has."""
        return self.terminal + self.unlisted

    @property
    def has_ended(self) -> bool:
        """Whether every job in the ledger has ended, as far as messages alone can tell."""
        return not self.assigning and self.terminal == self.total and self.total >= self.expected


def ended_jobs(progress: Progress) -> int:
    """Jobs for which the service will not dial again; its own count of completed jobs leaves open what it adds up."""
    return max(0, progress.total - progress.unfinished)


def judge(known: Known, group: JobGroup) -> Verdict:
    """
    Decide from what the ledger knows and what ``DescribeJobGroup`` says.

    A status that we have no word for is kept and never counts as final by itself; once the service says that nothing
    is left to do, it does.
    """
    progress = group.progress
    if progress is None:
        return Verdict.WAIT
    behind = ended_jobs(progress) > known.ended
    if progress.unfinished and not known.assigning and group.status in _GIVEN_UP:
        return Verdict.GAP if behind else Verdict.SHORT
    if not service_is_over(group, known):
        return Verdict.GAP if behind else Verdict.WAIT
    everything = known.total >= progress.total >= known.expected
    if everything and known.total == known.ended:
        return Verdict.COMPLETE
    if known.total < progress.total or behind:
        return Verdict.GAP
    return Verdict.SHORT


def service_is_over(group: JobGroup, known: Known) -> bool:
    """Whether the service will not dial for this group again, and nobody adds to it."""
    progress = group.progress
    if progress is None or progress.unfinished or known.assigning:
        return False
    # No jobs is no answer while nobody assigned yet, or while the service has not counted them yet.
    nothing_expected = known.gave_up or (known.deliberate and known.expected == 0)
    status_says_so = known.deliberate and group.status is not None and group.status.is_terminal
    return progress.total > 0 or nothing_expected or status_says_so
