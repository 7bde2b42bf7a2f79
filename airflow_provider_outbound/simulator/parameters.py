"""A request's parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping

from airflow_provider_outbound.simulator.cloud import Refusal


class Parameters:
    """A request's parameters, as text."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        """The parameter, or ``None`` if it is missing or empty."""
        return self._values.get(name) or None

    def require(self, name: str) -> str:
        """:raises Refusal: the parameter is missing."""
        value = self.get(name)
        if value is None:
            raise Refusal(400, f"Missing{name}", f"{name} is mandatory for this action.")
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean; the SDKs send ``True`` with a capital letter."""
        value = self.get(name)
        return None if value is None else value.lower() == "true"

    def integer(self, name: str, default: int = 0) -> int:
        """:raises Refusal: the parameter is not a number."""
        value = self.get(name)
        try:
            return default if value is None else int(value)
        except ValueError:
            raise Refusal(400, "InvalidParameter", f"{name} is not a number.") from None

    def listed(self, name: str) -> list[str]:
        """The values of ``Name.1``, ``Name.2`` …, in order."""
        values: list[str] = []
        while (value := self._values.get(f"{name}.{len(values) + 1}")) is not None:
            values.append(value)
        return values

    def names(self, name: str) -> frozenset[str]:
        """The values of a filter: a JSON array, or comma separated."""
        text = self.get(name) or ""
        if text.startswith("["):
            return frozenset(json.loads(text))
        return frozenset(part.strip() for part in text.split(",") if part.strip())

    def page(self) -> tuple[int, int]:
        """Page number and size."""
        self.require("PageNumber")
        self.require("PageSize")
        number, size = self.integer("PageNumber"), self.integer("PageSize")
        if number < 1 or size < 1:
            raise Refusal(400, "InvalidParameter", "PageNumber and PageSize begin at 1.")
        return number, size
