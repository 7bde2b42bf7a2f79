"""Read lists of numbers that must not be called."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_provider_outbound.core.contacts.cells import read_number
from airflow_provider_outbound.core.contacts.source import ContactSource, Reject
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import holds_number, looks_like_number, redact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

#: Words in the names of columns that hold numbers, beyond those of ``COLUMN_NAMES``.
_PHONE_WORDS = re.compile("phone|mobile|tel|手机|电话|号码", re.IGNORECASE)


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
    """Numbers in the other columns of a do-not-call list: ``Phone 2``, ``Work Phone``, ``备用电话``."""
    for column, text in contact.extras.items():
        if looks_like_number(text, default_region):
            yield read_number(text, default_region).e164
        elif text and _PHONE_WORDS.search(column) and holds_number(text, default_region):
            place = f"row {contact.row}" if contact.line is None else f"line {contact.line}"
            raise OutboundBotContactsError(
                f"{label}: {contact.file}{' ' if contact.file else ''}{place}: column {redact(column)!r} holds more"
                " than a number; write one number into each cell, or the person it stands for might be called"
            )
