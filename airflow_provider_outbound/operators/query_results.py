"""The stored result of a query: all tries of a task read the same rows, in whatever process and however late."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.arguments import named_group
from airflow_provider_outbound.exceptions import OutboundBotContactsError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger, TaskKey


@attrs.define
class SharedResult:
    """
    The result that a try reads, and that the ledger hands to the next one.

    It is stored once its rows are validated, before the first of them is sent, and forgotten when all are assigned.

    :param find_key: Returns the task.
    :param job_group_id: The operator's argument.
    :param outboundbot_conn_id: Connection of type ``outboundbot``.
    """

    find_key: Callable[[], TaskKey]
    job_group_id: Any
    outboundbot_conn_id: str
    #: The statement and the id of the result that this try reads.
    _used: tuple[str, str] | None = attrs.field(default=None, init=False, repr=False)

    def find(self, statement: str) -> str | None:
        """Return the id of the result that an earlier try read; ``None`` if the statement must run."""
        # A separate hook, because contacts are read before the task opens its own ledger.
        with OutboundBotHook(self.outboundbot_conn_id) as hook:
            if hook.dry_run:
                return None
            found = hook.ledger.assignments.find_query(self.find_key(), named_group(self.job_group_id), statement)
        if found is not None:
            self.use(statement, found)
        return found

    def use(self, statement: str, instance_id: str) -> None:
        """Note which result this try reads."""
        self._used = statement, instance_id

    def store(self, ledger: Ledger) -> None:
        """Let later tries read the same result."""
        if self._used is not None:
            ledger.assignments.note_query(self.find_key(), named_group(self.job_group_id), *self._used)

    def forget_unless_called(self, ledger: Ledger, error: BaseException) -> None:
        """After an error of the contacts themselves, let the next try run the query again if nobody was called."""
        job_group_id = named_group(self.job_group_id)
        if (
            self._used is not None
            and isinstance(error, OutboundBotContactsError)
            and not ledger.assignments.may_have_called(self.find_key(), job_group_id)
        ):
            ledger.assignments.forget_query(self.find_key(), job_group_id)
