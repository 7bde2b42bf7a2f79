"""Who of a source is not assigned, and why: counted, named in the log, and written to the file of ``rejects_path``."""

from __future__ import annotations

import codecs
import csv
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from types import TracebackType
from typing import Any, Self

import attrs

from airflow_provider_outbound.core.contacts import PathLike, Reject, place_of
from airflow_provider_outbound.core.files import atomic_write
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import mask, redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError

#: Rejects repeated in an error message.
_SHOWN = 3
#: Contacts that the log names for each reason to leave them out.
MOST_NAMED = 20


@attrs.frozen
class Reason:
    """
    Why a contact is left out.

    :param counted_as: The count of the result that includes it.
    :param word: In the log.
    :param text: In the file.
    """

    counted_as: str
    word: str
    text: str


EXCLUDED = Reason("excluded", "excluded", "it is among the exclusions")
NOT_ALLOWED = Reason(
    "excluded", "not among allowed_phone_numbers", "it is not among the connection's allowed_phone_numbers"
)
REPEATED = Reason("duplicates", "duplicates", "it is in the list more than once")
IN_GROUP = Reason("duplicates", "duplicates", "it is in the job group already")
OVER_MAX_JOBS = Reason("capped", "over a limit", "max_jobs is reached")
OVER_CAP = Reason("capped", "over a limit", "it has had max_calls_per_contact calls")

#: Leaves a contact out.
LeaveOut = Callable[[Reason, Contact], None]


class LeftOut:
    """
    Those left out in one reading of a source. Not for several threads.

    :param file: Where each one gets a row; ``None`` for nowhere.
    """

    def __init__(self, file: RejectsFile | _Rows | None = None) -> None:
        self._file = file
        #: By :attr:`Reason.counted_as`, and ``rejected``.
        self.counts: Counter[str] = Counter()
        self.not_allowed = 0
        self.first_rejects: list[Reject] = []
        #: The first contacts that are no rejects, by :attr:`Reason.word`: their reference ids, or their places.
        self.names: dict[str, list[str]] = {}

    def add(self, reason: Reason, contact: Contact) -> None:
        """Leave a contact out."""
        self.counts[reason.counted_as] += 1
        self.not_allowed += reason is NOT_ALLOWED
        names = self.names.setdefault(reason.word, [])
        if len(names) <= MOST_NAMED:
            names.append(redact(contact.reference_id or place_of(contact)))
        if self._file is not None:
            row = Reject(
                row=contact.row,
                number=mask(contact.phone.e164),
                reason=reason.text,
                file=contact.file,
                line=contact.line,
                reference_id=contact.reference_id,
            )
            self._file.write(row, reason.counted_as)

    def reject(self, reject: Reject) -> None:
        """Leave out a row that is not a contact."""
        self.counts["rejected"] += 1
        if len(self.first_rejects) < _SHOWN:
            self.first_rejects.append(reject)
        if self._file is not None:
            self._file.write(reject, "rejected")

    def summary_of_rejects(self) -> str:
        """Describe the first rejects."""
        more = self.counts["rejected"] - len(self.first_rejects)
        return "; ".join(map(str, self.first_rejects)) + (f"; and {more} more" if more else "")


_COLUMNS = ("row", "phone_number", "reason", "file", "line", "reference_id", "counted_as")


def _refuse_other_file(path: PathLike) -> None:
    """Refuse to replace a file that no earlier try wrote: if it is a do-not-call list, its numbers would be lost."""
    beginning = ",".join(_COLUMNS[:4]).encode()
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
    A CSV file of those left out, with masked numbers, readable only by its owner; each try writes it anew.

    It begins with a byte order mark, as exports do: without one, Excel misreads Chinese.

    :param is_continued: Whether to keep the rows that it has.
    :raises OutboundBotConfigError: the path is another file, perhaps a list of contacts.
    """

    def __init__(self, path: PathLike, *, is_continued: bool = False) -> None:
        _refuse_other_file(path)
        self._path = path
        self._is_continued = is_continued
        self._opened = ExitStack()
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            before = self._open_before(opened) if self._is_continued else None
            file: Any = opened.enter_context(atomic_write(self._path, private=True, field="rejects_path"))
            if before is not None:
                shutil.copyfileobj(before, file)
            self._file = TextIOWrapper(file, encoding="utf-8-sig" if before is None else "utf-8", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            if before is None:
                self._writer.writerow(_COLUMNS)
            self._opened = opened.pop_all()
        return self

    def _open_before(self, opened: ExitStack) -> Any:
        """The file as it is; ``None`` if there is none."""
        try:
            return opened.enter_context(self._path.open("rb"))
        except FileNotFoundError:
            return None

    def write(self, reject: Reject, counted_as: str) -> None:
        """Add a row."""
        reference_id = redact(reject.reference_id or "")
        self._writer.writerow(
            (reject.row, reject.number, reject.reason, reject.file, reject.line, reference_id, counted_as)
        )

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # Keep the file even if the task fails: it is needed most then.
        with self._opened.pop_all():
            self._file.flush()
            self._file.detach()


class _Rows(list[tuple[Reject, str]]):
    """Rows that are written later."""

    def write(self, reject: Reject, counted_as: str) -> None:
        self.append((reject, counted_as))


@contextmanager
def left_out_late(path: PathLike | None) -> Iterator[LeftOut]:
    """
    Leave out contacts after the source was read.

    :param path: The file that the reading wrote, to which they are added; ``None`` for none.
    """
    rows = _Rows()
    try:
        yield LeftOut(rows)
    finally:
        if rows and path is not None:
            with RejectsFile(path, is_continued=True) as file:
                for row in rows:
                    file.write(*row)
