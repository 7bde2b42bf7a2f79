"""
The sheets of an Excel workbook, and the values of their cells row by row.

openpyxl reads the parts that describe the workbook: its sheets, shared texts and number formats. Rows are read here,
because openpyxl's own iteration does not distinguish a formula without a value from an empty cell, believes the size
that a sheet claims to have, and writes the content of a cell that is out of range for a date into a warning.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, iterparse

import attrs

from airflow_provider_outbound.core.contacts.cells import Shortened
from airflow_provider_outbound.core.contacts.placeholders import SPREADSHEET_ERRORS

if TYPE_CHECKING:
    from zipfile import ZipFile

#: Maximum size of all parts of a workbook together, unpacked (bytes). A larger one is an attack or not a list.
MAX_UNPACKED = 1 << 30
#: Maximum size of the parts that are held in memory: all except the sheets (bytes).
MAX_HELD = 1 << 28
#: The last column that may have a value.
MAX_COLUMNS = 200
#: Cells of a row, with or without a value, in the format.
_MAX_CELLS = 16_384

_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"
_ZIP = b"PK\x03\x04"
_NAMESPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_WORKSHEET, _DATA, _ROW, _CELL, _VALUE, _FORMULA, _INLINE, _PLAIN, _RUN = (
    f"{_NAMESPACE}{name}" for name in ("worksheet", "sheetData", "row", "c", "v", "f", "is", "t", "r")
)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
#: A character that XML cannot contain, as Excel writes it.
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
#: What is not a symbol in the code of a number format: quoted text, colours and locales, escaped characters.
_LITERALS = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
#: The number of digits that Excel keeps of a number, and a number beyond which it keeps none.
_KEPT_DIGITS = 15
_LARGEST = 1e100
#: Number formats of the Chinese, Japanese and Korean Excel, which files contain without their codes. All are dates or
#: times; which one depends on the language.
_EAST_ASIAN_DATES = frozenset({*range(27, 37), *range(50, 59)})


class WorkbookError(ValueError):
    """A workbook cannot be read; the message says what it is and how to fix it, without any text of its cells."""


@attrs.frozen
class CellError:
    """The value of a cell that cannot be used, and why."""

    reason: str


@attrs.frozen(kw_only=True)
class Sheet:
    """
    A sheet of cells.

    :param part: Name of its file in the archive.
    """

    name: str
    is_visible: bool
    part: str


@attrs.frozen(kw_only=True)
class _Style:
    """
    What a number format means for the value of a cell.

    :param is_duration: The value is a number of days, not a point in time.
    :param digits: Leading zeros fill a whole number up to this length.
    :param has_exponent: It shows a number as 1.38E+10.
    """

    is_date: bool = False
    has_time: bool = False
    is_duration: bool = False
    digits: int = 0
    has_exponent: bool = False


@attrs.frozen(kw_only=True)
class Workbook:
    """An open workbook; see :func:`open_workbook`."""

    #: All sheets of cells, in order. Sheets of charts are left out.
    sheets: Sequence[Sheet]
    _archive: ZipFile
    _strings: Sequence[str]
    _styles: Sequence[_Style]
    _epoch: datetime

    def rows(self, sheet: Sheet) -> Iterator[tuple[int, list[Any]]]:
        """
        Yield the rows that have a cell with a value, each with its number in the sheet.

        Rows that are hidden or filtered out are rows too. A row ends with its last value; ``None`` is an empty cell.

        :raises WorkbookError: the sheet is damaged, or a value is beyond the last column that is read.
        """
        try:
            with self._archive.open(sheet.part) as xml:
                for number, row in _elements(xml):
                    if cells := self._cells(number, row):
                        yield number, cells
        except (WorkbookError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - of the archive, the parser, or a damaged cell
            raise _damaged(error) from None

    def _cells(self, number: int, row: Element) -> list[Any]:
        from openpyxl.utils.cell import coordinate_to_tuple, get_column_letter

        cells: list[Any] = []
        column = 0
        for cell in row.iterfind(_CELL):
            reference = cell.get("r")
            before = column
            column = coordinate_to_tuple(reference)[1] if reference else column + 1
            if column <= before:
                raise ValueError("cells are out of order")
            value = self._value(cell)
            if value is None:
                continue
            if column > MAX_COLUMNS:
                raise WorkbookError(
                    f"has a value in cell {get_column_letter(column)}{number}, and at most {MAX_COLUMNS} columns are"
                    " read; remove the columns that are not needed"
                )
            if isinstance(value, CellError):
                value = CellError(f"cell {get_column_letter(column)}{number} {value.reason}")
            cells += [None] * (column - 1 - len(cells))
            cells.append(value)
        return cells

    def _value(self, cell: Element) -> Any:
        kind = cell.get("t", "n")
        text = cell.findtext(_VALUE)
        if kind == "inlineStr":
            return _inline_text(cell)
        if not text:
            if cell.find(_FORMULA) is not None and (text is None or kind != "str"):
                return CellError("is a formula without a value; open the workbook in Excel and save it")
            return None
        if kind == "s":
            return _unescaped(self._strings[_index(text)])
        if kind == "str":
            return _unescaped(text)
        if kind == "b":
            return bool(int(text))
        if kind == "n":
            return self._number(text, self._styles[_index(cell.get("s", "0"))])
        if kind == "d":
            return _iso_date(text)
        if kind == "e":
            return CellError(f"shows {text if text in SPREADSHEET_ERRORS else 'an error'}; correct it in Excel")
        raise ValueError("unknown type of cell")

    def _number(self, text: str, style: _Style) -> Any:
        if not _NUMBER.fullmatch(text):
            raise ValueError("not a number")
        number = int(text) if text.lstrip("+-").isdigit() else float(text)
        if style.is_date:
            return self._date(number, style)
        if style.digits and isinstance(number, int) and number >= 0:
            return str(number).zfill(style.digits)
        return Shortened(number) if _is_shortened(number, style) else number

    def _date(self, number: float, style: _Style) -> Any:
        from openpyxl.utils.datetime import from_excel

        try:
            moment = from_excel(number, self._epoch, timedelta=style.is_duration)
        except (OverflowError, ValueError):
            return CellError("is formatted as a date, and holds a number that is not one; format it as text")
        is_day = isinstance(moment, datetime) and number == int(number) and not style.has_time
        return moment.date() if is_day else moment


def open_workbook(raw: IO[bytes]) -> Workbook:
    """
    Open a workbook whose file can seek.

    :raises WorkbookError: it is not an ``.xlsx`` workbook, has a password, is too large, or is damaged.
    :raises ModuleNotFoundError: openpyxl is not installed.
    """
    from openpyxl.reader.excel import ExcelReader
    from openpyxl.styles.stylesheet import apply_stylesheet

    _refuse_other_kinds(raw)
    try:
        # Charts, themes, links and properties are not read: they are not needed, and openpyxl fails on some of them.
        reader = ExcelReader(raw, read_only=True, data_only=True, keep_links=False)
        _refuse_bombs(reader.archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles that are missing
            reader.read_manifest()
            reader.read_strings()
            reader.read_workbook()
            apply_stylesheet(reader.archive, reader.wb)
        return Workbook(
            sheets=_sheets(reader),
            archive=reader.archive,
            strings=reader.shared_strings,
            styles=_styles(reader.wb),
            epoch=reader.wb.epoch,
        )
    except (WorkbookError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - a parser raises errors of any type for a damaged file
        raise _damaged(error) from None


def _refuse_other_kinds(raw: IO[bytes]) -> None:
    head = raw.read(8)
    raw.seek(0)
    if head.startswith(_OLD_OR_ENCRYPTED):
        raise WorkbookError(
            "is a workbook of an old Excel, or has a password; save it in Excel as .xlsx without a password"
        )
    if not head.startswith(_ZIP):
        raise WorkbookError(
            "is not an Excel workbook, whatever its suffix; save it in Excel as .xlsx, or give it the suffix of its"
            " format, such as .csv"
        )


def _refuse_bombs(archive: ZipFile) -> None:
    parts = archive.infolist()
    if len({part.filename for part in parts}) < len(parts):
        raise WorkbookError("is damaged: it contains a part twice; save it again in Excel")
    total = sum(part.file_size for part in parts)
    if total > MAX_UNPACKED:
        raise WorkbookError(
            f"holds {total / 2**20:,.0f} MiB when it is unpacked, more than {MAX_UNPACKED >> 20:,}; save the sheet as"
            " 'CSV UTF-8'"
        )
    held = sum(part.file_size for part in parts if _is_held(part.filename))
    if held > MAX_HELD:
        raise WorkbookError(
            f"holds {held / 2**20:,.0f} MiB of texts and formats, more than {MAX_HELD >> 20:,}; save the sheet as"
            " 'CSV UTF-8'"
        )


def _is_held(part: str) -> bool:
    return part.endswith(".xml") and "/worksheets/" not in part


def _sheets(reader: Any) -> list[Sheet]:
    sheets = []
    for sheet in reader.parser.sheets:
        link = reader.parser.rels[sheet.id]
        if link.Type.endswith("/worksheet"):
            reader.archive.getinfo(link.target)
            sheets.append(Sheet(name=sheet.name, is_visible=sheet.state == "visible", part=link.target))
    if not sheets:
        raise WorkbookError("has no sheet of cells; save it in Excel as 'Excel Workbook (.xlsx)'")
    return sheets


def _styles(workbook: Any) -> list[_Style]:
    from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE

    codes = dict(BUILTIN_FORMATS) | dict(enumerate(workbook._number_formats, BUILTIN_FORMATS_MAX_SIZE))  # noqa: SLF001
    return [
        _Style(is_date=True)
        if style.numFmtId in _EAST_ASIAN_DATES and style.numFmtId not in codes
        else _style(codes.get(style.numFmtId) or "General")
        for style in workbook._cell_styles  # noqa: SLF001 - openpyxl shows formats of cells only, each at some cost
    ]


def _style(code: str) -> _Style:
    from openpyxl.styles.numbers import is_date_format, is_timedelta_format

    symbols = _LITERALS.sub("", code.split(";")[0]).lower()
    return _Style(
        is_date=is_date_format(code),
        has_time=re.search("[hs]", symbols) is not None,
        is_duration=is_timedelta_format(code),
        digits=len(code) if len(code) > 1 and set(code) == {"0"} else 0,
        has_exponent="e+" in symbols or "e-" in symbols,
    )


def _is_shortened(number: float, style: _Style) -> bool:
    """
    Whether Excel may have dropped digits of a whole number.

    It keeps 15 digits of a longer number. It shows a text such as 1E5 or 1.38E+10, typed or in a CSV file, as a number
    with an exponent.
    """
    if not abs(number) < _LARGEST or number != int(number):
        return False
    surplus = len(str(abs(int(number)))) - _KEPT_DIGITS
    if surplus > 0 and int(number) % 10**surplus == 0:
        return True
    return style.has_exponent and number == float(f"{number:.2e}")


def _elements(xml: IO[bytes]) -> Iterator[tuple[int, Element]]:
    """Yield the rows of a sheet's XML with their numbers, and hold one row in memory."""
    events = iterparse(xml, events=("start", "end"))  # noqa: S314 - expat bounds the expansion of entities
    _, root = next(events)
    if root.tag != _WORKSHEET:
        raise WorkbookError("is a 'Strict Open XML' workbook; save it in Excel as 'Excel Workbook (.xlsx)'")
    data = root
    number = cells = 0
    for event, element in events:
        if event == "start":
            if element.tag == _DATA:
                data = element
            elif element.tag == _CELL:
                cells += 1
                if cells > _MAX_CELLS:
                    raise ValueError("too many cells in a row")
        elif element.tag == _ROW:
            number = int(element.get("r", number + 1))
            yield number, element
            data.clear()
            cells = 0
        elif element.tag == _DATA:
            # The rest is not needed, but its checksum covers the rows too.
            while xml.read(1 << 16):
                pass
            return
    raise ValueError("no rows")


def _index(text: str) -> int:
    if not text.isdigit():
        raise ValueError("not an index")
    return int(text)


def _inline_text(cell: Element) -> str | None:
    """Return a text that stands in its cell; formatted text has several parts."""
    text = cell.find(_INLINE)
    if text is None:
        return None
    parts = [*text.iterfind(_PLAIN), *text.iterfind(f"{_RUN}/{_PLAIN}")]
    return _unescaped("".join(part.text or "" for part in parts))


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _iso_date(text: str) -> Any:
    from openpyxl.utils.datetime import from_ISO8601

    try:
        return from_ISO8601(text)
    except ValueError:
        return CellError("holds a date that cannot be read; enter it again in Excel")


def _damaged(error: Exception) -> WorkbookError:
    # Only its type: the text may quote a cell.
    return WorkbookError(f"is damaged, or not an Excel workbook ({type(error).__name__}); open it in Excel and save it")
