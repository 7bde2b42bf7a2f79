"""
Writes rows as an Excel workbook, in constant memory and into the given file only.

The libraries for this collect the rows in temporary files, where a killed process leaves phone numbers behind. A
workbook of one sheet without formulas needs little more than the sheet, and equal rows give identical files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from airflow_provider_outbound.core.results.columns import KINDS, Kind
from airflow_provider_outbound.exceptions import OutboundBotConfigError

#: Rows of a sheet below its header.
MAX_ROWS = 1_048_575
#: Characters of a cell.
MAX_TEXT = 32_767
#: Size of a sheet (bytes, unpacked); the format needs extensions beyond it.
MAX_BYTES = 2_000_000_000

_USE_ANOTHER = "end the path in .csv or .parquet"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
#: Styles of cells, by their index in the workbook.
_TEXT, _TIME = 1, 2
_FIRST_DAY = datetime(1899, 12, 30, tzinfo=UTC)
_DAY_SECONDS = 86_400
#: Characters that XML cannot contain or changes, and what would be read as the escape of one.
_SPECIAL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_SURROGATE = re.compile("[\ud800-\udfff]")

_PARTS = {
    "[Content_Types].xml": (
        f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/></Types>'
    ),
    "_rels/.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    ),
    "xl/workbook.xml": (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
        '<sheets><sheet name="Results" sheetId="1" r:id="rId1"/></sheets></workbook>'
    ),
    "xl/_rels/workbook.xml.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
    ),
    "xl/styles.xml": (
        f'<styleSheet xmlns="{_MAIN}">'
        '<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss.000"/></numFmts>'
        '<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        '<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
        '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
        '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    ),
}
# The header stays in view, and columns are wide enough for a time, which Excel would otherwise show as "####".
_BEGIN = (
    f'<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
    '<cols><col min="1" max="{count}" width="24" customWidth="1"/></cols><sheetData>'
)
_END = "</sheetData></worksheet>"


def check_row_count(count: int) -> None:
    """
    Check that a sheet can hold so many rows.

    :raises OutboundBotConfigError: it cannot.
    """
    if count > MAX_ROWS:
        raise OutboundBotConfigError(
            f"path: an Excel sheet holds {MAX_ROWS:,} rows, not {count:,}; {_USE_ANOTHER}, or select"
            " fewer rows with only"
        )


@contextmanager
def open_workbook_writer(file: IO[bytes], columns: Sequence[str]) -> Iterator[Any]:
    """
    Open a writer of rows to an open file, which need not seek.

    :param columns: The columns to write.
    """
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in _PARTS.items():
            archive.writestr(_part(name), _XML + content)
        with archive.open(_part("xl/worksheets/sheet1.xml"), "w") as sheet:
            rows = _Rows(sheet, columns)
            yield rows.write
            rows.end()


def _part(name: str) -> ZipInfo:
    # Always the same time, so that equal results give identical files.
    part = ZipInfo(name)
    part.compress_type = ZIP_DEFLATED
    return part


class _Rows:
    def __init__(self, sheet: IO[bytes], columns: Sequence[str]) -> None:
        self._sheet = sheet
        self._columns = [(name, KINDS[name]) for name in columns]
        self._count = self._size = 0
        self._put(_XML + _BEGIN.format(count=len(columns)))
        self._put(f"<row>{''.join(_text_cell(name, name) for name in columns)}</row>")

    def write(self, row: dict[str, Any]) -> None:
        self._count += 1
        check_row_count(self._count)
        self._put(f"<row>{''.join(_cell(name, kind, row[name]) for name, kind in self._columns)}</row>")

    def end(self) -> None:
        self._put(_END)

    def _put(self, text: str) -> None:
        content = text.encode()
        self._size += len(content)
        if self._size > MAX_BYTES:
            raise OutboundBotConfigError(f"path: the sheet is too large for Excel; {_USE_ANOTHER}")
        self._sheet.write(content)


def _cell(name: str, kind: Kind, value: Any) -> str:
    if value is None or value == {}:
        return "<c/>"
    if kind is Kind.BOOLEAN:
        return f'<c t="b"><v>{int(value)}</v></c>'
    if kind is Kind.TIMESTAMP:
        return f'<c s="{_TIME}"><v>{(value - _FIRST_DAY).total_seconds() / _DAY_SECONDS!r}</v></c>'
    if kind in (Kind.INTEGER, Kind.NUMBER):
        return f"<c><v>{value!r}</v></c>"
    return _text_cell(name, json.dumps(value, ensure_ascii=False) if kind is Kind.OBJECT else value)


def _text_cell(name: str, value: str) -> str:
    """Return a cell of text, which Excel never evaluates, whatever it begins with."""
    if len(value) > MAX_TEXT:
        raise OutboundBotConfigError(
            f"path: column {name!r} holds a text of {len(value):,} characters, more than the {MAX_TEXT:,} of an Excel"
            f" cell; {_USE_ANOTHER}"
        )
    text = _SPECIAL.sub(lambda found: f"_x{ord(found[0]):04X}_", _SURROGATE.sub("\ufffd", value))
    return f'<c s="{_TEXT}" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'
