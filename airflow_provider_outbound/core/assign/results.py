"""The result of an assignment, or of reading a source, as counts that add up to the number of contacts read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core.assign.left_out import MOST_NAMED, LeftOut
from airflow_provider_outbound.core.assign.screening import ContactScreening
from airflow_provider_outbound.core.contacts import ContactSource
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.models.words import count_of

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class AssignResult:
    """
    The result of an assignment.

    ``assigned``, ``duplicates``, ``excluded``, ``capped``, ``rejected`` and ``unresolved`` add up to ``read``, unless
    earlier tries read contacts that the source does not return now; :attr:`not_read` counts those.
    """

    job_group_id: str
    read: int
    #: Contacts that this assignment has in the group, earlier tries included.
    assigned: int
    newly_assigned: int
    duplicates: int
    excluded: int
    #: Left out because of ``max_jobs`` or the call cap.
    capped: int
    rejected: int
    #: Contacts for which it is unknown whether they will be called.
    unresolved: int
    rejects_path: str | None = None

    @property
    def not_read(self) -> int:
        """The number of contacts that earlier tries assigned, and that were not read or were left out now."""
        left_out = self.duplicates + self.excluded + self.capped + self.rejected
        return self.assigned + self.unresolved + left_out - self.read

    def to_dict(self) -> dict[str, Any]:
        """The form in which a task returns it."""
        return attrs.asdict(self)

    def __str__(self) -> str:
        sentence = _sum(self.read, {"assigned": self.assigned}, self, unresolved=self.unresolved)
        if self.not_read:
            sentence += f"; {self.not_read} of these were assigned by an earlier try and are not among those read now"
        if self.newly_assigned != self.assigned:
            sentence += f"; this try assigned {self.newly_assigned}"
        return sentence


@attrs.frozen(kw_only=True)
class Preflight:
    """The result of reading and checking a source; nothing was sent."""

    read: int
    valid: int
    #: Valid contacts that are not in the group yet, or may not be.
    pending: int
    duplicates: int
    excluded: int
    #: Excluded contacts that are not among the connection's ``allowed_phone_numbers``.
    not_allowed: int
    capped: int
    rejected: int
    #: Contacts without a reference id in the column that the author named for it.
    without_reference: int = 0
    #: The first rejects, with their reasons.
    rejects: str = ""
    #: The first contacts that were left out; see :attr:`.LeftOut.names`.
    left_out: Mapping[str, Sequence[str]] = attrs.field(factory=dict, eq=False)

    def __str__(self) -> str:
        return _sum(self.read, {"can be assigned": self.valid}, self)

    @classmethod
    def of(cls, screening: ContactScreening, *, valid: int, pending: int) -> Preflight:
        """Copy the counts of a screening."""
        left_out = screening.left_out
        return cls(
            read=screening.read,
            valid=valid,
            pending=pending,
            duplicates=left_out.counts["duplicates"],
            excluded=left_out.counts["excluded"],
            not_allowed=left_out.not_allowed,
            capped=left_out.counts["capped"],
            rejected=left_out.counts["rejected"],
            without_reference=screening.without_reference,
            rejects=left_out.summary_of_rejects(),
            left_out=left_out.names,
        )

    def with_late(self, late: LeftOut) -> Preflight:
        """Add those who were left out after the source was read."""
        names = {word: [*self.left_out.get(word, ()), *more] for word, more in late.names.items()}
        return attrs.evolve(
            self,
            duplicates=self.duplicates + late.counts["duplicates"],
            capped=self.capped + late.counts["capped"],
            left_out={**self.left_out, **names},
        )


def _sum(read: int, first: dict[str, int], counts: AssignResult | Preflight, *, unresolved: int = 0) -> str:
    """Write the counts as a sentence without zeros, so that a reader can add them up."""
    left_out = {
        "duplicates": counts.duplicates,
        "excluded": counts.excluded,
        "over a limit": counts.capped,
        "rejected": counts.rejected,
        "unresolved": unresolved,
    }
    parts = [f"{count} {word}" for word, count in (first | {word: n for word, n in left_out.items() if n}).items()]
    return f"{count_of(read, 'contact')} read: {', '.join(parts)}"


def log_left_out(found: Preflight, result: AssignResult | None = None) -> None:
    """
    Log who was left out, by reference id or place in the source: no export has a row of them.

    :param result: The result of the assignment; ``None`` if nothing was to be sent.
    """
    for reason, names in found.left_out.items():
        more = ", …" if len(names) > MOST_NAMED else ""
        log.info("Left out, %s: %s%s", reason, ", ".join(names[:MOST_NAMED]), more)
    if result is not None and found.read and not result.assigned and not result.unresolved:
        log.warning(
            "Job group %s: this task calls nobody, because all %s were left out",
            result.job_group_id,
            count_of(found.read, "contact"),
        )


def warn_of_cancellation(ledger: Ledger, result: AssignResult) -> None:
    """Warn if the group was cancelled: a task that is cleared afterwards has nobody to assign, and succeeds."""
    if result.newly_assigned or not result.assigned:
        return
    if (moment := ledger.groups.state(result.job_group_id).reconcile_state.cancelled_at) is not None:
        log.warning(
            "Job group %s: its jobs were cancelled at %s UTC; who was assigned before and not called is not called",
            result.job_group_id,
            f"{moment:%Y-%m-%d %H:%M}",
        )


def warn_of_missing_references(found: Preflight, source: ContactSource) -> None:
    """Warn if contacts lack the reference id that their author has a column for."""
    if count := found.without_reference:
        what = count_of(count, "contact has", "contacts have")
        whose = "it is derived from the number" if count == 1 else "theirs are derived from their numbers"
        log.warning("%s no reference id in column %r: %s", what, redact(source.reference_column or ""), whose)
