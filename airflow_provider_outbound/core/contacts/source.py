"""Rows made into contacts: which column holds what, the number normalised, the rest cleaned."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date
from decimal import Decimal
from itertools import chain
from numbers import Real
from typing import Any, Protocol

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

_UNRENDERED = (
    "its number is a template that was not rendered: Airflow renders what the DAG file says, not what a task, a file or"
    " a query gives"
)

#: Longest reference id: it is a key in the ledger.
MAX_REFERENCE_LENGTH = 128

_SPREADSHEET_NUMBER = re.compile(r"\d+(\.\d+)?[eE]\+?\d+")
_WHOLE_FLOAT = re.compile(r"\+?\d{7,15}\.0+")


@attrs.frozen(kw_only=True)
class Reject:
    """
    A row that is no contact.

    :param row: 1 is the first contact of its list or file.
    :param number: What stood where the number belongs, masked.
    :param reason: Why, in words without any digit of the number.
    :param file: Its file's name where the source has several.
    """

    row: int
    number: str
    reason: str
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file} row {self.row}" if self.file else f"row {self.row}"
        return f"{where}{f' ({self.number})' if self.number else ''}: {self.reason}"


@attrs.frozen
class Header:
    """The columns that all rows behind it have."""

    names: tuple[str, ...]


class Rows(Protocol):
    """
    Numbered rows: a dictionary each, or a plain number, or what is wrong with it; perhaps a :class:`Header` first.

    ``label`` is what errors call it, ``name`` its file's; ``is_repeatable`` says whether it can be read twice.
    """

    label: str
    name: str
    is_repeatable: bool

    def __iter__(self) -> Iterator[tuple[int, Any]]: ...


class ContactSource:
    """
    Contacts of lists or files, read anew by each iteration.

    :param parts: Where the rows come from, one part after the other.
    :param columns: Source column by what it holds: ``{"phone": "Mobile No."}``; for the others :data:`COLUMN_NAMES`.
        Columns that hold none of these become extras.
    :param default_region: ISO 3166 country of numbers written without a country code.
    :raises OutboundBotContactsError: ``columns`` names something a contact has not.
    """

    def __init__(
        self, parts: Sequence[Rows], *, columns: Mapping[str, str] | None = None, default_region: str = "CN"
    ) -> None:
        self._parts = parts
        self._columns = _checked_columns(columns, "columns")
        self._optional_columns: dict[str, str] = {}
        self._columns_argument = "columns"
        self._default_region = _checked_region(default_region)
        #: What :meth:`is_empty` took out of a source that can be read only once.
        self._begun: Iterator[Contact | Reject] | None = None

    def be_exclusions(
        self, *, columns: Mapping[str, str] | None = None, exclude_columns: Mapping[str, str] | None = None
    ) -> None:
        """
        Find the columns as those of a list that belongs to another one, and is told apart by name in errors.

        :param columns: Those of the other list; they hold where they exist.
        :param exclude_columns: This list's own; they must exist.
        :raises OutboundBotContactsError: one of them names something a contact has not.
        """
        self._optional_columns = _checked_columns(columns, "columns")
        self._columns = _checked_columns(exclude_columns, "exclude_columns")
        self._columns_argument = "exclude_columns"

    @property
    def is_repeatable(self) -> bool:
        """Whether a second iteration gives the same contacts."""
        return all(part.is_repeatable for part in self._parts)

    def is_empty(self) -> bool:
        """Whether there is no row at all; the first one is not lost by asking."""
        if self.is_repeatable:
            with closing(self._read()) as contacts:
                return next(contacts, None) is None
        once = iter(self)
        first = next(once, None)
        self._begun = once if first is None else chain([first], once)
        return first is None

    def __iter__(self) -> Iterator[Contact | Reject]:
        begun, self._begun = self._begun, None
        return self._read() if begun is None else begun

    def _read(self) -> Generator[Contact | Reject]:
        for part in self._parts:
            contacts = self._contacts(part)
            if len(self._parts) == 1:
                yield from contacts
            else:
                yield from (attrs.evolve(contact, file=part.name) for contact in contacts)

    def _contacts(self, part: Rows) -> Iterator[Contact | Reject]:
        plans: dict[tuple[str, ...], _Plan] = {}
        for row, raw in part:
            # Nearly all are dictionaries; whether something is another Mapping takes ten times as long to find out.
            if isinstance(raw, (dict, Mapping)):
                names = tuple(map(str, raw))
                plan = plans.get(names)
                if plan is None:
                    # Rows of a list may have different keys, and endlessly many if these are data.
                    plans = {} if len(plans) >= 100 else plans
                    plan = plans[names] = _Plan.of(names, self._fields(names))
                yield self._contact(row, [*raw.values()], plan)
            elif isinstance(raw, Header):
                # Checked even if no row follows: a lone contact must not be taken for a header.
                fields = self._fields(raw.names)
                self._check_header(part.label, raw.names, fields)
                plans[raw.names] = _Plan.of(raw.names, fields)
            elif isinstance(raw, Reject):
                yield raw
            elif isinstance(raw, Contact):
                yield attrs.evolve(raw, row=row)
            elif isinstance(raw, str | Real | Decimal) and not isinstance(raw, bool):
                yield self._contact(row, [raw], _LONE_NUMBER)
            else:
                yield Reject(row=row, number="", reason=f"{type(raw).__name__} is neither a dictionary nor a number")

    def _fields(self, names: tuple[str, ...]) -> dict[str, str]:
        """Which column holds what."""
        optional = {field: name for field, name in self._optional_columns.items() if name in names}
        columns = optional | self._columns
        fields = {field: name for field, name in columns.items() if name in names}
        taken = set(columns.values())
        for field, known in COLUMN_NAMES.items():
            if field in columns:
                continue
            found = [name for name in names if _plain(name) in known and name not in taken]
            if len(found) > 1:
                raise OutboundBotContactsError(
                    f"{self._columns_argument}: {found[0]!r} and {found[1]!r} both look like the {field}; "
                    f"say which: {self._columns_argument}={{'{field}': {found[0]!r}}}"
                )
            if found:
                fields[field] = found[0]
        return fields

    def _check_header(self, label: str, names: tuple[str, ...], fields: Mapping[str, str]) -> None:
        missing = [name for field, name in self._columns.items() if field not in fields]
        if any(looks_like_number(name) for name in names):
            raise OutboundBotContactsError(
                f"{label}: its first line is a contact; put a line of column names before it: phone,name"
            )
        if not missing and "phone" in fields:
            return
        wanted = f"has no column {missing[0]!r}" if missing else "has no column for the phone number"
        raise OutboundBotContactsError(
            f"{label}: {wanted} among {', '.join(map(redact, names))}; "
            f"name the one that is meant: {self._columns_argument}={{'phone': 'NAME OF THE COLUMN'}}"
        )

    def _contact(self, row: int, values: Sequence[Any], plan: _Plan) -> Contact | Reject:
        number = None if plan.phone is None else values[plan.phone]
        if isinstance(number, str) and "{" in number and ("{{" in number or "{%" in number):
            # Masked, it would say nothing.
            return Reject(row=row, number="", reason=_UNRENDERED)
        try:
            phone = read_number(number, self._default_region)
            reference_id = None if plan.reference_id is None else _reference(values[plan.reference_id])
        except ValueError as error:
            return Reject(row=row, number=mask(_text(number)), reason=str(error))
        return Contact(
            phone=phone,
            name=None if plan.name is None else _detail(values[plan.name]),
            honorific=None if plan.honorific is None else _detail(values[plan.honorific]),
            role=None if plan.role is None else _detail(values[plan.role]),
            reference_id=reference_id,
            extras={key: _clean(_text(values[place])) for key, place in plan.extras if not _is_missing(values[place])},
            row=row,
        )


@attrs.frozen(kw_only=True)
class _Plan:
    """Where in a row its values stand: found out once for all rows that have the same columns."""

    phone: int | None = None
    name: int | None = None
    honorific: int | None = None
    role: int | None = None
    reference_id: int | None = None
    #: All other columns: what each is called, cleaned, and where it stands.
    extras: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], fields: Mapping[str, str]) -> _Plan:
        """
        Find the places of a row's values.

        :param fields: Which column holds what.
        """
        places = {name: place for place, name in enumerate(names)}
        used = set(fields.values())
        extras = [(_clean(name), place) for name, place in places.items() if name not in used]
        return cls(
            extras=tuple((key, place) for key, place in extras if key),
            **{field: places[name] for field, name in fields.items()},
        )


#: Of a list's item that is no dictionary.
_LONE_NUMBER = _Plan(phone=0)


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
    if _is_missing(number):
        raise ValueError("no phone number")
    if not isinstance(number, str):
        if isinstance(number, bool) or not isinstance(number, Real | Decimal):
            raise ValueError(f"the number is of type {type(number).__name__}")  # noqa: TRY004 - as promised above
        try:
            # A column with gaps comes as floats; no phone number has more digits than these hold.
            whole = int(number)  # type: ignore[arg-type]  # what can be no whole number says so
        except ArithmeticError:
            raise ValueError("not a phone number") from None
        if number != whole:
            raise ValueError("not a phone number")
        return normalise(whole, default_region)
    # Marks of writing direction and the like come along when a number is copied from a phone.
    if not number.isascii():
        number = "".join(character for character in number if unicodedata.category(character) != "Cf")
    text = number.strip()
    if not text:
        raise ValueError("no phone number")
    if text.isdigit():
        return normalise(text, default_region)
    if _SPREADSHEET_NUMBER.fullmatch(text):
        raise ValueError("a spreadsheet has rounded the number; format that column as text and export again")
    return normalise(text.split(".")[0] if _WHOLE_FLOAT.fullmatch(text) else text, default_region)


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


#: Written out, since a union would be made anew for every cell.
_NEVER_MISSING = (str, int, list, tuple, Mapping)


def _is_missing(value: Any) -> bool:
    """Whether a cell is empty: ``None``, or what frames put there (NaN, NaT, NA)."""
    if value is None:
        return True
    if isinstance(value, _NEVER_MISSING):
        return False
    try:
        # Nothing else differs from itself.
        return bool(value != value)
    except TypeError:
        # NA does not even say whether it does.
        return True
    except ValueError:
        return False


def _detail(value: Any) -> str | None:
    return _clean(_text(value)) or None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if _is_missing(value):
        return ""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        # An integer column with gaps comes as floats; the robot would say "point zero".
        return str(int(value))
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


def _checked_columns(columns: Mapping[str, str] | None, label: str) -> dict[str, str]:
    checked = dict(columns or {})
    unknown = set(checked) - set(COLUMN_NAMES)
    if unknown:
        raise OutboundBotContactsError(
            f"{label}: {min(unknown)!r} is none of {', '.join(COLUMN_NAMES)}; all other columns become extras"
        )
    return checked


def _checked_region(region: str) -> str:
    import phonenumbers

    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise OutboundBotContactsError(f"default_region: {region!r} is no country such as 'CN' or 'HK'")
    return region
