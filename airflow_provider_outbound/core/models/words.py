"""Counts in sentences."""

from __future__ import annotations


def count_of(count: int, one: str, many: str | None = None) -> str:
    """
    Write a count with its noun: ``1 job``, ``1000 jobs``.

    :param one: The words after 1, for example ``job`` or ``contact is``.
    :param many: The words after any other number; default: ``one`` with an s.
    """
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
