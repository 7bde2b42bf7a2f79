"""Turn rows into contacts: match the columns, normalise the number, and clean the rest."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from decimal import Decimal
from itertools import chain
from numbers import Real
from typing import Any

import attrs

from airflow_provider_outbound.core.contacts.cells import (
    clean,
    is_empty,
    narrow_float,
    no_number,
    read_number,
    shown,
    to_text,
)
from airflow_provider_outbound.core.contacts.columns import (
    COLUMN_NAMES,
    RowPlan,
    check_columns,
    column_name,
    find_customer_id,
    is_numbered_phone,
    plain_name,
    refuse_twins,
)
from airflow_provider_outbound.core.contacts.reading import Reading
from airflow_provider_outbound.core.contacts.references import read_reference
from airflow_provider_outbound.core.contacts.rows import Header, Reject, Rows, Tables
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import looks_like_number, redact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

log = logging.getLogger(__name__)

#: Lists with different columns that the log names.
_MOST_TOLD = 5
#: The fix for an implied reference id that cannot be one.
_NO_REFERENCE = "if the column is not a reference id, pass columns={'reference_id': None}"
_UNRENDERED = (
    "its number is a template that was not rendered: Airflow renders values in the DAG file, not those from a task, a"
    " file or a query"
)


class ContactSource:
    """
    Contacts of lists or files; each iteration reads them anew.

    :param parts: The sources of the rows, one after the other.
    :param columns: Source column by contact field: ``{"phone": "Mobile No."}``; :data:`COLUMN_NAMES` for other fields.
        All other columns become extras. ``{"reference_id": None}``: no column has reference ids, whatever its name.
    :param default_region: ISO 3166 country of numbers written without a country code.
    :raises OutboundBotContactsError: ``columns`` names a field that contacts do not have.
    """

    def __init__(
        self,
        parts: Sequence[Rows | Tables],
        *,
        columns: Mapping[str, str | None] | None = None,
        default_region: str = "CN",
    ) -> None:
        self._parts = parts
        self._columns = check_columns(columns, "columns")
        self._has_no_reference = "reference_id" in (columns or {}) and "reference_id" not in self._columns
        self._optional_columns: dict[str, str] = {}
        self._columns_argument = "columns"
        self._is_exclusion = False
        self.default_region = _checked_region(default_region)
        self._implied_reference: str | None = None
        #: Which columns the log has named.
        self._told: set[str] = set()
        #: The iterator that :meth:`is_empty` started on a source that can be read only once.
        self._begun: Iterator[Contact | Reject] | None = None

    def be_exclusions(
        self,
        *,
        columns: Mapping[str, str | None] | None = None,
        exclude_columns: Mapping[str, str | None] | None = None,
    ) -> None:
        """
        Match the columns as those of an exclusion list, with its own argument names in errors.

        :param columns: Columns of the contacts; used where they exist.
        :param exclude_columns: Columns of this list; they must exist.
        :raises OutboundBotContactsError: one of them names a field that contacts do not have.
        """
        self._optional_columns = check_columns(columns, "columns")
        self._columns = check_columns(exclude_columns, "exclude_columns")
        self._columns_argument = "exclude_columns"
        self._is_exclusion = True

    @property
    def names_phone_column(self) -> bool:
        """Whether the author named the phone column of this list."""
        return "phone" in self._columns

    @property
    def reference_column(self) -> str | None:
        """The column for the reference id: the one that the author named, or that was recognised so far, if any."""
        return self._columns.get("reference_id") or self._implied_reference

    @property
    def is_repeatable(self) -> bool:
        """Whether a second iteration returns the same contacts."""
        return all(part.is_repeatable for part in self._parts)

    def is_empty(self) -> bool:
        """Whether there is no row; the first one is not lost by this check."""
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

    def read_present(self) -> Iterator[Contact | Reject]:
        """
        Read a list that must exist and be complete: each of its files must have at least a header, and the workbooks
        among them one sheet of numbers.

        :raises ContactsNotFoundError: a file, folder or pattern does not exist or holds no data file.
        :raises OutboundBotContactsError: a file is empty.
        """
        return self._read(must_be_present=True) if self.is_repeatable else iter(self)

    def _read(self, *, must_be_present: bool = False) -> Generator[Contact | Reject]:
        for part in self._parts:
            yield from self._contacts(part, must_be_present=must_be_present)

    def _contacts(self, part: Rows | Tables, *, must_be_present: bool) -> Iterator[Contact | Reject]:
        plans: dict[tuple[Any, ...], RowPlan] = {}
        types: Mapping[str, str] = {}
        reading = self._reading(is_exclusion=must_be_present)
        rows: Iterable[tuple[int, Any]] = part if isinstance(part, Iterable) else part.find_rows(reading)
        for row, line, raw in _numbered(part, rows, must_be_present=must_be_present):
            # Nearly all are dictionaries; the check for other mappings takes ten times as long.
            if isinstance(raw, (dict, Mapping)):
                keys = tuple(raw)
                plan = plans.get(keys)
                if plan is None:
                    # Rows of a list may have different keys, and any number of them if keys are data.
                    plans = {} if len(plans) >= 100 else plans
                    names = tuple(map(column_name, keys))
                    plan = plans[keys] = self._plan(names, self._fields(names), types)
                    self._tell(part.label, plan)
                yield self._contact(part.name, row, line, [*raw.values()], plan)
            elif isinstance(raw, Header):
                # Checked even if no row follows: a single contact must not be read as a header.
                where = f"{part.label}: {part.name}" if part.name else part.label
                refuse_twins(raw.names, where)
                fields, types = self._fields(raw.names), raw.types
                self._check_header(where, raw, fields)
                plans[raw.names] = self._plan(raw.names, fields, types)
                self._tell(where, plans[raw.names])
            elif isinstance(raw, Reject):
                yield attrs.evolve(raw, row=row, line=line, file=part.name)
            elif isinstance(raw, Contact):
                yield attrs.evolve(raw, row=row, file=part.name)
            elif isinstance(raw, _NUMBERS) and not isinstance(raw, bool):
                yield self._contact(part.name, row, line, [raw], _LONE_NUMBER)
            else:
                reason = f"{type(raw).__name__} is neither a dictionary nor a number"
                if isinstance(raw, list | tuple):
                    reason += "; name its columns: give dictionaries, or a frame"
                yield Reject(row=row, number="", reason=reason, file=part.name, line=line)

    def _reading(self, *, is_exclusion: bool) -> Reading:
        return Reading(
            is_header=self._has_phone_column,
            is_exclusion=is_exclusion,
            default_region=self.default_region,
        )

    def _has_phone_column(self, names: Sequence[str]) -> bool:
        named = self._columns.get("phone")
        if named is not None:
            return named in names
        known = COLUMN_NAMES["phone"]
        return self._optional_columns.get("phone") in names or any(
            plain_name(name) in known or (self._is_exclusion and is_numbered_phone(name)) for name in names
        )

    def _plan(self, names: tuple[str, ...], fields: Mapping[str, str], types: Mapping[str, str]) -> RowPlan:
        return RowPlan.of(
            names,
            fields,
            types,
            customer_id=self._customer_id(names, fields),
            all_phones=self._is_exclusion and not self.names_phone_column,
        )

    def _tell(self, label: str, plan: RowPlan) -> None:
        """Log which columns were recognised, because one that was not would be noticed late, in the results."""
        if plan.is_reference_implied and plan.reference_id is not None:
            self._implied_reference = plan.columns[plan.reference_id]
        text = f"{label}: {plan.describe()}"
        if not self._is_exclusion and text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            log.info("%s", text)

    def _customer_id(self, names: Sequence[str], fields: Mapping[str, str]) -> str | None:
        # A number in such a column of a do-not-call list counts, as in every other column.
        if self._is_exclusion or self._has_no_reference or "reference_id" in fields:
            return None
        return find_customer_id([name for name in names if name not in fields.values()])

    def _fields(self, names: tuple[str, ...]) -> dict[str, str]:
        """Map contact fields to columns."""
        refuse_twins(names)
        optional = {field: name for field, name in self._optional_columns.items() if name in names}
        columns = optional | self._columns
        fields = {field: name for field, name in columns.items() if name in names}
        taken = set(columns.values())
        for field, known in COLUMN_NAMES.items():
            if field in columns or (field == "reference_id" and self._has_no_reference):
                continue
            found = [name for name in names if plain_name(name) in known and name not in taken]
            if field == "phone" and self._is_exclusion:
                # Nobody in any of these columns may be called; the reader of exclusions looks at the others too.
                found = (found or [name for name in names if is_numbered_phone(name) and name not in taken])[:1]
            if len(found) > 1:
                raise OutboundBotContactsError(
                    f"{self._columns_argument}: {found[0]!r} and {found[1]!r} both look like the {field}; "
                    f"choose one: {self._columns_argument}={{'{field}': {found[0]!r}}}"
                )
            if found:
                fields[field] = found[0]
        return fields

    def _check_header(self, label: str, header: Header, fields: Mapping[str, str]) -> None:
        names = header.names
        missing = [(field, name) for field, name in self._columns.items() if field not in fields]
        if any(looks_like_number(name) for name in names):
            raise OutboundBotContactsError(
                f"{label}: its first line is a contact; put a line of column names before it: phone,name"
            )
        if not missing and "phone" in fields:
            plan = self._plan(names, fields, header.types)
            for phone in (fields["phone"], *(names[place] for place in plan.other_phones)):
                if narrow := narrow_float(header.types.get(phone, "")):
                    raise OutboundBotContactsError(f"{label}: column {redact(phone)!r}: {no_number(narrow)}")
            reference = "" if plan.reference_id is None else names[plan.reference_id]
            if narrow := narrow_float(header.types.get(reference, "")):
                raise OutboundBotContactsError(
                    f"{label}: column {redact(reference)!r}: {narrow} cannot hold each digit of a reference_id; cast"
                    " the column to int64 or text at its source"
                    f"{f'; {_NO_REFERENCE}' if plan.is_reference_implied else ''}"
                )
            return
        field, wanted = "phone", "has no column for the phone number"
        if missing:
            field, wanted = missing[0][0], f"has no column {missing[0][1]!r}"
        title = "; if the first line is a title, remove it" if len(names) == 1 else ""
        fix = f"name the right one: {self._columns_argument}={{'{field}': 'NAME OF THE COLUMN'}}"
        if self._is_exclusion and not missing:
            fix = f"rename the right one to phone, or {fix}. Then numbers in the other columns do not count"
        raise OutboundBotContactsError(f"{label}: {wanted} among {', '.join(map(redact, names))}; {fix}{title}")

    def _contact(self, file: str, row: int, line: int | None, values: Sequence[Any], plan: RowPlan) -> Contact | Reject:
        number = None if plan.phone is None else values[plan.phone]
        if isinstance(number, str) and "{" in number and ("{{" in number or "{%" in number):
            # Masked, it would show nothing useful.
            return Reject(row=row, number="", reason=_UNRENDERED)
        try:
            if plan.other_phones and _is_blank(number):
                number = self._other_phone(values, plan)
            return Contact(
                phone=read_number(number, self.default_region),
                reference_id=self._reference(values, plan),
                name=_cleaned(_detail(values, plan, plan.name)),
                honorific=_cleaned(_detail(values, plan, plan.honorific)),
                role=_cleaned(_detail(values, plan, plan.role)),
                extras={
                    key: clean(to_text(value, key, narrow))
                    for key, place, narrow in plan.extras
                    if not is_empty(value := values[place])
                },
                row=row,
                line=line,
                file=file,
            )
        except ValueError as error:
            reference = self._reference_if_any(values, plan)
            return Reject(
                row=row, number=shown(number), reason=str(error), file=file, line=line, reference_id=reference
            )

    def _reference_if_any(self, values: Sequence[Any], plan: RowPlan) -> str | None:
        with suppress(ValueError):
            return self._reference(values, plan)
        return None

    def _reference(self, values: Sequence[Any], plan: RowPlan) -> str | None:
        if (place := plan.reference_id) is None:
            return None
        try:
            return read_reference(values[place], plan.columns[place], self.default_region)
        except ValueError as error:
            if not plan.is_reference_implied:
                raise
            raise ValueError(f"{error}; {_NO_REFERENCE}") from None

    def _other_phone(self, values: Sequence[Any], plan: RowPlan) -> str | None:
        """Return the first number in the other columns for phone numbers, if there is one."""
        texts = (to_text(values[place], plan.columns[place]) for place in plan.other_phones)
        return next((text for text in texts if looks_like_number(text, self.default_region)), None)


def _numbered(
    part: Rows | Tables, rows: Iterable[tuple[int, Any]], *, must_be_present: bool
) -> Iterator[tuple[int, int | None, Any]]:
    """Yield rows with their number and, in a file that has lines, their first line."""
    has_lines = getattr(part, "has_lines", False)
    row = 0
    is_absent = True
    for place, raw in rows:
        is_absent = False
        row += not isinstance(raw, Header)
        yield row, place if has_lines else None, raw
    absence = getattr(part, "absence", None)
    if is_absent and must_be_present and absence is not None:
        raise absence()


#: Types of a list's item that is a plain number.
_NUMBERS = (str, Real, Decimal, bytes, bytearray, memoryview)
#: The plan for such an item.
_LONE_NUMBER = RowPlan(phone=0)


def _detail(values: Sequence[Any], plan: RowPlan, place: int | None) -> str:
    return "" if place is None else to_text(values[place], plan.columns[place])


def _is_blank(value: Any) -> bool:
    return is_empty(value) or (isinstance(value, str) and not value.strip())


def _cleaned(text: str) -> str | None:
    return clean(text) or None


def _checked_region(region: str) -> str:
    import phonenumbers

    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise OutboundBotContactsError(f"default_region: {region!r} is not a country code such as 'CN' or 'HK'")
    return region
