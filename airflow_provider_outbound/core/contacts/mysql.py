"""
Values of MySQL's types that its drivers return in different ways.

Source: the column types of MySQL's protocol, ``enum_field_types``; they are ``type_code`` in a cursor's description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

#: SQLAlchemy's names of databases that speak MySQL's protocol: also PolarDB, AnalyticDB and TiDB.
DIALECTS = ("mysql", "mariadb")


def readers(description: Iterable[Sequence[Any]]) -> dict[str, Callable[[Any], Any]]:
    """
    Return what makes a column's values the same with each driver, by the column's name.

    :param description: The cursor's description, as in DB-API 2.0.
    """
    return {str(column[0]): _READERS[column[1]] for column in description if column[1] in _READERS}


def _date(value: Any) -> Any:
    """Return ``None`` for a date that does not exist, such as 0000-00-00: pymysql returns its text, others ``None``."""
    return None if isinstance(value, str) else value


def _bits(value: Any) -> Any:
    """Return a BIT column's number: mysqlclient and pymysql return its bytes."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value


_READERS: Mapping[Any, Callable[[Any], Any]] = {7: _date, 10: _date, 12: _date, 16: _bits}
