"""The jobs of a campaign, counted by what is known about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.call_counts import NEVER_DIALLED
from airflow_provider_outbound.core.ledger.records import JobState
from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus, Outcome, outcome

_jobs = schema.jobs.c
_KIND = (_jobs.state, _jobs.status, _jobs.terminal, _jobs.failure_reason, _jobs.call_status, _jobs.answered)
# Built once: for a small group, building the statement takes longer than running it.
_NUMBERS = (
    select(
        *_KIND,
        func.count().label("jobs"),
        func.sum(case((NEVER_DIALLED, 0), else_=_jobs.attempts)).label("calls"),
        func.count(case((NEVER_DIALLED, None), else_=_jobs.started_at)).label("dialled"),
        func.min(_jobs.started_at).label("first"),
        func.max(_jobs.ended_at).label("last"),
    )
    .where(_jobs.job_group_id == bindparam("group"), _jobs.state != JobState.REFUSED)
    .group_by(*_KIND)
)


@attrs.frozen(kw_only=True)
class Kind:
    """Jobs about which the same is known."""

    state: JobState
    status: JobStatus | None
    is_terminal: bool
    failure_reason: FailureReason | None
    call_status: CallStatus | None
    answered: bool
    jobs: int
    #: Dialled calls of these jobs, as far as they are known.
    calls: int
    #: Those of these jobs with a call that was dialled.
    dialled: int
    first: datetime | None
    last: datetime | None

    @property
    def shown_status(self) -> str | None:
        """The status as the page shows it: of a job that may not be in the group, the state of its row."""
        status = self.status if self.state is JobState.ACCEPTED else self.state
        return None if status is None else str(status)

    @property
    def outcome(self) -> Outcome | None:
        """What these jobs mean to the campaign; ``None`` while they are open."""
        if self.state is not JobState.ACCEPTED or not self.is_terminal:
            return None
        return outcome(self.status, self.failure_reason, self.call_status, answered=self.answered)

    def condition(self) -> ColumnElement[bool]:
        """The condition that the rows of these jobs fulfil."""
        return and_(
            _jobs.state == self.state,
            _jobs.terminal == self.is_terminal,
            _jobs.answered == self.answered,
            _jobs.status.is_not_distinct_from(self.status),
            _jobs.failure_reason.is_not_distinct_from(self.failure_reason),
            _jobs.call_status.is_not_distinct_from(self.call_status),
        )


@attrs.frozen(kw_only=True)
class Numbers:
    """The jobs of a campaign, by kind. The counts agree with :meth:`.Results.summary`."""

    kinds: Sequence[Kind] = ()

    def count(self, wanted: Outcome | None) -> int:
        """Jobs in the group with this outcome; ``None``: open ones."""
        return sum(kind.jobs for kind in self._accepted if kind.outcome is wanted)

    @property
    def _accepted(self) -> list[Kind]:
        return [kind for kind in self.kinds if kind.state is JobState.ACCEPTED]

    @property
    def total(self) -> int:
        """Jobs in the group."""
        return sum(kind.jobs for kind in self._accepted)

    @property
    def done(self) -> int:
        """Jobs that have ended."""
        return sum(kind.jobs for kind in self._accepted if kind.is_terminal)

    @property
    def in_doubt(self) -> int:
        """Jobs of which it is not known yet whether they are in the group."""
        return sum(kind.jobs for kind in self.kinds if kind.state in (JobState.SENDING, JobState.IN_DOUBT))

    @property
    def unresolved(self) -> int:
        """Jobs whose status stays unknown."""
        return sum(kind.jobs for kind in self.kinds if kind.state is JobState.UNRESOLVED)

    @property
    def dialled(self) -> int:
        """Jobs with a call that was dialled."""
        return sum(kind.dialled for kind in self._accepted)

    @property
    def answered(self) -> int:
        """Jobs of which a call was answered, ended or not."""
        return sum(kind.jobs for kind in self._accepted if kind.answered)

    @property
    def calls(self) -> int:
        """Dialled calls, as far as they are known."""
        return sum(kind.calls for kind in self._accepted)

    @property
    def started_at(self) -> datetime | None:
        """When the first call began."""
        return min((kind.first for kind in self._accepted if kind.first), default=None)

    @property
    def ended_at(self) -> datetime | None:
        """When the last call ended."""
        return max((kind.last for kind in self._accepted if kind.last), default=None)

    def statuses(self) -> Counter[str]:
        """Jobs by the status that is shown of them; jobs of which no message came yet have none."""
        found: Counter[str] = Counter()
        for kind in self.kinds:
            if kind.shown_status is not None:
                found[kind.shown_status] += kind.jobs
        return found

    def reasons(self) -> Counter[str]:
        """Ended jobs by failure reason, or by the status of the last call if they have no reason."""
        found: Counter[str] = Counter()
        for kind in self._accepted:
            reason = kind.failure_reason or kind.call_status
            if kind.is_terminal and reason is not None and kind.outcome is not Outcome.ANSWERED:
                found[str(reason)] += kind.jobs
        return found

    def matching(self, *, outcome: str | None = None, status: str | None = None, reason: str | None = None) -> Numbers:
        """
        The kinds with these properties.

        :param outcome: An :class:`.Outcome`, or ``open``.
        :param status: Status of the job as it is shown, or of the last call.
        :param reason: As :meth:`reasons` names it.
        """
        return Numbers(
            kinds=[
                kind
                for kind in self.kinds
                if (outcome is None or (kind.outcome or "open") == outcome)
                and (status is None or status in (kind.shown_status, kind.call_status))
                and (reason is None or (kind.failure_reason or kind.call_status) == reason)
            ]
        )

    def condition(self) -> ColumnElement[bool]:
        """The condition that the rows of these jobs fulfil."""
        return or_(*(kind.condition() for kind in self.kinds))


def read_numbers(connection: Connection, job_group_id: str) -> Numbers:
    """Count a group's jobs. Reads them all."""
    rows = connection.execute(_NUMBERS, {"group": job_group_id})
    return Numbers(kinds=[_kind(row) for row in rows])


def _kind(row: Any) -> Kind:
    return Kind(
        state=JobState(row.state),
        status=JobStatus.parse(row.status),
        is_terminal=row.terminal,
        failure_reason=FailureReason.parse(row.failure_reason),
        call_status=CallStatus.parse(row.call_status),
        answered=row.answered,
        jobs=row.jobs,
        calls=int(row.calls or 0),
        dialled=row.dialled,
        first=row.first,
        last=row.last,
    )
