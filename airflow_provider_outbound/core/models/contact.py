"""A person to be called, and the job that calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from airflow_provider_outbound.core.models.phone import PhoneNumber
from airflow_provider_outbound.core.models.wire import compact_json


@attrs.frozen(kw_only=True)
class Contact:
    """
    One valid contact.

    Source: ``AssignJobs`` (2019-12-26), JobsJson; guide, "批量下发任务".
    """

    phone: PhoneNumber
    name: str | None = attrs.field(default=None, repr=False)
    honorific: str | None = attrs.field(default=None, repr=False)
    role: str | None = attrs.field(default=None, repr=False)
    #: The author's own id of this contact; ``None``: derived from the number.
    reference_id: str | None = None
    #: Values for the script's variables, which every event returns.
    extras: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    #: Its position in its source, for error messages: 1 is the first contact.
    row: int = attrs.field(default=0, eq=False)
    #: The line of its text file where it begins.
    line: int | None = attrs.field(default=None, eq=False)
    #: Name of its file.
    file: str = attrs.field(default="", eq=False)

    def job_json(self, reference_id: str) -> str:
        """Return one item of JobsJson; compact, because it travels in the URL."""
        contact = {"phoneNumber": self.phone.wire, "referenceId": reference_id}
        details = (("name", self.name), ("honorific", self.honorific), ("role", self.role))
        contact |= {key: value for key, value in details if value}
        extras = [{"key": key, "value": value} for key, value in self.extras.items()]
        return compact_json({"contacts": [contact], "extras": extras})

    @property
    def url_bytes(self) -> int:
        """Maximum bytes in a request's URL: percent-encoded UTF-8 takes up to nine for a character."""
        texts = (self.name or "", self.honorific or "", self.role or "", *self.extras, *self.extras.values())
        return 300 + sum(len(text) * (3 if text.isascii() else 9) + 40 for text in texts)

    def to_dict(self) -> dict[str, Any]:
        """Return the form that the ledger stores encrypted."""
        return {
            "e164": self.phone.e164,
            "phone_number": self.phone.wire,
            "name": self.name,
            "honorific": self.honorific,
            "role": self.role,
            "extras": dict(self.extras),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the contact that :meth:`to_dict` stored."""
        return cls(
            phone=PhoneNumber(stored["e164"], stored["phone_number"]),
            name=stored["name"],
            honorific=stored["honorific"],
            role=stored["role"],
            extras=stored["extras"],
        )
