"""The settings of a connection of type ``outboundbot``."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeVar

import attrs

from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.hooks.connection import Fields

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import ClientSettings
    from airflow_provider_outbound.core.rules import CallingHours

T = TypeVar("T")
log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ConnectionSettings:
    """
    Settings of a connection of type ``outboundbot``.

    :param client: How to reach the API.
    :param script_id: Default script of new job groups; empty for none.
    :param calling_hours: When people may be called; ``None`` for any time.
    :param dry_run: Send nothing.
    :param allowed_phone_numbers: If not ``None``, the only numbers that may be called, E.164.
    """

    client: ClientSettings
    script_id: str = ""
    calling_hours: CallingHours | None = None
    dry_run: bool = False
    allowed_phone_numbers: frozenset[str] | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_fields(cls, fields: Fields, *, may_call: bool = True) -> Self:
        """
        Read a connection.

        :param may_call: Whether people may be called with these settings. If not, mistakes in limits and in fields that
            matter only for calls are logged and ignored.
        :raises OutboundBotConfigError: a field cannot be used.
        """
        from airflow_provider_outbound.core.client.settings import DEFAULT_REGION, ClientSettings

        def rule(read: Callable[[], T], otherwise: T) -> T:
            try:
                return read()
            except OutboundBotConfigError as error:
                if may_call:
                    raise
                log.warning("%s. It is ignored here, because this task or command calls nobody", error)
                return otherwise

        connection = fields.connection
        host = (connection.host or "").strip().rstrip("/")
        # The port may be part of the host, or in its own field.
        has_port = re.search(r":\d+\Z", host) is not None
        endpoint = f"{host}:{connection.port}" if host and connection.port and not has_port else host
        client = ClientSettings(
            access_key_id=(connection.login or "").strip(),
            access_key_secret=(connection.password or "").strip(),
            security_token=fields.text("security_token"),
            role_arn=fields.text("role_arn"),
            role_session_name=fields.text("role_session_name"),
            ecs_role=fields.text("ecs_role"),
            region_id=fields.text("region_id", DEFAULT_REGION),
            endpoint=endpoint,
            instance_id=fields.text("instance_id"),
            connect_timeout=rule(lambda: fields.number("connect_timeout"), None) or 5.0,
            read_timeout=rule(lambda: fields.number("read_timeout"), None) or 10.0,
            max_requests_per_second=rule(lambda: fields.number("max_requests_per_second"), None),
            origin=fields.origin,
        )
        rule(lambda: fields.refuse_misspelt("calling_hours", "dry_run", "allowed_phone_numbers"), None)
        return cls(
            client=client,
            script_id=fields.text("script_id"),
            calling_hours=rule(lambda: _calling_hours(fields), None),
            dry_run=rule(lambda: fields.flag("dry_run", default=False), False),
            allowed_phone_numbers=rule(lambda: _allowed_phone_numbers(fields), None),
        )


def _calling_hours(fields: Fields) -> CallingHours | None:
    value = fields.structure("calling_hours")
    fields.refuse_misplaced("calling_hours", ("windows", "timezone", "holidays"))
    if value is None:
        return None
    from airflow_provider_outbound.core.rules import CallingHours

    return fields.named(lambda: CallingHours.parse(value))


def _allowed_phone_numbers(fields: Fields) -> frozenset[str] | None:
    value = fields.structure("allowed_phone_numbers")
    if value is None:
        if fields.is_blank("allowed_phone_numbers"):
            raise fields.wrong(
                "allowed_phone_numbers",
                "is an empty text",
                "give [] if nobody may be called; without the field everybody may be called",
            )
        # Airflow's form stores null for a field that was left empty.
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        value = str(value).split(",")
    if not isinstance(value, list):
        raise fields.wrong("allowed_phone_numbers", f"is a {type(value).__name__}", "give a list of numbers")
    from airflow_provider_outbound.core.models.phone import normalise

    allowed, failure = set(), None
    for position, number in enumerate(value, start=1):
        if not isinstance(number, str | int) or isinstance(number, bool):
            raise fields.wrong(
                "allowed_phone_numbers", f"entry {position} is a {type(number).__name__}", "give numbers as people dial"
            )
        try:
            allowed.add(normalise(number).e164)
        except ValueError as error:
            reason = f" is {error}" if str(error).startswith(("empty", "not ")) else f": {error}"
            failure = fields.wrong("allowed_phone_numbers", f"entry {position}{reason}", "give numbers as people dial")
            break
    if failure is not None:
        raise failure
    return frozenset(allowed)
