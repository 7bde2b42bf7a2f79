"""What the operators share: the connection, the run they belong to, and contacts that nobody gets to see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseOperator

from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.links.outboundbot import OutboundBotConsoleLink
from airflow_provider_outbound.operators.literals import came_from_task, render_literal

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_outbound.core.ledger import TaskKey
    from airflow_provider_outbound.core.rules import RunGuard

#: How late a run may be and still call people.
MAX_RUN_AGE = timedelta(hours=12)
#: Types of DAG runs that somebody triggered, and gave a logical date or none.
_TRIGGERED = frozenset({"manual", "operator_triggered", "asset_materialization"})


class MaskedContacts:
    """
    Contacts on their way through Airflow, which stores and logs what it renders: it sees only how many they are.

    :param items: What the author passed.
    :param is_data: Whether there is nothing in it to render: it was rendered, or comes from a task.
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
        return MaskedContacts(self.items, is_data=self.is_data)


def mask_contacts(items: Any) -> Any:
    """Veil contacts; a template, and the output of a task as a whole, stay as they are: they show no contact."""
    from airflow.sdk.definitions.xcom_arg import XComArg

    return MaskedContacts(items) if isinstance(items, Iterable) and not isinstance(items, str | XComArg) else items


def is_asset(value: Any) -> bool:
    """Whether contacts are given as an asset, whose events name their files."""
    from airflow.sdk import Asset

    return isinstance(value, Asset)


class OutboundBotOperator(BaseOperator):
    """
    Base of the operators.

    :param instance_id: Bot instance; default: that of the job group in the ledger, else the connection's.
    :param outboundbot_conn_id: Connection of type ``outboundbot``.
    """

    operator_extra_links = (OutboundBotConsoleLink(),)
    #: Fields with contacts.
    veiled_fields: tuple[str, ...] = ()

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
        """As Airflow's, but contacts are veiled: a mapped operator is stored with all its arguments."""
        from airflow.sdk.definitions.xcom_arg import XComArg

        for field in cls.veiled_fields:
            # Of outputs of tasks among them Airflow must know.
            if field in kwargs and not any(XComArg.iter_xcom_references(kwargs[field])):
                kwargs[field] = mask_contacts(kwargs[field])
        return super().partial(**kwargs)

    @cached_property
    def hook(self) -> OutboundBotHook:
        """The hook of the connection, which owns client and ledger: use it in a ``with`` statement."""
        return OutboundBotHook(self.outboundbot_conn_id)

    def depend_on(self, items: Any) -> None:
        """Let this task run after those whose outputs are among veiled contacts, where Airflow does not find them."""
        from airflow.sdk.definitions.xcom_arg import XComArg

        if not getattr(self, "_BaseOperator__from_mapped", False):
            XComArg.apply_upstream_relationship(self, items)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Contacts, job group and results, as far as this task has to do with them; asked by Airflow's provider."""
        from airflow_provider_outbound.operators.lineage import lineage

        return lineage(self, task_instance.xcom_pull(task_ids=task_instance.task_id))

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does, except that contacts are veiled and strategies are left alone."""
        from airflow_provider_outbound.core.models.strategy import Strategy

        if isinstance(content, MaskedContacts):
            return self._render_masked(content, context, jinja_env, seen_oids or set())
        if isinstance(content, Strategy) or is_asset(content):
            # Airflow would take a strategy's method resolve() for its own.
            return content
        is_veiled = any(content is getattr(self, field) for field in self.veiled_fields)
        rendered = super().render_template(content, context, jinja_env, seen_oids)
        return MaskedContacts(rendered, is_data=True) if is_veiled and rendered is not None else rendered

    def _render_masked(
        self, veiled: MaskedContacts, context: Context, jinja_env: jinja2.Environment | None, seen_oids: set[int]
    ) -> MaskedContacts:
        """
        Render what the DAG file says literally; outputs of tasks are data.

        :param seen_oids: What Airflow has looked up already, for a mapped operator.
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

        return MaskedContacts(render_literal(veiled.items, render, context, env), is_data=True)


def task_key(context: Context) -> TaskKey:
    """The identity that all tries of the running task share."""
    from airflow_provider_outbound.core.ledger import TaskKey

    ti = context["ti"]
    map_index = ti.map_index
    return TaskKey(ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else map_index)


def run_at(context: Context) -> datetime:
    """
    The moment the DAG run stands for. ``max_run_age`` counts from it, and its date is the run's day of a strategy.

    * A run that the scheduler made, also of a backfill or by assets: when it was due (``run_after``), which for a data
      interval is its end.
    * A run that a person, the REST API or another DAG triggered: its logical date if it was given one, whether past or
      to come (``airflow dags trigger --logical-date 2026-11-01``, ``"logical_date": "…"``), else when it was triggered.
    """
    run = context["dag_run"]
    moment: datetime = run.run_after
    if str(getattr(run.run_type, "value", run.run_type)) in _TRIGGERED:
        moment = getattr(run, "logical_date", None) or moment
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_backfill(context: Context) -> bool:
    """Whether the DAG run belongs to a backfill."""
    run_type = context["dag_run"].run_type
    return str(getattr(run_type, "value", run_type)) == "backfill"


class _Dialling(Protocol):
    """An operator of whose work phones ring."""

    max_run_age: timedelta
    allow_backfill: bool

    @property
    def hook(self) -> OutboundBotHook: ...


def run_guard(operator: _Dialling, context: Context) -> RunGuard:
    """The time rules of the running task: of its DAG run, its arguments and its connection."""
    from airflow_provider_outbound.core.rules import RunGuard

    return RunGuard(
        run_at=run_at(context),
        max_run_age=operator.max_run_age,
        is_backfill=is_backfill(context),
        allow_backfill=operator.allow_backfill,
        hours=operator.hook.calling_hours,
    )


def is_last_try(context: Context) -> bool:
    """Whether the running task will not be tried again by itself."""
    ti = context["ti"]
    return bool(ti.try_number > ti.max_tries)
