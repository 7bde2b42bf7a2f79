"""Exports a group's results to a file or a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.contacts import PathLike
from airflow_provider_outbound.core.files import atomic_write
from airflow_provider_outbound.core.models.job_details import Depth
from airflow_provider_outbound.core.progress import ProgressLog
from airflow_provider_outbound.core.results.call_rows import iter_call_rows
from airflow_provider_outbound.core.results.columns import (
    CALL_COLUMNS,
    CALL_KEY,
    COLUMNS,
    CONVERSATION,
    KEY,
    PERSONAL_COLUMNS,
    to_row,
)
from airflow_provider_outbound.core.results.counting import RowCounter
from airflow_provider_outbound.core.results.filters import iter_results, lacks_details
from airflow_provider_outbound.core.results.formats import format_of, open_writer
from airflow_provider_outbound.core.results.spreadsheet import check_row_count
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from airflow_provider_outbound.core.ledger import Ledger

#: What a row stands for.
LEVELS = ("job", "call")
#: Formats whose rows hold a conversation; for others there is a file of conversations.
_WITH_OBJECTS = ("jsonl", "parquet")


def export(
    ledger: Ledger,
    job_group_id: str,
    path: PathLike,
    *,
    file_format: str | None = None,
    only: str | None = None,
    include_phone_number: bool = False,
    level: str = "job",
    conversation: bool = False,
) -> dict[str, Any]:
    """
    Write a group's results to a file.

    The file appears when it is complete. It replaces an older one and keeps its mode, owner and link. Only the owner
    can read a new file with phone numbers or conversations.

    :param path: The file to write. Missing folders are created.
    :param file_format: ``jsonl``, ``csv``, ``parquet`` or ``xlsx``; ``None`` to use the suffix of ``path``.
    :param only: See :func:`iter_results`.
    :param include_phone_number: Write phone numbers and names too.
    :param level: ``job``: a row for each job; ``call``: a row for each of their calls.
    :param conversation: Write what was said in answered calls: as a column of JSON Lines and Parquet, and otherwise to
        a second file beside the first, ``NAME.conversation.jsonl``. It must have been fetched, see :func:`enrich`.
    :return: ``path``, ``rows``, and ``counts`` of the rows by outcome, with ``funnel`` if the details of all answered
        jobs are known; with a second file, ``conversation_path``.
    :raises OutboundBotConfigError: the format, ``level`` or ``only`` is unknown, conversations were not fetched, the
        file cannot be written, or its format cannot hold the rows.
    :raises LedgerError: the ledger does not know the group, or its rows were purged; nothing is written.
    """
    chosen = format_of(path.name, file_format)
    if chosen == "xlsx" and only is None and level == "job":
        check_row_count(ledger.results.counts(job_group_id).total)
    rows = _Rows(ledger, job_group_id, only, level, include_phone_number, conversation)
    beside: Any = None
    if conversation and chosen not in _WITH_OBJECTS:
        target: Any = path  # PathLike has only what sources of contacts need.
        beside = target.with_name(_conversation_name(path.name))
    _write(rows, path, chosen, beside, private=include_phone_number or conversation)
    rows.counter.warn(job_group_id)
    result = {"path": str(path), **rows.counter.summary()}
    return result if beside is None else result | {"conversation_path": str(beside)}


def _write(rows: _Rows, path: PathLike, chosen: str, beside: PathLike | None, *, private: bool) -> None:
    """
    Write rows to a file.

    :param chosen: The file's format.
    :param beside: The file of conversations, if the rows in the other file do not have them.
    """
    columns = rows.columns if beside is None else [name for name in rows.columns if name != CONVERSATION]
    with ExitStack() as files:
        file = files.enter_context(atomic_write(path, private=private))
        write = files.enter_context(open_writer(file, path.name, chosen, columns))
        write_turns: Callable[[dict[str, Any]], object] | None = None
        if beside is not None:
            second = files.enter_context(atomic_write(beside, private=True))
            keys = (*rows.key, "job_id", CONVERSATION)
            write_turns = files.enter_context(open_writer(second, beside.name, "jsonl", keys))
        for row in rows:
            write(row)
            if write_turns is not None and row[CONVERSATION]:
                write_turns(row)


def export_to_table(
    ledger: Ledger,
    job_group_id: str,
    connection: Connection,
    table: str,
    *,
    only: str | None = None,
    include_phone_number: bool = False,
    level: str = "job",
    conversation: bool = False,
) -> dict[str, Any]:
    """
    Write a group's results to a table of any database: all of them in one transaction, or none.

    Existing rows are replaced; rows of jobs that ``only`` leaves out stay unchanged. The table is created if it does
    not exist.

    :param connection: Connection to the database, without a transaction in progress. It is committed.
    :param table: ``table`` or ``schema.table``.
    :param only: See :func:`iter_results`.
    :param include_phone_number: Write phone numbers and names too.
    :param level: See :func:`export`. The key of a table of calls also has ``attempt``.
    :param conversation: Write what was said in answered calls to a column ``conversation``; see :func:`export`.
    :return: ``table``, ``rows``, and ``counts``, as :func:`export`.
    :raises OutboundBotConfigError: ``only`` or ``level`` is unknown, conversations were not fetched, the table lacks a
        column or the key, or it would take different references for the same one.
    :raises LedgerError: the ledger does not know the group, or its rows were purged; nothing is written.
    """
    from airflow_provider_outbound.core.results.table import Target

    rows = _Rows(ledger, job_group_id, only, level, include_phone_number, conversation)
    target = Target(connection, table, rows.columns)
    target.prepare()
    with connection.begin():
        target.write({name: row[name] for name in rows.columns} for row in rows)
    rows.counter.warn(job_group_id)
    return {"table": table, **rows.counter.summary()}


def columns_of(*, personal: bool, level: str = "job", conversation: bool = False) -> tuple[str, ...]:
    """Return the columns of an export."""
    columns: Sequence[str] = CALL_COLUMNS if level == "call" else COLUMNS
    return (*columns, *((CONVERSATION,) if conversation else ()), *(PERSONAL_COLUMNS if personal else ()))


def _conversation_name(name: str) -> str:
    """Return the name of the file of conversations: ``results.csv.gz`` → ``results.conversation.jsonl.gz``."""
    plain = name[: -len(".gz")] if name.lower().endswith(".gz") else name
    stem, dot, _ = plain.rpartition(".")
    return f"{stem if dot else plain}.conversation.jsonl{name[len(plain) :]}"


class _Rows:
    """The rows of an export, and their counts."""

    def __init__(
        self,
        ledger: Ledger,
        job_group_id: str,
        only: str | None,
        level: str,
        include_phone_number: bool,
        conversation: bool,
    ) -> None:
        check_level(level)
        self._results = iter_results(ledger, job_group_id, only)
        if conversation:
            _check_conversations(ledger, job_group_id, only)
        self._ledger = ledger
        self._job_group_id = job_group_id
        self._level = level
        self._personal = include_phone_number
        self.columns = columns_of(personal=include_phone_number, level=level, conversation=conversation)
        self.key = CALL_KEY if level == "call" else KEY
        self.counter = RowCounter()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        progress = ProgressLog(f"Job group {self._job_group_id}", "rows exported", from_zero=True)
        for number, row in enumerate(self._read(), 1):
            progress.offer(number)
            yield row

    def _read(self) -> Iterator[dict[str, Any]]:
        if self._level == "job":
            for result in self.counter.jobs(self._results):
                yield to_row(result, include_phone_number=self._personal)
            return
        rows = iter_call_rows(self._ledger, self._job_group_id, self._results, include_phone_number=self._personal)
        yield from self.counter.calls(rows)


def check_level(level: str) -> None:
    """
    Check the argument ``level``.

    :raises OutboundBotConfigError: it is unknown.
    """
    if level not in LEVELS:
        raise OutboundBotConfigError(f"level: {level!r} is not one of {', '.join(map(repr, LEVELS))}")


def _check_conversations(ledger: Ledger, job_group_id: str, only: str | None) -> None:
    """Check that conversations were fetched: a missing one must not look like a call in which nothing was said."""
    results = iter_results(ledger, job_group_id, only)
    lacking = sum(lacks_details(result, Depth.CONVERSATIONS) for result in results)
    if lacking:
        raise OutboundBotConfigError(
            f"conversation: what was said in {lacking} answered jobs of job group {job_group_id} is not known; export"
            " with enrich=True first. Nothing was written"
        )
