"""Which actions of the API read, edit, or may dial people, and what a connection allows of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from airflow_provider_outbound.core.client.requests import check_action, parameters_of
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.strategy import resolve_strategy
from airflow_provider_outbound.core.rules import CallingHours, check_hours, window_of
from airflow_provider_outbound.exceptions import OutboundBotConfigError, before_changing

#: How the names of actions begin that only read.
_READS = ("Describe", "Download", "Get", "List", "Query", "Search")

#: Actions that change something, but neither whom the service calls, nor when, nor from which number. Any other action
#: that does not read may dial, as may one of a newer SDK: a missing entry only asks for ``allow_dialling``, and a wrong
#: one may call somebody.
EDITS = frozenset(
    {
        "ChangeResourceGroup",
        "CreateAgentProfile",
        "CreateAnnotationMission",
        "CreateBeebotIntent",
        "CreateBeebotIntentLgf",
        "CreateBeebotIntentUserSay",
        "CreateDialogueFlow",
        "CreateDownloadUrl",
        "CreateGlobalQuestion",
        "CreateIntent",
        "CreateJobGroupExportTask",
        "CreateScript",
        "CreateScriptWaveform",
        "CreateTag",
        "CreateTaskExportTask",
        "DeleteAgentProfiles",
        "DeleteBeebotIntent",
        "DeleteBeebotIntentLgf",
        "DeleteBeebotIntentUserSay",
        "DeleteDialogueFlow",
        "DeleteGlobalQuestion",
        "DeleteIntent",
        "DeleteScript",
        "DeleteScriptRecording",
        "DeleteScriptWaveform",
        "DuplicateScript",
        "ExportScript",
        "GenerateUploadUrl",
        "ImportScript",
        "ModifyAgentProfile",
        "ModifyAnnotationMission",
        "ModifyBeebotIntent",
        "ModifyBeebotIntentLgf",
        "ModifyBeebotIntentUserSay",
        "ModifyDialogueFlow",
        "ModifyGlobalQuestion",
        "ModifyIntent",
        "ModifyScript",
        "ModifyScriptVoiceConfig",
        "ModifyTTSConfig",
        "ModifyTagGroups",
        "PublishScript",
        "PublishScriptForDebug",
        "RollbackScript",
        "SaveAfterAnswerDelayPlayback",
        "SaveAnnotationMissionSessionList",
        "SaveAnnotationMissionTagInfoList",
        "SubmitScriptReview",
        "TagResources",
        "UntagResources",
        "UploadScriptRecording",
        "WithdrawScriptReview",
    }
)

#: Actions that only stop calls. Calling hours do not apply to them: calls can be stopped at any time. A missing entry
#: only waits for the next hours.
_STOPS = frozenset(
    {
        "CancelJobs",
        "DeleteJobGroup",
        "SaveContactBlockList",
        "SuspendCall",
        "SuspendCallWithFile",
        "SuspendJobs",
        "TerminateCall",
    }
)

#: What to use instead of some actions that dial.
_INSTEAD = {
    "AssignJobs": "OutboundBotAssignJobsOperator",
    "AssignJobsAsync": "OutboundBotAssignJobsOperator",
    "CancelJobs": "OutboundBotCancelJobsOperator",
    "CreateJobGroup": "OutboundBotCreateJobGroupOperator",
    "DeleteContactBlockList": "OutboundBotSyncContactBlockListOperator",
    "DeleteJobGroup": "outbound ledger purge --at-service",
    "ModifyJobGroup": "OutboundBotModifyJobGroupOperator",
    "ResumeJobs": "OutboundBotResumeJobsOperator",
    "SaveContactBlockList": "OutboundBotSaveContactBlockListOperator",
    "StartJob": "OutboundBotAssignJobsOperator",
    "SuspendJobs": "OutboundBotSuspendJobsOperator",
}


def reads(action: str) -> bool:
    """Return whether an action only reads, so that it is safe to repeat."""
    return action.startswith(_READS)


def may_dial(action: str) -> bool:
    """Return whether an action may dial people, or change whom, when or from which number the service calls."""
    return not reads(action) and action not in EDITS


def only_stops(action: str) -> bool:
    """Return whether an action only stops calls, which is right at any time."""
    return action in _STOPS


@attrs.frozen(kw_only=True)
class ActionGuard:
    """
    What a connection allows of actions that are performed by their names.

    :param dry_run: Whether nothing is sent that changes something.
    :param is_restricted: Whether only some numbers may be called. No action by name is then sent that may dial,
        except those that only stop calls.
    :param hours: When people may be called; ``None`` for any time.
    """

    dry_run: bool = False
    is_restricted: bool = False
    hours: CallingHours | None = None

    def check(self, action: str, *, allow_dialling: bool) -> None:
        """
        Check that an action is one that the caller and the connection want.

        :raises OutboundBotConfigError: the API has no such action, it may dial people and that is not allowed, or the
            connection refuses it.
        """
        dials = may_dial(check_action(action))
        if dials and allow_dialling is not True:
            instead = _INSTEAD.get(action)
            what = "changes" if only_stops(action) else "may dial people or change"
            raise OutboundBotConfigError(
                f"action: {action} {what} whom the service calls, and a plain request keeps no"
                f" promise about that; {f'use {instead}' if instead else 'use the operators of a campaign'}, or pass"
                " allow_dialling=True. Nothing was changed"
            )
        if self.dry_run and not reads(action):
            raise OutboundBotConfigError(
                f"dry_run: is on, so {action} is not sent; turn it off in the connection. Nothing was changed"
            )
        if self.is_restricted and dials and not only_stops(action):
            raise OutboundBotConfigError(
                f"allowed_phone_numbers: cannot be kept by {action}, which may call others; use a connection without"
                " it. Nothing was changed"
            )

    def check_time(
        self, action: str, parameters: Mapping[str, Any], describe: Callable[[str], JobGroup], now: datetime
    ) -> None:
        """
        Refuse an action that may dial outside the connection's calling hours.

        ``StrategyJson`` says when it dials, or else the job group that it names. Without either it dials at once. An
        action that takes no ``StrategyJson`` must also be sent within the hours, because it may dial at once.

        :param parameters: By name on the wire.
        :param describe: Describes a job group by its id.
        :param now: Aware.
        :raises OutboundBotWrongTimeError: it would dial outside the hours.
        :raises OutboundBotConfigError: ``StrategyJson`` cannot be read.
        """
        if self.hours is None or not may_dial(action) or only_stops(action):
            return
        takes_strategy = "StrategyJson" in parameters_of(action)
        strategy, group_id = parameters.get("StrategyJson"), parameters.get("JobGroupId")
        with before_changing():
            if not takes_strategy:
                self.hours.check_now(now)
            if strategy is not None:
                check_hours(self.hours, resolve_strategy(_parsed(strategy), run_at=now, now=now), now)
            elif group_id is not None:
                check_hours(self.hours, window_of(describe(str(group_id))), now)
            elif takes_strategy:
                check_hours(self.hours, None, now)


def _parsed(strategy: Any) -> Any:
    if not isinstance(strategy, str):
        return strategy
    try:
        return json.loads(strategy)
    except (ValueError, RecursionError):
        raise OutboundBotConfigError(
            "StrategyJson: is not JSON, so when it dials is unknown; give JSON text of an object"
        ) from None
