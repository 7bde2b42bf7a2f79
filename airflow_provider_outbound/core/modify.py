"""Change the settings of a job group, and look at the group before and after."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.settings import is_same, merged_strategy, same_strategy, settings_of
from airflow_provider_outbound.exceptions import OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import Ledger
    from airflow_provider_outbound.core.models.strategy import ResolvedStrategy

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class GroupChanges:
    """
    What to change about a job group.

    :param strategy: When to dial; ``None``: as before.
    :param settings: Other settings by the names of the operator's arguments; ``recall_strategy`` in the API's form.
    """

    strategy: ResolvedStrategy | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)

    def wanted(self, group: JobGroup) -> dict[str, Any]:
        """All settings that the group is to have."""
        wanted = settings_of(group) | dict(self.settings)
        if self.strategy is not None:
            wanted["strategy"] = merged_strategy(group, self.strategy.wire)
        return wanted


@attrs.frozen(kw_only=True)
class ModifiedGroup:
    """
    The result of :func:`modify_group`.

    :param group: The group as the API reports it afterwards.
    :param changed: Names of the settings that were changed by this call.
    """

    group: JobGroup
    changed: tuple[str, ...]


def modify_group(
    client: OutboundBotClient,
    ledger: Ledger,
    job_group_id: str,
    changes: GroupChanges,
    *,
    check: Callable[[JobGroup], None],
    instance_id: str | None = None,
    settle_seconds: float,
    dry_run: bool = False,
) -> ModifiedGroup:
    """
    Change a job group, and make sure that the API reports the change.

    If the group has the settings already, nothing is sent. The ledger gets the group's window as the API reports it.
    While it is uncertain which of two windows applies, the ledger has the later end, so that nobody takes the group for
    over.

    :param check: Raises if the group must not be changed now; called with the group before each request.
    :param settle_seconds: How long after a request the API may still report the earlier settings.
    :param dry_run: Only check, and return what would be changed.
    :raises OutboundBotError: the API refused, or does not report the change in time.
    """
    of_group: dict[str, Any] = {"job_group_id": job_group_id, "instance_id": instance_id}
    before = client.describe_job_group(**of_group)
    check(before)
    wanted = changes.wanted(before)
    changed = differences(before, wanted)
    if dry_run:
        return ModifiedGroup(group=before, changed=changed)
    if not changed:
        _note_window(ledger, before)
        return ModifiedGroup(group=before, changed=())
    if "strategy" in changed and changes.strategy is not None and before.ends_at is not None:
        ledger.groups.note_window(job_group_id, before.starts_at, max(before.ends_at, changes.strategy.ends_at))
    failure = _send(client, before, wanted, instance_id, check)
    # A window that changes although nobody asked for it may call people at night.
    required = {name: wanted[name] for name in wanted if name in changed or name == "strategy"}
    is_refused = failure is not None and not failure.in_doubt
    try:
        after, left = _look(client, of_group, required, 0.0 if is_refused else settle_seconds)
    except OutboundBotError as error:
        raise (failure or error) from None
    if failure is None or is_refused or not left:
        _note_window(ledger, after)
    _check_result(job_group_id, failure, left, settle_seconds)
    return ModifiedGroup(group=after, changed=changed)


def _check_result(
    job_group_id: str, failure: OutboundBotError | None, left: tuple[str, ...], settle_seconds: float
) -> None:
    """Raise if the group does not have the settings."""
    if left:
        raise failure or OutboundBotError(
            f"job group {job_group_id}: the service accepted the change, but {settle_seconds:g} s later it still"
            f" reports another {' and '.join(left)}; a retry sends it again"
        )
    if failure is not None:
        log.warning("Job group %s: it was changed, although the request failed: %s", job_group_id, failure)


def differences(group: JobGroup, wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the settings in which a group differs from what is wanted."""
    now = datetime.now(UTC)
    reported = settings_of(group)

    def has(name: str) -> bool:
        if name == "strategy":
            return same_strategy(reported.get(name) or {}, wanted[name], now)
        return name in reported and is_same(reported[name], wanted[name])

    return tuple(name for name in wanted if not has(name))


def _send(
    client: OutboundBotClient,
    group: JobGroup,
    wanted: Mapping[str, Any],
    instance_id: str | None,
    check: Callable[[JobGroup], None],
) -> OutboundBotError | None:
    """Send all settings of a group; return the error if the request failed."""
    strategy, recall = wanted.get("strategy"), wanted.get("recall_strategy")
    try:
        client.modify_job_group(
            job_group_id=group.job_group_id,
            # Name and description identify the task that created the group.
            job_group_name=group.name,
            description=group.description or None,
            script_id=group.script_id,
            strategy_json=_json(strategy) if strategy else None,
            recall_strategy_json=_json(recall) if recall else None,
            calling_numbers=wanted.get("calling_numbers") or (),
            recall_calling_numbers=wanted.get("recall_calling_numbers") or (),
            priority=wanted.get("priority"),
            ringing_duration=wanted.get("ringing_duration"),
            min_concurrency=wanted.get("min_concurrency"),
            flash_sms_extras=_flash_sms(group),
            instance_id=instance_id,
            before_request=lambda: check(group),
        )
    except OutboundBotError as error:
        return error
    return None


def _look(
    client: OutboundBotClient, of_group: Mapping[str, Any], wanted: Mapping[str, Any], settle_seconds: float
) -> tuple[JobGroup, tuple[str, ...]]:
    """Describe the group until it has the settings; return it, and the names of those that it does not have."""
    until = time.monotonic() + settle_seconds
    wait = 0.2
    while True:
        is_last = time.monotonic() >= until
        group = client.describe_job_group(**of_group)
        left = differences(group, wanted)
        if not left or is_last:
            return group, left
        time.sleep(max(0.0, min(wait, until - time.monotonic())))
        wait = min(wait * 2, 5.0)


def _note_window(ledger: Ledger, group: JobGroup) -> None:
    ledger.groups.note_window(group.job_group_id, group.starts_at, group.ends_at)


def _flash_sms(group: JobGroup) -> str | None:
    found = group.raw.get("FlashSmsExtras")
    if not isinstance(found, Mapping) or not found.get("TemplateId"):
        return None
    return _json({"templateId": found["TemplateId"], "configId": found.get("ConfigId")})


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
