"""What the operators share: the connection, the DAG run, and the masking of contacts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import named_group
from airflow_provider_outbound.exceptions import NOBODY_WAS_CALLED, OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.links.outboundbot import OutboundBotConsoleLink
from airflow_provider_outbound.operators.backfills import has_event_of_backfill, is_backfill
from airflow_provider_outbound.operators.literals import EXCLUSIONS, SOURCES, came_from_task, is_shared, render_literal
from airflow_provider_outbound.operators.privacy import without_numbers
from airflow_provider_outbound.operators.templates import render_complete

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_outbound.core.ledger import TaskKey
    from airflow_provider_outbound.core.rules import RunGuard

#: How late a DAG run may be and still call people.
MAX_RUN_AGE = timedelta(hours=12)
#: How long the service may take to list new job groups and jobs (seconds).
SETTLE_SECONDS = 120.0
#: Types of DAG runs that were triggered, with or without a logical date.
_TRIGGERED = frozenset({"manual", "operator_triggered", "asset_materialization"})


class MaskedContacts:
    """
    Hides contacts, so that Airflow, which stores and logs rendered fields, sees only how many there are.

    :param items: The contacts as the author passed them.
    :param is_data: Whether they must not be rendered, because they were rendered or come from a task.
    """

    def __init__(self, items: Any, *, is_data: bool = False) -> None:
        self.items = items
        self.is_data = is_data

    def __repr__(self) -> str:
        if isinstance(self.items, Sized) and not isinstance(self.items, str | bytes | Mapping):
            count = len(self.items)
            return f"<{count} contact{'' if count == 1 else 's'}>"
        return f"<contacts: {type(self.items).__name__}>"

    __str__ = __repr__

    def __deepcopy__(self, _memo: Any) -> MaskedContacts:
        return type(self)(self.items, is_data=self.is_data)


def mask_contacts(items: Any, veil: type[MaskedContacts] = MaskedContacts) -> Any:
    """Mask contacts. A template, or a reference to a task's output, stays unchanged, as it shows no contact."""
    from airflow.sdk.definitions.xcom_arg import XComArg

    return veil(items) if isinstance(items, Iterable) and not isinstance(items, str | XComArg) else items


def is_asset(value: Any) -> bool:
    """Return whether contacts are given as an asset, whose events name their files."""
    from airflow.sdk import Asset

    return isinstance(value, Asset)


class OutboundBotOperator(BaseOperator):
    """
    Base of the operators.

    :param instance_id: Bot instance; default: that of the job group in the ledger, or else the connection's.
    :param outboundbot_conn_id: Connection of type ``outboundbot``.
    """

    operator_extra_links = (OutboundBotConsoleLink(),)
    #: Fields with contacts, which are masked.
    veiled_fields: tuple[str, ...] = ()
    #: What masks them.
    veil: type[MaskedContacts] = MaskedContacts
    #: Fields for which a task or a template must not give None: it would mean the default, which may call people at
    #: another time, or from another number.
    never_none: ClassVar[tuple[str, ...]] = ()
    #: Fields whose templates must give a value in each of their expressions: without one, they select something else.
    complete_fields: ClassVar[tuple[str, ...]] = ()
    #: Of these, the files that a task writes: instances of a mapped task would replace each other's.
    own_files: ClassVar[tuple[str, ...]] = ()
    #: How an error about these fields ends.
    ending: ClassVar[str] = NOBODY_WAS_CALLED

    def __init__(
        self,
        *,
        instance_id: str | None = None,
        outboundbot_conn_id: str = OutboundBotHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.instance_id = instance_id
        self.outboundbot_conn_id = outboundbot_conn_id

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Mask contacts too, because Airflow stores a mapped operator with all its arguments."""
        from airflow.sdk.definitions.xcom_arg import XComArg

        for field in cls.veiled_fields:
            # Airflow must see references to outputs of tasks.
            if field in kwargs and not any(XComArg.iter_xcom_references(kwargs[field])):
                kwargs[field] = mask_contacts(kwargs[field], cls.veil)
        return super().partial(**kwargs)

    @cached_property
    def hook(self) -> OutboundBotHook:
        """The hook of the connection, which owns client and ledger: use it in a ``with`` statement."""
        return OutboundBotHook(self.outboundbot_conn_id)

    def depend_on(self, items: Any) -> None:
        """Make this task depend on tasks whose outputs are among masked contacts, where Airflow does not find them."""
        from airflow.sdk.definitions.xcom_arg import XComArg

        if not getattr(self, "_BaseOperator__from_mapped", False):
            XComArg.apply_upstream_relationship(self, items)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the contacts, job group and results of this task, for Airflow's OpenLineage provider."""
        from airflow_provider_outbound.operators.lineage import lineage

        return lineage(self, task_instance.xcom_pull(task_ids=task_instance.task_id))

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does, but mask contacts and do not render strategies."""
        from airflow_provider_outbound.core.models.strategy import Strategy

        if isinstance(content, MaskedContacts):
            return self._render_masked(content, context, jinja_env, seen_oids or set())
        if isinstance(content, Strategy) or is_asset(content):
            # Airflow would mistake a strategy's method resolve() for its own.
            return content
        is_veiled = any(content is getattr(self, field) for field in self.veiled_fields)
        rendered = self._render_unmasked(content, context, jinja_env or self.get_template_env(), seen_oids)
        if rendered is None and content is not None:
            with in_this_try(context):
                self._refuse_none(content)
        return self.veil(rendered, is_data=True) if is_veiled and rendered is not None else rendered

    def _render_unmasked(
        self, content: Any, context: Context, jinja_env: jinja2.Environment, seen_oids: set[int] | None
    ) -> Any:
        """Render as Airflow does; where an expression without a value would select something else, refuse that."""
        as_airflow = super().render_template
        field = next((field for field in self.complete_fields if getattr(self, field) is content), None)
        is_text = isinstance(content, str) or hasattr(content, "open")
        if field is None or not is_text or (seen_oids and id(content) in seen_oids):
            return as_airflow(content, context, jinja_env, seen_oids)
        with in_this_try(context):
            if field in self.own_files and is_shared(self, field, content, context["ti"].map_index, jinja_env):
                raise OutboundBotConfigError(
                    f"{field}: all instances of this mapped task would write the same file, and only the last one's"
                    f" would be left; give each its own, for example with {{{{ ti.map_index }}}} in it. {self.ending}"
                )
            return render_complete(
                lambda env: as_airflow(content, context, env, seen_oids),
                str(content),
                jinja_env,
                field=field,
                may_be_nothing=field in (*SOURCES, *EXCLUSIONS, "only", "partition"),
                ending=self.ending,
            )

    def _refuse_none(self, content: Any) -> None:
        """Raise if a field that must not be None was rendered to it; ``content`` is its value before."""
        for field in self.never_none:
            if getattr(self, field) is content:
                raise OutboundBotConfigError(
                    f"{field}: empty: its task returned nothing or was skipped, or its template rendered to None; let"
                    f" it give a value, or omit the argument. {self.ending}"
                )

    def _render_masked(
        self, veiled: MaskedContacts, context: Context, jinja_env: jinja2.Environment | None, seen_oids: set[int]
    ) -> MaskedContacts:
        """
        Render literals of the DAG file; outputs of tasks are data and are not rendered.

        :param seen_oids: Ids of objects that Airflow has already resolved, for a mapped operator.
        """
        if veiled.is_data or id(veiled.items) in seen_oids:
            return veiled
        map_index = context["ti"].map_index
        fields = [field for field in self.veiled_fields if getattr(self, field) is veiled]
        if any(came_from_task(self, field, map_index) for field in fields):
            return veiled
        env = jinja_env or self.get_template_env()
        as_airflow = super().render_template

        def render(text: str) -> Any:
            return as_airflow(text, context, env)

        with without_numbers():
            return type(veiled)(render_literal(veiled.items, render, context, env), is_data=True)


def task_key(context: Context) -> TaskKey:
    """Return the identity that all tries of the running task share."""
    from airflow_provider_outbound.core.ledger import TaskKey

    ti = context["ti"]
    map_index = ti.map_index
    return TaskKey(ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else map_index)


@contextmanager
def in_this_try(context: Context) -> Iterator[None]:
    """
    Within this block, errors that say that nobody was called say so of this try: an earlier one may have called.

    Phone numbers in errors of other programs are masked.
    """
    try:
        with without_numbers():
            yield
    except (OutboundBotError, AirflowSkipException) as error:
        ti = context.get("ti")
        if ti is not None and ti.try_number > 1 and error.args and isinstance(error.args[0], str):
            text = error.args[0].replace(NOBODY_WAS_CALLED, f"{NOBODY_WAS_CALLED} in this try")
            error.args = (text, *error.args[1:])
        raise


def run_at(context: Context) -> datetime:
    """
    Return the time that the DAG run stands for. ``max_run_age`` counts from it, and strategies use its date.

    * A run created by the scheduler, including backfills and runs triggered by assets: when it was due
      (``run_after``), which is the end of its data interval if it has one.
    * A run triggered by a person, the REST API or another DAG: its logical date if it has one, past or future
      (``airflow dags trigger --logical-date 2026-11-01``, ``"logical_date": "…"``), otherwise when it was triggered.
    """
    run = context["dag_run"]
    moment: datetime = run.run_after
    if str(getattr(run.run_type, "value", run.run_type)) in _TRIGGERED:
        moment = getattr(run, "logical_date", None) or moment
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def run_started_at(context: Context) -> datetime | None:
    """Return when the DAG run started, again after it was cleared; ``None`` if Airflow does not say."""
    moment: datetime | None = getattr(context.get("dag_run"), "start_date", None)
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


class _Dialling(Protocol):
    """An operator that calls people."""

    max_run_age: timedelta
    allow_backfill: bool

    @property
    def hook(self) -> OutboundBotHook: ...


def run_guard(operator: _Dialling, context: Context) -> RunGuard:
    """Return the time rules of the running task, from its DAG run, its arguments and its connection."""
    from airflow_provider_outbound.core.rules import RunGuard

    return RunGuard(
        run_at=run_at(context),
        max_run_age=operator.max_run_age,
        is_backfill=is_backfill(context) or (not operator.allow_backfill and has_event_of_backfill(context)),
        allow_backfill=operator.allow_backfill,
        hours=operator.hook.calling_hours,
    )


def has_assigned(operator: OutboundBotOperator, job_group_id: Any, context: Context) -> bool:
    """Return whether the running task may have assigned contacts to a group before: in an earlier try, or run."""
    if operator.hook.dry_run:
        return False
    with operator.hook as hook:
        return hook.ledger.assignments.may_have_called(task_key(context), named_group(job_group_id))


def is_last_try(context: Context) -> bool:
    """Return whether Airflow will not retry the running task."""
    ti = context["ti"]
    return bool(ti.try_number > ti.max_tries)
