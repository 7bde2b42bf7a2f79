"""Campaigns as the page shows them, from what the ledger knows."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_outbound import config
from airflow_provider_outbound.core.ledger.pages import Campaign, Minute, Numbers, Status
from airflow_provider_outbound.core.models.enums import Outcome
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.rules import CallingHours
from airflow_provider_outbound.page.answers import iso
from airflow_provider_outbound.page.connections import read_settings
from airflow_provider_outbound.page.ledger import shared
from airflow_provider_outbound.page.pace import (
    RECENT,
    calls_per_minute,
    expected_end,
    has_stalled,
    sustained_rate,
)

log = logging.getLogger(__name__)

#: How long answers are good for, seconds: lists, counts of running campaigns, what seldom changes.
_LIST, _COUNTS, _SELDOM = 2.0, 5.0, 60.0
#: A campaign that ended longer ago needs nobody's attention.
_OF_LATE = timedelta(days=7)
#: A call that begins this long after the suspension shows that the campaign was resumed elsewhere.
_SETTLES = timedelta(minutes=5)


def campaigns() -> list[Campaign]:
    """All campaigns, as they were a moment ago."""
    return shared.cache.get("campaigns", lambda: shared.get().pages.campaigns(), seconds=_LIST)


def find(campaign_id: str) -> Campaign | None:
    """A campaign by its job group."""
    return next((one for one in campaigns() if one.job_group_id == campaign_id), None)


def numbers(campaign: Campaign) -> Numbers:
    """The campaign's counts; those of a running one may be some seconds old."""
    return shared.cache.get(
        ("numbers", campaign.job_group_id),
        lambda: shared.get().pages.numbers(campaign.job_group_id),
        seconds=_COUNTS,
        version=_version(campaign),
    )


def minutes(campaign: Campaign) -> list[Minute]:
    """The campaign's calls by minute."""
    return shared.cache.get(
        ("minutes", campaign.job_group_id),
        lambda: shared.get().pages.minutes(campaign.job_group_id),
        seconds=_COUNTS,
        version=_version(campaign),
    )


def tags(campaign: Campaign) -> dict[str, list[str]]:
    """The reference ids of the campaign's jobs by tag. Tags are stored without notice, so they have no version."""
    return shared.cache.get(
        ("tags", campaign.job_group_id),
        lambda: shared.get().pages.tags(campaign.job_group_id),
        seconds=_SELDOM,
    )


def status() -> Status:
    """Collectors, topics, quarantine and requests."""
    return shared.cache.get("status", lambda: shared.get().pages.status(), seconds=_COUNTS)


def forget(campaign: Campaign) -> None:
    """Read a campaign again at the next look, because it was changed here."""
    for key in ("campaigns", ("numbers", campaign.job_group_id), ("minutes", campaign.job_group_id)):
        shared.cache.forget(key)


def calling_hours(campaign: Campaign) -> CallingHours | None:
    """The calling hours of the campaign's connection; ``None`` if it has none, or cannot be read."""
    conn_id = campaign.conn_id
    if conn_id is None:
        return None

    def read() -> CallingHours | None:
        try:
            return read_settings(campaign, may_call=True).calling_hours
        except Exception as error:  # noqa: BLE001 - the page is shown without them
            log.debug("Connection %r cannot be read: %s", conn_id, redact(str(error)))
            return None

    return shared.cache.get(("hours", conn_id, campaign.dag_ids), read, seconds=_SELDOM)


def view(campaign: Campaign, now: datetime, *, can_edit: bool) -> dict[str, Any]:
    """One campaign, in the form of the page's contract."""
    counted = numbers(campaign)
    state = state_of(campaign, now)
    is_running = state in ("assigning", "running")
    recent = minutes(campaign) if is_running else []
    rate = calls_per_minute(recent, now)
    end = expected_end(counted, sustained_rate(recent, now), now, calling_hours(campaign)) if recent else None
    window_end = window_end_of(campaign)
    fits = None if end is None or window_end is None else end <= window_end
    task = campaign.tasks[0] if campaign.tasks else None
    return {
        "id": campaign.job_group_id,
        "name": shown_name(campaign) or campaign.job_group_id,
        "dag_id": task.dag_id if task else None,
        "run_id": task.run_id if task else None,
        "task_id": task.task_id if task else None,
        "map_index": task.map_index if task else None,
        "instance_id": campaign.instance_id,
        "conn_id": campaign.conn_id,
        "state": state,
        "attention": _attention(campaign, counted, state, fits=fits, now=now),
        "total": counted.total,
        "done": counted.done,
        **{outcome.value: counted.count(outcome) for outcome in Outcome},
        "unresolved": counted.unresolved,
        "calls_per_minute": rate,
        "expected_end": iso(end.replace(second=0, microsecond=0)) if end else None,
        "window_begin": iso(campaign.starts_at),
        "window_end": iso(window_end),
        "fits": fits,
        "started": iso(counted.started_at),
        "ended": None if campaign.is_active else iso(counted.ended_at),
        "created": iso(campaign.created_at),
        "changed": campaign.changed,
        "can_edit": can_edit,
    }


def is_recent(campaign: Campaign, now: datetime) -> bool:
    """Whether a person may still care about what went wrong in a campaign."""
    return now - campaign.created_at <= _OF_LATE


def window_end_of(campaign: Campaign) -> datetime | None:
    """When the campaign's window ends."""
    return campaign.ends_at or campaign.reconcile_state.ends_at


def state_of(campaign: Campaign, now: datetime) -> str:
    """The state of a campaign in one word, from what the ledger knows. No jobs are counted for it."""
    if campaign.reconcile_state.cancelled:
        return "cancelled"
    if campaign.is_active and _is_suspended(campaign):
        return "suspended"
    if campaign.is_assigning or campaign.has_doubt:
        return "assigning"
    if campaign.has_unfinished:
        return "waiting" if campaign.starts_at is not None and now < campaign.starts_at else "running"
    if not campaign.has_jobs:
        return "draft" if campaign.creator is not None else "unknown"
    return "completed" if campaign.may_have_dialled else "failed"


def shown_name(campaign: Campaign) -> str:
    """The name of a campaign without numbers; the digits of its task's identity at the end are none."""
    name = campaign.name or ""
    tail = campaign.creator.short_key if campaign.creator is not None else ""
    if not tail or not name.endswith(tail):
        return redact(name)
    return redact(name.removesuffix(tail)) + tail


def _is_suspended(campaign: Campaign) -> bool:
    since = campaign.suspended_at or campaign.reconcile_state.paused_at
    if since is None:
        return False
    # Between two comparisons with the API, calls show that others have resumed the campaign in the console.
    calls = minutes(campaign)
    return not calls or calls[-1].at <= since + _SETTLES


def _attention(campaign: Campaign, counted: Numbers, state: str, *, fits: bool | None, now: datetime) -> str | None:
    """Why a campaign needs a person's eye."""
    if not campaign.is_active and not is_recent(campaign, now):
        return None
    if state == "failed":
        return "failed"
    if fits is False:
        return "too_little_time"
    if counted.unresolved:
        return "unresolved"
    if state == "suspended":
        return "suspended"
    return _standstill(campaign, counted, now) if state == "running" else None


def _standstill(campaign: Campaign, counted: Numbers, now: datetime) -> str | None:
    """Why a running campaign shows no progress."""
    if _has_no_messages(campaign):
        return "no_messages"
    window_end = window_end_of(campaign)
    if counted.done == counted.total:
        return None
    if window_end is not None and window_end <= now - RECENT:
        return "window_over"
    stalled = has_stalled(
        minutes(campaign),
        now,
        created_at=campaign.created_at,
        starts_at=campaign.starts_at,
        ends_at=window_end,
        hours=calling_hours(campaign),
    )
    return "no_calls" if stalled else None


def _has_no_messages(campaign: Campaign) -> bool:
    if not campaign.reconcile_state.expects_messages:
        return False
    collecting = shared.cache.get("collecting", lambda: shared.get().collectors.read(), seconds=_COUNTS)
    return bool(collecting.why_nothing_comes("ID" if config.load().collector == "external" else None))


def _version(campaign: Campaign) -> int | None:
    """What changes with the counts. Assigning changes them without it, so only an ended campaign has one."""
    return None if campaign.is_active else campaign.changed
