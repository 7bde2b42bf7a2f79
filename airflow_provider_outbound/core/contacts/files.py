"""Contacts of files: CSV, JSON Lines and Parquet; one file, a folder, or a pattern such as ``s3://bucket/*.csv.gz``."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from typing import IO, Any, Protocol

from airflow_provider_outbound.core.contacts.source import ContactSource, Header, Reject
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

_SUFFIXES = ".csv, .tsv, .jsonl, .ndjson (each perhaps with .gz), .parquet"
_PATTERN = re.compile(r"[*?[]")
#: Rows of a Parquet file held at a time.
_BATCH = 1000


class PathLike(Protocol):
    """A local path, or anything that behaves like one, such as Airflow's ObjectStoragePath."""

    @property
    def name(self) -> str: ...

    def open(self, mode: str) -> Any: ...


def from_path(
    path: PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str = "utf-8-sig",
    default_region: str = "CN",
    label: str = "contacts_path",
) -> ContactSource:
    """
    Read a file, all files of a folder and the folders in it, or all that match a pattern.

    :param path: ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, each also with ``.gz`` behind it, or ``.parquet``. In
        folders, names that begin with ``_`` or ``.`` are passed over, as writers of partitioned data mean it.
    :param columns: See :class:`ContactSource`.
    :param encoding: Of text, e.g. ``gb18030``; the default also drops the mark that spreadsheets put in front.
    :param label: How errors call it: the argument's name.
    :raises OutboundBotContactsError: there is no such file, it has another suffix, or there is no such encoding.
    """
    return from_paths([path], columns=columns, encoding=encoding, default_region=default_region, label=label)


def from_paths(
    paths: Iterable[PathLike],
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str = "utf-8-sig",
    default_region: str = "CN",
    label: str = "contacts_path",
) -> ContactSource:
    """Read several paths, one after the other; see :func:`from_path`."""
    try:
        "".encode(encoding)
    except LookupError:
        raise OutboundBotContactsError(f"encoding: {encoding!r} is unknown; try 'utf-8-sig' or 'gb18030'") from None
    parts = [_file(file, encoding, label) for path in paths for file in _files(path, label)]
    return ContactSource(parts, columns=columns, default_region=default_region)


def _files(path: Any, label: str) -> list[PathLike]:
    """The files that a path means, in an order that stays."""
    try:
        if not hasattr(path, "is_dir") or path.is_file():
            return [path]
        if path.is_dir():
            base, found = path, path.rglob("*")
        elif _PATTERN.search(str(path)):
            names: list[str] = []
            base = path
            while _PATTERN.search(str(base)) and base.parent != base:
                names.insert(0, base.name)
                base = base.parent
            found = base.glob("/".join(names))
        else:
            # Opening it says what is wrong with it.
            return [path]
        above = len(str(base).rstrip("/"))
        files = [
            file
            for file in found
            if not any(part.startswith(("_", ".")) for part in str(file)[above:].strip("/").split("/"))
            and file.is_file()
        ]
    except OSError as error:
        raise _unreadable(path, error, label) from None
    return sorted(files, key=str)


def _file(path: PathLike, encoding: str, label: str) -> _File:
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix in ("csv", "tsv"):
        return _CsvFile(path, encoding, label)
    if suffix in ("jsonl", "ndjson"):
        return _JsonLinesFile(path, encoding, label)
    if path.name.lower().endswith(".parquet"):
        return _ParquetFile(path, label)
    raise OutboundBotContactsError(
        f"{label}: {redact(path.name)!r} has none of the suffixes {_SUFFIXES}; "
        "of a folder with other files name those that are meant: 'folder/*.csv'"
    )


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
            raise _unreadable(self._path, error, self.label) from None

    def _rows(self, raw: IO[bytes]) -> Iterator[tuple[int, Any]]:
        raise NotImplementedError


class _TextFile(_File):
    def __init__(self, path: PathLike, encoding: str, label: str) -> None:
        super().__init__(path, label)
        self._encoding = encoding

    def _rows(self, raw: IO[bytes]) -> Iterator[tuple[int, Any]]:
        is_packed = self._path.name.lower().endswith(".gz")
        try:
            with (
                gzip.GzipFile(fileobj=raw, mode="rb") if is_packed else raw as plain,
                TextIOWrapper(plain, encoding=self._encoding, newline="") as lines,
            ):
                yield from self._read(lines)
        except UnicodeDecodeError:
            raise OutboundBotContactsError(
                f"{self.label}: {redact(str(self._path))} is not in encoding {self._encoding!r}; "
                "pass the right one: encoding='gb18030'"
            ) from None

    def _read(self, lines: IO[str]) -> Iterator[tuple[int, Any]]:
        raise NotImplementedError


class _CsvFile(_TextFile):
    def _read(self, lines: IO[str]) -> Iterator[tuple[int, Any]]:
        first = lines.readline()
        if not first.strip():
            return
        # Spreadsheets of some countries separate by semicolons.
        delimiter = max(",;\t", key=first.count)
        header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
        for name in header:
            if name and header.count(name) > 1:
                raise OutboundBotContactsError(f"{self.label}: column {redact(name)!r} appears twice; rename one")
        yield 0, Header(tuple(header))
        reader = csv.reader(lines, delimiter=delimiter)
        row = 0
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                row += 1
                yield row, Reject(row=row, number="", reason=f"cannot be read as CSV: {error}")
                continue
            if not any(field.strip() for field in fields):
                continue
            row += 1
            if len(fields) > len(header):
                reason = (
                    f"{len(fields)} fields, but {len(header)} columns; put quotes around a field with {delimiter!r}"
                )
                yield row, Reject(row=row, number="", reason=reason)
            else:
                # A short line lacks its last columns.
                yield row, dict(zip(header, fields, strict=False)) | dict.fromkeys(header[len(fields) :])


class _JsonLinesFile(_TextFile):
    def _read(self, lines: IO[str]) -> Iterator[tuple[int, Any]]:
        row = 0
        for line in lines:
            if not line.strip():
                continue
            row += 1
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if isinstance(value, dict):
                yield row, value
            else:
                yield row, Reject(row=row, number="", reason="is not a JSON object on one line")


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
            # Read ahead it would hold whole row groups, which writers make as large as they like.
            with parquet.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20) as file:
                schema = file.schema_arrow
                yield 0, Header(tuple(schema.names), {field.name: str(field.type) for field in schema})
                row = 0
                for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                    for value in batch.to_pylist():
                        row += 1
                        yield row, value
        except pa.ArrowException as error:
            raise _unreadable(self._path, error, self.label) from None


def _unreadable(path: object, error: Exception, label: str) -> OutboundBotContactsError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return OutboundBotContactsError(f"{label}: {redact(str(path))} cannot be read: {reason}")
