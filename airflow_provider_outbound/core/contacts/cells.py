"""Read a cell of a source as text, a number or nothing; refuse cells of unsupported types."""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from airflow_provider_outbound.core.contacts.placeholders import is_null, is_spreadsheet_error
from airflow_provider_outbound.core.models.phone import PhoneNumber, mask, normalise, redact

#: Float formats with fewer digits than a phone number, by the names that libraries use.
NARROW_FLOATS: Mapping[str, str] = {
    "float32": "float32",
    "float": "float32",
    "float[pyarrow]": "float32",
    "float16": "float16",
    "halffloat": "float16",
    "halffloat[pyarrow]": "float16",
    "float4": "float4",
    "real": "real",
}
#: The drivers' codes for such a column: object ids of PostgreSQL's types, and field types of MySQL's protocol.
_NARROW_CODES: Mapping[str, Mapping[Any, str]] = {
    "postgresql": {700: "float4"},
    "mysql": {4: "float"},
    "mariadb": {4: "float"},
}
#: Why a row without a number is a reject.
NO_NUMBER = "no phone number"
_SHEET_ERROR = "which a spreadsheet shows instead of a value; correct it there, or clear the cell"
_KNOWN = "text, whole numbers, floats, Decimal, dates, booleans, UTF-8 bytes, and lists and dictionaries of these"
#: Maximum number of digits before the decimal point.
_MOST_DIGITS = 100
_LARGEST = 10**_MOST_DIGITS
#: Floats represent every whole number up to this one.
_EXACT = 2.0**53


class Shortened(int):
    """A whole number as a source gives it, some of whose last digits were lost when it was written."""


def narrow_float(type_name: str) -> str | None:
    """Return the name of a float type that cannot hold a phone number; ``None`` for any other type."""
    return NARROW_FLOATS.get(type_name.lower())


def narrow_columns(dialect: str, description: Iterable[Sequence[Any]]) -> dict[str, str]:
    """
    Find columns of narrow floats in a query. Their values arrive as Python floats, so only the type shows it.

    :param dialect: SQLAlchemy's name of the database.
    :param description: The cursor's description, as in DB-API 2.0.
    """
    codes = _NARROW_CODES.get(dialect, {})
    return {str(column[0]): codes[column[1]] for column in description if column[1] in codes}


def no_number(type_name: str) -> str:
    """Return why a number of such a float type is refused."""
    return f"{type_name} cannot hold a phone number's digits exactly; cast the column to int64 or text at its source"


def read_number(number: object, default_region: str) -> PhoneNumber:
    """
    Read a number as people and spreadsheets write it.

    :raises ValueError: not a valid number; the message says why and contains no digit of it.
    """
    if isinstance(number, str):
        text = number
    elif is_missing(number):
        raise ValueError(NO_NUMBER)
    elif isinstance(number, _BYTES):
        text = _decoded(number, "phone")
    else:
        return normalise(_whole(number), default_region)
    text = unmarked(text)
    if not text.strip() or is_null(text):
        raise ValueError(NO_NUMBER)
    if is_spreadsheet_error(text):
        raise ValueError(f"its number is {text.strip()}, {_SHEET_ERROR}")
    return normalise(text, default_region)


def unmarked(text: str) -> str:
    """Return a number without what spreadsheets write to keep it as text: ``'13800000000``, ``="13800000000"``."""
    stripped = text.strip()
    if stripped.startswith('="') and stripped.endswith('"'):
        return stripped[2:-1]
    return stripped.removeprefix("'") if stripped[1:2].isdigit() or stripped[1:2] == "+" else text


def _whole(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, Real | Decimal):
        raise ValueError(f"the number is of type {type(number).__name__}")  # noqa: TRY004 - as read_number promises
    # Python's float is wide, although other libraries use its name for a narrow type.
    if not isinstance(number, float) and (narrow := narrow_float(type(number).__name__)):
        raise ValueError(no_number(narrow))
    is_shortened = isinstance(number, Decimal) and number.is_finite() and int(number.as_tuple().exponent) > 0
    if is_shortened or isinstance(number, Shortened):
        raise ValueError("a spreadsheet has rounded the number; format that column as text and export again")
    try:
        # A column with gaps arrives as floats, which have enough digits for any phone number.
        whole = int(number)  # type: ignore[arg-type]  # raises if it cannot be a whole number
    except (ArithmeticError, ValueError):
        raise ValueError("not a phone number") from None
    if number != whole or whole < 0:
        raise ValueError("not a phone number")
    return whole


def shown(number: object) -> str:
    """Return the masked content of a phone cell; empty if it has no text form."""
    try:
        return mask(to_text(number, "phone"))
    except ValueError:
        return ""


# A tuple, because a union would be created anew for every cell.
_BYTES = (bytes, bytearray, memoryview)
_NEVER_MISSING = (str, int, list, tuple, Mapping, *_BYTES)


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: ``None``, or a missing value of a frame (NaN, NaT, NA)."""
    if value is None:
        return True
    if isinstance(value, _NEVER_MISSING):
        return False
    if isinstance(value, Decimal):
        return value.is_nan()
    try:
        # Only a missing value differs from itself.
        return bool(value != value)
    except TypeError:
        # NA has no truth value.
        return True
    except ValueError:
        return False


def is_empty(value: Any) -> bool:
    """Whether a cell is missing, or contains a text that means so."""
    return is_null(value) if isinstance(value, str) else is_missing(value)


def to_text(value: Any, column: str, narrow: str | None = None) -> str:
    """
    Return a cell as text; empty for an empty cell.

    :param column: Its column, for the error.
    :param narrow: The column's narrow float type, if it has one.
    :raises ValueError: its type is not supported, it has no text form, or a spreadsheet wrote an error into it; the
        message names the column.
    """
    if isinstance(value, str):
        return _meant(value, column)
    if type(value) is int:
        return _digits_of(value, column)
    if isinstance(value, float):
        return "" if value != value else _float(value, column, narrow)
    if is_missing(value):
        return ""
    if isinstance(value, _BYTES):
        return _meant(_decoded(value, column), column)
    if isinstance(value, list | tuple | Mapping):
        try:
            return json.dumps(_plain(value, column), ensure_ascii=False)
        except RecursionError:
            raise ValueError(f"{_named(column)} is nested too deeply") from None
    plain = _plain(value, column, narrow)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _meant(text: str, column: str) -> str:
    """Return a text that is a value; empty if it means an empty cell."""
    if is_null(text):
        return ""
    if is_spreadsheet_error(text):
        # It would be spoken: "Hello #N/A".
        raise ValueError(f"{_named(column)} holds {text.strip()}, {_SHEET_ERROR}")
    return text


def _plain(value: Any, column: str, narrow: str | None = None) -> Any:
    """Convert a value that is not text: numbers and dates to text, containers to lists and dictionaries for JSON."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return _digits_of(int(value), column)
    if isinstance(value, Decimal):
        return _decimal(value, column)
    kind = type(value).__name__
    if isinstance(value, float) or (isinstance(value, Real) and narrow_float(kind)):
        return _float(float(value), column, narrow or (None if isinstance(value, float) else narrow_float(kind)))
    if type(value).__module__ == "numpy" and kind in ("bool", "bool_"):
        return bool(value)
    if isinstance(value, list | tuple):
        return [_part(item, column) for item in value]
    if isinstance(value, Mapping):
        return {_key(key, column): _part(item, column) for key, item in value.items()}
    raise ValueError(f"{_named(column)} is of type {kind}; cast it to text at its source. Supported are {_KNOWN}")


def _part(value: Any, column: str) -> Any:
    """Convert a value inside a list or a dictionary for JSON."""
    if value is None or isinstance(value, str | bool) or type(value) is int:
        return value
    if is_missing(value):
        return None
    if isinstance(value, _BYTES):
        return _decoded(value, column)
    plain = _plain(value, column)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, float) or narrow_float(type(value).__name__):
        # Written with the same digits as outside a container.
        return int(plain) if plain.lstrip("-").isdigit() else float(plain)
    return plain


def _key(key: Any, column: str) -> str:
    if isinstance(key, bytes):
        return _decoded(key, column)
    plain = key if isinstance(key, str) else _plain(key, column)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _named(column: str) -> str:
    return f"column {redact(column)!r}"


def _decoded(value: bytes | bytearray | memoryview, column: str) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{_named(column)} holds bytes that are not UTF-8; decode them at their source") from None


def _digits_of(value: int, column: str) -> str:
    if not -_LARGEST < value < _LARGEST:
        raise ValueError(f"{_named(column)} holds a number of more than {_MOST_DIGITS} digits")
    return str(value)


def _decimal(value: Decimal, column: str) -> str:
    if not value.is_finite():
        raise ValueError(f"{_named(column)} is infinite")
    if abs(value.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{_named(column)} holds a number of more than {_MOST_DIGITS} digits")
    return format(value, "f")


def _float(value: float, column: str, narrow: str | None) -> str:
    """
    Write a float as people do, without an exponent.

    Only 15 of its 17 digits are written, because the last ones hold rounding errors: 0.1 + 0.2 is 0.3.
    """
    if narrow is None and value.is_integer() and abs(value) <= _EXACT:
        # An integer column with gaps arrives as floats; the robot would say "point zero".
        return str(int(value))
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{_named(column)} is infinite")
    text = f"{value:.15g}" if narrow is None else _shortest(value, narrow)
    return text if "e" not in text else _decimal(Decimal(text), column)


def _shortest(value: float, narrow: str) -> str:
    """Return the fewest digits that identify this value in a narrow format: 99.9, not 99.9000015258789."""
    layout = "<e" if narrow == "float16" else "<f"
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        try:
            if struct.unpack(layout, struct.pack(layout, float(text)))[0] == value:
                return text
        except OverflowError:
            continue
    return f"{value:.15g}"


def clean(text: str) -> str:
    """
    Return text that can be sent and stored anywhere.

    Control characters (NUL, line ends, tabs) become spaces. Surrogates become the replacement character.
    """
    if text.isprintable():
        return text.strip()
    cleaned = "".join(
        " " if (kind := unicodedata.category(character)) == "Cc" else "\ufffd" if kind == "Cs" else character
        for character in text
    )
    return cleaned.strip()
