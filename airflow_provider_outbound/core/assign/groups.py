"""One job group for each task, found again by the task's identity in the group's name and description."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from datetime import datetime

import attrs

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger, TaskKey
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.exceptions import OutboundBotError, OutboundBotThrottlingError

#: Maximum length of the author's part of a group's name.
MAX_NAME = 80
_MAX_CREATIONS = 3
_MAX_REFUSALS = 8
_MARK = re.compile(r"airflow run ([0-9a-f]{32}) ledger ([0-9a-f]{32})")

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class GroupSpec:
    """What the author wants a job group to be; see ``CreateJobGroup``."""

    name: str
    script_id: str
    description: str = ""
    strategy_json: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    recall_strategy_json: str | None = None
    calling_numbers: tuple[str, ...] = ()
    recall_calling_numbers: tuple[str, ...] = ()
    priority: str | None = None
    #: Seconds.
    ringing_duration: int | None = None
    min_concurrency: int | None = None


def ledger_of(description: str) -> str | None:
    """Id of the ledger whose task created a group; ``None`` if its description names none."""
    found = _MARK.search(description)
    return found.group(2) if found else None


def create_group(
    client: OutboundBotClient,
    ledger: Ledger,
    key: TaskKey,
    spec: Callable[[], GroupSpec],
    *,
    instance_id: str,
    settle_seconds: float,
) -> JobGroupRecord:
    """
    Return the task's group: the one that an earlier try created, or a new one.

    If the service hides the first group for longer than ``settle_seconds``, a second one is created. The oldest one is
    used, and an empty group calls nobody.

    :param spec: Called only if a group must be created; raises if it must not be, for example because it is too late.
    :param settle_seconds: How long after a request without an answer its group may still appear.
    :raises OutboundBotApiError: the API refused, or gave no usable answer three times.
    """
    known = ledger.groups.find(key.run_key)
    if known is not None:
        log.info("Job group %s was created by an earlier try", known.job_group_id)
        return known
    found = _find(client, key, instance_id)
    wanted: GroupSpec | None = None
    if found is None:
        wanted = spec()
        found = _create(client, ledger, key, wanted, instance_id, settle_seconds)
    return ledger.groups.record(
        JobGroupRecord(
            job_group_id=found.job_group_id,
            run_key=key.run_key,
            task_key=key,
            instance_id=instance_id,
            script_id=found.script_id or (wanted.script_id if wanted else None),
            name=found.name or None,
            starts_at=found.starts_at or (wanted.starts_at if wanted else None),
            ends_at=found.ends_at or (wanted.ends_at if wanted else None),
        )
    )


def _find(client: OutboundBotClient, key: TaskKey, instance_id: str) -> JobGroup | None:
    """The oldest group with the task's identity."""
    own: list[JobGroup] = []
    for group in client.iter_job_groups(search_text=key.short_key, instance_id=instance_id):
        # The search matches parts of names, and a listing may truncate descriptions.
        description = group.description
        if not _MARK.search(description):
            description = client.describe_job_group(
                job_group_id=group.job_group_id, instance_id=instance_id
            ).description
        mark = _MARK.search(description)
        if mark and mark.group(1) == key.run_key:
            own.append(group)
    return min(own, key=_age, default=None)


def _age(group: JobGroup) -> tuple[float, str]:
    return group.created_at.timestamp() if group.created_at else 0.0, group.job_group_id


def _create(
    client: OutboundBotClient, ledger: Ledger, key: TaskKey, spec: GroupSpec, instance_id: str, settle_seconds: float
) -> JobGroup:
    refusals = doubts = 0
    while True:
        try:
            created = client.create_job_group(
                job_group_name=f"{spec.name[:MAX_NAME].strip()} {key.short_key}",
                description=f"{spec.description}\n".lstrip() + f"airflow run {key.run_key} ledger {ledger.ledger_id}",
                script_id=spec.script_id,
                strategy_json=spec.strategy_json,
                recall_strategy_json=spec.recall_strategy_json,
                calling_numbers=spec.calling_numbers,
                recall_calling_numbers=spec.recall_calling_numbers,
                priority=spec.priority,
                ringing_duration=spec.ringing_duration,
                min_concurrency=spec.min_concurrency,
                instance_id=instance_id,
            )
        except OutboundBotError as error:
            if not error.in_doubt:
                if not isinstance(error, OutboundBotThrottlingError) or refusals >= _MAX_REFUSALS:
                    raise
                time.sleep(min(20.0, 0.25 * 2**refusals) * random.uniform(0.75, 1.25))
                refusals += 1
                continue
            log.warning("The group may or may not have been created; looking for it: %s", error)
            found = _look_for(client, key, instance_id, settle_seconds)
            if found is not None:
                return found
            doubts += 1
            if doubts >= _MAX_CREATIONS:
                raise
        else:
            # Another try of this task may have been faster.
            return _find(client, key, instance_id) or created


def _look_for(client: OutboundBotClient, key: TaskKey, instance_id: str, settle_seconds: float) -> JobGroup | None:
    until = time.monotonic() + settle_seconds
    wait = 0.2
    while True:
        is_last = time.monotonic() >= until
        found = _find(client, key, instance_id)
        if found is not None or is_last:
            return found
        time.sleep(max(0.0, min(wait, until - time.monotonic())))
        wait = min(wait * 2, 15.0)
