"""Operators for results and recordings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.arguments import as_path, check_duration, check_flags, named_group
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.base import OutboundBotOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.ledger import Ledger

#: How long to wait for recordings.
RECORDINGS_TIMEOUT = timedelta(minutes=30)


class OutboundBotExportResultsOperator(OutboundBotOperator):
    """
    Write the result of each job of a group, or each of its calls, as one row to a file or to a table of a database.

    The columns and their types are those of :mod:`airflow_provider_outbound.core.results`. A file appears when it is
    complete. It replaces an older one and keeps its mode, owner and link. Only the owner can read a new file with phone
    numbers. A table is written in one transaction; existing rows are replaced, and rows of jobs that ``only`` leaves
    out stay unchanged. A job that ran again has a higher ``revision`` in the next export.

    :param job_group_id: The group, or the return value of another task of this provider.
    :param path: File to write, local or, with a scheme, in an object store: ``.csv``, ``.jsonl`` (both also with
        ``.gz``), ``.parquet`` or ``.xlsx``.
    :param file_format: ``csv``, ``jsonl``, ``parquet`` or ``xlsx``; default: by the suffix of ``path``.
    :param sql_conn_id: Connection of a database, instead of ``path``.
    :param table: Its table, ``name`` or ``schema.name``, with the key (job_group_id, reference_id), for calls also
        attempt; created if it does not exist.
    :param only: Only jobs with this outcome (``answered``, ``unanswered``, ``not_dialled``, ``other``), ``failed``
        ones, those with this status, failure reason or call status of the service, or ``tag:NAME=VALUE``: those whose
        conversation set this tag to this value (``tag:NAME``: to any value).
    :param include_phone_number: Write phone numbers and names too. Otherwise those of an earlier export are cleared in
        the rows of a table that are written.
    :param enrich: First fetch tags, durations, hang-up side and end of the conversation of answered jobs from the API:
        one request per 100 answered jobs where messages reported the ends of calls, otherwise one per job; once, so a
        retry continues where the last try stopped. ``only="tag:…"`` implies it.
    :param level: ``job``: a row for each job; ``call``: a row for each call. With ``enrich``, calls need one request
        for each dialled job.
    :param conversation: Write what was said in answered calls: as a column of JSON Lines, Parquet and tables, and for
        other formats to a second file ``NAME.conversation.jsonl``. Implies ``enrich``, with one request for each
        answered job. Only the owner can read the files.
    :return: ``job_group_id``, ``path`` or ``table``, ``rows``, ``counts`` (with ``funnel`` once the details of all
        answered jobs are known), with a second file ``conversation_path``; also in the asset events of ``outlets``.
    """

    template_fields: Sequence[str] = (
        "job_group_id",
        "path",
        "file_format",
        "sql_conn_id",
        "table",
        "only",
        "instance_id",
        "outboundbot_conn_id",
    )
    ui_color = "#eaf7ea"

    def __init__(
        self,
        *,
        job_group_id: Any,
        path: Any = None,
        file_format: str | None = None,
        sql_conn_id: str | None = None,
        table: str | None = None,
        only: str | None = None,
        include_phone_number: bool = False,
        enrich: bool = False,
        level: str = "job",
        conversation: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.path = path
        self.file_format = file_format
        self.sql_conn_id = sql_conn_id
        self.table = table
        self.only = only
        self.include_phone_number = include_phone_number
        self.enrich = enrich
        self.level = level
        self.conversation = conversation

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the rows."""
        check_flags(self, "include_phone_number", "enrich", "conversation")
        from airflow_provider_outbound.core.results import check_level, enrich, needs_details

        check_level(self.level)
        job_group_id = named_group(self.job_group_id)
        if (self.path is None) == (self.table is None) or (self.table is None) != (self.sql_conn_id is None):
            raise OutboundBotConfigError(
                "path: give either a path, or a table together with sql_conn_id; for both use two tasks"
            )
        with self.hook as hook:
            ledger = hook.ledger
            if self.enrich or self.conversation or needs_details(self.only):
                record = ledger.groups.get(job_group_id)
                instance_id = self.instance_id or (record.instance_id if record else None)
                enrich(
                    ledger,
                    hook.client,
                    job_group_id,
                    only=self.only,
                    level=self.level if self.enrich else "job",
                    conversation=self.conversation,
                    instance_id=instance_id,
                )
            written = self._write(ledger, job_group_id)
        result = {"job_group_id": job_group_id, **written}
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra.update(result)
        place = result.get("path") or f"table {result['table']}"
        self.log.info("Job group %s: %s rows written to %s", job_group_id, result["rows"], place)
        return result

    def _write(self, ledger: Ledger, job_group_id: str) -> dict[str, Any]:
        from airflow_provider_outbound.core.results import export, export_to_table
        from airflow_provider_outbound.operators.databases import connect

        which: dict[str, Any] = {
            "only": self.only,
            "include_phone_number": self.include_phone_number,
            "level": self.level,
            "conversation": self.conversation,
        }
        if self.table is None:
            return export(ledger, job_group_id, as_path(self.path, "path"), file_format=self.file_format, **which)
        with connect(str(self.sql_conn_id), "table") as connection:
            return export_to_table(ledger, job_group_id, connection, self.table, **which)


class OutboundBotDownloadRecordingsOperator(OutboundBotOperator):
    """
    Download the recording of each answered call of a group, as soon as the service has it.

    Run it after the campaign or in parallel: it holds a worker until the group has ended and every answered call has
    its recording, or until ``timeout``. Files are named by ids, ``JOB_TASK.wav``, and appear when they are complete;
    only the owner can read them. Existing recordings are not downloaded again. If a notice is missing, the API is
    asked.

    :param job_group_id: The group, or the return value of another task of this provider.
    :param path: Folder for the files, local or, with a scheme, in an object store.
    :param max_parallel_requests: The maximum number of concurrent downloads.
    :param timeout: How long to wait for recordings. Those missing then are counted; the next run downloads them.
    :return: ``job_group_id``, ``path``, ``answered`` (calls), ``downloaded``, ``present`` (from earlier), ``missing``,
        ``bytes`` (downloaded); also in the asset events of ``outlets``.
    """

    template_fields: Sequence[str] = ("job_group_id", "path", "instance_id", "outboundbot_conn_id")
    ui_color = "#eaf7ea"

    def __init__(
        self,
        *,
        job_group_id: Any,
        path: Any,
        max_parallel_requests: int = 8,
        timeout: timedelta = RECORDINGS_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.path = path
        self.max_parallel_requests = max_parallel_requests
        self.timeout = timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Download the available recordings, and wait for the rest."""
        from airflow_provider_outbound.core.results import download_recordings

        job_group_id = named_group(self.job_group_id)
        check_duration(self.timeout, "timeout")
        with self.hook as hook:
            record = hook.ledger.groups.get(job_group_id)
            fetched = download_recordings(
                hook.ledger,
                hook.client,
                job_group_id,
                as_path(self.path, "path"),
                instance_id=self.instance_id or (record.instance_id if record else None),
                max_parallel_requests=self.max_parallel_requests,
                timeout=self.timeout.total_seconds(),
            )
        result = {"job_group_id": job_group_id, **fetched}
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra.update(result)
        return result
