"""The operator that changes a job group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import (
    check_choice,
    check_flags,
    check_seconds,
    named_group,
    text_list,
    whole_number,
)
from airflow_provider_outbound.exceptions import (
    NOTHING_WAS_CHANGED,
    JobGroupPurgedError,
    OutboundBotConfigError,
    before_changing,
)
from airflow_provider_outbound.operators.base import MAX_RUN_AGE, OutboundBotOperator, run_guard

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.ledger import JobGroupRecord
    from airflow_provider_outbound.core.models.job import JobGroup
    from airflow_provider_outbound.core.models.strategy import RecallStrategy, Strategy
    from airflow_provider_outbound.core.modify import GroupChanges, ModifiedGroup

_NUMBERS = ("calling_numbers", "recall_calling_numbers")


class OutboundBotModifyJobGroupOperator(OutboundBotOperator):
    """
    Change the settings of a job group, for example give it a longer window while it calls.

    What is not given stays. If the group has the settings already, nothing is sent, so a retry does no harm. The task
    succeeds once the API reports the new settings. A window applies to jobs that have not ended and to jobs that are
    assigned later; jobs that were assigned with a ``strategy`` of their own keep that one.

    The rules of creating and assigning apply: calling hours, the age of the run, backfills, and a window that is not
    over. Source: ``ModifyJobGroup`` (2019-12-26). An older page of its documentation says that a group can be changed
    only while it is suspended; if the service refuses the change, suspend its jobs first and resume them afterwards.

    :param job_group_id: The group, or the return value of another task of this provider.
    :param strategy: When to dial: a :class:`Strategy`, or a dictionary in the API's format. Attempts, interval and
        routing stay if it does not name them.
    :param recall_strategy: Which dead lines not to redial: a :class:`RecallStrategy`, or its arguments as a dictionary.
    :param calling_numbers: Numbers to call from.
    :param recall_calling_numbers: Numbers to redial from.
    :param priority: ``Urgent`` or ``Daily``.
    :param ringing_duration: How long to let it ring (seconds).
    :param min_concurrency: Guaranteed number of concurrent calls; 0 leaves it to the service.
    :param settle_seconds: How long after the change the API may still report the earlier settings (seconds).
    :param max_run_age: How long after the time that the DAG run stands for people may still be called; see
        :func:`~airflow_provider_outbound.operators.base.run_at`.
    :param allow_backfill: Whether a backfill may call people.
    :return: ``job_group_id``, ``changed`` (names of the settings that this task changed), ``starts_at``, ``ends_at``
        (ISO 8601, or ``None``).
    """

    template_fields: Sequence[str] = (
        "job_group_id",
        "strategy",
        "recall_strategy",
        *_NUMBERS,
        "priority",
        "ringing_duration",
        "min_concurrency",
        "instance_id",
        "outboundbot_conn_id",
    )
    never_none = (
        "strategy",
        "recall_strategy",
        *_NUMBERS,
        "priority",
        "ringing_duration",
        "min_concurrency",
    )
    ending = NOTHING_WAS_CHANGED
    ui_color = "#e8f4fd"

    def __init__(
        self,
        *,
        job_group_id: Any,
        strategy: Strategy | Mapping[str, Any] | None = None,
        recall_strategy: RecallStrategy | Mapping[str, bool] | None = None,
        calling_numbers: Sequence[str] | None = None,
        recall_calling_numbers: Sequence[str] | None = None,
        priority: str | None = None,
        ringing_duration: int | None = None,
        min_concurrency: int | None = None,
        settle_seconds: float = 15.0,
        max_run_age: timedelta = MAX_RUN_AGE,
        allow_backfill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.strategy = strategy
        self.recall_strategy = recall_strategy
        self.calling_numbers = calling_numbers
        self.recall_calling_numbers = recall_calling_numbers
        self.priority = priority
        self.ringing_duration = ringing_duration
        self.min_concurrency = min_concurrency
        self.settle_seconds = settle_seconds
        self.max_run_age = max_run_age
        self.allow_backfill = allow_backfill

    @before_changing()
    def execute(self, context: Context) -> dict[str, Any]:
        """Change the group."""
        from airflow_provider_outbound.core.modify import modify_group
        from airflow_provider_outbound.core.rules import check_group_window

        check_flags(self, "allow_backfill")
        check_seconds(self.settle_seconds, "settle_seconds")
        job_group_id = named_group(self.job_group_id)
        rules = run_guard(self, context)
        rules.check_run(datetime.now(UTC))
        changes = self._changes(rules.run_at)
        with self.hook as hook:
            record = hook.ledger.groups.get(job_group_id)
            if record is not None and record.purged_at is not None:
                raise JobGroupPurgedError(job_group_id, record.purged_at)
            instance_id = self.instance_id or (record.instance_id if record else None)
            self._check(job_group_id, instance_id, changes)

            def check(group: JobGroup) -> None:
                is_own = record is not None and record.run_key is not None
                rules.check(changes.strategy or check_group_window(group, is_own=is_own))

            result = modify_group(
                hook.client,
                hook.ledger,
                job_group_id,
                changes,
                check=check,
                instance_id=instance_id,
                settle_seconds=self.settle_seconds,
                dry_run=hook.dry_run,
            )
            self._report(result, changes, record)
        starts_at, ends_at = result.group.starts_at, result.group.ends_at
        return {
            "job_group_id": job_group_id,
            "changed": list(result.changed),
            "starts_at": starts_at.isoformat() if starts_at else None,
            "ends_at": ends_at.isoformat() if ends_at else None,
        }

    def _changes(self, run_at: datetime) -> GroupChanges:
        """Return what is to change, as the author defined it."""
        from airflow_provider_outbound.core.models.strategy import resolve_strategy
        from airflow_provider_outbound.core.modify import GroupChanges
        from airflow_provider_outbound.operators.job_groups import as_recall_strategy

        if self.priority is not None:
            check_choice(self.priority, "priority", ("Urgent", "Daily"))
        recall = as_recall_strategy(self.recall_strategy)
        given = {
            "recall_strategy": None if recall is None else json.loads(recall.json),
            **{name: self._numbers(name) for name in _NUMBERS},
            "priority": self.priority,
            "ringing_duration": whole_number(self.ringing_duration, "ringing_duration", least=1),
            "min_concurrency": whole_number(self.min_concurrency, "min_concurrency", least=0),
        }
        settings = {name: value for name, value in given.items() if value is not None}
        if self.strategy is None and not settings:
            raise OutboundBotConfigError(
                "strategy: nothing is to be changed; pass strategy, priority or another setting"
            )
        strategy = self.strategy
        return GroupChanges(
            strategy=None if strategy is None else resolve_strategy(strategy, run_at=run_at, now=datetime.now(UTC)),
            settings=settings,
        )

    def _numbers(self, field: str) -> tuple[str, ...] | None:
        given = getattr(self, field)
        numbers = text_list(given, field)
        if given is not None and not numbers:
            raise OutboundBotConfigError(
                f"{field}: empty, and the API cannot remove the numbers of a group; name the numbers to use, or omit it"
            )
        return numbers or None

    def _check(self, job_group_id: str, instance_id: str | None, changes: GroupChanges) -> None:
        """Check with the API what the group must not get."""
        from airflow_provider_outbound.core.allowed import check_allowed
        from airflow_provider_outbound.core.preflight import Checks

        checks = Checks(client=self.hook.client, instance_id=instance_id)
        checks.check_numbers(**{field: changes.settings.get(field, ()) for field in _NUMBERS})
        allowed = self.hook.allowed_phone_numbers
        if changes.strategy is not None and allowed is not None:
            jobs = self.hook.client.iter_jobs_by_group(job_group_id=job_group_id, instance_id=instance_id)
            check_allowed(jobs, job_group_id, allowed)

    def _report(self, result: ModifiedGroup, changes: GroupChanges, record: JobGroupRecord | None) -> None:
        """Log what was changed; in a dry run, what would be."""
        group = result.group.job_group_id
        # Without the numbers, which are in the DAG file.
        shown = {name: value for name, value in changes.settings.items() if name not in _NUMBERS}
        if changes.strategy is not None:
            shown["strategy"] = f"{changes.strategy.starts_at.isoformat()} to {changes.strategy.ends_at.isoformat()}"
        what = "; ".join(f"{name}: {shown[name]}" if name in shown else name for name in result.changed) or "nothing"
        if self.hook.dry_run:
            raise AirflowSkipException(f"dry run: job group {group} was checked; to be changed: {what}")
        self.log.info("Job group %s: changed: %s", group, what)
        if changes.strategy is not None and record is not None:
            own = len(list(self.hook.ledger.assignments.strategies(group)))
            if own:
                self.log.warning(
                    "Job group %s: jobs that were assigned with a strategy of their own keep it (%d strategies)",
                    group,
                    own,
                )
