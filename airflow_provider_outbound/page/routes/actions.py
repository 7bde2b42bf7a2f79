"""Suspending, resuming and cancelling a campaign, as the command line and the operators do it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import attrs
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from airflow_provider_outbound.core.control import Action, JobCommand
from airflow_provider_outbound.core.ledger.pages import Campaign
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.rules import check_resume
from airflow_provider_outbound.exceptions import JobGroupCancelledError, OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.page import views
from airflow_provider_outbound.page.answers import answer, refusal
from airflow_provider_outbound.page.connections import read_settings
from airflow_provider_outbound.page.ledger import shared
from airflow_provider_outbound.page.rights import ReaderDep, same_origin
from airflow_provider_outbound.page.routes.campaigns import readable_campaign

log = logging.getLogger(__name__)

router = APIRouter()

#: Longest waits for the API (seconds): Airflow's own requests share the threads.
_CONNECT_TIMEOUT, _READ_TIMEOUT = 3.0, 8.0
_STILL_ASSIGNING = (
    "A task is still assigning people to this campaign. It will fail, and people whom it has not assigned yet are not"
    " called"
)


class Nothing(BaseModel):
    """An empty JSON object."""

    model_config = ConfigDict(extra="forbid")


@router.get("/campaigns/{campaign_id}/actions/{action}")
def preview(request: Request, user: ReaderDep, campaign_id: str, action: Action) -> Response:
    """How many people an action concerns, for the dialog that asks for confirmation."""
    campaign = readable_campaign(user, campaign_id)
    is_warned = action is not Action.RESUME and campaign.is_assigning
    return answer(request, {"affected": _affected(campaign), "warning": _STILL_ASSIGNING if is_warned else None})


@router.post("/campaigns/{campaign_id}/{action}", dependencies=[Depends(same_origin)], response_model=None)
def act(user: ReaderDep, campaign_id: str, action: Action, _: Nothing) -> dict[str, Any] | Response:
    """Act on all jobs of a campaign that have not ended."""
    campaign = readable_campaign(user, campaign_id)
    user.require_edit(campaign)
    affected = _affected(campaign)
    log.warning("%s asks to %s job group %s: %d people are not done", user.name, action.value, campaign_id, affected)
    try:
        _send(campaign, action)
    except OutboundBotError as error:
        log.warning("%s: %s of job group %s failed: %s", user.name, action.value, campaign_id, redact(str(error)))
        what, _separator, fix = redact(str(error)).partition("; ")
        is_refused = isinstance(error, OutboundBotConfigError | JobGroupCancelledError)
        return refusal(409 if is_refused else 502, what, fix or None)
    finally:
        views.forget(campaign)
    log.warning("%s: %s of job group %s was sent for %d people", user.name, action.value, campaign_id, affected)
    changed = views.find(campaign_id) or campaign
    return {"campaign": views.view(changed, shared.get().pages.now(), can_edit=user.can_edit(changed))}


def _affected(campaign: Campaign) -> int:
    counted = views.numbers(campaign)
    return counted.total - counted.done + counted.in_doubt


def _send(campaign: Campaign, action: Action) -> None:
    if campaign.conn_id is None:
        raise HTTPException(
            409,
            "The ledger does not record which connection this campaign belongs to; run: "
            f"outbound {action.value} {campaign.job_group_id} --outboundbot-conn-id ID",
        )
    hook = OutboundBotHook(campaign.conn_id)
    hook.may_call = action is Action.RESUME
    settings = read_settings(campaign, may_call=hook.may_call)
    if settings.dry_run:
        raise OutboundBotConfigError(
            f"connection {campaign.conn_id!r} has dry_run set, so nothing is sent; use another connection: "
            f"outbound {action.value} {campaign.job_group_id} --outboundbot-conn-id ID"
        )
    patience = attrs.evolve(
        settings.client,
        connect_timeout=min(_CONNECT_TIMEOUT, settings.client.connect_timeout),
        read_timeout=min(_READ_TIMEOUT, settings.client.read_timeout),
    )
    hook.settings = attrs.evolve(settings, client=patience)
    command = JobCommand(
        action=action, job_group_id=campaign.job_group_id, instance_id=campaign.instance_id, all_jobs=True
    )

    def check(group: JobGroup) -> None:
        if action is Action.RESUME:
            strategies = hook.ledger.assignments.strategies(group.job_group_id)
            check_resume(hook.calling_hours, group, strategies, datetime.now(UTC))
            command.check_allowed(hook.client, hook.allowed_phone_numbers)

    with hook:
        command.send(hook.client, lambda: hook.ledger, check)
