"""Rows into the bytes of a file: CSV, JSON Lines, Parquet."""

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
from airflow_provider_outbound.exceptions import OutboundBotConfigError

FORMATS = ("csv", "jsonl", "parquet")
_ALIASES = {"ndjson": "jsonl"}
#: Rows of a Parquet row group: what is held at a time.
_GROUP = 5000

#: What a spreadsheet would take for a formula, also in the wide letters of Chinese and Japanese ones; a plain number,
#: with or without a sign, is none.
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class Write(Protocol):
    """Takes one row after the other."""

    def __call__(self, row: dict[str, Any], /) -> object: ...


def format_of(name: str, file_format: str | None) -> str:
    """
    The format that a file is meant to have.

    :param name: The file's name; ``.gz`` behind its suffix packs text.
    :raises OutboundBotConfigError: neither the suffix nor ``file_format`` names one.
    """
    stem = name.lower().removesuffix(".gz")
    suffix = stem.rpartition(".")[2]
    chosen = file_format or _ALIASES.get(suffix, suffix)
    if chosen not in FORMATS:
        raise OutboundBotConfigError(
            f"file_format of {name!r} is unknown: end the path in .jsonl, .csv (each also with .gz) or .parquet, or set"
            f" file_format to {', '.join(FORMATS)}"
        )
    if chosen == "parquet" and stem != name.lower():
        raise OutboundBotConfigError(f"path {name!r}: Parquet is packed already; leave .gz away")
    return chosen


def open_writer(file: IO[bytes], name: str, chosen: str, columns: Sequence[str]) -> AbstractContextManager[Write]:
    """
    Write rows into an open file.

    :param name: The file's name.
    :param chosen: What :func:`format_of` made of it.
    :param columns: Of a row, those that are written.
    """
    if chosen == "parquet":
        return _parquet(file, columns)
    return _text(file, chosen, columns, packed=name.lower().endswith(".gz"))


@contextmanager
def _text(file: IO[bytes], chosen: str, columns: Sequence[str], *, packed: bool) -> Iterator[Write]:
    # No name and no time inside, so that equal results are equal files.
    raw: Any = gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) if packed else file
    text = io.TextIOWrapper(raw, encoding="utf-8-sig" if chosen == "csv" else "utf-8", newline="")
    yield _csv(text, columns) if chosen == "csv" else _json_lines(text, columns)
    text.flush()
    # The file is the caller's: it still has to reach the disk before it is put into place.
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
    """A value as a spreadsheet shows it and does not run it."""
    if isinstance(value, dict):
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
            rows.append({name: json_text(row[name]) if isinstance(row[name], dict) else row[name] for name in columns})
            if len(rows) >= _GROUP:
                flush()

        yield write
        if rows:
            flush()


def json_text(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A value as text formats have it."""
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
