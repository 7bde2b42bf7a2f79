"""Every action of the SDK by its name: sent completely and signed, or refused before anything is sent."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.scripted import Scripted

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.client.guard import EDITS, may_dial, reads
from airflow_provider_outbound.core.client.masking import masked_answer
from airflow_provider_outbound.core.client.requests import action_names, build_request, parameters_of
from airflow_provider_outbound.exceptions import (
    OutboundBotApiError,
    OutboundBotConfigError,
    OutboundBotNotFoundError,
    OutboundBotThrottlingError,
)
from airflow_provider_outbound.simulator.testing import Simulator

NUMBER = "13800000000"
#: Actions that may dial people, or change whom, when or from which number the service calls.
DIALLING = frozenset(
    [
        "AssignJobs",
        "AssignJobsAsync",
        "CancelJobs",
        "CreateBatchJobs",
        "CreateBatchRepeatJob",
        "CreateInstance",
        "CreateInstanceBindNumber",
        "CreateJobDataParsingTask",
        "CreateJobGroup",
        "DeleteAllNumberDistrictInfo",
        "DeleteContactBlockList",
        "DeleteContactWhiteList",
        "DeleteInstance",
        "DeleteJobGroup",
        "DeleteOutboundCallNumber",
        "Dialogue",
        "InflightTaskTimeout",
        "ModifyBatchJobs",
        "ModifyEmptyNumberNoMoreCallsInfo",
        "ModifyInstance",
        "ModifyJobGroup",
        "ModifyOutboundCallNumber",
        "RecordFailure",
        "ResumeJobs",
        "SaveBaseStrategyPeriod",
        "SaveContactBlockList",
        "SaveContactWhiteList",
        "SaveEffectiveDays",
        "SaveMaxAttemptsPerDay",
        "StartJob",
        "SubmitBatchJobs",
        "SubmitRecording",
        "SuspendCall",
        "SuspendCallWithFile",
        "SuspendJobs",
        "TaskPreparing",
        "TerminateCall",
    ]
)
#: Lists whose items are objects, with one object that the SDK sends completely.
OBJECTS: dict[str, dict[str, Any]] = {
    "Tag": {"Key": "team", "Value": "a&b=c %+~"},
    "AnnotationMissionTagInfoList": {"AnnotationMissionTagInfoName": "好"},
    "AnnotationMissionSessionList": {"SessionId": "s", "AnnotationMissionChatList": [{"OriginalAsrResult": "好"}]},
}


def documented_types(action: str) -> dict[str, str]:
    """The parameters' types, as the comments in the SDK's source say."""
    source = inspect.getsource(inspect.getmodule(build_request(action, {}).__class__))  # type: ignore[arg-type]
    return {name.removeprefix("_"): kind for name, kind in re.findall(r"def set_\w+\(self, (\w+)\):\s*# (\w+)", source)}


def example(name: str, kind: str, instance_id: str) -> Any:
    """A value for a parameter of this type."""
    values = {"Integer": 1, "Long": 1, "Boolean": True, "Struct": {"a": "好"}, "Array": ["x", "王芳"]}
    if name == "InstanceId":
        return instance_id
    if kind == "RepeatList":
        return [OBJECTS.get(name, "1 ~*+/=&%"), OBJECTS.get(name, "王芳")]
    return values.get(kind, "a 好 ~*+/=&%")


def outcome(client: OutboundBotClient, action: str, given: dict[str, Any]) -> dict[str, Any]:
    """The answer; a refusal's code for an action that is simulated, and so looks for what the example names."""
    try:
        return client.call(action, allow_dialling=True, **given)
    except OutboundBotApiError as refusal:
        return {"Message": refusal.code}


def test_every_action_sends_every_parameter_signed_and_is_answered_in_form(
    client: OutboundBotClient, simulator: Simulator
) -> None:
    """The simulator checks the signature; the newer SDK reads the answers to actions that are not simulated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from alibabacloud_outboundbot20191226 import models

    not_simulated: set[str] = set()
    refusals: set[str] = set()
    for action in sorted(action_names()):
        types = documented_types(action)
        assert types.keys() == parameters_of(action).keys()
        given = {name: example(name, kind, simulator.instance_id) for name, kind in types.items()}
        answer = outcome(client, action, given)
        if "does not simulate" in answer["Message"]:
            not_simulated.add(action)
            assert getattr(models, f"{action}ResponseBody")().from_map(answer).to_map() == answer, action
        elif answer["Message"] != "Success":
            refusals.add(answer["Message"].partition(".")[0])

    requests = simulator.state()["requests"]
    assert len(action_names()) == 162
    assert {action: requests.get(action) for action in action_names()} == dict.fromkeys(action_names(), 1)
    assert len(not_simulated) == 139
    assert refusals <= {"NotExist", "InvalidParameter"}
    assert not not_simulated & {"AssignJobs", "DescribeJobGroup", "ListScripts"}


def test_every_action_is_known_to_read_to_edit_or_to_dial() -> None:
    """A newer SDK with another action fails here, so that somebody decides which it is."""
    reading = {action for action in action_names() if reads(action)}

    assert {action for action in action_names() if may_dial(action)} == DIALLING
    assert action_names() == reading | EDITS | DIALLING
    assert not EDITS & (reading | DIALLING)
    assert may_dial("CallEverybody")


@pytest.mark.parametrize(
    ("action", "parameters", "message"),
    [
        pytest.param("ListScript", {}, r"action: 'ListScript' is not an action.* did you mean 'ListScripts'\?", id="a"),
        pytest.param(
            "ListJobs", {"job_id": ["j"]}, r"'job_id': is not a parameter of ListJobs; did you mean 'JobId'", id="p"
        ),
        pytest.param(NUMBER, {}, r"action: '138\*+00' is not an action", id="number-as-action"),
        pytest.param("GetVersion", {"Foo": "x"}, "it has none", id="no-parameters"),
        pytest.param("DescribeJob", {"JobId": None}, "JobId: is None", id="none"),
        pytest.param("DescribeJob", {"JobId": ""}, "JobId: is ''", id="empty-id"),
        pytest.param("DescribeJob", {"JobId": {"job_group_id": "g"}}, "JobId: is a dict", id="object-for-text"),
        pytest.param("DescribeJob", {"JobId": ["j"]}, "JobId: is a list", id="list-for-text"),
        pytest.param("DescribeJob", {"JobId": 1.5}, "JobId: is a float", id="float"),
        pytest.param("ListJobs", {"JobId": "j"}, "JobId: is a str, and must be a list", id="text-for-list"),
        pytest.param("ListJobs", {"JobId": []}, "JobId: is empty", id="empty-list"),
        pytest.param("ListJobs", {"JobId": ["j", None]}, "JobId.2: is None", id="none-in-list"),
        pytest.param("TagResources", {"Tag": ["a"]}, "Tag: .*list of objects", id="text-for-object"),
        pytest.param("TagResources", {"Tag": [{"Key": "a", "Val": "b"}]}, "Tag.1.Val: is not a part", id="lost-key"),
        pytest.param("CreateBeebotIntent", {"IntentDefinition": "{"}, "IntentDefinition: is not JSON", id="no-json"),
    ],
)
def test_what_cannot_be_sent_whole_is_refused_before_anything_is_sent(
    client: OutboundBotClient, simulator: Simulator, action: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(OutboundBotConfigError, match=f"{message}.*Nothing was sent$"):
        client.call(action, **parameters)

    assert simulator.state()["requests"] == {}


def test_the_instance_of_the_settings_is_sent_unless_another_is_named(client: OutboundBotClient) -> None:
    assert client.call("DescribeInstance")["Instance"]["InstanceId"]
    with pytest.raises(OutboundBotNotFoundError):
        client.call("DescribeInstance", InstanceId="another")


@pytest.mark.parametrize(("action", "requests"), [("ListIntents", 4), ("CreateIntent", 1), ("StartJob", 1)])
def test_only_an_action_that_reads_is_repeated(
    client: OutboundBotClient, simulator: Simulator, action: str, requests: int
) -> None:
    simulator.faults(throttle={"actions": [action]})

    with pytest.raises(OutboundBotThrottlingError):
        client.call(action, allow_dialling=may_dial(action))

    assert simulator.state()["requests"][action] == requests


def test_an_error_shows_nothing_of_the_request(scripted: Scripted) -> None:
    job = json.dumps({"contacts": [{"phoneNumber": NUMBER, "name": "王芳"}]}, ensure_ascii=False)
    scripted.answer(400, {"Code": "InvalidParameter", "Message": f"bad: {job} of 王芳, key s3cretKey, top secret"})

    with pytest.raises(OutboundBotApiError) as refused:
        scripted.client().call("StartJob", allow_dialling=True, JobJson=job, ScriptId="top secret")

    assert not [text for text in (NUMBER, "王芳", "s3cretKey", "top secret") if text in str(refused.value)]


NAMES = st.sampled_from(
    [
        "JobId",
        "OtherId",
        "TaskIds",
        "PhoneNumber",
        "CallingNumbers",
        "Content",
        "Contact",
        "Name",
        "Url",
        "ActualTime",
        "Extras",
    ]
)
LEAVES = st.sampled_from(
    [
        NUMBER,
        int(NUMBER),
        f"+86 {NUMBER}",
        f"u{NUMBER}",
        f"打给{NUMBER}吧",
        f'{{"a": "{NUMBER}"}}',
        f"https://h/p?n={NUMBER}",
    ]
)
ANSWERS = st.dictionaries(
    NAMES, st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
)


@given(ANSWERS)
@settings(max_examples=examples(200), deadline=None)
def test_no_number_is_left_in_a_masked_answer(answer: dict[str, Any]) -> None:
    assert NUMBER not in json.dumps(masked_answer(answer), ensure_ascii=False)


def test_a_masked_answer_keeps_what_later_tasks_need() -> None:
    answer = {
        "RequestId": "A1B2C3D4-1234-5678-9012-123456789012",
        "Success": True,
        "TotalCount": 1234567,
        "NextToken": "page-2",
        "Scripts": {"List": [{"ScriptId": "12345678", "Name": "welcome", "UpdateTime": 1764195000000}]},
    }

    assert masked_answer(answer) == answer


def test_a_masked_answer_shows_no_person_and_no_secret() -> None:
    answer = {
        "Job": {
            "Contacts": [{"Name": "王芳", "Honorific": "女士", "ReferenceId": "r-1"}],
            "Extras": [{"Key": "k", "Value": "v"}],
        },
        "DownloadParams": {"SignatureUrl": "https://oss/x?Signature=abc", "FileName": "1.wav"},
        "FileHttpUrl": "https://oss/y?Signature=abc",
        "AccessId": "LTAI",
    }

    assert masked_answer(answer) == {
        "Job": {"Contacts": [{"Name": "***", "Honorific": "***", "ReferenceId": "r-1"}], "Extras": "***"},
        "DownloadParams": {"SignatureUrl": "***", "FileName": "1.wav"},
        "FileHttpUrl": "https://oss/y?***",
        "AccessId": "***",
    }
