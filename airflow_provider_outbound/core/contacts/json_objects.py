"""JSON Lines, read strictly: one object on each line, without duplicate keys."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from airflow_provider_outbound.core.contacts.cells import Shortened
from airflow_provider_outbound.core.contacts.delimited import StructureError

#: JSON's whitespace, and the byte order mark that some programs write.
JSON_SPACES = " \t\r\n\ufeff"

#: Larger numbers are refused later.
_LARGEST = 1e100


def refuse_other_json(line: int, text: str) -> None:
    """
    Refuse JSON that is not JSON Lines, by its first line that is not blank.

    :raises StructureError: it is an array, or an object over several lines.
    """
    if text.startswith("["):
        raise StructureError(line, "is a JSON array, not JSON Lines; write one object on each line, without brackets")
    if text == "{":
        raise StructureError(line, "begins an object over several lines; write each object on one line")


def read_object(text: str) -> dict[str, Any]:
    """
    Read one line.

    :raises ValueError: it is not an object, or is ambiguous; the message quotes nothing of it.
    """
    try:
        value = _DECODER.decode(text)
    except _UnclearError:
        raise
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object on one line")  # noqa: TRY004 - as promised above
    return value


class _UnclearError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _UnclearError("has a key twice in one object, so its value is ambiguous")
    return value


def _constant(name: str) -> None:
    # Programs write NaN for a missing value.
    if name != "NaN":
        raise _UnclearError(f"holds {name}, which is not a JSON value")


def _number(text: str) -> float:
    """
    Read a number that has a fraction or an exponent.

    ``1.38E+10`` does not show all of its digits: a spreadsheet, or a program with few digits, has rounded it.
    """
    value = float(text)
    if 1 <= abs(value) < _LARGEST:
        number = Decimal(text)
        if int(number.as_tuple().exponent) > 0:
            return Shortened(number)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
