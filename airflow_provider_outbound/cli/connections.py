"""The connections through which commands reach job groups."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from airflow_provider_outbound import config
from airflow_provider_outbound.cli.ledger.opening import WRONG_HOME, missing_file
from airflow_provider_outbound.cli.options import DEFAULT_CONNECTION, connection_of, read_airflow_connections
from airflow_provider_outbound.cli.sweep import words_of
from airflow_provider_outbound.exceptions import (
    LedgerError,
    LedgerMissingError,
    OutboundBotConfigError,
    OutboundBotError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook


_HINT = f"{WRONG_HOME}. If it is lost: outbound groups --at-service"


def add_connection(parser: argparse.ArgumentParser, what: str = "Airflow connection") -> None:
    """Add ``--outboundbot-conn-id``."""
    parser.add_argument(
        "--outboundbot-conn-id",
        metavar="ID",
        help=f"{what} (default: the one that each job group was created with, or {DEFAULT_CONNECTION})",
    )


class Connections:
    """
    The connections of job groups, which may belong to several accounts. Owns their hooks, which end with the block.

    :param named: The connection that the command names for all job groups; ``None``: each group's own.
    :param command: The name of the command.
    """

    def __init__(self, named: str | None, command: str) -> None:
        read_airflow_connections()
        self._named = named
        self._command = command
        self._hooks: dict[str, OutboundBotHook] = {}
        self._open = ExitStack()
        self._why_no_ledger: OutboundBotError | None = None
        #: Why connections cannot be used, and for how many job groups.
        self.unusable: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def ledger(self) -> Ledger:
        """
        The ledger, which can be read without a usable connection.

        :raises LedgerMissingError: its file does not exist. A command does not create it: the empty ledger would look
            like that of the tasks.
        :raises OutboundBotError: it cannot be opened; tried once, because each try may take long.
        """
        if self._why_no_ledger is not None:
            raise self._why_no_ledger
        try:
            self._refuse_missing_file()
            return self._hook(connection_of(self._named, None)).ledger
        except OutboundBotError as error:
            self._why_no_ledger = self._why_no_ledger or error
            raise

    def _refuse_missing_file(self) -> None:
        if missing := missing_file(config.load_ledger_url()):
            text = f"ledger {missing}: there is no such file"
            # The advice is shown once.
            self._why_no_ledger = LedgerMissingError(text)
            raise LedgerMissingError(f"{text}. {_HINT}")

    def record_of(self, job_group_id: str) -> JobGroupRecord:
        """Return what the ledger knows of a job group. Stopping its calls must work without."""
        from airflow_provider_outbound.core.ledger import JobGroupRecord

        try:
            record = self.ledger.groups.get(job_group_id)
        except (LedgerError, OutboundBotConfigError) as error:
            if self._command == "resume":
                raise
            conn_id = connection_of(self._named, None)
            print(
                f"outbound: {job_group_id}: {words_of(error)}; {self._command} is sent without the ledger, through"
                f" connection {conn_id!r}",
                file=sys.stderr,
            )
            record = None
        return record or JobGroupRecord(job_group_id=job_group_id)

    def of(self, record: JobGroupRecord) -> OutboundBotHook:
        """
        Return the hook of a job group's connection.

        :raises OutboundBotConfigError: the connection cannot be used for this command.
        """
        conn_id = connection_of(self._named, record.conn_id)
        hook = self._hook(conn_id)
        try:
            dry_run = hook.dry_run
        except OutboundBotConfigError as error:
            self.unusable[str(error)] += 1
            raise
        if dry_run and self._command != "groups":
            raise OutboundBotConfigError(
                f"connection {conn_id!r} has dry_run set, so nothing is sent; name another one with"
                " --outboundbot-conn-id"
            )
        return hook

    def is_own(self, record: JobGroupRecord) -> bool:
        """
        Whether the command uses a job group's own connection, as far as the ledger knows it.

        Only then does a job group that the API does not know no longer exist: another account does not know it either.
        """
        return self._named in (None, record.conn_id)

    def _hook(self, conn_id: str) -> OutboundBotHook:
        from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

        if conn_id not in self._hooks:
            hook = self._hooks[conn_id] = self._open.enter_context(OutboundBotHook(conn_id))
            hook.may_call = self._command == "resume"
        return self._hooks[conn_id]


def is_unused(ledger: Ledger, consequence: str = ", so nothing was done") -> bool:
    """Whether a ledger has never had a job group; says so, because it is perhaps not the one of Airflow's services."""
    from airflow_provider_outbound.core.ledger import shown_url

    if ledger.groups.newest():
        return False
    print(
        f"outbound: ledger {shown_url(ledger.engine.url)} has never had a job group{consequence}. {_HINT}",
        file=sys.stderr,
    )
    return True


def is_under_way(ledger: Ledger, record: JobGroupRecord) -> bool:
    """Whether people of a job group may still be called, as far as the ledger knows."""
    from airflow_provider_outbound.core.control import is_over

    try:
        return not is_over(ledger.groups.state(record.job_group_id))
    except Exception as error:  # noqa: BLE001 - a group that the ledger cannot read must not be skipped
        print(f"outbound: {record.job_group_id}: {words_of(error)}; treated as under way", file=sys.stderr)
        return True


def waited_for(ledger: Ledger) -> list[str]:
    """The job groups under way that tasks only wait for: others created them, or the ledger was restored since."""
    return [one.job_group_id for one in ledger.groups.list_waited_for() if is_under_way(ledger, one)]
