"""Read lists of numbers that must not be called."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_provider_outbound.core.contacts.cells import read_number
from airflow_provider_outbound.core.contacts.columns import is_for_phones
from airflow_provider_outbound.core.contacts.source import ContactSource, Reject
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
from airflow_provider_outbound.exceptions import OutboundBotContactsError


def read_excluded(source: ContactSource, label: str) -> frozenset[str]:
    """
    Read numbers that must not be called: those of the phone column, and those in other cells.

    :return: Numbers in E.164.
    :raises OutboundBotContactsError: a number cannot be read, so that its owner might be called; or a file is empty.
    :raises ContactsNotFoundError: a file, folder or pattern does not exist or holds no data file.
    """
    numbers = set()
    for item in source.read_present():
        if isinstance(item, Reject):
            raise OutboundBotContactsError(f"{label}: {item}; fix it, or the person it stands for might be called")
        numbers.add(item.phone.e164)
        if not source.names_phone_column:
            numbers.update(_other_numbers(item, source.default_region, label))
    return frozenset(numbers)


def _other_numbers(contact: Contact, default_region: str, label: str) -> Iterator[str]:
    """
    Numbers in the other columns of a do-not-call list: ``Phone 2``, ``Work Phone``, ``备用电话``, also within a note.

    :raises OutboundBotContactsError: a cell holds more than a number, or one that cannot be read.
    """
    details = {"name": contact.name, "honorific": contact.honorific, "role": contact.role}
    for column, text in [*details.items(), *contact.extras.items()]:
        if text and looks_like_number(text, default_region):
            try:
                yield read_number(text, default_region).e164
            except ValueError as error:
                raise _unreadable(contact, label, column, f"({mask(text)}): {error}") from None
        elif text and is_rounded_mobile(text):
            raise _unreadable(contact, label, column, f"({mask(text)}): {_ROUNDED}")
        elif text and is_for_phones(column):
            if holds_number(text, default_region):
                raise _unreadable(contact, label, column, "holds more than a number; write one number into each cell")
            if why := why_unreadable(text, default_region):
                raise _unreadable(contact, label, column, f"({mask(text)}): {why}")
        elif text:
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
_ROUNDED = "a spreadsheet has rounded the number; format that column as text and export again"


def _unreadable(contact: Contact, label: str, column: str, problem: str) -> OutboundBotContactsError:
    place = f"row {contact.row}" if contact.line is None else f"line {contact.line}"
    return OutboundBotContactsError(
        f"{label}: {contact.file}{' ' if contact.file else ''}{place}: column {redact(column)!r} {problem}. Fix it, or"
        " the person it stands for might be called; if only some columns count, name the one for the number with"
        " exclude_columns={'phone': …}"
    )
