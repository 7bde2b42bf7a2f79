"""Turn a source into candidates in constant memory, and count the contacts that are left out, by reason."""

from __future__ import annotations

import codecs
import csv
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from io import TextIOWrapper
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Self

from airflow_provider_outbound.core.contacts import ContactSource, PathLike, Reject, place_of
from airflow_provider_outbound.core.files import atomic_write
from airflow_provider_outbound.core.ledger import Candidate, CandidateStatus
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import mask, redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError

DedupeBy = Literal["phone", "reference_id"]
Classify = Callable[[Sequence[Candidate]], list[CandidateStatus]]
Identify = Callable[[Contact], Candidate]

#: Rows looked up in the ledger at a time.
CHUNK = 400
#: Statuses of contacts that this assignment adds to the group.
_NEW = (CandidateStatus.FRESH, CandidateStatus.LEFT)
#: Rejects repeated in an error message.
_SHOWN = 3
#: Contacts that the log names for each reason to leave them out.
MOST_NAMED = 20


class ContactScreening:
    """
    One reading of a source.

    :param identify: Makes a candidate of a contact, with its identities.
    :param classify: Returns the status of candidates in the ledger; ``None`` if it has none of them.
    :param excluded: Numbers that must not be called, E.164.
    :param allowed: If not ``None``, all other numbers are excluded.
    :param most: Maximum number of contacts that are new to the group; ``None`` for no limit.
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
        rejects: RejectsFile | None = None,
        most: int | None = None,
        strict: bool = False,
    ) -> None:
        self._source = source
        self._identify = identify
        self._classify = classify
        self._dedupe_by = dedupe_by
        self._excluded = excluded
        self._allowed = allowed
        self._rejects = rejects
        self._most = most
        self._strict = strict
        self.read = 0
        self.rejected = 0
        self.excluded = 0
        self.not_allowed = 0
        self.duplicates = 0
        self.capped = 0
        self.fresh = 0
        #: Contacts that are not excluded and lack a reference id, although the author named its column.
        self.without_reference = 0
        self.first_rejects: list[Reject] = []
        #: The first contacts that were left out and are no rejects, by reason: their reference ids, or their places.
        self.left_out: dict[str, list[str]] = {}

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
                        self.duplicates += 1
                        self._note("duplicates", candidate.contact)
                    elif status is CandidateStatus.CAPPED or (status in _NEW and self.fresh == self._most):
                        self.capped += 1
                        self._note("over a limit", candidate.contact)
                    else:
                        self.fresh += status in _NEW
                        yield candidate, status

    def summary_of_rejects(self) -> str:
        """Describe the first rejects."""
        more = self.rejected - len(self.first_rejects)
        return "; ".join(map(str, self.first_rejects)) + (f"; and {more} more" if more else "")

    def _wanted(self) -> Iterator[Contact]:
        for item in self._source:
            self.read += 1
            if isinstance(item, Reject):
                self._reject(item)
            elif item.phone.e164 in self._excluded:
                self.excluded += 1
                self._note("excluded", item)
            elif self._allowed is not None and item.phone.e164 not in self._allowed:
                self.excluded += 1
                self.not_allowed += 1
                self._note("not among allowed_phone_numbers", item)
            else:
                self.without_reference += item.reference_id is None and self._source.reference_column is not None
                yield item

    def _is_new(self, candidate: Candidate, seen: Seen) -> bool:
        status = seen.add(candidate.reference_id, candidate.phone_key)
        if status is CandidateStatus.CONFLICT:
            self._conflict(candidate)
        elif status is CandidateStatus.DUPLICATE:
            self.duplicates += 1
            self._note("duplicates", candidate.contact)
        return status is CandidateStatus.FRESH

    def _note(self, reason: str, contact: Contact) -> None:
        names = self.left_out.setdefault(reason, [])
        if len(names) <= MOST_NAMED:
            names.append(redact(contact.reference_id or place_of(contact)))

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
            )
        )

    def _reject(self, reject: Reject) -> None:
        self.rejected += 1
        if len(self.first_rejects) < _SHOWN:
            self.first_rejects.append(reject)
        if self._rejects is not None:
            self._rejects.write(reject)
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


_REJECT_COLUMNS = ("row", "phone_number", "reason", "file", "line")


def _refuse_other_file(path: PathLike) -> None:
    """Refuse to replace a file that no earlier try wrote: if it is a do-not-call list, its numbers would be lost."""
    beginning = ",".join(_REJECT_COLUMNS[:4]).encode()
    try:
        with path.open("rb") as file:
            found: bytes = file.read(len(codecs.BOM_UTF8) + len(beginning))
    except PermissionError as error:
        # An object store may let a key write what it may not read.
        raise OutboundBotConfigError(
            f"rejects_path: {redact(str(path))} cannot be read, so it may be another file: {error.strerror}; give a"
            " path that this process may read too. Nobody was called"
        ) from None
    except OSError:
        # There is no such file, or the error of writing it explains the problem.
        return
    # Earlier versions wrote no byte order mark.
    if found and not found.removeprefix(codecs.BOM_UTF8).startswith(beginning):
        raise OutboundBotConfigError(
            f"rejects_path: {redact(str(path))} exists and is not a file of rejects; give another path."
            " Nobody was called"
        )


class RejectsFile:
    """
    A CSV file of rejected rows with masked numbers, readable only by its owner; each try writes it anew.

    It begins with a byte order mark, as exports do: without one, Excel misreads Chinese.

    :raises OutboundBotConfigError: the path is another file, perhaps a list of contacts.
    """

    def __init__(self, path: PathLike) -> None:
        _refuse_other_file(path)
        self._path = path
        self._opened = ExitStack()
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        opened = self._opened.enter_context(atomic_write(self._path, private=True, field="rejects_path"))
        self._file = TextIOWrapper(opened, encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(_REJECT_COLUMNS)
        return self

    def write(self, reject: Reject) -> None:
        """Add a row."""
        self._writer.writerow((reject.row, reject.number, reject.reason, reject.file, reject.line))

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # Keep the file even if the task fails: it is needed most then.
        with self._opened.pop_all():
            self._file.flush()
            self._file.detach()
