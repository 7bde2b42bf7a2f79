"""Exports a group's results to a file or a table."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.contacts import PathLike
from airflow_provider_outbound.core.files import atomic_write
from airflow_provider_outbound.core.progress import ProgressLog
from airflow_provider_outbound.core.results.columns import COLUMNS, PERSONAL_COLUMNS, to_row
from airflow_provider_outbound.core.results.filters import iter_results
from airflow_provider_outbound.core.results.formats import format_of, open_writer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from airflow_provider_outbound.core.ledger import JobResult, Ledger

log = logging.getLogger(__name__)


def export(
    ledger: Ledger,
    job_group_id: str,
    path: PathLike,
    *,
    file_format: str | None = None,
    only: str | None = None,
    include_phone_number: bool = False,
) -> dict[str, Any]:
    """
    Write a group's results to a file.

    The file appears when it is complete. It replaces an older one and keeps its mode, owner and link. Only the owner
    can read a new file with phone numbers.

    :param path: The file to write. Missing folders are created.
    :param file_format: ``jsonl``, ``csv`` or ``parquet``; ``None`` to use the suffix of ``path``.
    :param only: See :func:`iter_results`.
    :param include_phone_number: Write phone numbers and names too.
    :return: ``path``, ``rows``, and ``counts`` of the rows by outcome.
    :raises OutboundBotConfigError: the format or ``only`` is unknown, or the file cannot be written.
    :raises LedgerError: the ledger does not know the group, or its rows were purged; nothing is written.
    """
    chosen = format_of(path.name, file_format)
    results = _Counted(job_group_id, iter_results(ledger, job_group_id, only))
    columns = columns_of(personal=include_phone_number)
    with (
        atomic_write(path, private=include_phone_number) as file,
        open_writer(file, path.name, chosen, columns) as write,
    ):
        for result in results:
            write(to_row(result, include_phone_number=include_phone_number))
    results.warn(job_group_id)
    return {"path": str(path), **results.summary()}


def export_to_table(
    ledger: Ledger,
    job_group_id: str,
    connection: Connection,
    table: str,
    *,
    only: str | None = None,
    include_phone_number: bool = False,
) -> dict[str, Any]:
    """
    Write a group's results to a table of any database: all of them in one transaction, or none.

    Existing rows are replaced; rows of jobs that ``only`` leaves out stay unchanged. The table is created if it does
    not exist.

    :param connection: Connection to the database, without a transaction in progress. It is committed.
    :param table: ``table`` or ``schema.table``.
    :param only: See :func:`iter_results`.
    :param include_phone_number: Write phone numbers and names too.
    :return: ``table``, ``rows``, and ``counts`` of the rows by outcome.
    :raises OutboundBotConfigError: ``only`` is unknown, or the table lacks a column or the key.
    :raises LedgerError: the ledger does not know the group, or its rows were purged; nothing is written.
    """
    from airflow_provider_outbound.core.results.table import Target

    results = _Counted(job_group_id, iter_results(ledger, job_group_id, only))
    target = Target(connection, table, columns_of(personal=include_phone_number))
    target.prepare()
    with connection.begin():
        target.write(to_row(result, include_phone_number=include_phone_number) for result in results)
    results.warn(job_group_id)
    return {"table": table, **results.summary()}


def columns_of(*, personal: bool) -> tuple[str, ...]:
    """Return the columns of an export."""
    return (*COLUMNS, *PERSONAL_COLUMNS) if personal else COLUMNS


class _Counted:
    """Counts results while they are exported."""

    def __init__(self, job_group_id: str, results: Iterator[JobResult]) -> None:
        self._results = results
        self._progress = ProgressLog(f"Job group {job_group_id}", "results exported", from_zero=True)
        self._counts: Counter[str] = Counter()
        self._unreadable = 0

    def __iter__(self) -> Iterator[JobResult]:
        for number, result in enumerate(self._results, 1):
            self._progress.offer(number)
            self._counts[str(result.outcome) if result.has_ended else "open"] += 1
            self._unreadable += not result.decrypted
            yield result

    def summary(self) -> dict[str, Any]:
        return {"rows": self._counts.total(), "counts": dict(sorted(self._counts.items()))}

    def warn(self, job_group_id: str) -> None:
        if self._unreadable:
            log.warning(
                "Job group %s: contacts of %d rows cannot be decrypted and are left empty; is a key missing in"
                " [outbound] ledger_key?",
                job_group_id,
                self._unreadable,
            )
