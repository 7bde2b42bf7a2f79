"""The operator that creates a job group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.arguments import DRY_RUN, check_choice, check_flags, text_list, whole_number
from airflow_provider_outbound.exceptions import NOTHING_WAS_CHANGED, OutboundBotConfigError, before_calling
from airflow_provider_outbound.operators.base import (
    MAX_RUN_AGE,
    SETTLE_SECONDS,
    OutboundBotOperator,
    run_guard,
    task_key,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.assign import GroupSpec
    from airflow_provider_outbound.core.ledger import JobGroupRecord
    from airflow_provider_outbound.core.models.strategy import RecallStrategy, ResolvedStrategy, Strategy
    from airflow_provider_outbound.core.rules import RunGuard


def as_recall_strategy(value: RecallStrategy | Mapping[str, bool] | None) -> RecallStrategy | None:
    """
    Return a strategy for dead lines, from the class or its arguments.

    :raises OutboundBotConfigError: there is no such argument.
    """
    from airflow_provider_outbound.core.models.strategy import RecallStrategy

    if value is None or isinstance(value, RecallStrategy):
        return value
    try:
        return RecallStrategy(**value)
    except TypeError:
        raise OutboundBotConfigError(
            "recall_strategy: accepts empty_number_ignore, in_arrears_ignore, out_of_service_ignore"
        ) from None


class OutboundBotCreateJobGroupOperator(OutboundBotOperator):
    """
    Create the job group of this task: one per DAG run and map index, however often the task is tried.

    :param job_group_name: Shown in the console, followed by a short identity; default: the DAG's id.
    :param script_id: Script of the robot; default: the connection's.
    :param strategy: When to dial: a :class:`Strategy`, or a dictionary in the API's format.
    :param start_immediately: Instead of ``strategy``: dial as soon as there are contacts, until the end of today's
        ``calling_hours`` of the connection, in their time zone, or at any time of day if it has none.
    :param recall_strategy: Which dead lines not to redial: a :class:`RecallStrategy`, or its arguments as a dictionary.
    :param calling_numbers: Numbers to call from; default: all of the instance.
    :param recall_calling_numbers: Numbers to redial from.
    :param priority: ``Urgent`` or ``Daily``.
    :param ringing_duration: How long to let it ring (seconds).
    :param min_concurrency: Guaranteed number of concurrent calls.
    :param description: Shown in the console, followed by the identity.
    :param max_run_age: How long after the time that the DAG run stands for people may still be called; see
        :func:`~airflow_provider_outbound.operators.base.run_at`.
    :param allow_backfill: Whether a backfill may call people.
    :return: ``job_group_id``, ``job_group_name``, ``instance_id``, ``starts_at``, ``ends_at`` (ISO 8601, or ``None``).
    """

    template_fields: Sequence[str] = (
        "job_group_name",
        "script_id",
        "strategy",
        "recall_strategy",
        "calling_numbers",
        "recall_calling_numbers",
        "description",
        "instance_id",
        "outboundbot_conn_id",
    )
    never_none = (
        "script_id",
        "strategy",
        "recall_strategy",
        "calling_numbers",
        "recall_calling_numbers",
        "instance_id",
    )
    ui_color = "#e8f4fd"

    def __init__(
        self,
        *,
        job_group_name: str | None = None,
        script_id: str | None = None,
        strategy: Strategy | Mapping[str, Any] | None = None,
        start_immediately: bool = False,
        recall_strategy: RecallStrategy | Mapping[str, bool] | None = None,
        calling_numbers: Sequence[str] | None = None,
        recall_calling_numbers: Sequence[str] | None = None,
        priority: str | None = None,
        ringing_duration: int | None = None,
        min_concurrency: int | None = None,
        description: str | None = None,
        max_run_age: timedelta = MAX_RUN_AGE,
        allow_backfill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_name = job_group_name
        self.script_id = script_id
        self.strategy = strategy
        self.start_immediately = start_immediately
        self.recall_strategy = recall_strategy
        self.calling_numbers = calling_numbers
        self.recall_calling_numbers = recall_calling_numbers
        self.priority = priority
        self.ringing_duration = ringing_duration
        self.min_concurrency = min_concurrency
        self.description = description
        self.max_run_age = max_run_age
        self.allow_backfill = allow_backfill

    @before_calling()
    def execute(self, context: Context) -> dict[str, Any]:
        """Create the group, or find the one that an earlier try created."""
        check_flags(self, "start_immediately", "allow_backfill")
        from airflow_provider_outbound.core.assign import create_group
        from airflow_provider_outbound.core.preflight import Checks

        if self.hook.dry_run:
            spec = self._spec(context)
            self.log.warning("Dry run: job group %r was checked and not created", spec.name)
            return {"job_group_id": None, DRY_RUN: True, "job_group_name": spec.name}
        instance_id = self.instance_id or self.hook.instance_id
        if not instance_id:
            raise OutboundBotConfigError(
                f"instance_id: neither the operator nor connection {self.outboundbot_conn_id!r} names a bot instance; "
                "set it in the connection's extra"
            )
        with self.hook as hook:
            if (known := hook.ledger.groups.find(task_key(context).run_key)) is not None:
                self._compare(known, context)

            def checked() -> GroupSpec:
                wanted = self._spec(context)
                Checks(client=hook.client, instance_id=instance_id).check_before_calls(
                    script_id=wanted.script_id,
                    calling_numbers=wanted.calling_numbers,
                    recall_calling_numbers=wanted.recall_calling_numbers,
                )
                return wanted

            record = create_group(
                hook.client,
                hook.ledger,
                task_key(context),
                checked,
                instance_id=instance_id,
                settle_seconds=SETTLE_SECONDS,
            )
            hook.ledger.groups.note_connection(record.job_group_id, self.outboundbot_conn_id)
        self.log.info("Job group %s (%s)", record.job_group_id, record.name)
        return {
            "job_group_id": record.job_group_id,
            "job_group_name": record.name,
            "instance_id": record.instance_id,
            "starts_at": record.starts_at.isoformat() if record.starts_at else None,
            "ends_at": record.ends_at.isoformat() if record.ends_at else None,
        }

    def _compare(self, known: JobGroupRecord, context: Context) -> None:
        """
        Compare the group that an earlier try created with this task, which may have been edited before it was cleared.

        Another window is only logged: :class:`OutboundBotModifyJobGroupOperator` may have given it to the group.

        :raises OutboundBotConfigError: the group speaks another script.
        """
        group, script_id = known.job_group_id, self.script_id or self.hook.script_id
        if known.script_id and script_id and known.script_id != script_id:
            raise OutboundBotConfigError(
                f"script_id: an earlier try of this task created job group {group} with script {known.script_id!r}, and"
                f" not with {script_id!r}; set the earlier script to continue. A new DAG run would call its whole list"
                f" with the new script. {NOTHING_WAS_CHANGED}"
            )
        with suppress(OutboundBotConfigError):
            # A window that is over is none to compare with.
            strategy = self._resolved(run_guard(self, context))
            if strategy is not None and known.ends_at is not None and strategy.ends_at != known.ends_at:
                self.log.warning(
                    "Job group %s, which an earlier try created, dials until %s, and the strategy of this task ends at"
                    " %s. The group keeps its window; to change it, use OutboundBotModifyJobGroupOperator",
                    group,
                    known.ends_at.isoformat(),
                    strategy.ends_at.isoformat(),
                )

    def _spec(self, context: Context) -> GroupSpec:
        """Return the group as the author defined it, checked against the time rules."""
        from airflow_provider_outbound.core.assign import GroupSpec

        rules = run_guard(self, context)
        strategy = self._resolved(rules)
        rules.check(strategy)
        script_id = self.script_id or self.hook.script_id
        if not script_id:
            raise OutboundBotConfigError(
                f"script_id: neither the operator nor connection {self.outboundbot_conn_id!r} names a script; "
                "pass script_id, or set it in the connection's extra"
            )
        if self.priority is not None:
            check_choice(self.priority, "priority", ("Urgent", "Daily"))
        recall = as_recall_strategy(self.recall_strategy)
        return GroupSpec(
            name=self.job_group_name or context["ti"].dag_id,
            script_id=script_id,
            description=self.description or "",
            strategy_json=strategy.json if strategy else None,
            starts_at=strategy.starts_at if strategy else None,
            ends_at=strategy.ends_at if strategy else None,
            recall_strategy_json=recall.json if recall else None,
            calling_numbers=text_list(self.calling_numbers, "calling_numbers"),
            recall_calling_numbers=text_list(self.recall_calling_numbers, "recall_calling_numbers"),
            priority=self.priority,
            ringing_duration=whole_number(self.ringing_duration, "ringing_duration", least=1),
            min_concurrency=whole_number(self.min_concurrency, "min_concurrency", least=0),
        )

    def _resolved(self, rules: RunGuard) -> ResolvedStrategy | None:
        if (self.strategy is None) != self.start_immediately:
            raise OutboundBotConfigError(
                "strategy: give a window, for example Strategy(working_time=[('09:00', '12:00')]), "
                "or start_immediately=True to dial at once, within the connection's calling_hours; one of the two. "
                "Nobody was called"
            )
        if self.strategy is None:
            return rules.at_once()
        from airflow_provider_outbound.core.models.strategy import resolve_strategy

        return resolve_strategy(self.strategy, run_at=rules.run_at, now=datetime.now(UTC))
