"""
The author's own id of a contact, as its source gives it.

Results are joined to the author's data by this id. So an id that a spreadsheet or a number format may have changed is
refused: ``1E5`` typed into Excel becomes 100000, ``1-2`` a date, and of a long number only 15 digits stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from airflow_provider_outbound.core.contacts.cells import Shortened, clean, is_missing, narrow_float, to_text
from airflow_provider_outbound.core.models.phone import holds_number

#: Maximum length of a reference id, which is a key in the ledger.
MAX_REFERENCE_LENGTH = 128

#: How spreadsheets write a number with an exponent; a hexadecimal id such as ``1E5`` has no sign.
_EXPONENT = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-][0-9]+")
_SHORTENED = "is a number of which a spreadsheet keeps only the first digits"
#: A float holds each whole number of 15 digits, as a spreadsheet does.
_MAX_EXACT = 10**15
_AS_TEXT = "format that column as text at its source, and enter or export its ids again"


def read_reference(value: Any, column: str, default_region: str) -> str | None:
    """
    Read a contact's own id.

    :param column: Its column, for the error.
    :return: ``None`` for an empty cell.
    :raises ValueError: it may differ from the id that the author knows, holds a phone number, or cannot be stored.
    """
    text = to_text(value, column).strip()
    if why := _why_changed(value):
        raise ValueError(f"its reference_id {why}; {_AS_TEXT}")
    if not text:
        return None
    if holds_number(text, default_region):
        raise ValueError(
            "its reference_id contains what could be a phone number, which logs and results would then show; use an id "
            "without one, or omit reference_id: it is then derived from the number"
        )
    if len(text) > MAX_REFERENCE_LENGTH:
        raise ValueError(f"its reference_id is longer than {MAX_REFERENCE_LENGTH} characters")
    if text != clean(text):
        raise ValueError("its reference_id holds control characters")
    return text


def _why_changed(value: Any) -> str:
    """Return why a value may not be the id as it was entered; an empty text if it is."""
    if isinstance(value, str):
        return _SHORTENED if _EXPONENT.fullmatch(value.strip()) else ""
    if is_missing(value):
        return ""
    if isinstance(value, date):
        return "is a date, which spreadsheets make of ids such as 1-2"
    kind = type(value).__name__
    if isinstance(value, list | tuple | Mapping) or kind in ("bool", "bool_"):
        return f"is of type {kind}"
    if isinstance(value, Shortened) or _has_exponent(value):
        return _SHORTENED
    if isinstance(value, float):
        is_exact = value.is_integer() and abs(value) < _MAX_EXACT
        return "" if is_exact else "is a float that is not a whole number of at most 15 digits"
    return f"is a {narrow}, which cannot hold each digit of an id" if (narrow := narrow_float(kind)) else ""


def _has_exponent(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_finite() and int(value.as_tuple().exponent) > 0
