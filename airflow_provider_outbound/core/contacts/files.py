"""
Contacts in files: CSV, JSON Lines, Parquet and Excel.

A path is one file, a folder, or a pattern such as ``s3://bucket/*.csv.gz``.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from airflow_provider_outbound.core.contacts.delimited import StructureError, read_rows
from airflow_provider_outbound.core.contacts.json_objects import JSON_SPACES, read_object, refuse_other_json
from airflow_provider_outbound.core.contacts.locations import PathLike, find_files, unreadable
from airflow_provider_outbound.core.contacts.reading import Reading
from airflow_provider_outbound.core.contacts.rows import Header, Reject, Rows, Tables
from airflow_provider_outbound.core.contacts.source import ContactSource
from airflow_provider_outbound.core.contacts.text import UNDECODABLE, WrongKindError, advice, open_text
from airflow_provider_outbound.core.contacts.workbook import read_workbook
from airflow_provider_outbound.core.contacts.worksheets import WorkbookError
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import ContactsNotFoundError, OutboundBotContactsError

log = logging.getLogger(__name__)

_SUFFIXES = ".csv, .tsv, .jsonl, .ndjson (each perhaps with .gz), .parquet, .xlsx"
#: Other formats of spreadsheets, by suffix.
_OTHER_SPREADSHEETS = ("xls", "xlsm", "xlsb", "xltx", "ods", "et")
#: Rows of a Parquet file held at a time.
_BATCH = 1000


def from_path(
    path: PathLike,
    *,
    columns: Mapping[str, str | None] | None = None,
    encoding: str = "utf-8-sig",
    default_region: str = "CN",
    label: str = "contacts_path",
    sheet: str | None = None,
) -> ContactSource:
    """
    Read a file, all files of a folder and its subfolders, or all that match a pattern.

    :param path: ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, each also with ``.gz`` appended, ``.parquet`` or
        ``.xlsx``. In folders, names that begin with ``_``, ``.`` or ``~$`` are skipped, as is usual for partitioned
        data. A folder without data files and a pattern that no file matches hold no contacts;
        :func:`~airflow_provider_outbound.core.contacts.read_excluded` refuses them.
    :param columns: See :class:`ContactSource`.
    :param encoding: Encoding of text files, e.g. ``gb18030``; the default also drops a byte order mark.
    :param label: The argument's name, for errors.
    :param sheet: Name of the sheet in each workbook; default: the only visible one, or the only visible one that has a
        column for the phone number.
    :raises OutboundBotContactsError: the file has another suffix, or there is no such encoding. A file that does not
        exist is refused when it is read.
    """
    return from_paths(
        [path], columns=columns, encoding=encoding, default_region=default_region, label=label, sheet=sheet
    )


def from_paths(
    paths: Iterable[PathLike],
    *,
    columns: Mapping[str, str | None] | None = None,
    encoding: str = "utf-8-sig",
    default_region: str = "CN",
    label: str = "contacts_path",
    sheet: str | None = None,
) -> ContactSource:
    """Read several paths, one after the other; see :func:`from_path`."""
    try:
        "".encode(encoding)
    except (LookupError, TypeError):
        raise OutboundBotContactsError(f"encoding: {encoding!r} is unknown; try 'utf-8-sig' or 'gb18030'") from None
    parts: list[Rows | Tables] = []
    for path in paths:
        files, left_out = find_files(path, label)
        if left_out and not files:
            raise _LeftOut(path, left_out[0], label).absence()
        parts += [_file(file, encoding, label, sheet) for file in files] or [_NoFiles(path, label)]
        parts += [_LeftOut(path, place, label) for place in left_out]
    if sheet is not None and not any(isinstance(part, _Workbook | _NoFiles) for part in parts):
        raise OutboundBotContactsError(
            f"{label}: no file is a workbook, so there is no sheet {redact(sheet)!r}; omit it"
        )
    return ContactSource(parts, columns=columns, default_region=default_region)


def _file(path: PathLike, encoding: str, label: str, sheet: str | None) -> _File | _Workbook:
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix in ("csv", "tsv"):
        return _CsvFile(path, encoding, label)
    if suffix in ("jsonl", "ndjson"):
        return _JsonLinesFile(path, encoding, label)
    if path.name.lower().endswith(".parquet"):
        return _ParquetFile(path, label)
    if path.name.lower().endswith(".xlsx"):
        return _Workbook(path, label, sheet)
    hint = "if the folder has other files too, give a pattern such as 'folder/*.csv'"
    if suffix in _OTHER_SPREADSHEETS:
        hint = "save it in Excel as .xlsx, or save the sheet as 'CSV UTF-8'"
    raise OutboundBotContactsError(f"{label}: {redact(path.name)!r} has none of the suffixes {_SUFFIXES}; {hint}")


class _NoFiles:
    """A folder without data files, or a pattern that no file matches."""

    is_repeatable = True

    def __init__(self, path: PathLike, label: str) -> None:
        self._path = path
        self.label = label
        self.name = redact(path.name)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return iter(())

    def absence(self) -> OutboundBotContactsError:
        return ContactsNotFoundError(
            f"{self.label}: {redact(str(self._path))} holds no data file, or matches none; if nobody is on the list,"
            " give a file with only a header"
        )


class _LeftOut(_NoFiles):
    """
    A folder that a pattern matches or does not follow, or a list whose name begins with an underscore.

    It is not read: a do-not-call list is refused, and a list of contacts logs a warning.
    """

    def __init__(self, path: PathLike, left_out: PathLike, label: str) -> None:
        super().__init__(path, label)
        self._left_out = left_out
        self.name = redact(left_out.name)
        self._is_told = False

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        if not self._is_told:
            log.warning("%s", self.absence())
        self._is_told = True
        return iter(())

    def absence(self) -> OutboundBotContactsError:
        path, place = redact(str(self._path)), redact(str(self._left_out))
        if self.name.startswith("_"):
            problem = f"does not read {place}, whose name begins with _; rename it, or move it elsewhere"
        else:
            problem = (
                f"does not read the files in the folder {place}; give a folder, whose files are all read, or a pattern"
                " of files only"
            )
        return OutboundBotContactsError(f"{self.label}: {path} {problem}")


class _File:
    is_repeatable = True

    def __init__(self, path: PathLike, label: str) -> None:
        self._path = path
        self.label = label
        self.name = redact(path.name)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        try:
            with self._path.open("rb") as raw:
                yield from self._rows(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(self._path, error, self.label) from None

    def absence(self) -> OutboundBotContactsError:
        return OutboundBotContactsError(
            f"{self.label}: {redact(str(self._path))} is empty; to list nobody, give a CSV file with only a header"
        )

    def _rows(self, raw: IO[bytes]) -> Iterator[tuple[int, Any]]:
        raise NotImplementedError


class _TextFile(_File):
    has_lines = True

    def __init__(self, path: PathLike, encoding: str, label: str) -> None:
        super().__init__(path, label)
        self._encoding = encoding
        self._argument = "exclude_encoding" if label.startswith("exclude") else "encoding"
        self._undecodable = f"is not in encoding {encoding!r}; {advice(encoding, self._argument)}"

    def _rows(self, raw: IO[bytes]) -> Iterator[tuple[int, Any]]:
        is_gzip = self._path.name.lower().endswith(".gz")
        try:
            with open_text(raw, encoding=self._encoding, is_gzip=is_gzip, argument=self._argument) as lines:
                yield from self._read(lines)
        except (WrongKindError, StructureError) as error:
            raise OutboundBotContactsError(f"{self.label}: {redact(str(self._path))} {error}") from None

    def _read(self, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
        raise NotImplementedError


class _CsvFile(_TextFile):
    def _read(self, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
        is_tsv = self._path.name.lower().removesuffix(".gz").endswith(".tsv")
        rows = read_rows(lines, undecodable=self._undecodable, is_tsv=is_tsv)
        header: list[str] | None = None
        for line, cells in rows:
            if header is None:
                if isinstance(cells, str):
                    raise WrongKindError(cells)
                header = _without_empty_end([name.strip() for name in cells], least=0)
                yield line, Header(tuple(header))
            elif isinstance(cells, str):
                yield line, Reject(row=0, number="", reason=cells)
            elif len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True))
            else:
                yield line, _fitted(header, cells)


def _without_empty_end(cells: list[str], *, least: int) -> list[str]:
    """Remove the surplus cells that spreadsheets write for empty columns."""
    while len(cells) > least and not cells[-1].strip():
        cells.pop()
    return cells


def _fitted(header: list[str], cells: list[str]) -> dict[str, str | None] | Reject:
    cells = _without_empty_end(cells, least=len(header))
    if len(cells) > len(header):
        reason = f"{len(cells)} cells, but {len(header)} columns; put quotes around a cell that holds the delimiter"
        return Reject(row=0, number="", reason=reason)
    # A short row lacks its last columns.
    return dict(zip(header, cells, strict=False)) | dict.fromkeys(header[len(cells) :])


class _JsonLinesFile(_TextFile):
    def _read(self, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
        is_first = True
        for line, whole in enumerate(lines, start=1):
            text = whole.strip(JSON_SPACES)
            if not text:
                continue
            if is_first:
                refuse_other_json(line, text)
                is_first = False
            if text.startswith("{") and not text.endswith("}") and not whole.endswith(("\n", "\r")):
                # Its writer died, or its copy was interrupted: an unknown number of contacts is missing.
                raise StructureError(line, "the file is cut off in the middle of an object; write or copy it again")
            if UNDECODABLE in text:
                yield line, Reject(row=0, number="", reason=self._undecodable)
                continue
            try:
                yield line, read_object(text)
            except ValueError as error:
                yield line, Reject(row=0, number="", reason=str(error))


class _ParquetFile(_File):
    def _rows(self, raw: IO[bytes]) -> Iterator[tuple[int, Any]]:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise OutboundBotContactsError(
                f'{self.label}: Parquet needs pyarrow; run: pip install "airflow-provider-outbound[parquet]"'
            ) from None
        try:
            # Buffering ahead would hold complete row groups, whose size has no limit.
            with parquet.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20) as file:
                schema = file.schema_arrow
                yield 0, Header(tuple(schema.names), {field.name: str(field.type) for field in schema})
                row = 0
                for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                    for value in batch.to_pylist():
                        row += 1
                        yield row, value
        except pa.ArrowException as error:
            raise unreadable(self._path, error, self.label) from None


class _Workbook:
    has_lines = True
    is_repeatable = True

    def __init__(self, path: PathLike, label: str, sheet: str | None) -> None:
        self._path = path
        self.label = label
        self.name = redact(path.name)
        self._sheet = sheet

    def find_rows(self, reading: Reading) -> Iterator[tuple[int, Any]]:
        try:
            with self._path.open("rb") as raw:
                yield from read_workbook(raw, self._sheet, reading)
        except ModuleNotFoundError:
            raise OutboundBotContactsError(
                f'{self.label}: Excel needs openpyxl; run: pip install "airflow-provider-outbound[excel]"'
            ) from None
        except WorkbookError as error:
            raise OutboundBotContactsError(f"{self.label}: {redact(str(self._path))} {error}") from None
        except OSError as error:
            raise unreadable(self._path, error, self.label) from None

    def absence(self) -> OutboundBotContactsError:
        return OutboundBotContactsError(
            f"{self.label}: the sheet in {redact(str(self._path))} is empty; to list nobody, give it only a header"
        )
