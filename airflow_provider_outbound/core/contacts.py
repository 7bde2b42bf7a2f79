"""Rows of a list or a file, read as contacts: one after the other, so that memory does not grow with their number."""

from __future__ import annotations

import csv
import gzip
import json
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Protocol

import attrs

from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import PhoneNumber, looks_like_number, mask, normalise, redact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

#: Column names understood without being told, compared without case, spaces, hyphens and underscores.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "phone": (
        *("phone", "phonenumber", "mobile", "mobilenumber", "mobilephone", "telephone", "tel"),
        *("手机", "手机号", "手机号码", "电话", "电话号码", "联系电话", "号码"),
    ),
    "name": ("name", "contactname", "fullname", "姓名", "名字", "联系人", "客户姓名"),
    "honorific": ("honorific", "称呼", "尊称"),
    "role": ("role", "角色"),
    "reference_id": ("referenceid",),
}

#: Longest reference id: it is a key in the ledger.
MAX_REFERENCE_LENGTH = 128

_SPREADSHEET_NUMBER = re.compile(r"\d+(\.\d+)?[eE]\+?\d+")
_WHOLE_FLOAT = re.compile(r"\+?\d{7,15}\.0+")


@attrs.frozen(kw_only=True)
class Reject:
    """
    A row that is no contact.

    :param row: 1 is the first contact of the source.
    :param number: What stood where the number belongs, masked.
    :param reason: Why, in words without any digit of the number.
    """

    row: int
    number: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}{f' ({self.number})' if self.number else ''}: {self.reason}"


class PathLike(Protocol):
    """A local path, or anything that opens like one, such as Airflow's ObjectStoragePath."""

    @property
    def name(self) -> str: ...

    def open(self, mode: str) -> Any: ...


class ContactSource:
    """
    Contacts of a list or a file, read anew by each iteration.

    :param rows: Where the rows come from.
    :param columns: Source column by what it holds: ``{"phone": "Mobile No."}``; for the others :data:`COLUMN_NAMES`.
        Columns that hold none of these become extras.
    :param default_region: ISO 3166 country of numbers written without a country code.
    :raises OutboundBotContactsError: ``columns`` names something a contact has not.
    """

    def __init__(self, rows: _Rows, *, columns: Mapping[str, str] | None = None, default_region: str = "CN") -> None:
        self._rows = rows
        self._columns = dict(columns or {})
        self._default_region = _checked_region(default_region)
        unknown = set(self._columns) - set(COLUMN_NAMES)
        if unknown:
            raise OutboundBotContactsError(
                f"columns: {min(unknown)!r} is none of {', '.join(COLUMN_NAMES)}; all other columns become extras"
            )

    @property
    def is_repeatable(self) -> bool:
        """Whether a second iteration gives the same contacts."""
        return self._rows.is_repeatable

    def __iter__(self) -> Iterator[Contact | Reject]:
        plans: dict[tuple[str, ...], dict[str, str]] = {}
        for row, raw in self._rows:
            if isinstance(raw, _Header):
                # Checked even if no row follows: a lone contact must not be taken for a header.
                plans[raw.names] = self._plan(raw.names)
                self._check_header(raw.names, plans[raw.names])
            elif isinstance(raw, Reject):
                yield raw
            elif isinstance(raw, Contact):
                yield attrs.evolve(raw, row=row)
            elif isinstance(raw, Mapping):
                names = tuple(map(str, raw))
                if names not in plans:
                    # Rows of a list may have different keys, and endlessly many if these are data.
                    plans = {} if len(plans) >= 100 else plans
                    plans[names] = self._plan(names)
                yield self._contact(row, {str(key): value for key, value in raw.items()}, plans[names])
            elif isinstance(raw, str | int) and not isinstance(raw, bool):
                yield self._contact(row, {"phone": raw}, {"phone": "phone"})
            else:
                yield Reject(row=row, number="", reason=f"{type(raw).__name__} is neither a dictionary nor a number")

    def _plan(self, names: tuple[str, ...]) -> dict[str, str]:
        """Which column holds what."""
        plan = {field: name for field, name in self._columns.items() if name in names}
        taken = set(self._columns.values())
        for field, known in COLUMN_NAMES.items():
            if field in self._columns:
                continue
            found = [name for name in names if _plain(name) in known and name not in taken]
            if len(found) > 1:
                raise OutboundBotContactsError(
                    f"columns: {found[0]!r} and {found[1]!r} both look like the {field}; "
                    f"say which: columns={{'{field}': {found[0]!r}}}"
                )
            if found:
                plan[field] = found[0]
        return plan

    def _check_header(self, names: tuple[str, ...], plan: Mapping[str, str]) -> None:
        missing = [name for field, name in self._columns.items() if field not in plan]
        if any(looks_like_number(name) for name in names):
            raise OutboundBotContactsError(
                f"{self._rows.label}: its first line is a contact; put a line of column names before it: phone,name"
            )
        if not missing and "phone" in plan:
            return
        wanted = f"has no column {missing[0]!r}" if missing else "has no column for the phone number"
        raise OutboundBotContactsError(
            f"{self._rows.label}: {wanted} among {', '.join(map(redact, names))}; "
            "name the one that is meant: columns={'phone': 'NAME OF THE COLUMN'}"
        )

    def _contact(self, row: int, raw: Mapping[str, Any], plan: Mapping[str, str]) -> Contact | Reject:
        number = raw.get(plan["phone"]) if "phone" in plan else None
        try:
            phone = read_number(number, self._default_region)
            reference_id = _reference(raw.get(plan["reference_id"])) if "reference_id" in plan else None
        except ValueError as error:
            return Reject(row=row, number=mask(_text(number)), reason=str(error))
        details = {
            field: _clean(_text(raw.get(plan[field]))) or None
            for field in ("name", "honorific", "role")
            if field in plan
        }
        used = set(plan.values())
        extras = {
            _clean(key): _clean(_text(value)) for key, value in raw.items() if key not in used and value is not None
        }
        extras.pop("", None)
        return Contact(phone=phone, reference_id=reference_id, extras=extras, row=row, **details)


def from_items(
    items: Iterable[Any],
    *,
    columns: Mapping[str, str] | None = None,
    default_region: str = "CN",
    label: str = "contacts",
) -> ContactSource:
    """
    Read a list of dictionaries or of plain numbers.

    :param label: How errors call it: the argument's name.
    :raises OutboundBotContactsError: it is no list.
    """
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise OutboundBotContactsError(
            f"{label}: a list of dictionaries or numbers is needed, not {type(items).__name__}; "
            f"pass a task's .output, or {label}_path for a file"
        )
    return ContactSource(_Items(items, label), columns=columns, default_region=default_region)


def from_path(
    path: PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str = "utf-8-sig",
    default_region: str = "CN",
    label: str = "contacts_path",
) -> ContactSource:
    """
    Read a file: ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson``, each also with ``.gz`` behind it.

    :param encoding: Of text, e.g. ``gb18030``; the default also drops the mark that spreadsheets put in front.
    :param label: How errors call it: the argument's name.
    :raises OutboundBotContactsError: the suffix is none of these, or there is no such encoding.
    """
    try:
        "".encode(encoding)
    except LookupError:
        raise OutboundBotContactsError(f"encoding: {encoding!r} is unknown; try 'utf-8-sig' or 'gb18030'") from None
    suffixes = path.name.lower().removesuffix(".gz").rsplit(".", 1)
    suffix = suffixes[1] if len(suffixes) == 2 else ""
    if suffix in ("csv", "tsv"):
        return ContactSource(_CsvFile(path, encoding, label), columns=columns, default_region=default_region)
    if suffix in ("jsonl", "ndjson"):
        return ContactSource(_JsonLinesFile(path, encoding, label), columns=columns, default_region=default_region)
    raise OutboundBotContactsError(
        f"{label}: {redact(path.name)!r} has none of the suffixes .csv, .tsv, .jsonl, .ndjson (or one of them with .gz)"
    )


def read_excluded(source: ContactSource, label: str) -> frozenset[str]:
    """
    Read numbers that must not be called.

    :return: Numbers in E.164.
    :raises OutboundBotContactsError: one cannot be read: whoever it means might be called.
    """
    numbers = set()
    for item in source:
        if isinstance(item, Reject):
            raise OutboundBotContactsError(f"{label}: {item}; mend it, else the person it means might be called")
        numbers.add(item.phone.e164)
    return frozenset(numbers)


def read_number(number: object, default_region: str) -> PhoneNumber:
    """
    Read a number as people and spreadsheets write it.

    :raises ValueError: not a valid number; the message says why and holds no digit of it.
    """
    if number is None:
        raise ValueError("no phone number")
    if not isinstance(number, str):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"the number is of type {type(number).__name__}")  # noqa: TRY004 - as promised above
        return normalise(number, default_region)
    # Marks of writing direction and the like come along when a number is copied from a phone.
    text = "".join(character for character in number if unicodedata.category(character) != "Cf").strip()
    if not text:
        raise ValueError("no phone number")
    if _SPREADSHEET_NUMBER.fullmatch(text):
        raise ValueError("a spreadsheet has rounded the number; format that column as text and export again")
    return normalise(text.split(".")[0] if _WHOLE_FLOAT.fullmatch(text) else text, default_region)


class _Rows(Protocol):
    """Numbered rows: a dictionary each, or a plain number, or what is wrong with it; perhaps a header first."""

    label: str
    is_repeatable: bool

    def __iter__(self) -> Iterator[tuple[int, Any]]: ...


@attrs.frozen
class _Header:
    """The columns that all rows have."""

    names: tuple[str, ...]


class _Items:
    def __init__(self, items: Iterable[Any], label: str) -> None:
        self._items = items
        self.label = label
        self.is_repeatable = not isinstance(items, Iterator)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return enumerate(self._items, start=1)


class _File:
    is_repeatable = True

    def __init__(self, path: PathLike, encoding: str, label: str) -> None:
        self._path = path
        self._encoding = encoding
        self.label = label

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        name = redact(str(self._path))
        try:
            with self._open() as lines:
                yield from self._read(lines)
        except UnicodeDecodeError:
            raise OutboundBotContactsError(
                f"{self.label}: {name} is not in encoding {self._encoding!r}; pass the right one: encoding='gb18030'"
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise OutboundBotContactsError(f"{self.label}: {name} cannot be read: {reason}") from None

    def _open(self) -> IO[str]:
        raw = self._path.open("rb")
        if self._path.name.lower().endswith(".gz"):
            raw = _ClosingGzip(raw)
        return TextIOWrapper(raw, encoding=self._encoding, newline="")

    def _read(self, lines: IO[str]) -> Iterator[tuple[int, Any]]:
        raise NotImplementedError


class _ClosingGzip(gzip.GzipFile):
    """Closes the file below it too, which the standard one leaves open."""

    def __init__(self, raw: Any) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._raw = raw

    def close(self) -> None:
        super().close()
        self._raw.close()


class _CsvFile(_File):
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
        yield 0, _Header(tuple(header))
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


class _JsonLinesFile(_File):
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


def _reference(value: Any) -> str | None:
    text = _text(value).strip()
    if not text:
        return None
    if looks_like_number(text):
        raise ValueError("its reference_id could be a phone number, which would then be in logs; put letters before it")
    if len(text) > MAX_REFERENCE_LENGTH:
        raise ValueError(f"its reference_id is longer than {MAX_REFERENCE_LENGTH} characters")
    if text != _clean(text):
        raise ValueError("its reference_id holds control characters")
    return text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _clean(text: str) -> str:
    """
    Text that can be sent and stored anywhere.

    Control characters (NUL, line ends, tabs) become spaces, halves of a character become the replacement character.
    """
    if text.isprintable():
        return text.strip()
    cleaned = "".join(
        " " if (kind := unicodedata.category(character)) == "Cc" else "\ufffd" if kind == "Cs" else character
        for character in text
    )
    return cleaned.strip()


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _checked_region(region: str) -> str:
    import phonenumbers

    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise OutboundBotContactsError(f"default_region: {region!r} is no country such as 'CN' or 'HK'")
    return region


def local_path(path: str) -> Path:
    """A path on this machine, ``~`` and ``file://`` included."""
    return Path(path.removeprefix("file://")).expanduser()
