"""The columns of a source: which one holds which field of a contact, and where it is in a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from airflow_provider_outbound.core.contacts.cells import clean, narrow_float
from airflow_provider_outbound.core.models.phone import redact
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


@attrs.frozen(kw_only=True)
class RowPlan:
    """The positions of a row's values, computed once for all rows that have the same columns."""

    phone: int | None = None
    name: int | None = None
    honorific: int | None = None
    role: int | None = None
    reference_id: int | None = None
    #: All columns under the source's names.
    columns: Sequence[str] = ()
    #: All other columns: the cleaned name of each, its position, and its float type if that is narrow.
    extras: tuple[tuple[str, int, str | None], ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], fields: Mapping[str, str], types: Mapping[str, str]) -> RowPlan:
        """
        Find the positions of a row's values.

        :param fields: Column by contact field.
        :param types: The known types of columns, by their library's names.
        """
        places = {name: place for place, name in enumerate(names)}
        used = set(fields.values())
        extras = [
            (clean(name), place, narrow_float(types.get(name, "")))
            for name, place in places.items()
            if name not in used
        ]
        return cls(
            columns=names,
            extras=tuple(extra for extra in extras if extra[0]),
            **{field: places[name] for field, name in fields.items()},
        )


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


def check_columns(columns: Mapping[str, str] | None, label: str) -> dict[str, str]:
    """
    Check that an argument names only fields that contacts have.

    :param label: Name of the argument.
    :raises OutboundBotContactsError: it names another field.
    """
    checked = dict(columns or {})
    unknown = set(checked) - set(COLUMN_NAMES)
    if unknown:
        raise OutboundBotContactsError(
            f"{label}: {min(unknown)!r} is not one of {', '.join(COLUMN_NAMES)}; all other columns become extras"
        )
    return checked


def column_name(key: Any) -> str:
    """Return the key of a row as text."""
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return str(key)


def plain_name(name: str) -> str:
    """Return the name of a column in the form of :data:`COLUMN_NAMES`."""
    return re.sub(r"[\s_-]", "", name).lower()
