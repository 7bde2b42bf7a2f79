"""Each fault, seen by a real client at least once."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException
from support.vendor_clients import ClassicSdk

from airflow_provider_outbound.simulator.testing import Simulator

NUMBERS = tuple(f"138000000{digits:02d}" for digits in range(20))


@pytest.fixture
def group(sdk: ClassicSdk) -> str:
    """An empty group, made before the faults."""
    return str(sdk.create_group())


def _jobs(simulator: Simulator) -> int:
    return len(simulator.state()["jobs_per_number"])


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        pytest.param("throttle", 400, "Throttling.User", id="throttle"),
        pytest.param("status_500", 500, "InternalError", id="500"),
        pytest.param("status_502", 502, "BadGateway", id="502"),
        pytest.param("status_503", 503, "ServiceUnavailable", id="503"),
        pytest.param("html", 502, "SDK.UnknownServerError", id="html"),
    ],
)
def test_errors_before_acting(
    simulator: Simulator, sdk: ClassicSdk, group: str, fault: str, status: int, code: str
) -> None:
    simulator.faults(**{fault: {"times": 1, "actions": ["AssignJobs"]}})

    sdk.group(group)  # another action is not struck
    with pytest.raises(ServerException) as error:
        sdk.assign(group, *NUMBERS)
    jobs_after_fault = _jobs(simulator)
    sdk.assign(group, *NUMBERS)

    assert (error.value.http_status, error.value.get_error_code()) == (status, code)
    assert (jobs_after_fault, _jobs(simulator)) == (0, 20)
    assert simulator.state()["faults"][fault]["struck"] == 1


@pytest.mark.parametrize(("fault", "jobs"), [("reset", 0), ("answer_lost", 20)])
def test_connections_break_before_or_after_acting(
    simulator: Simulator, sdk: ClassicSdk, group: str, fault: str, jobs: int
) -> None:
    simulator.faults(**{fault: 1})

    with pytest.raises(ClientException) as error:
        sdk.assign(group, *NUMBERS)

    assert error.value.get_error_code() == "SDK.HttpError"
    assert _jobs(simulator) == jobs
    assert sdk.group(group)["Progress"]["TotalJobs"] == jobs  # the next request is served


def test_a_late_request_acts_after_its_connection_is_gone(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(late={"seconds": 0.5, "times": 1})

    with pytest.raises(ClientException):
        sdk.assign(group, *NUMBERS)
    at_first = _jobs(simulator)
    time.sleep(1)

    assert (at_first, _jobs(simulator)) == (0, 20)


@pytest.mark.parametrize(("acts", "jobs"), [(True, 20), (False, 0)])
def test_throttling_may_be_answered_with_http_503(
    simulator: Simulator, sdk: ClassicSdk, group: str, acts: bool, jobs: int
) -> None:
    simulator.faults(throttle_503={"times": 1, "acts": acts})

    with pytest.raises(ServerException) as error:
        sdk.assign(group, *NUMBERS)

    assert (error.value.http_status, error.value.get_error_code()) == (503, "Throttling.User")
    assert _jobs(simulator) == jobs


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        pytest.param("numbers_masked", {"138****8000", "+44****3456"}, id="masked"),
        pytest.param("plus_dropped", {"13800138000", "447911123456"}, id="plus-dropped"),
    ],
)
def test_numbers_show_in_another_form(
    simulator: Simulator, sdk: ClassicSdk, group: str, fault: str, shown: set[str]
) -> None:
    ids = sdk.assign(group, "13800138000", "+447911123456")
    simulator.faults(**{fault: True})

    by_group = sdk("ListJobsByGroup", JobGroupId=group, PageNumber=1, PageSize=5)["Jobs"]["List"]
    results = sdk("QueryJobsWithResult", JobGroupId=group, PageNumber=1, PageSize=5)["Jobs"]["List"]
    by_id = sdk("ListJobs", JobIds=ids)["Jobs"]
    single = [sdk("DescribeJob", JobId=job_id)["Job"] for job_id in ids]

    for jobs in (by_group, by_id, single):
        assert {job["Contacts"][0]["PhoneNumber"] for job in jobs} == shown
    assert {job["LatestTask"]["Contact"]["PhoneNumber"] for job in results} == shown


@pytest.mark.parametrize(("acts", "jobs"), [(True, 20), (False, 0)])
def test_success_may_be_false_with_http_200(
    simulator: Simulator, sdk: ClassicSdk, group: str, acts: bool, jobs: int
) -> None:
    simulator.faults(success_false={"times": 1, "acts": acts})

    answer = sdk("AssignJobs", JobGroupId=group, JobsJsons=[_job(number) for number in NUMBERS])

    assert (answer["Success"], answer["Code"]) == (False, "InternalError")
    assert _jobs(simulator) == jobs


def _job(number: str) -> str:
    return json.dumps({"contacts": [{"phoneNumber": number, "referenceId": number}]})


def test_a_batch_is_accepted_in_part(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(partial_batch=1)

    with pytest.raises(ServerException) as error:
        sdk.assign(group, *NUMBERS)

    assert error.value.http_status == 500
    assert 0 < _jobs(simulator) < 20


def test_job_ids_are_shuffled(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(ids_shuffled=True)

    ids = sdk.assign(group, *NUMBERS)

    in_order = [job["job_id"] for job in simulator.state()["groups"][group]["jobs"]]
    assert set(ids) == set(in_order)
    assert ids != in_order


def test_listings_lag(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(listing_lag={"seconds": 1})
    sdk.assign(group, *NUMBERS)

    def seen() -> tuple[int, int, int]:
        listing = sdk("ListJobsByGroup", JobGroupId=group, PageNumber=1, PageSize=5)["Jobs"]["TotalCount"]
        results = sdk("QueryJobsWithResult", JobGroupId=group, PageNumber=1, PageSize=5)["Jobs"]["RowCount"]
        return listing, results, sdk.group(group)["Progress"]["TotalJobs"]

    at_first = seen()
    time.sleep(1.2)

    assert (at_first, seen()) == ((0, 0, 0), (20, 20, 20))


def test_listings_reshuffle(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(listing_reshuffle=True)
    ids = sdk.assign(group, *NUMBERS)

    pages = [
        [row["JobId"] for row in sdk("ListJobsByGroup", JobGroupId=group, PageNumber=1, PageSize=20)["Jobs"]["List"]]
        for _ in range(2)
    ]

    assert pages[0] != pages[1]
    assert set(pages[0]) == set(pages[1]) == set(ids)


def test_completed_may_count_every_ended_job(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    sdk.assign(group, "13800000000", "13800000060")

    succeeded = sdk.wait(group)["Progress"]["TotalCompleted"]
    simulator.faults(completed_counts_ended=True)
    ended = sdk.group(group)["Progress"]["TotalCompleted"]

    assert (succeeded, ended) == (1, 2)


def test_a_job_without_a_call_may_be_listed_without_its_contact(
    simulator: Simulator, sdk: ClassicSdk, group: str
) -> None:
    sdk.assign(group, "13800000000", "13800000074")  # the second is never dialled
    sdk.wait(group)

    simulator.faults(latest_task_missing=True)
    rows = sdk("QueryJobsWithResult", JobGroupId=group, PageNumber=1, PageSize=20)["Jobs"]["List"]

    assert ["LatestTask" in row for row in rows] == [True, False]


def _bodies(simulator: Simulator) -> list[dict[str, Any]]:
    server: Any = simulator._running
    return simulator._call(lambda: [json.loads(message.body) for message in server.outlet.topics[simulator.topic].log])


def _kinds(simulator: Simulator) -> list[str]:
    return [body["eventType"] for body in _bodies(simulator)]


@pytest.mark.parametrize("new_event_time", [False, True])
def test_messages_are_doubled(simulator: Simulator, sdk: ClassicSdk, group: str, new_event_time: bool) -> None:
    simulator.faults(messages_doubled={"event_types": ["JobComplete"], "new_event_time": new_event_time})

    sdk.assign(group, "13800000060")
    sdk.wait(group)

    first, second = (body for body in _bodies(simulator) if body["eventType"] == "JobComplete")
    assert _kinds(simulator).count("Dialing") == 1
    assert first | {"eventTime": 0} == second | {"eventTime": 0}
    assert (first == second) is not new_event_time


def test_messages_are_late(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(messages_late={"seconds": 1, "event_types": ["JobComplete"]})

    sdk.assign(group, "13800000060")
    sdk.wait(group)
    at_first = _kinds(simulator)
    time.sleep(1.2)

    assert "JobComplete" not in at_first
    assert _kinds(simulator) == [*at_first, "JobComplete"]


def test_messages_are_reordered(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(messages_reordered={"seconds": 0.5})

    sdk.assign(group, *NUMBERS)
    sdk.wait(group)
    time.sleep(0.7)

    times = [body["eventTime"] for body in _bodies(simulator)]
    assert len(times) >= 60
    assert times != sorted(times)


def test_messages_are_withheld(simulator: Simulator, sdk: ClassicSdk, group: str) -> None:
    simulator.faults(messages_withheld={"probability": 0.5, "event_types": ["JobComplete"]})

    sdk.assign(group, *NUMBERS)
    sdk.wait(group)

    state = simulator.state()
    assert 0 < state["withheld"]["JobComplete"] < 20
    assert state["published"]["JobComplete"] + state["withheld"]["JobComplete"] == 20
    assert state["published"]["Dialing"] == 20


def _control(simulator: Simulator, method: str, body: bytes = b"") -> tuple[int, str]:
    request = urllib.request.Request(f"{simulator.api}/_simulator/faults", data=body or None, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_faults_add_up_and_are_cleared_over_http(simulator: Simulator) -> None:
    _control(simulator, "POST", b'{"throttle": {"times": 3}}')
    _, both = _control(simulator, "POST", b'{"late": 2}')
    _, without = _control(simulator, "POST", b'{"throttle": false}')
    _, none = _control(simulator, "DELETE")

    assert json.loads(both)["throttle"]["times"] == 3
    assert json.loads(both)["late"]["seconds"] == 2
    assert set(json.loads(without)) == {"late"}
    assert json.loads(none) == {}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        pytest.param(b'{"thrttle": true}', "unknown fault 'thrttle'", id="fault"),
        pytest.param(b'{"throttle": {"often": 1}}', "unknown options ['often']", id="option"),
        pytest.param(b'{"throttle": "yes"}', "neither an object", id="value"),
        pytest.param(b"[", "not JSON", id="json"),
    ],
)
def test_an_unknown_fault_is_named_and_nothing_changes(simulator: Simulator, body: bytes, names: str) -> None:
    status, text = _control(simulator, "POST", body)

    assert status == 400
    assert names in text
    assert simulator.state()["faults"] == {}
