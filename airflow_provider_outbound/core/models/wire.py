"""How the wire writes times, lists of pairs, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: Made once: ``json.dumps`` makes one anew for each call that is not in its default form.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def milliseconds(value: Any) -> datetime | None:
    """
    Read epoch milliseconds, number or text.

    :return: Aware UTC time; ``None`` for an absent, zero or unreadable one.
    """
    try:
        number = int(value)
        return datetime.fromtimestamp(number / 1000, UTC) if number > 0 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def to_milliseconds(moment: datetime) -> int:
    """Write an aware time as epoch milliseconds."""
    return round(moment.timestamp() * 1000)


def pairs(items: Any) -> dict[str, str]:
    """Read ``[{"key": …, "value": …}]`` (messages) or ``[{"Key": …, "Value": …}]`` (answers)."""
    if not isinstance(items, list):
        return {}
    found: dict[str, str] = {}
    for item in items:
        if isinstance(item, Mapping):
            key = item.get("key", item.get("Key"))
            value = item.get("value", item.get("Value"))
            if key is not None:
                found[str(key)] = "" if value is None else str(value)
    return found


def text(value: Any) -> str | None:
    """Read an optional text: ``None`` for an absent or empty one."""
    return None if value is None or value == "" else str(value)


def whole(value: Any) -> int:
    """Read an optional count: 0 for an absent or unreadable one."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def compact_json(value: Any) -> str:
    """Write JSON without blanks, other scripts than Latin as they are."""
    return _ENCODER.encode(value)
