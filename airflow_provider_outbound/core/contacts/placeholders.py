"""
Texts that stand for no value: what exports write for an empty cell, and what spreadsheets show for an error.

Source: the texts that pandas reads as missing by default (``na_values`` of ``read_csv``), except those that may be a
person's name or a value (``NA``, ``nan`` in other cases, ``none``), and those that database clients show for NULL; the
error values of Excel and LibreOffice Calc.
"""

from __future__ import annotations

import re

#: Texts for an empty cell. Case matters: "Nan" and "Null" are people's names.
NULL_MARKERS = frozenset(
    {
        *(r"\N", "NULL", "null", "(NULL)", "(null)", "[NULL]", "[null]", "<null>", "undefined", "None"),
        *("nan", "NaN", "NaT", "<NA>", "N/A", "n/a"),
    }
)
#: The value of a cell whose formula failed.
SPREADSHEET_ERRORS = frozenset(
    {
        *("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#NA", "#N/A N/A", "#SPILL!", "#CALC!"),
        *("#FIELD!", "#BLOCKED!", "#CONNECT!", "#UNKNOWN!", "#BUSY!", "#EXTERNAL!", "#PYTHON!", "#GETTING_DATA"),
    }
)
#: Calc's numbered errors, and what a spreadsheet shows for a number that is wider than its column.
_OTHER_ERRORS = re.compile("Err:[0-9]{3}|##+")


def is_null(text: str) -> bool:
    """Whether a text, apart from spaces around it, means an empty cell."""
    return text.strip() in NULL_MARKERS


def is_spreadsheet_error(text: str) -> bool:
    """Whether a text is what a spreadsheet shows instead of a value: ``#N/A``, ``#REF!``, ``####``."""
    text = text.strip()
    return text.startswith(("#", "Err:")) and (
        text.upper() in SPREADSHEET_ERRORS or _OTHER_ERRORS.fullmatch(text) is not None
    )
