"""The rows of a source, before and after they are read as contacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import attrs

from airflow_provider_outbound.core.contacts.reading import Reading


class _Placed(Protocol):
    @property
    def file(self) -> str: ...
    @property
    def row(self) -> int: ...
    @property
    def line(self) -> int | None: ...


def place_of(item: _Placed) -> str:
    """Where a contact or a reject is in its source: file, and line or row."""
    place = f"row {item.row}" if item.line is None else f"line {item.line}"
    return f"{item.file} {place}" if item.file else place


@attrs.frozen(kw_only=True)
class Reject:
    """
    A row that is not a contact.

    :param row: 1 is the first contact of its list or file.
    :param number: The content of the phone column, masked.
    :param reason: Why, without any digit of the number.
    :param file: Name of its file.
    :param line: The line of its text file where it begins.
    :param reference_id: Its reference id, if it has one that can be read.
    """

    row: int
    number: str
    reason: str
    file: str = ""
    line: int | None = None
    reference_id: str | None = None

    def __str__(self) -> str:
        return f"{place_of(self)}{f' ({self.number})' if self.number else ''}: {self.reason}"


@attrs.frozen
class Header:
    """
    The columns of all following rows.

    :param types: The known types of columns by their library's names, such as ``float32``. The values may not show
        them: a column of float32 returns Python floats.
    """

    names: tuple[str, ...]
    types: Mapping[str, str] = attrs.field(factory=dict)


class Rows(Protocol):
    """
    Numbered rows: each a dictionary, a plain number, or a :class:`Reject`; a :class:`Header` may come first.

    ``label`` is its name in errors, and ``name`` that of its file; ``is_repeatable`` says whether it can be read twice.
    Files have two more attributes: ``has_lines`` says that the rows are numbered by lines of text, and ``absence()``
    returns the error for a required list that does not even have a header.
    """

    label: str
    name: str
    is_repeatable: bool

    def __iter__(self) -> Iterator[tuple[int, Any]]: ...


class Tables(Protocol):
    """A file with several tables, or with lines before the header, in which the rows must be found."""

    label: str
    name: str
    is_repeatable: bool

    def find_rows(self, reading: Reading, /) -> Iterator[tuple[int, Any]]: ...
