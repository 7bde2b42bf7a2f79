"""The operators for results and recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.configuration import conf

from airflow_provider_outbound.arguments import as_path, check_flags, named_group
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.operators.assets import path_uri, report_to_outlets, table_uri
from airflow_provider_outbound.operators.base import OutboundBotOperator
from airflow_provider_outbound.operators.open_jobs import warn_of_open_jobs
from airflow_provider_outbound.operators.recordings import OutboundBotDownloadRecordingsOperator
from airflow_provider_outbound.triggers.details import OutboundBotJobDetailsTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.ledger import Ledger

__all__ = ["OutboundBotDownloadRecordingsOperator", "OutboundBotExportResultsOperator"]


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
    :param deferrable: Fetch details in the triggerer and hold no worker meanwhile, if more than a few jobs lack them.
        Worth it where each job takes a request: 10,000 jobs, at 10 requests per second, take 17 minutes.
    :return: ``job_group_id``, ``path`` or ``table``, ``rows``, ``counts`` (with ``funnel`` once the details of all
        answered jobs are known), with a second file ``conversation_path``; also in the asset events of ``outlets``.
        An ``AssetAlias`` among them gets an event of the file or table itself, for instance of
        ``postgres://host:5432/database/schema/table``.
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
    complete_fields = ("path", "table", "only")
    ending = "Nothing was written"
    own_files = ("path",)
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
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
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
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch details, here or in the triggerer, and write the rows."""
        check_flags(self, "include_phone_number", "enrich", "conversation", "deferrable")
        from airflow_provider_outbound.core.results import check_level, lacks_many

        check_level(self.level)
        job_group_id = named_group(self.job_group_id)
        if (self.path is None) == (self.table is None) or (self.table is None) != (self.sql_conn_id is None):
            raise OutboundBotConfigError(
                "path: give either a path, or a table together with sql_conn_id; for both use two tasks"
            )
        details = self._details()
        if self.deferrable and details is not None:
            with self.hook as hook:
                takes_long = lacks_many(hook.ledger, job_group_id, **details)
            if takes_long:
                self._defer(job_group_id, details)
        return self._export(context)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        Resume once details were fetched.

        :param event: See :class:`OutboundBotJobDetailsTrigger`; ``None`` if the triggerer lost it.
        """
        if isinstance(event, Mapping) and event.get("status") == "error":
            raise OutboundBotError(str(event["message"]))
        return self._export(context)

    def _details(self) -> dict[str, Any] | None:
        """Return the arguments that select the details to fetch; ``None`` for no details."""
        from airflow_provider_outbound.core.results import needs_details

        if not (self.enrich or self.conversation or needs_details(self.only)):
            return None
        return {
            "only": self.only,
            "level": self.level if self.enrich else "job",
            "conversation": self.conversation,
        }

    def _defer(self, job_group_id: str, details: dict[str, Any]) -> NoReturn:
        self.log.info("Job group %s: details are fetched without a worker", job_group_id)
        self.defer(
            trigger=OutboundBotJobDetailsTrigger(
                job_group_id=job_group_id,
                outboundbot_conn_id=self.outboundbot_conn_id,
                instance_id=self.instance_id,
                **details,
            ),
            method_name="execute_complete",
            timeout=self.execution_timeout,
        )

    def _export(self, context: Context) -> dict[str, Any]:
        """Fetch the details that are still missing, and write the rows."""
        from airflow_provider_outbound.core.results import enrich

        job_group_id = named_group(self.job_group_id)
        details = self._details()
        with self.hook as hook:
            ledger = hook.ledger
            if details is not None:
                record = ledger.groups.get(job_group_id)
                instance_id = self.instance_id or (record.instance_id if record else None)
                enrich(ledger, hook.client, job_group_id, instance_id=instance_id, **details)
            warn_of_open_jobs(ledger, job_group_id, "this export")
            written, uri = self._write(ledger, job_group_id)
        result = {"job_group_id": job_group_id, **written}
        report_to_outlets(self, context, result, uri)
        place = result.get("path") or f"table {result['table']}"
        self.log.info("Job group %s: %s rows written to %s", job_group_id, result["rows"], place)
        return result

    def _write(self, ledger: Ledger, job_group_id: str) -> tuple[dict[str, Any], str | None]:
        """Write the rows; return the result, and the URI of what was written."""
        from airflow_provider_outbound.core.results import export, export_to_table
        from airflow_provider_outbound.operators.databases import connect

        which: dict[str, Any] = {
            "only": self.only,
            "include_phone_number": self.include_phone_number,
            "level": self.level,
            "conversation": self.conversation,
        }
        if self.table is None:
            path = as_path(self.path, "path")
            return export(ledger, job_group_id, path, file_format=self.file_format, **which), path_uri(self.path)
        with connect(str(self.sql_conn_id), "table") as connection:
            written = export_to_table(ledger, job_group_id, connection, self.table, **which)
            return written, table_uri(connection, self.table)
