"""Read lists of numbers that must not be called."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence

from airflow_provider_outbound.core.contacts.cells import NO_NUMBER, read_number, unmarked
from airflow_provider_outbound.core.contacts.columns import is_for_phones
from airflow_provider_outbound.core.contacts.rows import Reject, place_of
from airflow_provider_outbound.core.contacts.source import ContactSource
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import (
    holds_number,
    is_rounded_mobile,
    looks_like_number,
    mask,
    numbers_in,
    redact,
    why_unreadable,
)
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import OutboundBotContactsError

log = logging.getLogger(__name__)


#: The number of rows that an error shows.
_SHOWN = 10


class _UnreadableError(Exception):
    """
    A row cannot be read.

    :param where: Where, and why.
    :param fix: How to fix it.
    :param hint: What else may be meant.
    """

    def __init__(self, where: str, fix: str = "fix it", hint: str = "") -> None:
        super().__init__(where)
        self.fix = fix
        self.hint = hint


def read_excluded(source: ContactSource, label: str) -> frozenset[str]:
    """
    Read numbers that must not be called: those of the phone column, and those in other cells.

    :return: Numbers in E.164.
    :raises OutboundBotContactsError: a number cannot be read, so that its owner might be called; or a file is empty.
    :raises ContactsNotFoundError: a file, folder or pattern does not exist or holds no data file.
    """
    numbers: set[str] = set()
    problems: list[_UnreadableError] = []
    count = 0
    #: Columns that are not read and have a number, and the number of such rows.
    unread: dict[str, None] = {}
    rows = 0
    for item in source.read_present():
        try:
            if isinstance(item, Reject):
                raise _UnreadableError(str(item), _COPY_IT if item.reason == NO_NUMBER else "fix it")
            numbers.add(item.phone.e164)
            if not source.names_phone_column:
                numbers.update(_other_numbers(item, source.default_region))
        except _UnreadableError as problem:
            count += 1
            problems += [problem] if count <= _SHOWN else []
            continue
        if source.names_phone_column:
            found = [column for column, text in _cells(item) if holds_number(text, source.default_region)]
            unread |= dict.fromkeys(found)
            rows += bool(found)
    if problems:
        raise OutboundBotContactsError(f"{label}: {_describe(problems, count)}")
    if rows:
        log.warning(
            "%s: %s with numbers in %s, which are not excluded: exclude_columns names the only column that counts. To"
            " exclude them too, rename the column that exclude_columns names to phone, and omit exclude_columns",
            label,
            count_of(rows, "row"),
            ", ".join(redact(column) for column in unread),
        )
    return frozenset(numbers)


def _cells(contact: Contact) -> Iterator[tuple[str, str]]:
    """The cells beside the one for the phone number."""
    details = {"name": contact.name, "honorific": contact.honorific, "role": contact.role}
    yield from ((column, text) for column, text in [*details.items(), *contact.extras.items()] if text)


def _other_numbers(contact: Contact, default_region: str) -> Iterator[str]:
    """
    Numbers in the other columns of a do-not-call list: ``Phone 2``, ``Work Phone``, ``备用电话``, also within a note.

    :raises _UnreadableError: a cell holds more than a number, or one that cannot be read.
    """
    for column, cell in _cells(contact):
        text = unmarked(cell)
        if looks_like_number(text, default_region):
            try:
                yield read_number(text, default_region).e164
            except ValueError as error:
                raise _unreadable(contact, column, f"({mask(text)}): {error}") from None
        elif is_rounded_mobile(text):
            raise _unreadable(contact, column, f"({mask(text)}): {_ROUNDED}")
        elif is_for_phones(column):
            if holds_number(text, default_region):
                raise _unreadable(contact, column, "holds more than a number; write one number into each cell")
            if why := why_unreadable(text, default_region):
                raise _unreadable(contact, column, f"({mask(text)}): {why}")
        else:
            yield from _listed(text, default_region)
            # A note such as "13800000000 asked not to be called". To exclude one number too many calls nobody.
            yield from numbers_in(text, default_region)


def _listed(text: str, default_region: str) -> Iterator[str]:
    """Numbers in a cell that holds nothing else: ``13800000000/13900000000``, or a list as JSON."""
    parts = [part for part in map(str.strip, _BETWEEN_NUMBERS.split(text)) if part]
    if len(parts) > 1 or text.startswith("["):
        try:
            yield from [read_number(part, default_region).e164 for part in parts]
        except ValueError:
            # Something else: a note, an address, a list of words.
            return


_BETWEEN_NUMBERS = re.compile("""[][/,;|、，；"']+""")
_COPY_IT = "write the number into the phone column, even if another column has it"
_ROUNDED = "a spreadsheet has rounded the number; format that column as text and export again"


def _unreadable(contact: Contact, column: str, problem: str) -> _UnreadableError:
    return _UnreadableError(
        f"{place_of(contact)}: column {redact(column)!r} {problem}",
        hint="; if only some columns count, name the one for the number with exclude_columns={'phone': …}; numbers in"
        " the others are then not excluded",
    )


def _describe(problems: Sequence[_UnreadableError], count: int) -> str:
    """
    Return an error's text.

    :param problems: The first of the rows that cannot be read.
    :param count: The number of all of them.
    """
    hint = next((problem.hint for problem in problems if problem.hint), "")
    if count == 1:
        (problem,) = problems
        return f"{problem}; {problem.fix}, or the person it stands for might be called{hint}"
    more = f"; and {count - len(problems)} more" if count > len(problems) else ""
    fixes = sorted({problem.fix for problem in problems} - {"fix it"})
    how = f" ({'; '.join(fixes)})" if fixes else ""
    return (
        f"{count} rows cannot be read: {'; '.join(map(str, problems))}{more}. Fix them{how}, or the people they stand"
        f" for might be called{hint}"
    )
