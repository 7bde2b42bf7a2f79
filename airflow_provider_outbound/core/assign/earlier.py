"""
Contacts that an earlier try of this task sent without a usable answer.

Since then the do-not-call list, the connection's allowed numbers, or the list of contacts itself may have changed. Such
a contact is sent again only if this try's reading of the source still has it, and as that reading has it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import attrs

from airflow_provider_outbound.core.assign.reading import stored_candidates
from airflow_provider_outbound.core.assign.screening import DedupeBy
from airflow_provider_outbound.core.ledger import Assignment, Candidate, CandidateStatus, Ledger

log = logging.getLogger(__name__)

#: Statuses of a contact that this task sent, and of which it does not know whether the service has it.
_UNDECIDED = (CandidateStatus.DOUBT, CandidateStatus.UNRESOLVED)


class EarlierContacts:
    """
    Finds contacts of earlier tries that this try must not send again. Make it before anything is sent.

    :param dedupe_by: By what a contact of the source is the same as one in the journal.
    """

    def __init__(self, ledger: Ledger, assignment: Assignment, dedupe_by: DedupeBy) -> None:
        self._ledger = ledger
        self._assignment = assignment
        self._by_phone = dedupe_by == "phone"
        journal = ledger.journal
        in_doubt = (doubt.reference_id for doubt in journal.in_doubt(assignment))
        self._undecided = {*in_doubt, *journal.unresolved(assignment)} if assignment.reopened else set()
        self._wanted: dict[str, Candidate] = {}

    @property
    def exist(self) -> bool:
        """Whether there were any when this try began."""
        return bool(self._undecided)

    def note(
        self, contacts: Iterable[tuple[Candidate, CandidateStatus]]
    ) -> Iterator[tuple[Candidate, CandidateStatus]]:
        """Yield the contacts of a screened source, and remember which of them an earlier try sent."""
        for candidate, status in contacts:
            if status in _UNDECIDED:
                self._wanted[self._key(candidate)] = candidate
            yield candidate, status

    def withdraw_unwanted(self, references: Sequence[str]) -> list[str]:
        """
        Free the rows of contacts that an earlier try sent and that this try's reading left out.

        :param references: Rows of the assignment that are certain not to be in the group.
        :return: The other ones.
        """
        earlier = [reference for reference in references if reference in self._undecided]
        candidates = stored_candidates(self._ledger, self._assignment, earlier)
        unwanted = {candidate.reference_id for candidate in candidates if self._key(candidate) not in self._wanted}
        if unwanted:
            self._ledger.journal.withdraw(self._assignment, sorted(unwanted))
            log.warning(
                "Job group %s: %d contacts that an earlier try sent and that never arrived are not sent again: they are"
                " excluded, or not among the contacts any more",
                self._assignment.job_group_id,
                len(unwanted),
            )
        return [reference for reference in references if reference not in unwanted]

    def candidates(self, references: Sequence[str]) -> Iterator[Candidate]:
        """
        Yield contacts to send again: those that an earlier try sent from the source, the others from the journal.

        :param references: Rows of the assignment.
        """
        for stored in stored_candidates(self._ledger, self._assignment, references):
            read = self._wanted.get(self._key(stored)) if stored.reference_id in self._undecided else None
            yield stored if read is None else attrs.evolve(read, reference_id=stored.reference_id)

    def _key(self, candidate: Candidate) -> str:
        return candidate.phone_key if self._by_phone else candidate.reference_id
