"""Any action of the API, and which of them read, edit, or may dial people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from airflow_provider_outbound.core.client.base import ClientActions
from airflow_provider_outbound.core.client.errors import texts_in
from airflow_provider_outbound.core.client.requests import build_request, check_action, parameters_of
from airflow_provider_outbound.exceptions import OutboundBotConfigError

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


def check_may_dial(action: str, *, allow_dialling: bool) -> None:
    """
    Check that an action is one that the caller wants.

    :raises OutboundBotConfigError: the API has no such action, or it may dial people and that is not allowed.
    """
    if may_dial(check_action(action)) and not allow_dialling:
        instead = _INSTEAD.get(action)
        raise OutboundBotConfigError(
            f"action: {action} may dial people or change whom the service calls, and a plain request keeps no promise"
            f" about that; {f'use {instead}' if instead else 'use the operators of a campaign'}, or pass"
            " allow_dialling=True. Nobody was called"
        )


class AnyAction(ClientActions):
    """Every action of the API, by its name."""

    def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """
        Perform any action of the SDK.

        An action that only reads is repeated while the API throttles or fails; any other is sent once. Nothing else is
        checked: an action that dials people does so at once, and the ledger does not know about it.

        :param action: Its name, e.g. ``ListIntents``.
        :param parameters: By name on the wire, e.g. ``ScriptId``. A boolean and an integer are sent as text, and a list
            as numbered items. The settings' instance is sent if the action takes an ``InstanceId`` and none is given.
        :return: The complete answer, with whatever numbers, names and URLs it contains.
        :raises OutboundBotConfigError: the API has no such action, or the action no such parameter or value; nothing
            was sent.
        """
        if self.settings.instance_id and "InstanceId" in parameters_of(check_action(action)):
            parameters = {"InstanceId": self.settings.instance_id, **parameters}
        build = partial(build_request, action, parameters)
        private = frozenset(_private(parameters))
        return self._sender.send_built(action, build, private, repeat=reads(action))


def _private(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a request that a message of the API may repeat."""
    for text in texts_in(_plain(parameters)):
        yield text
        if text[:1] in ("[", "{"):
            try:
                yield from texts_in(json.loads(text))
            except (ValueError, RecursionError):
                continue


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
