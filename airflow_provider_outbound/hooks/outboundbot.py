"""The hook for connections of type ``outboundbot``."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs
from airflow.sdk import BaseHook

from airflow_provider_outbound import config
from airflow_provider_outbound.exceptions import (
    OutboundBotApiError,
    OutboundBotAuthenticationError,
    OutboundBotError,
    OutboundBotNotFoundError,
    OutboundBotTransportError,
)
from airflow_provider_outbound.hooks.connection import Fields, aget_fields, get_fields

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
    from airflow_provider_outbound.core.ledger import JobResult, Ledger
    from airflow_provider_outbound.core.rules import CallingHours


@attrs.frozen(kw_only=True)
class ConnectionSettings:
    """
    What a connection of type ``outboundbot`` says.

    :param client: How to reach the API.
    :param script_id: Script of new job groups that name none; empty for none.
    :param calling_hours: When anybody may be called; ``None`` for any time.
    :param dry_run: Send nothing.
    :param allowed_phone_numbers: If not ``None``, nobody else is called; E.164.
    """

    client: ClientSettings
    script_id: str = ""
    calling_hours: CallingHours | None = None
    dry_run: bool = False
    allowed_phone_numbers: frozenset[str] | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """
        Read a connection.

        :raises OutboundBotConfigError: a field cannot be used.
        """
        from airflow_provider_outbound.core.client.settings import DEFAULT_REGION, ClientSettings

        connection = fields.connection
        host = (connection.host or "").strip().rstrip("/")
        # A host may carry its port already; the form has a field for it too.
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
            connect_timeout=fields.number("connect_timeout") or 5.0,
            read_timeout=fields.number("read_timeout") or 10.0,
            max_requests_per_second=fields.number("max_requests_per_second"),
            origin=fields.origin,
        )
        return cls(
            client=client,
            script_id=fields.text("script_id"),
            calling_hours=_calling_hours(fields),
            dry_run=fields.flag("dry_run", default=False),
            allowed_phone_numbers=_allowed_phone_numbers(fields),
        )


class OutboundBotHook(BaseHook):
    """
    A connection of type ``outboundbot``: the client it describes, and the ledger of this installation.

    Nothing is looked up before it is asked for. In a trigger, ``await`` :meth:`aload` first.

    The hook owns both. Use it in a ``with`` statement, or :meth:`close` it, so that no connection to the ledger is left
    open; what is asked for after that opens one again.

    :param outboundbot_conn_id: The connection.
    """

    conn_name_attr = "outboundbot_conn_id"
    default_conn_name = "outboundbot_default"
    conn_type = "outboundbot"
    hook_name = "Alibaba Cloud OutboundBot"

    def __init__(self, outboundbot_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.outboundbot_conn_id = outboundbot_conn_id
        #: Whether :attr:`ledger` refuses keys that cannot read all that is there. To stop calls must work without.
        self.require_keys = True
        self._ledger: Ledger | None = None
        # Reentrant: on_kill runs in the middle of whatever the task's thread is doing, perhaps opening the ledger.
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the ledger's connections back, whoever opened them: the client takes its turns from the ledger too."""
        with self._lock:
            ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()

    @cached_property
    def settings(self) -> ConnectionSettings:
        """
        The connection, read and checked.

        :raises OutboundBotConfigError: there is no such connection, or a field cannot be used.
        """
        return ConnectionSettings.from_fields(get_fields(self.outboundbot_conn_id, self.conn_type))

    async def aload(self) -> Self:
        """
        Look the connection up without blocking a triggerer's loop.

        :return: This hook; its other properties need no lookup any more.
        :raises OutboundBotConfigError: there is no such connection, or a field cannot be used.
        """
        self.settings = ConnectionSettings.from_fields(await aget_fields(self.outboundbot_conn_id, self.conn_type))
        return self

    @cached_property
    def client(self) -> OutboundBotClient:
        """A client of the API. Threads may share it."""
        from airflow_provider_outbound.core.client import OutboundBotClient

        settings = self.settings.client
        return OutboundBotClient(settings, lambda *turns: self.ledger.turns.take(settings.origin, *turns))

    @property
    def ledger(self) -> Ledger:
        """
        The ledger of this installation, opened by whoever asks first. Threads may share it.

        :raises OutboundBotConfigError: ``[outbound]`` cannot be used.
        :raises LedgerError: the database cannot be used.
        :raises LedgerKeyError: a key is missing, and :attr:`require_keys` is set.
        """
        from airflow_provider_outbound.core.ledger import open_ledger

        with self._lock:
            if self._ledger is None:
                settings = config.load()
                self._ledger = open_ledger(settings.ledger_url, settings.ledger_keys, require_keys=self.require_keys)
            return self._ledger

    def iter_results(self, job_group_id: str, only: str | None = None) -> Iterator[JobResult]:
        """
        Each job of a group once, ordered by reference id, in constant memory.

        :param only: ``answered``, ``unanswered``, ``not_dialled``, ``other``, ``failed``, a status, failure reason or
            call status of the service, or ``tag:NAME=VALUE``, for which the API is asked where the ledger does not know
            the tags yet.
        :raises OutboundBotConfigError: ``only`` is unknown; raised at once.
        :raises LedgerError: the ledger does not know the group, or its rows were purged; at once.
        """
        from airflow_provider_outbound.core.results import iter_results

        self._learn_tags(job_group_id, only)
        return iter_results(self.ledger, job_group_id, only)

    def follow_up(self, job_group_id: str, name: str, only: str | None = "unanswered") -> Iterator[JobResult]:
        """
        Results to act on, each until it is handled: ended jobs that were not handled yet under ``name``.

        A row counts as handled once the loop comes back for the next one, so do all that is to be done with it inside
        the loop. After a failure or a kill the row at hand is given again: at least once, with ``reference_id`` as the
        key to make that once. A job that completes again later is not given again. Let one task at a time use a name.

        :param job_group_id: The group.
        :param name: Name of the follow-up, yours to choose: ``text-message``.
        :param only: As :meth:`iter_results` takes it; ``None`` for all that ended. ``unanswered`` never gives anybody
            of whom the ledger knows, by any group, that they are or were on a block list (``outbound ledger allow``
            takes that back), and nobody who was not dialled.
        :raises OutboundBotConfigError: ``name`` or ``only`` cannot be used; at once, before anything is read.
        :raises LedgerError: the ledger does not know the group, or its rows were purged; at once.
        """
        from airflow_provider_outbound.core.follow_up import follow_up

        self._learn_tags(job_group_id, only)
        return follow_up(self.ledger, job_group_id, name, only)

    def _learn_tags(self, job_group_id: str, only: str | None) -> None:
        """Ask the API for tags, if the choice is by tags and the ledger does not know them yet."""
        from airflow_provider_outbound.core.results import enrich, needs_details

        if needs_details(only):
            record = self.ledger.groups.get(job_group_id)
            enrich(self.ledger, self.client, job_group_id, instance_id=record.instance_id if record else None)

    def get_conn(self) -> OutboundBotClient:
        """The client, by the name that Airflow's hooks have for it."""
        return self.client

    @property
    def instance_id(self) -> str:
        """The connection's bot instance; empty for none."""
        return self.settings.client.instance_id

    @property
    def script_id(self) -> str:
        """The connection's script; empty for none."""
        return self.settings.script_id

    @property
    def calling_hours(self) -> CallingHours | None:
        """When anybody may be called; ``None`` for any time."""
        return self.settings.calling_hours

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be sent."""
        return self.settings.dry_run

    @property
    def allowed_phone_numbers(self) -> frozenset[str] | None:
        """If not ``None``, nobody else is called; E.164."""
        return self.settings.allowed_phone_numbers

    def test_connection(self) -> tuple[bool, str]:
        """
        Try key, instance and script with requests that change nothing.

        :return: Whether all is well, and what is or is not, in words.
        """
        try:
            return True, self._try_out()
        except OutboundBotNotFoundError as error:
            return False, f"{error.code}: {self._place()} has no such thing; check instance_id and script_id"
        except OutboundBotAuthenticationError as error:
            return False, f"the credentials were refused ({error.code}): {error.detail}"
        except OutboundBotTransportError as error:
            return False, f"{self._place()} cannot be reached: {error.detail}"
        except OutboundBotError as error:
            return False, str(error)

    def _try_out(self) -> str:
        groups = self.client.list_job_groups(page_size=1)
        text = f"{self._place()} answers; instance {self.instance_id!r} has {groups.total} job groups"
        if not self.script_id:
            return f"{text}; the connection names no script_id"
        try:
            self.client.describe_script(script_id=self.script_id)
        except OutboundBotNotFoundError:
            raise
        except OutboundBotApiError as error:
            # Key and instance are fine; an account may be barred from looking at scripts and still use them.
            return f"{text}; script {self.script_id!r} could not be looked at ({error.code})"
        return f"{text}; script {self.script_id!r} exists"

    def _place(self) -> str:
        return self.settings.client.url


def _calling_hours(fields: Fields) -> CallingHours | None:
    value = fields.structure("calling_hours")
    if value is None:
        return None
    from airflow_provider_outbound.core.rules import CallingHours

    return fields.named(lambda: CallingHours.parse(value))


def _allowed_phone_numbers(fields: Fields) -> frozenset[str] | None:
    value = fields.structure("allowed_phone_numbers")
    if value is None:
        if fields.is_blank("allowed_phone_numbers"):
            raise fields.wrong(
                "allowed_phone_numbers", "is an empty text", "give [] if nobody may be called, or leave it out"
            )
        # Null is what Airflow's form writes into a field that nobody filled in.
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
