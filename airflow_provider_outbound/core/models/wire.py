"""Read and write JSON, times, counts and lists of pairs as the API and its messages do. Input is not trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: Maximum nesting of JSON; the service's own has six levels. The parser's limit depends on the interpreter and on the
#: depth of the call stack.
MAX_DEPTH = 64
#: Largest valid count.
MAX_COUNT = 2**31 - 1
#: Latest valid time, 1 January 2100 in milliseconds: later ones are sentinels or mistakes, and overflow in arithmetic.
MAX_MILLISECONDS = 4_102_444_800_000
#: The end of the year 9999 in milliseconds.
_LAST_MILLISECONDS = 253_402_300_799_999

#: Created once: ``json.dumps`` creates an encoder for each call with other than default options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_DECODER = json.JSONDecoder()
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def read_json(data: bytes) -> Any:
    """
    Read untrusted JSON.

    :param data: UTF-8, with or without a byte order mark.
    :raises ValueError: It is not JSON, or nested deeper than :data:`MAX_DEPTH`. The text says which and quotes nothing.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError:
        raise ValueError("not JSON" if text.strip() else "empty") from None
    # JSON with fewer brackets cannot be nested more deeply, and nearly every message has fewer.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = f"JSON nested more than {MAX_DEPTH} deep"


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in more than ``levels`` levels."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        level = [
            item
            for one in level
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return bool(level)


def milliseconds(value: Any) -> datetime | None:
    """
    Read epoch milliseconds, a number or text.

    :return: Aware UTC time; ``None`` for an absent, zero or unreadable one, and for one after 2099.
    """
    number = _integer(value)
    if number is None or not 0 < number <= MAX_MILLISECONDS:
        return None
    return datetime.fromtimestamp(number / 1000, UTC)


def parse_instant(value: Any) -> datetime | None:
    """
    Read epoch milliseconds that decide when people are called.

    :return: Aware UTC time; ``None`` for an absent or zero one. A time after 2099 stands for "never": it is read as the
        first moment of 2100.
    :raises ValueError: It is there, and is not a time.
    """
    if value in (None, "", 0, "0"):
        return None
    number = _integer(value)
    if number is None or not 0 < number <= _LAST_MILLISECONDS:
        raise ValueError("not a time")
    return milliseconds(min(number, MAX_MILLISECONDS))


def to_milliseconds(moment: datetime) -> int:
    """Write an aware time as epoch milliseconds."""
    return round(moment.timestamp() * 1000)


def parse_count(value: Any) -> int:
    """
    Read an optional count, a number or text: 0 for an absent one.

    :raises ValueError: It is there, and is not a count.
    """
    if value is None or value == "":
        return 0
    number = None if isinstance(value, float) and not value.is_integer() else _integer(value)
    if number is None or not 0 <= number <= MAX_COUNT:
        raise ValueError("not a count")
    return number


def parse_seconds(value: Any) -> float | None:
    """Read an optional duration in seconds, a number or text: ``None`` for an absent or unreadable one."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return None
    return float(value)


#: Extras that the service mixes with those of a contact. Sent again, they would name another instance.
_EXTRAS_OF_SERVICE = ("TenantId", "ServiceId")


def pairs(items: Any) -> dict[str, str]:
    """Read ``[{"key": …, "value": …}]`` (messages) or ``[{"Key": …, "Value": …}]`` (answers)."""
    if not isinstance(items, list):
        return {}
    found: dict[str, str] = {}
    for item in items:
        if isinstance(item, Mapping):
            key = text(item.get("key", item.get("Key")))
            if key is not None:
                found[key] = written(item.get("value", item.get("Value")))
    return found


def own_extras(items: Any) -> dict[str, str]:
    """Read the extras of a contact as :func:`pairs` does, without those of the service."""
    return {key: value for key, value in pairs(items).items() if key not in _EXTRAS_OF_SERVICE}


def text(value: Any) -> str | None:
    """Read an optional text, or a number as text: ``None`` for an absent or empty one, and for anything else."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else str(value)


def written(value: Any) -> str:
    """Return text unchanged, ``None`` as an empty text, and anything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else compact_json(value)


def storable(value: Any, longest: int) -> str | None:
    """Read an optional text for a database column: ``None`` if the column cannot store it."""
    found = text(value)
    if found is None or len(found) > longest or "\x00" in found:
        return None
    # JSON can contain lone surrogates, which no encoding can represent.
    return found if found.isascii() or found.encode("utf-8", "ignore").decode() == found else None


def compact_json(value: Any) -> str:
    """Write JSON without spaces, and without escaping non-ASCII characters."""
    return _ENCODER.encode(value)


def _integer(value: Any) -> int | None:
    """Return a whole number, a float without its fraction, or the number in a text; ``None`` for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if -1e18 < value < 1e18 else None
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return None
