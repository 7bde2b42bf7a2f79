"""What an assignment checks before its first call: script, numbers and time by the API; in a dry run, the contacts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.arguments import DRY_RUN, is_dry_run, named_group
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.operators.base import OutboundBotOperator, task_key

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_outbound.core.assign import AssignOptions
    from airflow_provider_outbound.core.contacts import ContactSource
    from airflow_provider_outbound.core.ledger import CallCap
    from airflow_provider_outbound.core.models.job import JobGroup
    from airflow_provider_outbound.core.models.strategy import ResolvedStrategy
    from airflow_provider_outbound.core.preflight import Capacity
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
    from airflow_provider_outbound.operators.query_results import SharedResult


@attrs.frozen(kw_only=True)
class BeforeAssigning:
    """
    The checks of one assignment.

    :param hook: Owns client and ledger.
    :param instance_id: The group's bot instance; ``None`` for the client's.
    :param strategy: When these contacts are dialled; ``None``: as the group says.
    :param calling_numbers: Numbers to call these contacts from.
    :param require_capacity: Whether calls that do not fit into the window are an error.
    :param cap: The limit of calls to one person; ``None`` for none.
    :param shared: Where the rows come from that later tries must read too.
    """

    hook: OutboundBotHook
    instance_id: str | None
    strategy: ResolvedStrategy | None
    calling_numbers: Sequence[str]
    require_capacity: bool
    cap: CallCap | None
    shared: SharedResult

    def check(self, group: JobGroup, people: int | None) -> None:
        """
        Check before anything is sent. What the API does not say stops no campaign, unless the author required it.

        :param group: The group, as the API reports it.
        :param people: How many contacts will be sent; ``None`` if that is not known before the first is sent.
        :raises OutboundBotConfigError: the script is not published, a number belongs to another instance, or not all
            calls fit and ``require_capacity`` is set.
        """
        from airflow_provider_outbound.core.preflight import Checks, check_capacity

        if people == 0:
            return
        checks = Checks(client=self.hook.client, instance_id=self.instance_id)
        checks.check_before_calls(script_id=group.script_id, calling_numbers=self.calling_numbers)
        check_capacity(self._capacity(group, people), required=self.require_capacity)
        if self.cap is not None:
            self._warn_of_attempts(self.cap, group)
        self.shared.store(self.hook.ledger)

    def _warn_of_attempts(self, cap: CallCap, group: JobGroup) -> None:
        from airflow_provider_outbound.core.preflight import warn_of_attempts
        from airflow_provider_outbound.core.rules import window_of

        if self.strategy is not None:
            warn_of_attempts(cap, self.strategy.wire, self.strategy.schedule)
            return
        window = window_of(group)
        warn_of_attempts(cap, group.raw.get("Strategy") or {}, None if window is None else window.schedule)

    def _capacity(self, group: JobGroup, people: int | None) -> Capacity | str:
        """Whether the calls fit, or why that is unknown."""
        from airflow_provider_outbound.core.ledger import mean_call_seconds
        from airflow_provider_outbound.core.preflight import ASSUMED_CALL_SECONDS, Capacity, dialling_seconds
        from airflow_provider_outbound.core.rules import window_of

        if people is None:
            return (
                "contacts are counted before the first call only with on_invalid='fail', and if they can be read twice"
            )
        try:
            window = self.strategy or window_of(group)
            lines = self.hook.client.max_concurrent_calls(instance_id=self.instance_id)
            mean = mean_call_seconds(self.hook.ledger)
        except OutboundBotConfigError:
            raise
        except OutboundBotError as error:
            return f"it could not be checked: {error}"
        if window is None:
            return "the group has no window"
        if lines is None:
            return "the API does not name the instance's number of lines"
        return Capacity(
            people=people,
            lines=lines,
            call_seconds=mean or ASSUMED_CALL_SECONDS,
            window_seconds=dialling_seconds(window.schedule, datetime.now(UTC)),
            is_assumed=mean is None,
        )


def dry_run(
    operator: OutboundBotOperator, job_group_id: Any, context: Context, source: ContactSource, options: AssignOptions
) -> dict[str, Any]:
    """
    Check and count the contacts of an assignment, and send nothing.

    :param job_group_id: The operator's argument.
    """
    from airflow_provider_outbound.core.assign import log_left_out, preflight, warn_of_missing_references

    # If a dry run created the group, it does not exist; the checks do not need it.
    found = None if is_dry_run(job_group_id) else named_group(job_group_id)
    with operator.hook as hook:
        checked = preflight(hook.ledger, task_key(context), found or "dry-run", source, options)
    log_left_out(checked)
    warn_of_missing_references(checked, source)
    operator.log.warning("Dry run: %s; nothing was sent", checked)
    return {
        "job_group_id": found,
        DRY_RUN: True,
        "read": checked.read,
        "assigned": 0,
        "newly_assigned": 0,
        "assignable": checked.valid,
        "duplicates": checked.duplicates,
        "excluded": checked.excluded,
        "capped": checked.capped,
        "rejected": checked.rejected,
        "unresolved": 0,
        "rejects_path": str(options.rejects_path) if options.rejects_path is not None else None,
    }
