"""The API as the classic SDK meets it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import wave
from http.client import IncompleteRead
from io import BytesIO
from typing import Any

import pytest
from aliyunsdkcore.acs_exception.exceptions import ServerException
from support.campaigns import MakeSimulator
from support.vendor_clients import ClassicSdk, MakeSdk

from airflow_provider_outbound.simulator.testing import Simulator

NUMBERS = [f"138000000{digits:02d}" for digits in range(99)]


def _refused(call: Any) -> ServerException:
    with pytest.raises(ServerException) as refusal:
        call()
    return refusal.value


def test_a_group_is_created_filled_described_and_listed(simulator: Simulator, sdk: ClassicSdk) -> None:
    group = sdk.create_group(JobGroupName="名 ~*+/=&%", JobGroupDescription="spring")

    ids = sdk.assign(group, *NUMBERS[:30])
    described = sdk.wait(group)
    listed = sdk("ListJobGroups", PageNumber=1, PageSize=10, SearchText="名")["JobGroups"]
    jobs = sdk("ListJobsByGroup", JobGroupId=group, PageNumber=2, PageSize=20)["Jobs"]

    assert len(set(ids)) == 30
    assert described["JobGroupName"] == "名 ~*+/=&%"
    assert described["Progress"]["TotalJobs"] == described["Progress"]["TotalCompleted"] == 30
    assert [row["JobGroupId"] for row in listed["List"]] == [group]
    assert jobs["TotalCount"] == 30
    assert [job["Contacts"][0]["PhoneNumber"] for job in jobs["List"]] == NUMBERS[20:30]
    assert jobs["List"][0]["Extras"][0] == {"Key": "自定义参数1", "Value": "1 ~*+/=&%"}


def test_99_jobs_are_accepted_and_100_refused(simulator: Simulator, sdk: ClassicSdk) -> None:
    group = sdk.create_group()

    refusal = _refused(lambda: sdk.assign(group, *NUMBERS, "13900000000"))
    sdk.assign(group, *NUMBERS)

    assert (refusal.http_status, refusal.get_error_code()) == (400, "InvalidParameter")
    assert sdk.group(group)["Progress"]["TotalJobs"] == 99


def test_results_are_queried_and_filtered(sdk: ClassicSdk) -> None:
    group = sdk.create_group()
    ids = sdk.assign(group, "13800000000", "13800000060", "13800000088")
    sdk.wait(group)

    rows = sdk("QueryJobsWithResult", JobGroupId=group, PageNumber=1, PageSize=2)["Jobs"]
    failed = sdk(
        "QueryJobsWithResult",
        JobGroupId=group,
        PageNumber=1,
        PageSize=9,
        JobStatusFilter="Failed",
        TaskStatusFilter='["NoAnswer"]',
    )["Jobs"]
    listed = sdk("ListJobs", JobIds=[*ids, "unknown"])["Jobs"]
    described = sdk("DescribeJob", JobId=ids[0])["Job"]

    assert (rows["RowCount"], rows["PageCount"], len(rows["List"])) == (3, 2, 2)
    assert rows["List"][0]["LatestTask"]["HasAnswered"] is True
    assert [row["Id"] for row in failed["List"]] == [ids[1]]
    assert failed["List"][0]["JobFailureReason"] == "NoAnswer"
    assert [job["JobId"] for job in listed] == ids
    assert described["Tasks"][0]["Status"] == "SucceededFinish"
    assert described["Tasks"][0]["Contact"]["ReferenceId"] == "r-13800000000"


@pytest.mark.parametrize(
    ("action", "parameters", "status", "code"),
    [
        pytest.param("DescribeJobGroup", {"InstanceId": "no"}, 404, "NotExist.Instance", id="instance"),
        pytest.param("DescribeJobGroup", {"JobGroupId": "no"}, 404, "NotExist.JobGroup", id="group"),
        pytest.param("DescribeJob", {"JobId": "no"}, 404, "NotExist.Job", id="job"),
        pytest.param("CreateJobGroup", {"JobGroupName": "n", "ScriptId": "no"}, 404, "NotExist.Script", id="script"),
        pytest.param("CreateJobGroup", {"ScriptId": "no"}, 400, "MissingJobGroupName", id="missing-name"),
        pytest.param("DescribeJobGroup", {"InstanceId": None}, 400, "MissingInstanceId", id="missing-instance"),
        pytest.param("SuspendJobs", {"JobGroupId": "no"}, 400, "MissingAll", id="missing-all"),
        pytest.param("ListJobGroups", {"PageNumber": 0, "PageSize": 1}, 400, "InvalidParameter", id="page"),
        pytest.param("ListIntents", {"InstanceId": "no"}, 404, "NotExist.Instance", id="instance-not-simulated"),
        pytest.param("DownloadRecording", {"TaskId": "no"}, 404, "NotExist.Recording", id="recording"),
    ],
)
def test_refusals_have_the_gateways_shape(
    sdk: ClassicSdk, action: str, parameters: dict[str, Any], status: int, code: str
) -> None:
    refusal = _refused(lambda: sdk(action, **parameters))

    assert (refusal.http_status, refusal.get_error_code()) == (status, code)
    assert refusal.get_request_id()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no-json"),
        pytest.param("[]", id="no-object"),
        pytest.param('{"contacts": []}', id="no-contact"),
        pytest.param('{"contacts": [{"referenceId": "r"}]}', id="no-number"),
        pytest.param('{"contacts": [{"phoneNumber": "1"}]}', id="no-reference"),
        pytest.param('{"contacts": [{"phoneNumber": "1", "referenceId": "r"}], "extras": [1]}', id="bad-extras"),
    ],
)
def test_one_unreadable_job_refuses_the_whole_request(simulator: Simulator, sdk: ClassicSdk, text: str) -> None:
    group = sdk.create_group()
    good = json.dumps({"contacts": [{"phoneNumber": "13800000000", "referenceId": "r"}]})

    refusal = _refused(lambda: sdk("AssignJobs", JobGroupId=group, JobsJsons=[good, text]))

    assert refusal.get_error_code() == "InvalidParameter"
    assert simulator.state()["jobs_per_number"] == {}


def test_a_wrong_secret_is_known_as_such_by_the_sdk(simulator: Simulator, classic_sdk: MakeSdk) -> None:
    refusal = _refused(lambda: classic_sdk(simulator, secret="wrong").create_group())

    # The SDK compares the string to sign in the answer with its own.
    assert refusal.get_error_code() == "InvalidAccessKeySecret"
    assert simulator.state()["groups"] == {}


def test_an_unknown_key_is_refused(simulator: Simulator, classic_sdk: MakeSdk) -> None:
    refusal = _refused(lambda: classic_sdk(simulator, key="LTAI-other").create_group())

    assert (refusal.http_status, refusal.get_error_code()) == (404, "InvalidAccessKeyId.NotFound")


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _signed_query(simulator: Simulator, **changes: str) -> str:
    from aliyunsdkcore.auth.composer import rpc_signature_composer as composer

    parameters = {
        "Action": "DescribeInstance",
        "Version": "2019-12-26",
        "RegionId": "cn-shanghai",
        "InstanceId": simulator.instance_id,
    }
    url, _ = composer.get_signed_url(
        parameters | changes, simulator.access_key_id, simulator.access_key_secret, "JSON", "GET", {}
    )
    return f"{simulator.api}{url}"


def test_a_request_sent_twice_is_refused_the_second_time(simulator: Simulator) -> None:
    url = _signed_query(simulator)

    first, _ = _get(url)
    second, body = _get(url)

    assert first == 200
    assert (second, json.loads(body)["Code"]) == (400, "SignatureNonceUsed")
    assert "Success" not in json.loads(body)


def test_an_outdated_timestamp_is_refused(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliyunsdkcore.utils.parameter_helper.get_iso_8061_date", lambda: "2020-01-01T00:00:00Z")

    status, body = _get(_signed_query(simulator))

    assert (status, json.loads(body)["Code"]) == (400, "InvalidTimeStamp.Expired")


@pytest.mark.parametrize(("token", "status"), [("simulator-token", 200), ("other", 400)])
def test_a_security_token_must_be_the_known_one(simulator: Simulator, token: str, status: int) -> None:
    assert _get(_signed_query(simulator, SecurityToken=token))[0] == status


def test_an_assumed_role_gives_the_key_and_the_token(simulator: Simulator) -> None:
    url = _signed_query(simulator, Action="AssumeRole", RoleArn="acs:ram::1:role/r", RoleSessionName="s")

    status, body = _get(url)

    assert status == 200
    assert json.loads(body)["Credentials"]["SecurityToken"] == simulator.state()["security_token"]


def test_jobs_are_suspended_resumed_and_cancelled(simulator_factory: MakeSimulator, classic_sdk: MakeSdk) -> None:
    simulator = simulator_factory(call_seconds=3600, concurrency=1)
    sdk = classic_sdk(simulator)
    group = sdk.create_group()
    ids = sdk.assign(group, "13800000000", "13800000001", "13800000002", "13800000003")

    def statuses() -> list[str]:
        return [job["Status"] for job in sdk("ListJobs", JobIds=ids)["Jobs"]]

    sdk("SuspendJobs", JobGroupId=group, All=False, JobIds=[ids[1]], JobReferenceIds=["r-13800000002"])
    suspended = statuses()
    sdk("ResumeJobs", JobGroupId=group, All=True)
    resumed = statuses()
    sdk("CancelJobs", JobGroupId=group, All=True)
    cancelled = statuses()

    assert suspended == ["Executing", "Paused", "Paused", "Scheduling"]
    assert resumed == ["Executing", "Scheduling", "Scheduling", "Scheduling"]
    # The call on the line goes on.
    assert cancelled == ["Executing", "Cancelled", "Cancelled", "Cancelled"]
    assert sdk.group(group)["Progress"]["Cancelled"] == 3


def test_steering_nothing_in_particular_is_refused(sdk: ClassicSdk) -> None:
    refusal = _refused(lambda: sdk("CancelJobs", JobGroupId=sdk.create_group(), All=False))

    assert refusal.get_error_code() == "MissingJobId"


def test_a_recording_is_downloaded_from_its_signed_address(simulator: Simulator, sdk: ClassicSdk) -> None:
    group = sdk.create_group()
    (job,) = sdk.assign(group, "13800000000")
    sdk.wait(group)
    (call,) = sdk("DescribeJob", JobId=job)["Job"]["Tasks"]
    while not simulator.state()["published"].get("RecordingReady"):
        time.sleep(0.01)

    link = sdk("DownloadRecording", TaskId=call["TaskId"])["DownloadParams"]
    status, body = _get(link["SignatureUrl"])
    forged, _ = _get(link["SignatureUrl"].replace("Signature=", "Signature=x"))

    with wave.open(BytesIO(body)) as recording:
        assert recording.getnframes() > 0
    assert status == 200
    assert link["FileName"].endswith(".wav")
    assert forged == 403


@pytest.mark.parametrize(
    ("fault", "status", "is_whole"),
    [
        pytest.param({"recording_missing": 1}, 404, False, id="missing"),
        pytest.param({"recording_wrong_type": 1}, 200, False, id="wrong-type"),
        pytest.param({"recording_truncated": 1}, None, False, id="truncated"),
        pytest.param({"recording_slow": 0.2}, 200, True, id="slow"),
    ],
)
def test_recordings_have_faults_of_their_own(
    simulator: Simulator, sdk: ClassicSdk, fault: dict[str, Any], status: int | None, is_whole: bool
) -> None:
    group = sdk.create_group()
    (job,) = sdk.assign(group, "13800000000")
    sdk.wait(group)
    (call,) = sdk("DescribeJob", JobId=job)["Job"]["Tasks"]
    while not simulator.state()["published"].get("RecordingReady"):
        time.sleep(0.01)
    url = sdk("DownloadRecording", TaskId=call["TaskId"])["DownloadParams"]["SignatureUrl"]
    simulator.faults(**fault)

    try:
        found, body = _get(url)
    except (IncompleteRead, OSError):
        found, body = None, b""

    assert (found, body.startswith(b"RIFF")) == (status, is_whole)
    assert simulator.state()["requests"]["recording"] == 1


@pytest.mark.parametrize(
    ("number", "tags"),
    [
        pytest.param("13800000000", {"intent": "interested"}, id="interested"),
        pytest.param("13800000038", {"intent": "refused", "do_not_call": "yes"}, id="refused"),
        pytest.param("13800000060", {}, id="nobody-answered"),
    ],
)
def test_a_conversation_hits_tags(sdk: ClassicSdk, number: str, tags: dict[str, str]) -> None:
    group = sdk.create_group()
    (job,) = sdk.assign(group, number)
    sdk.wait(group)

    summary = sdk("DescribeJob", JobId=job)["Job"]["Summary"]
    (row,) = sdk("QueryJobsWithResult", JobGroupId=group, PageNumber=1, PageSize=10)["Jobs"]["List"]

    assert {item["SummaryName"]: item["Content"] for item in summary} == tags
    assert {hit["TagGroup"]: hit["TagName"] for hit in row["LatestTask"]["TagHits"]} == tags


def test_numbers_on_the_block_list_are_not_dialled(simulator: Simulator, sdk: ClassicSdk) -> None:
    sdk("SaveContactBlockList", ContactBlockListsJson=json.dumps([{"phoneNumber": "13800000000"}]))
    group = sdk.create_group()
    sdk.assign(group, "13800000000")
    sdk.wait(group)

    rows = sdk("GetContactBlockList", PageNumber=1, PageSize=10)["ContactBlocklistList"]
    (job,) = simulator.state()["groups"][group]["jobs"]

    assert rows["TotalCount"] == 1
    assert job["failure_reason"] == "ContactBlockList"


def test_requests_above_the_limit_are_throttled(simulator_factory: MakeSimulator, classic_sdk: MakeSdk) -> None:
    sdk = classic_sdk(simulator_factory(max_requests_per_second=3))

    refusal = _refused(lambda: [sdk("DescribeInstance") for _ in range(20)])

    assert refusal.get_error_code() == "Throttling.User"


def test_a_reset_forgets_everything(simulator: Simulator, sdk: ClassicSdk) -> None:
    sdk.assign(sdk.create_group(), "13800000000")
    simulator.faults(throttle=True)

    simulator.reset()

    assert simulator.state()["groups"] == simulator.state()["faults"] == simulator.state()["jobs_per_number"] == {}
    assert sdk.create_group()
