"""Reads Airflow connections. Every field is checked, and every error names the field and the fix."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_outbound import get_provider_info
from airflow_provider_outbound.exceptions import ConnectionMissingError, OutboundBotConfigError

if TYPE_CHECKING:
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How similar two names are if one is probably the other misspelt; from 0 to 1.
_RESEMBLES = 0.8


class Fields:
    """
    The fields of one connection.

    :param connection: The connection.
    :param extra: Its parsed extra. Fields that the connection's form does not declare are logged as a warning.
    """

    def __init__(self, connection: Connection, extra: dict[str, Any]) -> None:
        self.connection = connection
        self.origin = f"connection {connection.conn_id!r}"
        self._extra = extra
        self._declared = declared_fields(str(connection.conn_type))
        self._unknown = sorted(extra.keys() - self._declared)
        if self._unknown:
            log.warning(
                "%s: unknown extra fields %s are ignored; is one misspelt?", self.origin, ", ".join(self._unknown)
            )

    def refuse_misspelt(self, *names: str) -> None:
        """
        Refuse unknown fields whose names resemble one of ``names``, because ignoring them would drop a rule.

        :raises OutboundBotConfigError: there is one.
        """
        plain_names = {_plain(name): name for name in names}
        for unknown in self._unknown:
            for close in get_close_matches(_plain(unknown), plain_names, n=1, cutoff=_RESEMBLES):
                raise self.wrong(
                    unknown,
                    "is unknown, so the rule in it would not apply",
                    f"rename it to {plain_names[close]}, or remove it",
                )

    def refuse_misplaced(self, structure: str, names: Iterable[str]) -> None:
        """
        Refuse parts of a structured field that are written beside it, because ignoring them would drop a rule.

        :param structure: The field.
        :param names: Its parts. One that it has itself may also be beside it.
        :raises OutboundBotConfigError: there is one.
        """
        inside = self.structure(structure)
        parts = set(names) - (set(inside) if isinstance(inside, Mapping) else set())
        for unknown in self._unknown:
            for part in sorted(parts):
                if _plain(unknown) == _plain(part):
                    raise self.wrong(
                        unknown,
                        f"is beside {structure}, so the rule in it would not apply",
                        f"write it inside {structure}, or remove it",
                    )

    def value(self, name: str) -> Any:
        """Return an extra field; ``None`` if it is absent, null or blank."""
        if name not in self._declared:
            raise LookupError(f"{name} is not among the conn-fields of get_provider_info()")
        value = self._extra.get(name)
        return None if isinstance(value, str) and not value.strip() else value

    def is_blank(self, name: str) -> bool:
        """Return whether an extra field is a blank text."""
        value = self._extra.get(name)
        return isinstance(value, str) and not value.strip()

    def text(self, name: str, default: str = "") -> str:
        """Return a field as text, without surrounding whitespace."""
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise self.wrong(name, f"is a {type(value).__name__}", "give a text")
        return str(value).strip()

    def number(self, name: str, default: float | None = None) -> float | None:
        """Return a field as a positive number, which may be given as text."""
        value = self.value(name)
        if value is None:
            return default
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 < number < math.inf:
            raise self.wrong(name, f"is {value!r}", "give a number above 0")
        return number

    def flag(self, name: str, default: bool) -> bool:
        """Return a field as a boolean, which may be given as text."""
        value = self.value(name)
        if value is None:
            return default
        found = value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).strip().lower())
        if found is None:
            raise self.wrong(name, f"is {value!r}", "give true or false")
        return found

    def structure(self, name: str) -> Any:
        """Return a field as a list or an object, which may be given as JSON text."""
        value = self.value(name)
        if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
            return value
        found = _json(value)
        if found is None:
            raise self.wrong(name, "is not valid JSON", "correct it")
        return found

    def wrong(self, name: str, what: str, hint: str) -> OutboundBotConfigError:
        """Return an error about a field."""
        return OutboundBotConfigError(f"{self.origin}: {name} {what}; {hint}")

    def named(self, read: Callable[[], T]) -> T:
        """
        Call ``read`` and prefix its errors with the connection's name.

        :raises OutboundBotConfigError: ``read`` raised one.
        """
        try:
            return read()
        except OutboundBotConfigError as error:
            raise OutboundBotConfigError(f"{self.origin}: {error}") from None


def _plain(name: str) -> str:
    """Return the name of a field without case, separators, and the prefix that Airflow 1 gave to it."""
    return re.sub(r"^extra__[a-z]+__|[^a-z]", "", name.lower())


def declared_fields(conn_type: str) -> frozenset[str]:
    """Return the names of the extra fields of a connection type, as its form in Airflow's UI declares them."""
    (form,) = (form for form in get_provider_info()["connection-types"] if form["connection-type"] == conn_type)
    return frozenset(form["conn-fields"])


def get_fields(conn_id: str, conn_type: str) -> Fields:
    """
    Look up a connection.

    :raises ConnectionMissingError: Airflow does not find it.
    :raises OutboundBotConfigError: it has another type, or its extra is not a JSON object.
    """
    return fields_of(find_connection(conn_id), conn_id, conn_type)


def fields_of(connection: Connection | None, conn_id: str, conn_type: str) -> Fields:
    """
    Return the fields of a connection that was looked up.

    :param connection: The connection; ``None``: Airflow does not find it.
    :raises ConnectionMissingError: there is none.
    :raises OutboundBotConfigError: it has another type, or its extra is not a JSON object.
    """
    checked = _checked(connection, conn_id, conn_type)
    return Fields(checked, read_extra(checked))


def find_connection(conn_id: str) -> Connection | None:
    """Look up a connection of any type; ``None`` if it does not exist."""
    from airflow.sdk import BaseHook

    try:
        return BaseHook.get_connection(conn_id)
    except Exception as error:  # noqa: BLE001 - matched by class name, because the class depends on how Airflow is run
        _reraise_unless_missing(error)
    return None


def read_extra(connection: Connection, example: str = "instance_id") -> dict[str, Any]:
    """
    Return a connection's extra.

    :param example: A field to show in the error.
    :raises OutboundBotConfigError: it is not a JSON object.
    """
    extra = _parsed_extra(connection, example)
    # Read this property too, because it makes Airflow mask the values of secret fields in logs.
    _ = connection.extra_dejson
    return extra


async def aget_fields(conn_id: str, conn_type: str) -> Fields:
    """Look up a connection like :func:`get_fields`, without blocking a triggerer's loop."""
    from airflow.sdk import BaseHook

    connection = None
    try:
        connection = await BaseHook.aget_connection(conn_id)
    except Exception as error:  # noqa: BLE001 - matched by class name, because the class depends on how Airflow is run
        _reraise_unless_missing(error)
    checked = _checked(connection, conn_id, conn_type)
    extra = _parsed_extra(checked)
    if hasattr(checked, "aextra_dejson"):
        # Airflow 3.2 has only the property, which would block the loop.
        await checked.aextra_dejson()
    return Fields(checked, extra)


def _reraise_unless_missing(error: Exception) -> None:
    if type(error).__name__ != "AirflowNotFoundException":
        raise error


def _checked(connection: Connection | None, conn_id: str, conn_type: str) -> Connection:
    if connection is None:
        raise ConnectionMissingError(
            f"connection {conn_id!r} does not exist; create it in the UI under Admin, Connections, or with: "
            f"airflow connections add {conn_id} --conn-type {conn_type} … "
            "(Airflow reports the same if a secrets backend does not answer)"
        )
    if connection.conn_type != conn_type:
        raise OutboundBotConfigError(
            f"connection {conn_id!r} is of type {connection.conn_type!r}; give one of type {conn_type!r}"
        )
    return connection


def _parsed_extra(connection: Connection, example: str = "instance_id") -> dict[str, Any]:
    if not connection.extra:
        return {}
    extra = _json(connection.extra)
    if not isinstance(extra, dict):
        raise OutboundBotConfigError(
            f'connection {connection.conn_id!r}: extra is not a JSON object; write it as {{"{example}": "…"}}'
        )
    return extra


def _json(text: str) -> Any:
    # The caller raises, because the parser's error contains the complete text, including keys and numbers.
    try:
        return json.loads(text)
    except ValueError:
        return None
