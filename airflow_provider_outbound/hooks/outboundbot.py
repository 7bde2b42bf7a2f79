"""The hook for connections of type ``outboundbot``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_outbound.exceptions import (
    OutboundBotApiError,
    OutboundBotAuthenticationError,
    OutboundBotError,
    OutboundBotNotFoundError,
    OutboundBotTransportError,
)
from airflow_provider_outbound.hooks.connection import aget_fields, get_fields
from airflow_provider_outbound.hooks.ledgers import open_configured
from airflow_provider_outbound.hooks.metrics import count_throttled
from airflow_provider_outbound.hooks.settings import ConnectionSettings

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient, TagHits
    from airflow_provider_outbound.core.ledger import JobResult, Ledger
    from airflow_provider_outbound.core.models.job import Job, JobGroup
    from airflow_provider_outbound.core.rules import CallingHours

T = TypeVar("T")
log = logging.getLogger(__name__)


class OutboundBotHook(BaseHook):
    """
    A connection of type ``outboundbot``: the client it describes, and the ledger of this installation.

    Both are created on first use. In a trigger, ``await`` :meth:`aload` first.

    The hook owns both. Use it in a ``with`` statement, or :meth:`close` it, so that no connection to the ledger stays
    open. A later use opens the ledger again.

    :param outboundbot_conn_id: The connection.
    """

    conn_name_attr = "outboundbot_conn_id"
    default_conn_name = "outboundbot_default"
    conn_type = "outboundbot"
    hook_name = "Alibaba Cloud OutboundBot"

    def __init__(self, outboundbot_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.outboundbot_conn_id = outboundbot_conn_id
        #: Whether the hook may be used to call people. If not, neither a missing key of the ledger nor a mistake in the
        #: connection's rules is an error, because stopping calls must work regardless. Set it before first use.
        self.may_call = True
        #: Whether every key of the ledger must be there, because the hook writes to it; ``None``: if it may call.
        self.require_keys: bool | None = None
        self._ledger: Ledger | None = None
        # Reentrant, because on_kill interrupts the task's thread, which may be opening the ledger.
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger's connections. The client opens them too, because its rate limit is kept in the ledger."""
        client = vars(self).get("client")
        if client is not None and (throttled := client.take_throttled()):
            count_throttled(throttled)
        with self._lock:
            ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()

    @cached_property
    def settings(self) -> ConnectionSettings:
        """
        The connection's settings, validated.

        :raises OutboundBotConfigError: the connection does not exist, or a field cannot be used.
        """
        fields = get_fields(self.outboundbot_conn_id, self.conn_type)
        return ConnectionSettings.from_fields(fields, may_call=self.may_call)

    async def aload(self) -> Self:
        """
        Look up the connection without blocking a triggerer's loop.

        :return: This hook, whose other properties then need no lookup.
        :raises OutboundBotConfigError: the connection does not exist, or a field cannot be used.
        """
        fields = await aget_fields(self.outboundbot_conn_id, self.conn_type)
        self.settings = ConnectionSettings.from_fields(fields, may_call=self.may_call)
        return self

    @cached_property
    def client(self) -> OutboundBotClient:
        """The API client. Threads may share it."""
        from airflow_provider_outbound.core.client import ActionGuard, OutboundBotClient

        settings = self.settings.client
        return OutboundBotClient(
            settings,
            lambda *turns: self.ledger.turns.take(settings.origin, *turns),
            guard=ActionGuard(
                dry_run=self.dry_run,
                is_restricted=self.allowed_phone_numbers is not None,
                hours=self.calling_hours,
            ),
        )

    @property
    def ledger(self) -> Ledger:
        """
        The ledger of this installation, opened on first use. Threads may share it.

        If :attr:`may_call` is off, it is opened without its keys where they are wrong or missing: only what is not
        encrypted can be used then.

        :raises OutboundBotConfigError: ``[outbound]`` cannot be used.
        :raises LedgerError: the database cannot be used.
        :raises LedgerKeyError: a key is missing, and :attr:`may_call` or :attr:`require_keys` is set.
        """
        with self._lock:
            if self._ledger is None:
                is_strict = self.may_call if self.require_keys is None else self.require_keys
                self._ledger = open_configured(is_strict=is_strict)
            return self._ledger

    def call(self, action: str, /, *, allow_dialling: bool = False, **parameters: Any) -> dict[str, Any]:
        """
        Perform any action of the API.

        An action that only reads is repeated while the API throttles or fails; any other is sent once.

        :param action: Its name, e.g. ``ListIntents``.
        :param allow_dialling: Whether to send even an action that may dial people, or that may change whom, when or
            from which number the service calls. The ledger does not record whom such an action calls. The connection's
            calling hours apply.
        :param parameters: By their names in the API's documentation, e.g. ``ScriptId``.
        :return: The complete answer. It may contain numbers, names and signed URLs, so return from a task only what
            Airflow may store and show.
        :raises OutboundBotConfigError: the action or a parameter is unknown, the action may dial people, or the
            connection does not allow it (``dry_run``, ``allowed_phone_numbers``); it was not sent.
        :raises OutboundBotWrongTimeError: it would dial outside the connection's calling hours; it was not sent.
        """
        return self.client.call(action, allow_dialling=allow_dialling, **parameters)

    def iter_results(self, job_group_id: str, only: str | None = None) -> Iterator[JobResult]:
        """
        Yield each job of a group once, ordered by reference id, in constant memory.

        :param only: ``answered``, ``unanswered``, ``not_dialled``, ``other``, ``failed``, a status, failure reason or
            call status of the service, or ``tag:NAME=VALUE``; tags that the ledger does not have are fetched from the
            API first.
        :raises OutboundBotConfigError: ``only`` is unknown; raised by the call itself.
        :raises LedgerError: the ledger does not know the group, or its rows were purged; raised by the call itself.
        """
        from airflow_provider_outbound.core.results import iter_results

        self._learn_tags(job_group_id, only)
        return iter_results(self.ledger, job_group_id, only)

    def follow_up(self, job_group_id: str, name: str, only: str | None = "unanswered") -> Iterator[JobResult]:
        """
        Yield the ended jobs of a group that were not handled yet under ``name``.

        A row counts as handled once the loop asks for the next one, so handle each row inside the loop. After a failure
        or a kill the current row is yielded again, so each row is yielded at least once. To act on it exactly once, use
        ``reference_id`` as the idempotency key. A job that completes again later is not yielded again. Only one task at
        a time should use a name.

        :param job_group_id: The group.
        :param name: Name of the follow-up, of your choice, e.g. ``text-message``.
        :param only: As for :meth:`iter_results`; ``None`` for all ended jobs. ``unanswered`` skips contacts that were
            not dialled, and contacts that the ledger knows from any group to be, or to have been, on a block list
            (``outbound ledger allow`` reverses that).
        :raises OutboundBotConfigError: ``name`` or ``only`` cannot be used; raised by the call itself.
        :raises OutboundBotApiError: the tags that ``only`` names cannot be fetched; raised by the call itself.
        :raises LedgerError: the ledger does not know the group, or its rows were purged; raised by the call itself.
        """
        from airflow_provider_outbound.core.follow_up import follow_up

        self._learn_tags(job_group_id, only)
        return follow_up(self.ledger, job_group_id, name, only, self.lister(job_group_id))

    def lister(self, job_group_id: str) -> Callable[[Sequence[str]], Iterable[Job]]:
        """Return what asks the API for jobs of a group by their ids, up to 99 at once."""
        return lambda job_ids: self.client.list_jobs(job_ids=job_ids, instance_id=self._instance_of(job_group_id))

    def describe_job_group(self, job_group_id: str) -> JobGroup:
        """
        Describe a job group as the service has it: status, window, and how many jobs are in which status.

        :raises OutboundBotNotFoundError: there is no such group in the bot instance.
        """
        return self.client.describe_job_group(job_group_id=job_group_id, instance_id=self._instance_of(job_group_id))

    def describe_tag_hits_summary(self, job_group_id: str) -> tuple[TagHits, ...]:
        """
        Count the tags of a job group's conversations, as the service counts them.

        :raises OutboundBotNotFoundError: there is no such group in the bot instance.
        """
        return self.client.describe_tag_hits_summary(
            job_group_id=job_group_id, instance_id=self._instance_of(job_group_id)
        )

    def _instance_of(self, job_group_id: str) -> str | None:
        """Return the bot instance of a group, from the ledger; ``None``: the connection's."""
        record = self.ledger.groups.get(job_group_id)
        return record.instance_id if record else None

    def _learn_tags(self, job_group_id: str, only: str | None) -> None:
        """Fetch missing tags from the API if ``only`` selects by tag."""
        from airflow_provider_outbound.core.results import enrich, needs_details

        if needs_details(only):
            enrich(self.ledger, self.client, job_group_id, instance_id=self._instance_of(job_group_id))

    def get_conn(self) -> OutboundBotClient:
        """Return the client, under the name common to Airflow's hooks."""
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
        """When people may be called; ``None`` for any time."""
        return self.settings.calling_hours

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be sent."""
        return self.settings.dry_run

    @property
    def allowed_phone_numbers(self) -> frozenset[str] | None:
        """If not ``None``, the only numbers that may be called, E.164."""
        return self.settings.allowed_phone_numbers

    def test_connection(self) -> tuple[bool, str]:
        """
        Test key, instance and script with requests that change nothing.

        :return: Whether the connection works, and a message.
        """
        try:
            return True, self._try_out()
        except OutboundBotNotFoundError as error:
            return False, f"{error.code}: not found at {self._place()}; check instance_id and script_id"
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
            # Key and instance are fine; an account may lack permission to read scripts and still use them.
            return f"{text}; script {self.script_id!r} could not be read ({error.code})"
        return f"{text}; script {self.script_id!r} exists"

    def _place(self) -> str:
        return self.settings.client.url
