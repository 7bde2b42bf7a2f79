"""Writes rows to a file: CSV, JSON Lines, Parquet, Excel."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import IO, Any, Protocol

from airflow_provider_outbound.core.results.columns import KINDS, Kind
from airflow_provider_outbound.core.results.spreadsheet import open_workbook_writer
from airflow_provider_outbound.exceptions import OutboundBotConfigError

FORMATS = ("csv", "jsonl", "parquet", "xlsx")
_ALIASES = {"ndjson": "jsonl"}
#: Names of the formats that are compressed.
_PACKED = {"parquet": "Parquet", "xlsx": "Excel"}
#: Rows of a Parquet row group, which is held in memory.
_GROUP = 5000

#: Start of a text that a spreadsheet would evaluate as a formula, including full-width characters. A plain number, with
#: or without a sign, is not a formula.
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class Write(Protocol):
    """Writes one row."""

    def __call__(self, row: dict[str, Any], /) -> object: ...


def format_of(name: str, file_format: str | None) -> str:
    """
    Return the format of a file.

    :param name: The file's name; ``.gz`` after its suffix compresses text.
    :raises OutboundBotConfigError: neither the suffix nor ``file_format`` names a known format.
    """
    stem = name.lower().removesuffix(".gz")
    suffix = stem.rpartition(".")[2]
    chosen = file_format or _ALIASES.get(suffix, suffix)
    if chosen not in FORMATS:
        if file_format is not None:
            raise OutboundBotConfigError(f"file_format: {file_format!r} is not one of {', '.join(FORMATS)}")
        raise OutboundBotConfigError(
            f"path: {name!r} has no known suffix; end it in .jsonl, .csv (each also with .gz), .parquet or .xlsx, or"
            " pass file_format"
        )
    if chosen in _PACKED and stem != name.lower():
        raise OutboundBotConfigError(f"path: {_PACKED[chosen]} is already compressed; omit .gz from {name!r}")
    return chosen


def open_writer(file: IO[bytes], name: str, chosen: str, columns: Sequence[str]) -> AbstractContextManager[Write]:
    """
    Open a writer of rows to an open file.

    :param name: The file's name.
    :param chosen: The format, as :func:`format_of` returned it.
    :param columns: The columns to write.
    """
    if chosen == "parquet":
        return _parquet(file, columns)
    if chosen == "xlsx":
        return open_workbook_writer(file, columns)
    return _text(file, chosen, columns, packed=name.lower().endswith(".gz"))


@contextmanager
def _text(file: IO[bytes], chosen: str, columns: Sequence[str], *, packed: bool) -> Iterator[Write]:
    # Without a name and a time, so that equal results give identical files.
    raw: Any = gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) if packed else file
    text = io.TextIOWrapper(raw, encoding="utf-8-sig" if chosen == "csv" else "utf-8", newline="")
    yield _csv(text, columns) if chosen == "csv" else _json_lines(text, columns)
    text.flush()
    # Leave the file open: the caller syncs it to disk before putting it into place.
    text.detach()
    if packed:
        raw.close()


def _json_lines(text: IO[str], columns: Sequence[str]) -> Write:
    def write(row: dict[str, Any]) -> None:
        line = {name: _plain(row[name]) for name in columns}
        text.write(json.dumps(line, ensure_ascii=False) + "\n")

    return write


def _csv(text: IO[str], columns: Sequence[str]) -> Write:
    writer = csv.writer(text)
    writer.writerow(columns)

    def write(row: dict[str, Any]) -> None:
        writer.writerow([_cell(row[name]) for name in columns])

    return write


def _cell(value: Any) -> Any:
    """Convert a value so that a spreadsheet shows it and does not evaluate it."""
    if isinstance(value, dict | list):
        value = json_text(value) if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    value = _plain(value)
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


@contextmanager
def _parquet(file: IO[bytes], columns: Sequence[str]) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise OutboundBotConfigError(
            'file_format: Parquet needs pyarrow; run: pip install "airflow-provider-outbound[parquet]"'
        ) from None
    types = {
        Kind.TEXT: pa.string(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.TIMESTAMP: pa.timestamp("ms", tz="UTC"),
        Kind.OBJECT: pa.string(),
    }
    schema = pa.schema([(name, types[KINDS[name]]) for name in columns])
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(row: dict[str, Any]) -> None:
            rows.append({name: _flat(row[name]) for name in columns})
            if len(rows) >= _GROUP:
                flush()

        yield write
        if rows:
            flush()


def _flat(value: Any) -> Any:
    """Convert an object to text, for a column that holds text."""
    return json_text(value) if isinstance(value, dict | list) else value


def json_text(value: Any) -> str:
    """Return a value as JSON."""
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Convert a value for text formats."""
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
