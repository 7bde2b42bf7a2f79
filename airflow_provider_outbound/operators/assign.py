"""The operator that assigns contacts to a job group: it calls people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import (
    as_path,
    call_cap,
    check_choice,
    check_flags,
    named_group,
    text_list,
)
from airflow_provider_outbound.exceptions import (
    OutboundBotContactsError,
    OutboundBotWrongTimeError,
    before_calling,
)
from airflow_provider_outbound.operators.base import (
    MAX_RUN_AGE,
    SETTLE_SECONDS,
    has_assigned,
    in_this_try,
    is_last_try,
    mask_contacts,
    run_guard,
    run_started_at,
    task_key,
)
from airflow_provider_outbound.operators.killed import EndsWhenKilled
from airflow_provider_outbound.operators.literals import NOT_GIVEN, SOURCES, came_from_task

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.assign import AssignOptions, Request
    from airflow_provider_outbound.core.contacts import ContactSource
    from airflow_provider_outbound.core.ledger import Ledger
    from airflow_provider_outbound.core.models.strategy import ResolvedStrategy, Strategy
    from airflow_provider_outbound.core.rules import RunGuard
    from airflow_provider_outbound.operators.preflight import BeforeAssigning
    from airflow_provider_outbound.operators.query_results import SharedResult
    from airflow_provider_outbound.operators.sources import SourceArguments


class OutboundBotAssignJobsOperator(EndsWhenKilled):
    """
    Assign contacts to a job group, each at most once, whatever happens to the task.

    Numbers, names and extras are stored only in the ledger, encrypted; Airflow shows contacts as ``<200 contacts>``.

    :param job_group_id: The group, or the return value of :class:`OutboundBotCreateJobGroupOperator`.
    :param contacts: List of dictionaries or numbers, or a task's output; a pandas, Polars or PyArrow frame; or an
        :class:`~airflow.sdk.Asset`: the files that its events in this run name in ``extra["path"]``, or else its URI.
    :param contacts_path: Instead: a file, a folder, or a pattern (``s3://bucket/day=*/*.csv.gz``) of ``.csv``,
        ``.tsv``, ``.jsonl`` and ``.ndjson`` files, all of these also with ``.gz``, ``.parquet`` and ``.xlsx`` files.
    :param sheet: Name of the sheet in the workbooks of ``contacts_path``. Default: the only visible one, or the only
        visible one that has a column for the phone number. Hidden rows are read too.
    :param contacts_sql: Instead: a SELECT statement, or a ``.sql`` file, whose columns are read like those of a file.
        It runs once in each try, in MaxCompute once for all tries, before anybody is called.
    :param sql_conn_id: Connection of the database.
    :param contacts_table: Instead: a table in MaxCompute, ``name`` or ``project.name``, read as it is when the task
        begins.
    :param partition: Its partition, for example ``pt={{ ds_nodash }}``; ``None`` for a table without partitions.
    :param contacts_conn_id: Connection for ``contacts_table``, and for ``contacts_sql`` instead of ``sql_conn_id``: in
        a task group, ``sql_conn_id`` belongs to the export too.
    :param contacts_from: Instead: another job group, or the return value of one of its tasks, whose contacts to call
        again, with their names, extras and reference ids.
    :param only: Which finished jobs of ``contacts_from`` to call again. Contacts known to be on a block list are
        skipped.
    :param columns: Source columns by content (phone, name, honorific, role, reference_id). The usual English and
        Chinese names are recognised, and all other columns become extras. ``{"reference_id": None}``: no column has
        reference ids, whatever its name. They also apply to exclusions that have such columns.
    :param encoding: Encoding of the files.
    :param default_region: Country of numbers written without a country code.
    :param dedupe_by: What must be unique in the group: ``phone``, or ``reference_id``.
    :param exclude: Numbers, or contacts, that must not be called, in any form that ``contacts`` accepts.
    :param exclude_path: The same from files.
    :param exclude_columns: Like ``columns``, for exclusions only; each column must exist.
    :param exclude_sheet: Like ``sheet``, for exclusions only. Required if more than one sheet holds numbers.
    :param exclude_encoding: Encoding of the exclusion files; default: ``encoding``.
    :param on_missing_exclusions: ``fail``: call nobody if an exclusion named in the DAG file does not exist, because a
        template rendered to None or nothing, a task returned None or was skipped, or the file does not exist;
        ``ignore``: call without it, and log that. An exclusion that exists must be readable in either case, and may be
        empty.
    :param on_invalid: ``fail``: call nobody if a row is not a contact; ``skip``: leave such rows out.
    :param on_empty: ``skip`` this task if there are no rows at all, or ``fail``.
    :param rejects_path: Where to write who is left out, and why, as CSV with masked numbers: rows that are not
        contacts, exclusions, duplicates, and those over a limit.
    :param max_jobs: The maximum number of contacts that this task adds to the group, in order.
    :param max_calls_per_contact: How often a person may be called within ``period``, by all DAGs of this ledger. It is
        checked before contacts are assigned; then the service may dial each as often as its strategy allows.
    :param period: How far back calls count.
    :param batch_size: Contacts per request, up to 99; fewer if they are long.
    :param max_parallel_requests: The maximum number of concurrent requests; fewer while the service throttles.
    :param strategy: When to dial these contacts, instead of the group's strategy. Default for a group created with
        ``start_immediately`` and without a window: the rest of today's ``calling_hours`` of the connection.
    :param calling_numbers: Numbers to call these contacts from.
    :param rocketmq_conn_id: Connection of type ``rocketmq``: this task stores the messages of the first calls while it
        assigns, if triggers run the collector (``[outbound] collector``) and none is running. ``None``: these messages
        wait at the broker until a sensor is deferred. In a task group, the sensor has it too.
    :param settle_seconds: How long after a request without an answer its jobs may still appear in the group (seconds).
    :param on_unresolved: What to do with contacts that did not appear: ``resend`` them, and fail if they are not
        accepted then; or ``hold`` and report them: this task succeeds, and the sensor applies its
        ``on_unresolved_jobs``.
    :param require_capacity: Call nobody unless all calls fit: contacts × mean length of a call within the bot
        instance's lines × the time left for dialling. Otherwise calls that do not fit are a warning with the figures,
        if the contacts are counted in advance: ``on_invalid="fail"``, and a source that can be read twice.
    :param max_run_age: How long after the time that the DAG run stands for people may still be called; see
        :func:`~airflow_provider_outbound.operators.base.run_at`.
    :param allow_backfill: Whether a backfill may call people.
    :return: ``job_group_id``, ``read``, ``assigned`` (now in the group), ``newly_assigned``, ``duplicates``,
        ``excluded``, ``capped``, ``rejected``, ``unresolved``, ``rejects_path``.
    """

    template_fields: Sequence[str] = (
        "job_group_id",
        "contacts",
        "contacts_path",
        "sheet",
        "contacts_sql",
        "sql_conn_id",
        "contacts_table",
        "partition",
        "contacts_conn_id",
        "contacts_from",
        "only",
        "columns",
        "exclude",
        "exclude_path",
        "exclude_columns",
        "exclude_sheet",
        "rejects_path",
        "strategy",
        "calling_numbers",
        "rocketmq_conn_id",
        "instance_id",
        "outboundbot_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"contacts_sql": "sql"}
    veiled_fields = ("contacts", "exclude")
    never_none = (
        *("strategy", "calling_numbers", "rejects_path", "sheet", "exclude_sheet", "columns", "exclude_columns"),
        *("sql_conn_id", "contacts_conn_id"),
    )
    complete_fields = (
        *("contacts_path", "contacts_sql", "contacts_table", "partition", "only", "exclude_path", "rejects_path"),
        *("sheet", "exclude_sheet"),
    )
    own_files = ("rejects_path",)
    ui_color = "#e8f4fd"

    def __init__(
        self,
        *,
        job_group_id: Any,
        contacts: Any = None,
        contacts_path: Any = None,
        sheet: str | None = None,
        contacts_sql: str | None = None,
        sql_conn_id: str | None = None,
        contacts_table: str | None = None,
        partition: str | None = None,
        contacts_conn_id: str | None = None,
        contacts_from: Any = None,
        only: str | None = "unanswered",
        columns: Mapping[str, str | None] | None = None,
        encoding: str = "utf-8-sig",
        default_region: str = "CN",
        dedupe_by: Literal["phone", "reference_id"] = "phone",
        exclude: Any = NOT_GIVEN,
        exclude_path: Any = NOT_GIVEN,
        exclude_columns: Mapping[str, str | None] | None = None,
        exclude_sheet: str | None = None,
        exclude_encoding: str | None = None,
        on_missing_exclusions: Literal["fail", "ignore"] = "fail",
        on_invalid: Literal["fail", "skip"] = "fail",
        on_empty: Literal["skip", "fail"] = "skip",
        rejects_path: Any = None,
        max_jobs: int | None = None,
        max_calls_per_contact: int | None = None,
        period: timedelta | None = None,
        batch_size: int = 25,
        max_parallel_requests: int = 8,
        strategy: Strategy | Mapping[str, Any] | None = None,
        calling_numbers: Sequence[str] | None = None,
        rocketmq_conn_id: str | None = None,
        settle_seconds: float = SETTLE_SECONDS,
        on_unresolved: Literal["resend", "hold"] = "resend",
        require_capacity: bool = False,
        max_run_age: timedelta = MAX_RUN_AGE,
        allow_backfill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.contacts = mask_contacts(contacts)
        self.contacts_path = contacts_path
        self.sheet = sheet
        self.contacts_sql = contacts_sql
        self.sql_conn_id = sql_conn_id
        self.contacts_table = contacts_table
        self.partition = partition
        self.contacts_conn_id = contacts_conn_id
        self.contacts_from = contacts_from
        self.only = only
        self.columns = columns
        self.encoding = encoding
        self.default_region = default_region
        self.dedupe_by = dedupe_by
        self.exclude = None if exclude is NOT_GIVEN else mask_contacts(exclude)
        self.exclude_path = None if exclude_path is NOT_GIVEN else exclude_path
        self.exclude_columns = exclude_columns
        self.exclude_sheet = exclude_sheet
        self.exclude_encoding = exclude_encoding
        self.on_missing_exclusions = on_missing_exclusions
        self.on_invalid = on_invalid
        self.on_empty = on_empty
        self.rejects_path = rejects_path
        self.max_jobs = max_jobs
        self.max_calls_per_contact = max_calls_per_contact
        self.period = period
        self.batch_size = batch_size
        self.max_parallel_requests = max_parallel_requests
        self.strategy = strategy
        self.calling_numbers = calling_numbers
        self.rocketmq_conn_id = rocketmq_conn_id
        self.settle_seconds = settle_seconds
        self.on_unresolved = on_unresolved
        self.require_capacity = require_capacity
        self.max_run_age = max_run_age
        self.allow_backfill = allow_backfill
        #: Arguments that the DAG file gives, even if a template or a task turns them into nothing.
        self.named = frozenset(
            name for name in (*SOURCES, "only", "partition") if getattr(self, name) is not None
        ) | frozenset(
            # Including None: os.environ.get("DNC") returns it if the variable was not set.
            name
            for name, value in (("exclude", exclude), ("exclude_path", exclude_path))
            if value is not NOT_GIVEN
        )
        for items in (contacts, exclude):
            self.depend_on(items)

    def execute(self, context: Context) -> dict[str, Any]:
        """Assign contacts that are not assigned yet."""
        with in_this_try(context):
            return self._execute(context)

    def _execute(self, context: Context) -> dict[str, Any]:
        check_flags(self, "allow_backfill", "require_capacity")
        from airflow_provider_outbound.operators.collecting import collecting_messages
        from airflow_provider_outbound.operators.preflight import dry_run
        from airflow_provider_outbound.operators.query_results import SharedResult
        from airflow_provider_outbound.operators.sources import read_contacts

        shared = SharedResult(lambda: task_key(context), self.job_group_id, self.outboundbot_conn_id)
        with before_calling():
            arguments = self.source_arguments(context, shared)
            options = self._options(arguments, context)
            source = read_contacts(arguments, context)
            self._refuse_empty(source, context)
            if self.hook.dry_run:
                return dry_run(self, self.job_group_id, context, source, options)
            job_group_id = named_group(self.job_group_id)
        with self.hook as hook:
            with before_calling():
                ledger = hook.ledger
            with collecting_messages(self.rocketmq_conn_id, ledger):
                return self._assign(context, ledger, job_group_id, source, options, shared)

    def source_arguments(self, context: Context, shared: SharedResult | None = None) -> SourceArguments:
        """Return the arguments that select whom to call and whom not."""
        import attrs

        from airflow_provider_outbound.operators.sources import SourceArguments

        named = self.named
        if self.only is None and came_from_task(self, "only", context["ti"].map_index):
            named |= {"only"}
        names = attrs.fields_dict(SourceArguments).keys() - {"named", "shared"}
        return SourceArguments(**{name: getattr(self, name) for name in names}, named=named, shared=shared)

    def _assign(
        self,
        context: Context,
        ledger: Ledger,
        job_group_id: str,
        source: ContactSource,
        options: AssignOptions,
        shared: SharedResult,
    ) -> dict[str, Any]:
        import attrs

        from airflow_provider_outbound.core.assign import Request, abandon, assign
        from airflow_provider_outbound.core.rules import GroupGuard
        from airflow_provider_outbound.operators.sources import oldest_event

        record = ledger.groups.get(job_group_id)
        is_own = record is not None and record.run_key is not None
        rules = attrs.evolve(run_guard(self, context), event_at=oldest_event(self.contacts, context))
        key = task_key(context)
        instance_id = self.instance_id or (record.instance_id if record else None)
        ledger.groups.note_connection(job_group_id, self.outboundbot_conn_id)
        try:
            with before_calling():
                numbers = text_list(self.calling_numbers, "calling_numbers")
                strategy = self._resolved(rules, is_at_once=is_own and record is not None and record.ends_at is None)
            request = Request(
                job_group_id=job_group_id,
                instance_id=instance_id,
                strategy_json=strategy.json if strategy else None,
                calling_numbers=numbers,
            )
            result = assign(
                self.hook.client,
                ledger,
                key,
                source,
                request=request,
                options=options,
                guard=self._unless_killed(GroupGuard(rules=rules, strategy=strategy, is_own=is_own).check),
                before_sending=self._checks(request, strategy, options, shared).check,
            )
        except BaseException as error:
            # Airflow's error that execution_timeout is over is not an Exception. It is raised between transactions.
            shared.forget_unless_called(ledger, error)
            if is_last_try(context):
                abandon(ledger, key, job_group_id, settle_seconds=options.settle_seconds)
            raise
        self.log.info("Job group %s: %s", job_group_id, result)
        return result.to_dict()

    def _checks(
        self, request: Request, strategy: ResolvedStrategy | None, options: AssignOptions, shared: SharedResult
    ) -> BeforeAssigning:
        from airflow_provider_outbound.operators.preflight import BeforeAssigning

        return BeforeAssigning(
            hook=self.hook,
            instance_id=request.instance_id,
            strategy=strategy,
            calling_numbers=request.calling_numbers,
            require_capacity=self.require_capacity,
            cap=options.cap,
            shared=shared,
        )

    def _resolved(self, rules: RunGuard, *, is_at_once: bool) -> ResolvedStrategy | None:
        """Return when these contacts are dialled; ``None``: as the group says."""
        from airflow_provider_outbound.core.models.strategy import resolve_strategy

        if self.strategy is not None:
            return resolve_strategy(self.strategy, run_at=rules.run_at, now=datetime.now(UTC))
        # A group that dials at once: outside the calling hours none of them are left, and the guard raises.
        with suppress(OutboundBotWrongTimeError):
            return rules.at_once() if is_at_once else None
        return None

    def _options(self, arguments: SourceArguments, context: Context) -> AssignOptions:
        from airflow_provider_outbound.core.assign import AssignOptions
        from airflow_provider_outbound.operators.sources import read_exclusions

        return AssignOptions(
            dedupe_by=self.dedupe_by,
            on_invalid=self.on_invalid,
            batch_size=self.batch_size,
            max_parallel_requests=self.max_parallel_requests,
            settle_seconds=self.settle_seconds,
            on_unresolved=self.on_unresolved,
            excluded=read_exclusions(arguments, context),
            allowed=self.hook.allowed_phone_numbers,
            max_jobs=self.max_jobs,
            cap=call_cap(self.max_calls_per_contact, self.period),
            rejects_path=None if self.rejects_path is None else as_path(self.rejects_path, "rejects_path"),
            run_started_at=run_started_at(context),
        )

    def _refuse_empty(self, source: ContactSource, context: Context) -> None:
        check_choice(self.on_empty, "on_empty", ("skip", "fail"))
        if not source.is_empty():
            return
        from airflow_provider_outbound.core.models.phone import redact

        where = next(name for name in SOURCES if getattr(self, name) is not None)
        if where == "contacts_path":
            where += f" {redact(str(self.contacts_path))}"
        if self.on_empty == "fail":
            raise OutboundBotContactsError(f'{where}: there are no contacts; pass on_empty="skip" to accept that')
        if not has_assigned(self, self.job_group_id, context):
            raise AirflowSkipException(f"{where}: there are no contacts. Nobody was called")
        # A skipped task would also skip the wait for those who are being called.
        self.log.warning("%s: there are no contacts any more; this task reports whom it assigned before", where)
