"""What an assignment, or the reading of a source, came to: in counts whose sum is the number of contacts read."""

from __future__ import annotations

from typing import Any

import attrs

from airflow_provider_outbound.core.assign.screening import ContactScreening


@attrs.frozen(kw_only=True)
class AssignResult:
    """
    What an assignment came to.

    ``assigned``, ``duplicates``, ``excluded``, ``capped``, ``rejected`` and ``unresolved`` add up to ``read``, unless
    earlier tries read contacts that the source does not give any more; :attr:`not_read` counts those.
    """

    job_group_id: str
    read: int
    #: Now in the group by this assignment, earlier tries included.
    assigned: int
    newly_assigned: int
    duplicates: int
    excluded: int
    #: Left out because of ``max_jobs``, or because their persons have had their calls.
    capped: int
    rejected: int
    #: Contacts whose fate could not be established.
    unresolved: int
    rejects_path: str | None = None

    @property
    def not_read(self) -> int:
        """Contacts that earlier tries assigned, and that were not read or are left out now."""
        left_out = self.duplicates + self.excluded + self.capped + self.rejected
        return self.assigned + self.unresolved + left_out - self.read

    def to_dict(self) -> dict[str, Any]:
        """As a task returns it."""
        return attrs.asdict(self)

    def __str__(self) -> str:
        sentence = _sum(self.read, {"assigned": self.assigned}, self, unresolved=self.unresolved)
        if not self.not_read:
            return sentence
        return f"{sentence}; {self.not_read} of these were assigned by an earlier try and are not among those read now"


@attrs.frozen(kw_only=True)
class Preflight:
    """A source, read and checked; nothing was sent."""

    read: int
    valid: int
    #: Those of the valid ones that have yet to come into the group, or may have to.
    pending: int
    duplicates: int
    excluded: int
    #: Those of the excluded ones that are not among the connection's ``allowed_phone_numbers``.
    not_allowed: int
    capped: int
    rejected: int

    def __str__(self) -> str:
        return _sum(self.read, {"can be assigned": self.valid}, self)

    @classmethod
    def of(cls, screening: ContactScreening, *, valid: int, pending: int) -> Preflight:
        """What an intake counted."""
        return cls(
            read=screening.read,
            valid=valid,
            pending=pending,
            duplicates=screening.duplicates,
            excluded=screening.excluded,
            not_allowed=screening.not_allowed,
            capped=screening.capped,
            rejected=screening.rejected,
        )


def _sum(read: int, first: dict[str, int], counts: AssignResult | Preflight, *, unresolved: int = 0) -> str:
    """Counts in words, those that are zero left out, so that a reader can add them up."""
    left_out = {
        "duplicates": counts.duplicates,
        "excluded": counts.excluded,
        "over a limit": counts.capped,
        "rejected": counts.rejected,
        "unresolved": unresolved,
    }
    parts = [f"{count} {word}" for word, count in (first | {word: n for word, n in left_out.items() if n}).items()]
    return f"{read} contacts read: {', '.join(parts)}"
