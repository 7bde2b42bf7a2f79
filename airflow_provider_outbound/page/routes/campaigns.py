"""The list of campaigns, and one campaign."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import attrs
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from airflow_provider_outbound.core.ledger.pages import Campaign, Minute
from airflow_provider_outbound.core.ledger.records import TaskKey
from airflow_provider_outbound.core.models.enums import Outcome
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.models.windows import MIDNIGHT, SERVICE_ZONE
from airflow_provider_outbound.core.rules import CallingHours
from airflow_provider_outbound.exceptions import LedgerMissingError
from airflow_provider_outbound.page import views
from airflow_provider_outbound.page.answers import answer, iso, unknown
from airflow_provider_outbound.page.ledger import shared
from airflow_provider_outbound.page.pace import buckets
from airflow_provider_outbound.page.rights import Reader, ReaderDep

router = APIRouter()

#: Most buckets of the chart over time, most tags, and campaigns of the same DAG.
_BUCKETS, _TAGS, _SIBLINGS = 200, 20, 10


@attrs.frozen(kw_only=True)
class _Wanted:
    """Which campaigns are listed."""

    state: str | None
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    map_index: int | None
    since: datetime | None
    until: datetime | None
    text: str

    def fits(self, campaign: Campaign) -> bool:
        """Whether a campaign is wanted, but for its state and its task."""
        if (self.dag_id or self.run_id) and not any(self._is_of(task) for task in campaign.tasks):
            return False
        if (self.since and campaign.created_at < self.since) or (self.until and campaign.created_at > self.until):
            return False
        named = (campaign.name, campaign.job_group_id, *campaign.dag_ids)
        return not self.text or any(self.text in name.lower() for name in named if name)

    def narrowed(self, campaigns: list[Campaign]) -> list[Campaign]:
        """The campaigns of the wanted task. A task that only waits or exports has none: then those of its run."""
        if self.task_id is None:
            return campaigns
        own = [one for one in campaigns if any(self._is_of(task) and self._is_task(task) for task in one.tasks)]
        return own or campaigns

    def _is_of(self, task: TaskKey) -> bool:
        return self.dag_id in (None, task.dag_id) and self.run_id in (None, task.run_id)

    def _is_task(self, task: TaskKey) -> bool:
        return task.task_id == self.task_id and self.map_index in (None, task.map_index)


def _wanted(
    state: str | None = None,
    dag_id: str | None = None,
    run_id: str | None = None,
    task_id: str | None = None,
    map_index: int | None = None,
    since: Annotated[datetime | None, Query(alias="from")] = None,
    until: Annotated[datetime | None, Query(alias="to")] = None,
    text: str = "",
) -> _Wanted:
    """Dependency: the filters in the query string."""
    return _Wanted(
        state=state or None,
        dag_id=dag_id or None,
        run_id=run_id or None,
        task_id=task_id or None,
        map_index=map_index,
        since=_aware(since),
        until=_aware(until),
        text=text.strip().lower(),
    )


@router.get("/campaigns")
def list_campaigns(
    request: Request,
    user: ReaderDep,
    wanted: Annotated[_Wanted, Depends(_wanted)],
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List campaigns: first what needs attention, then what is under way, then the rest; the newest first in each."""
    begin = _cursor(after)
    try:
        readable = [one for one in views.campaigns() if user.can_read(one)]
    except LedgerMissingError as error:
        return answer(
            request, {"campaigns": [], "next": None, "dags": [], "empty": "no_ledger", "why": str(error), "now": None}
        )
    now = shared.get().pages.now()
    placed = sorted(
        ((_place(one, now), one) for one in wanted.narrowed([one for one in readable if wanted.fits(one)])),
        key=lambda pair: pair[0],
    )
    following = (pair for pair in placed if begin is None or pair[0] > begin)
    if wanted.state:
        following = (pair for pair in following if views.state_of(pair[1], now) == wanted.state)
    page = list(islice(following, limit + 1))
    return answer(
        request,
        {
            "campaigns": [views.view(one, now, can_edit=user.can_edit(one)) for _, one in page[:limit]],
            "next": _encoded(page[limit - 1][0]) if len(page) > limit else None,
            "dags": sorted({dag_id for one in readable for dag_id in one.dag_ids}),
            "empty": None if readable else "no_campaigns",
            "now": iso(now),
        },
    )


@router.get("/campaigns/{campaign_id}")
def read_campaign(request: Request, user: ReaderDep, campaign_id: str) -> Response:
    """One campaign with its charts."""
    campaign = readable_campaign(user, campaign_id)
    now = shared.get().pages.now()
    shown = views.view(campaign, now, can_edit=user.can_edit(campaign))
    counted, minutes, hours = views.numbers(campaign), views.minutes(campaign), views.calling_hours(campaign)
    seconds, per_minute = buckets(minutes, _BUCKETS)
    window_end = views.window_end_of(campaign)
    has_window = campaign.starts_at is not None or window_end is not None
    return answer(
        request,
        {
            "campaign": shown,
            "window": {"begin": iso(campaign.starts_at), "end": iso(window_end)} if has_window else None,
            **_hours(hours),
            "outcomes": [{"key": outcome.value, "count": counted.count(outcome)} for outcome in Outcome],
            "statuses": _counted(counted.statuses()),
            "reasons": _counted(counted.reasons()),
            "tags": _counted(
                Counter({redact(tag): len(references) for tag, references in views.tags(campaign).items()}), _TAGS
            ),
            "funnel": [
                {"key": "assigned", "count": counted.total},
                {"key": "dialled", "count": counted.dialled},
                {"key": "answered", "count": counted.answered},
                {"key": "finished", "count": counted.done},
            ],
            "per_minute": [_point(minute) for minute in per_minute],
            "bucket_seconds": seconds,
            "by_hour": _by_hour(minutes, hours),
            "siblings": _siblings(user, campaign),
            "actions": actions_of(shown),
            "now": iso(now),
        },
    )


def readable_campaign(user: Reader, campaign_id: str) -> Campaign:
    """
    Return a campaign that the user may see.

    :raises HTTPException: 404: there is none, or the user may not see it.
    """
    campaign = views.find(campaign_id)
    if campaign is None or not user.can_read(campaign):
        raise unknown()
    return campaign


def actions_of(shown: dict[str, Any]) -> list[str]:
    """What the user may do with a campaign as it is shown."""
    if not shown["can_edit"] or shown["conn_id"] is None:
        return []
    if shown["state"] == "suspended":
        return ["resume", "cancel"]
    return ["suspend", "cancel"] if shown["state"] in ("assigning", "waiting", "running") else []


def _place(campaign: Campaign, now: datetime) -> tuple[int, float, str]:
    """Where a campaign stands in the list."""
    if campaign.is_active:
        needs_attention = views.view(campaign, now, can_edit=False)["attention"] is not None
    else:
        # Counting the jobs of all ended campaigns would take too long for a list.
        is_bad = campaign.has_unresolved or views.state_of(campaign, now) == "failed"
        needs_attention = is_bad and views.is_recent(campaign, now)
    rank = 0 if needs_attention else 1 if campaign.is_active else 2
    return rank, -campaign.created_at.timestamp(), campaign.job_group_id


def _siblings(user: Reader, campaign: Campaign) -> list[dict[str, Any]]:
    """The last campaigns of the same DAGs, the newest first, this one among them."""
    same = [one for one in views.campaigns() if one.dag_ids & campaign.dag_ids and user.can_read(one)]
    found = []
    for one in sorted(same, key=lambda one: one.created_at, reverse=True)[:_SIBLINGS]:
        counted = views.numbers(one)
        found.append(
            {
                "id": one.job_group_id,
                "name": views.shown_name(one) or one.job_group_id,
                "run_id": one.tasks[0].run_id if one.tasks else None,
                "started": iso(counted.started_at),
                "ended": None if one.is_active else iso(counted.ended_at),
                "total": counted.total,
                "answered": counted.count(Outcome.ANSWERED),
                # As the list of campaigns counts them.
                "dialled": counted.done - counted.count(Outcome.NOT_DIALLED),
                "calls": counted.calls,
            }
        )
    return found


def _by_hour(minutes: list[Minute], hours: CallingHours | None) -> list[dict[str, int]]:
    zone = hours.timezone if hours else SERVICE_ZONE
    # A call on the line would count as one that nobody answered.
    calls: Counter[int] = Counter()
    answered: Counter[int] = Counter()
    for minute in minutes:
        hour = minute.at.astimezone(zone).hour
        calls[hour] += minute.ended
        answered[hour] += minute.answered
    return [{"hour": hour, "calls": calls[hour], "answered": answered[hour]} for hour in sorted(+calls)]


def _hours(hours: CallingHours | None) -> dict[str, Any]:
    if hours is None:
        return {"calling_hours": None, "time_zone": SERVICE_ZONE.key}
    ends = [(f"{one.begin:%H:%M}", "24:00" if one.end == MIDNIGHT else f"{one.end:%H:%M}") for one in hours.windows]
    return {
        "calling_hours": [
            {"weekday": weekday, "begin": begin, "end": end} for weekday in range(7) for begin, end in ends
        ],
        "time_zone": hours.timezone.key,
    }


def _counted(counter: Counter[str], most: int | None = None) -> list[dict[str, Any]]:
    """Counts, the greatest first."""
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:most]
    return [{"key": key, "count": count} for key, count in ordered]


def _point(minute: Minute) -> dict[str, Any]:
    return {"at": iso(minute.at), "calls": minute.calls, "ended": minute.ended, "answered": minute.answered}


def _aware(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=SERVICE_ZONE)


def _encoded(place: tuple[int, float, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _cursor(after: str | None) -> tuple[int, float, str] | None:
    if not after:
        return None
    try:
        rank, created, name = json.loads(base64.urlsafe_b64decode(after))
        return int(rank), float(created), str(name)
    except (ValueError, TypeError, binascii.Error):
        raise HTTPException(422, "after: this is not a place in the list; begin again without it") from None
