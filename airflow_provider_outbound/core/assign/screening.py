"""Turn a source into candidates in constant memory, and leave out those who are not to be assigned."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Literal

from airflow_provider_outbound.core.assign.left_out import (
    EXCLUDED,
    IN_GROUP,
    NOT_ALLOWED,
    OVER_CAP,
    OVER_MAX_JOBS,
    REPEATED,
    LeftOut,
)
from airflow_provider_outbound.core.contacts import ContactSource, Reject
from airflow_provider_outbound.core.ledger import Candidate, CandidateStatus
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import mask
from airflow_provider_outbound.exceptions import OutboundBotContactsError

DedupeBy = Literal["phone", "reference_id"]
Classify = Callable[[Sequence[Candidate]], list[CandidateStatus]]
Identify = Callable[[Contact], Candidate]

#: Rows looked up in the ledger at a time.
CHUNK = 400
#: Statuses of contacts that this assignment adds to the group.
_NEW = (CandidateStatus.FRESH, CandidateStatus.LEFT)


class ContactScreening:
    """
    One reading of a source.

    :param identify: Makes a candidate of a contact, with its identities.
    :param classify: Returns the status of candidates in the ledger; ``None`` if it has none of them.
    :param excluded: Numbers that must not be called, E.164.
    :param allowed: If not ``None``, all other numbers are excluded.
    :param most: Maximum number of contacts that are new to the group; ``None`` for no limit.
    :param left_out: Takes those who are not to be assigned.
    :param strict: Raise at the first row that is not a contact.
    """

    def __init__(
        self,
        source: ContactSource,
        *,
        identify: Identify,
        classify: Classify | None,
        dedupe_by: DedupeBy,
        excluded: frozenset[str] = frozenset(),
        allowed: frozenset[str] | None = None,
        left_out: LeftOut | None = None,
        most: int | None = None,
        strict: bool = False,
    ) -> None:
        self._source = source
        self._identify = identify
        self._classify = classify
        self._dedupe_by = dedupe_by
        self._excluded = excluded
        self._allowed = allowed
        self._most = most
        self._strict = strict
        self.left_out = LeftOut() if left_out is None else left_out
        self.read = 0
        self.fresh = 0
        #: Contacts that are not excluded and lack a reference id, although the author named its column.
        self.without_reference = 0

    def __iter__(self) -> Generator[tuple[Candidate, CandidateStatus]]:
        """Yield once, with its status, each contact that is new, already of this task, or left by another one."""
        with closing(Seen(unique_phone=self._dedupe_by == "phone")) as seen:
            contacts = iter(self._wanted())
            while chunk := list(islice(contacts, CHUNK)):
                fresh = [candidate for candidate in map(self._identify, chunk) if self._is_new(candidate, seen)]
                statuses = [CandidateStatus.FRESH] * len(fresh) if self._classify is None else self._classify(fresh)
                for candidate, status in zip(fresh, statuses, strict=True):
                    if status is CandidateStatus.CONFLICT:
                        self._conflict(candidate)
                    elif status is CandidateStatus.DUPLICATE:
                        self.left_out.add(IN_GROUP, candidate.contact)
                    elif status is CandidateStatus.CAPPED:
                        self.left_out.add(OVER_CAP, candidate.contact)
                    elif status in _NEW and self.fresh == self._most:
                        self.left_out.add(OVER_MAX_JOBS, candidate.contact)
                    else:
                        self.fresh += status in _NEW
                        yield candidate, status

    def _wanted(self) -> Iterator[Contact]:
        for item in self._source:
            self.read += 1
            if isinstance(item, Reject):
                self._reject(item)
            elif item.phone.e164 in self._excluded:
                self.left_out.add(EXCLUDED, item)
            elif self._allowed is not None and item.phone.e164 not in self._allowed:
                self.left_out.add(NOT_ALLOWED, item)
            else:
                self.without_reference += item.reference_id is None and self._source.reference_column is not None
                yield item

    def _is_new(self, candidate: Candidate, seen: Seen) -> bool:
        status = seen.add(candidate.reference_id, candidate.phone_key)
        if status is CandidateStatus.CONFLICT:
            self._conflict(candidate)
        elif status is CandidateStatus.DUPLICATE:
            self.left_out.add(REPEATED, candidate.contact)
        return status is CandidateStatus.FRESH

    def _conflict(self, candidate: Candidate) -> None:
        contact = candidate.contact
        reason = (
            "its reference_id belongs to another number; if its column has no id for each contact, pass"
            " columns={'reference_id': None}"
        )
        self._reject(
            Reject(
                row=contact.row,
                number=mask(contact.phone.e164),
                reason=reason,
                file=contact.file,
                line=contact.line,
                reference_id=contact.reference_id,
            )
        )

    def _reject(self, reject: Reject) -> None:
        self.left_out.reject(reject)
        if self._strict:
            raise OutboundBotContactsError(
                f'{reject}; fix it, or pass on_invalid="skip". The source changed while it was read, or can be read '
                "only once"
            )


class Seen:
    """The identities seen so far; many of them are kept in a temporary file."""

    def __init__(self, *, unique_phone: bool) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("CREATE TABLE seen (reference_id TEXT PRIMARY KEY, phone_key TEXT NOT NULL) WITHOUT ROWID")
        if unique_phone:
            self._db.execute("CREATE UNIQUE INDEX phone ON seen (phone_key)")
        self._db.execute("BEGIN")

    def add(self, reference_id: str, phone_key: str) -> CandidateStatus:
        """Return whether the identity is new, was seen before, or was seen with another number."""
        added = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (reference_id, phone_key))
        if added.rowcount:
            return CandidateStatus.FRESH
        found = self._db.execute("SELECT phone_key FROM seen WHERE reference_id = ?", (reference_id,)).fetchone()
        return CandidateStatus.DUPLICATE if found in (None, (phone_key,)) else CandidateStatus.CONFLICT

    def close(self) -> None:
        """Delete them."""
        self._db.close()
