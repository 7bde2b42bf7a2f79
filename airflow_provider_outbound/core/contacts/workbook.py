"""
Contacts in an Excel workbook: which sheet, which line is the header, and the rows below it.

A sheet is read like a CSV file with the same cells, except that lines of a title may stand before the header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any

from airflow_provider_outbound.core.contacts.cells import clean, to_text
from airflow_provider_outbound.core.contacts.reading import Reading
from airflow_provider_outbound.core.contacts.rows import Header, Reject
from airflow_provider_outbound.core.contacts.worksheets import (
    CellError,
    Sheet,
    Workbook,
    WorkbookError,
    open_workbook,
)
from airflow_provider_outbound.core.models.phone import looks_like_number, redact

#: The header is one of the first lines that are not blank.
HEADER_LINES = 20

_Line = tuple[int, list[Any]]


def read_workbook(raw: IO[bytes], sheet: str | None, reading: Reading) -> Iterator[tuple[int, Any]]:
    """
    Yield the header and the rows of one sheet, each with its row number in Excel.

    :param raw: The file, which can seek.
    :param sheet: The sheet's name; ``None`` for the only visible one, or the only one that has a column for the number.
    :raises WorkbookError: the workbook cannot be read, or it is unclear which sheet is meant.
    :raises ModuleNotFoundError: openpyxl is not installed.
    """
    workbook = open_workbook(raw)
    chosen = _choose(workbook, sheet, reading)
    lines = _lines(workbook, chosen)
    first = list(islice(lines, HEADER_LINES))
    if not first:
        return
    place = _find_header(first, reading.is_header)
    if place is None:
        # Its reader refuses it. The widest line shows best what the sheet has instead of a header.
        number, cells = max(first, key=lambda line: len(line[1]))
        yield number, Header(tuple(_names(cells, reading)))
        raise WorkbookError(f"has no header in the first {HEADER_LINES} lines of its sheet")
    number, cells = first[place]
    _check_titles(first[:place], number, reading)
    _check_names(cells)
    names = _names(cells, reading)
    yield number, Header(tuple(names))
    for line, values in chain(first[place + 1 :], lines):
        yield line, _row(names, values)


def _choose(workbook: Workbook, sheet: str | None, reading: Reading) -> Sheet:
    argument = "exclude_sheet" if reading.is_exclusion else "sheet"
    if sheet is not None:
        named = next((found for found in workbook.sheets if found.name == sheet), None)
        if named is None:
            raise WorkbookError(
                f"has no sheet {redact(sheet)!r}; pass {argument} with one of {_shown(workbook.sheets)}"
            )
        return named
    visible = [found for found in workbook.sheets if found.is_visible]
    found = visible if len(visible) == 1 else [other for other in visible if _has_header(workbook, other, reading)]
    if len(found) != 1:
        raise WorkbookError(
            f"has {len(visible)} visible sheets, and {len(found) or 'none'} of them have a column for the phone number;"
            f" choose one: pass {argument} with one of {_shown(workbook.sheets)}"
        )
    (chosen,) = found
    if reading.is_exclusion:
        _refuse_other_numbers(workbook, chosen, reading)
    return chosen


def _refuse_other_numbers(workbook: Workbook, chosen: Sheet, reading: Reading) -> None:
    """Refuse a do-not-call list if another sheet, visible or hidden, has numbers too: they would not be excluded."""
    for other in workbook.sheets:
        if other is not chosen and any(_holds_number(cells, reading) for _, cells in _lines(workbook, other)):
            raise WorkbookError(
                f"has phone numbers, or cells that cannot be read, in sheet {redact(other.name)!r} too,"
                f" beside {redact(chosen.name)!r}; put all into one sheet, or name the one that is meant with"
                " exclude_sheet"
            )


def _lines(workbook: Workbook, sheet: Sheet) -> Iterator[_Line]:
    """Yield the rows that are not blank. Cells of spaces after the last value are left out."""
    for number, cells in workbook.rows(sheet):
        while cells and isinstance(cells[-1], str) and not cells[-1].strip():
            cells.pop()
            while cells and cells[-1] is None:
                cells.pop()
        if cells:
            yield number, cells


def _has_header(workbook: Workbook, sheet: Sheet, reading: Reading) -> bool:
    return _find_header(list(islice(_lines(workbook, sheet), HEADER_LINES)), reading.is_header) is not None


def _find_header(lines: Sequence[_Line], is_header: Callable[[Sequence[str]], bool]) -> int | None:
    return next((place for place, (_, cells) in enumerate(lines) if is_header([*map(_name, cells)])), None)


def _check_titles(lines: Sequence[_Line], header: int, reading: Reading) -> None:
    for number, cells in lines:
        if _holds_number(cells, reading):
            raise WorkbookError(
                f"has a phone number, or a cell that cannot be read, in line {number}, before the column names in line"
                f" {header}; move it below them, or remove it"
            )


def _check_names(cells: Sequence[Any]) -> None:
    for cell in cells:
        if isinstance(cell, CellError):
            raise WorkbookError(f"{cell.reason}; it should hold the name of a column")


def _names(cells: Sequence[Any], reading: Reading) -> list[str]:
    from openpyxl.utils.cell import get_column_letter

    names = [*map(_name, cells)]
    if not reading.is_exclusion:
        return names
    # A heading over several merged columns names only the first of them. The others have numbers too.
    return [name or f"column {get_column_letter(place)}" for place, name in enumerate(names, start=1)]


def _name(cell: Any) -> str:
    if isinstance(cell, CellError):
        return ""
    try:
        return clean(to_text(cell, "header"))
    except ValueError:
        return ""


def _holds_number(cells: Sequence[Any], reading: Reading) -> bool:
    return any(
        isinstance(cell, CellError)
        or (isinstance(cell, str | int | float) and looks_like_number(_name(cell), reading.default_region))
        for cell in cells
    )


def _row(names: Sequence[str], cells: list[Any]) -> dict[str, Any] | Reject:
    from openpyxl.utils.cell import get_column_letter

    surplus = next((place for place in range(len(names), len(cells)) if cells[place] is not None), None)
    if surplus is not None:
        column = get_column_letter(surplus + 1)
        reason = f"has a value in column {column}, which has no name; name that column, or clear the cell"
        return Reject(row=0, number="", reason=reason)
    for name, cell in zip(names, cells, strict=False):
        if name and isinstance(cell, CellError):
            return Reject(row=0, number="", reason=cell.reason)
    # A short row lacks its last columns.
    return dict(zip(names, cells, strict=False)) | dict.fromkeys(names[len(cells) :])


def _shown(sheets: Sequence[Sheet]) -> str:
    return ", ".join(repr(redact(sheet.name)) for sheet in sheets)
