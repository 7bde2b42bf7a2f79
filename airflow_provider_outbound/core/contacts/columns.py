"""The columns of a source: which one holds which field of a contact, and where it is in a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from airflow_provider_outbound.core.contacts.cells import clean, narrow_float
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import OutboundBotContactsError

#: Column names that are recognised, ignoring case, spaces, hyphens and underscores.
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
#: Names that exports of customer systems give to a person's own id, in the same form. One counts if it is the only one,
#: and no column is named for ``reference_id``. Left out are names that may mean something else: ``id``, ``编号`` and
#: ``序号`` may count rows, ``user_id`` and ``用户编号`` may be a salesperson's, ``account_id`` a company's.
CUSTOMER_IDS = frozenset(
    {
        *("customerid", "customerno", "customernumber", "contactid", "leadid", "memberid", "externalid"),
        *("客户编号", "客户id", "客户号", "客户编码", "联系人编号", "联系人id", "线索编号", "线索id"),
        *("会员编号", "会员id", "会员号", "外部编号"),
    }
)
#: Words in the names of columns that hold numbers, beyond :data:`COLUMN_NAMES`.
_PHONE_WORDS = re.compile("phone|mobile|tel|手机|电话|号码", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class RowPlan:
    """The positions of a row's values, computed once for all rows that have the same columns."""

    phone: int | None = None
    name: int | None = None
    honorific: int | None = None
    role: int | None = None
    reference_id: int | None = None
    #: Whether only the name of its column shows that it is the reference id; then it is an extra too.
    is_reference_implied: bool = False
    #: In a do-not-call list, the other columns for phone numbers.
    other_phones: tuple[int, ...] = ()
    #: All columns under the source's names.
    columns: Sequence[str] = ()
    #: All other columns: the cleaned name of each, its position, and its float type if that is narrow.
    extras: tuple[tuple[str, int, str | None], ...] = ()

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        fields: Mapping[str, str],
        types: Mapping[str, str],
        *,
        customer_id: str | None = None,
        all_phones: bool = False,
    ) -> RowPlan:
        """
        Find the positions of a row's values.

        :param fields: Column by contact field.
        :param customer_id: The column for the reference id if ``fields`` has none, see :func:`find_customer_id`.
        :param types: The known types of columns, by their library's names.
        :param all_phones: Whether the other columns for phone numbers count too.
        """
        places = {name: place for place, name in enumerate(names)}
        used = set(fields.values())
        extras = [
            (clean(name), place, narrow_float(types.get(name, "")))
            for name, place in places.items()
            if name not in used
        ]
        if customer_id is not None:
            fields = {**fields, "reference_id": customer_id}
        return cls(
            columns=names,
            is_reference_implied=customer_id is not None,
            other_phones=tuple(
                place for name, place in places.items() if all_phones and name not in used and is_for_phones(name)
            ),
            extras=tuple(extra for extra in extras if extra[0]),
            **{field: places[name] for field, name in fields.items()},
        )

    def describe(self) -> str:
        """Which columns hold what, as text."""
        parts = [
            f"{meaning} in {'no column' if place is None else repr(redact(self.columns[place]))}"
            for meaning, place in (("phone number", self.phone), ("name", self.name))
        ]
        if self.reference_id is None:
            parts.append("no column of reference ids, so they are hashes of the numbers")
        else:
            parts.append(f"reference id in {redact(self.columns[self.reference_id])!r}")
        return f"{', '.join(parts)}; {count_of(len(self.extras), 'column')} for the script's variables"


def refuse_twins(names: Sequence[str], where: str = "") -> None:
    """
    Refuse column names that are equal, or differ only in spaces: one of them would be lost.

    :param where: The beginning of the error.
    :raises OutboundBotContactsError: two names are equal.
    """
    met: dict[str, str] = {}
    for name in names:
        plain = "".join(clean(name).split())
        if plain in met:
            twins = sorted({met[plain], name})
            what = f"column {redact(name)!r} appears twice"
            if len(twins) > 1:
                what = f"columns {redact(twins[0])!r} and {redact(twins[1])!r} differ only in spaces"
            raise OutboundBotContactsError(f"{where}{': ' if where else ''}{what}; rename one")
        if plain:
            met[plain] = name


def find_customer_id(names: Sequence[str]) -> str | None:
    """Return the only column that is known to hold a person's own id; ``None`` if there is none, or several."""
    found = [name for name in names if plain_name(name) in CUSTOMER_IDS]
    return found[0] if len(found) == 1 else None


def check_columns(columns: Mapping[str, str | None] | None, label: str) -> dict[str, str]:
    """
    Check that an argument names only fields that contacts have, and return those that have a column.

    :param label: Name of the argument.
    :raises OutboundBotContactsError: it names another field.
    """
    given = dict(columns or {})
    unknown = set(given) - set(COLUMN_NAMES)
    if unknown:
        raise OutboundBotContactsError(
            f"{label}: {min(unknown)!r} is not one of {', '.join(COLUMN_NAMES)}; all other columns become extras"
        )
    checked: dict[str, str] = {}
    for field, name in given.items():
        if isinstance(name, str):
            checked[field] = name
        elif name is not None or field != "reference_id":
            raise OutboundBotContactsError(
                f"{label}: {redact(repr(name))}, given for {field}, is not the name of a column; give a text"
            )
    also = [field for field in checked if field != "phone" and checked[field] == checked.get("phone")]
    if also:
        raise OutboundBotContactsError(
            f"{label}: {redact(str(checked[also[0]]))!r} is named for phone and for {also[0]}, so that the number would"
            " be spoken or shown; name another column"
        )
    return checked


def column_name(key: Any) -> str:
    """Return the key of a row as text."""
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return str(key)


def is_for_phones(name: str) -> bool:
    """Return whether the name of a column suggests phone numbers: ``Phone 2``, ``Work Phone``, ``备用电话``."""
    return _PHONE_WORDS.search(name) is not None


def is_numbered_phone(name: str) -> bool:
    """Return whether the name of a column is one for phone numbers with a number: ``电话1``, ``phone_2``."""
    return re.sub(r"\d{1,2}$", "", plain_name(name)) in COLUMN_NAMES["phone"]


def plain_name(name: str) -> str:
    """Return the name of a column in the form of :data:`COLUMN_NAMES`."""
    return re.sub(r"[\s_-]", "", name).lower()
