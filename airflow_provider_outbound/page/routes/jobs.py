"""The jobs of a campaign, one job, and one person's jobs. Complete numbers are accepted in bodies, and never sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_outbound.core.ledger.pages import CallView, Campaign, JobFilter, JobView
from airflow_provider_outbound.core.ledger.records import JobState
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.page import views
from airflow_provider_outbound.page.answers import answer, iso, refusal, unknown
from airflow_provider_outbound.page.ledger import shared
from airflow_provider_outbound.page.rights import ReaderDep, same_origin
from airflow_provider_outbound.page.routes.campaigns import readable_campaign

router = APIRouter()


class SearchText(BaseModel):
    """What is searched for in a campaign: a complete phone number, or a reference id."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=256)]


class SearchPerson(BaseModel):
    """Who is searched for in all campaigns."""

    model_config = ConfigDict(extra="forbid")

    phone_number: Annotated[str, Field(min_length=1, max_length=64)]


@router.get("/campaigns/{campaign_id}/jobs")
def list_jobs(
    request: Request,
    user: ReaderDep,
    campaign_id: str,
    outcome: str | None = None,
    status: str | None = None,
    reason: str | None = None,
    tag: str | None = None,
    attempts: Annotated[int | None, Query(ge=0, le=1000)] = None,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """A page of a campaign's jobs, ordered by reference id."""
    campaign = readable_campaign(user, campaign_id)
    counted = views.numbers(campaign).matching(outcome=outcome or None, status=status or None, reason=reason or None)
    is_filtered = bool(outcome or status or reason)
    tagged = _tagged(campaign, tag)
    if is_filtered and not counted.kinds:
        return answer(request, {"jobs": [], "next": None, "total_matching": 0})
    wanted = JobFilter(condition=counted.condition() if is_filtered else None, attempts=attempts, reference_ids=tagged)
    jobs = shared.get().pages.jobs(campaign_id, wanted, after=after, limit=limit + 1)
    # Counting by attempts, or by tag and another property, would read all jobs again.
    is_counted = attempts is None and (tagged is None or not is_filtered)
    total = (sum(kind.jobs for kind in counted.kinds) if tagged is None else len(tagged)) if is_counted else None
    return answer(
        request,
        {
            "jobs": [view_job(job) for job in jobs[:limit]],
            "next": jobs[limit - 1].reference_id if len(jobs) > limit else None,
            "total_matching": total,
        },
    )


@router.get("/campaigns/{campaign_id}/jobs/{reference_id:path}")
def read_job(request: Request, user: ReaderDep, campaign_id: str, reference_id: str) -> Response:
    """One job and its calls."""
    readable_campaign(user, campaign_id)
    pages = shared.get().pages
    job = pages.job(campaign_id, reference_id)
    if job is None:
        raise unknown()
    calls = pages.calls(job)
    return answer(
        request,
        {
            "job": view_job(job),
            "calls": [_call(attempt, call) for attempt, call in enumerate(calls, start=1)],
            "transcript": _transcript(job),
        },
    )


@router.post("/campaigns/{campaign_id}/jobs/search", dependencies=[Depends(same_origin)])
def search_jobs(user: ReaderDep, campaign_id: str, wanted: SearchText) -> dict[str, Any]:
    """Jobs of a campaign by complete number or reference id."""
    readable_campaign(user, campaign_id)
    return {"jobs": [view_job(job) for job in shared.get().pages.find(campaign_id, wanted.text.strip())]}


@router.post("/person/search", dependencies=[Depends(same_origin)], response_model=None)
def search_person(user: ReaderDep, wanted: SearchPerson) -> dict[str, Any] | Response:
    """One person's jobs in all campaigns that the user may see, the newest first."""
    try:
        jobs = shared.get().pages.person(wanted.phone_number)
    except ValueError as error:
        # The text may quote the number.
        return refusal(422, f"phone_number: {redact(str(error))}", "Give a complete phone number")
    now = shared.get().pages.now()
    found = [(views.find(job.job_group_id), job) for job in jobs]
    visible = [(campaign, job) for campaign, job in found if campaign is not None and user.can_read(campaign)]
    visible.sort(key=lambda pair: pair[0].created_at, reverse=True)
    return {
        "campaigns": [
            {"campaign": views.view(campaign, now, can_edit=user.can_edit(campaign)), "job": view_job(job)}
            for campaign, job in visible
        ]
    }


def view_job(job: JobView) -> dict[str, Any]:
    """One job, in the form of the page's contract. All texts of others are masked."""
    details = job.details
    status = job.status if job.state is JobState.ACCEPTED else job.state
    return {
        "reference_id": job.reference_id,
        "phone": job.phone_number,
        "status": str(status) if status else None,
        "outcome": job.outcome.value if job.outcome else None,
        "reason": str(job.failure_reason or job.call_status or "") or None,
        "call_status": str(job.call_status) if job.call_status else None,
        "attempts": job.attempts,
        "tags": [redact(f"{name}={value}") for name, value in details.tags.items()] if details else [],
        "assigned": iso(job.sent_at),
        "last_call": iso(job.started_at),
        "ended": iso(job.ended_at),
        "talk_seconds": details.talk_seconds if details else None,
    }


def _transcript(job: JobView) -> list[dict[str, Any]] | None:
    """What was said in the calls of a job, if it was fetched; numbers in it are masked."""
    said = [call.conversation for call in (job.details.calls if job.details else ()) if call.conversation is not None]
    if not said:
        return None
    return [{"speaker": turn.speaker, "text": redact(turn.text), "at": iso(turn.at)} for part in said for turn in part]


def _call(attempt: int, call: CallView) -> dict[str, Any]:
    is_answered = call.status is not None and call.status.is_answered
    return {
        "attempt": attempt,
        "started": iso(call.started_at),
        "answered": None,
        "is_answered": is_answered,
        "ended": iso(call.ended_at),
        "status": str(call.status) if call.status else None,
        "seconds": (call.ended_at - call.started_at).total_seconds() if call.started_at and call.ended_at else None,
        "talk_seconds": None,
        "ring_seconds": None,
        "hung_up_by": redact(call.hung_up_by) if call.hung_up_by else None,
        "reason": redact(call.end_reason) if call.end_reason else None,
        "caller": call.caller,
    }


def _tagged(campaign: Campaign, tag: str | None) -> list[str] | None:
    """The reference ids of the jobs with a tag, as the page shows it; ``None`` without a tag."""
    if not tag:
        return None
    found = (references for name, references in views.tags(campaign).items() if redact(name) == tag)
    return sorted({reference for references in found for reference in references})
