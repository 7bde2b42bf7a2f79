"""Refused, or in doubt: what each kind of failure says of a request that may have placed calls."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.scripted import Scripted

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.core.client.errors import REFUSALS, from_code
from airflow_provider_outbound.exceptions import (
    OutboundBotAnswerError,
    OutboundBotApiError,
    OutboundBotAuthenticationError,
    OutboundBotError,
    OutboundBotNotFoundError,
    OutboundBotThrottlingError,
    OutboundBotTransportError,
)
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.mark.parametrize(
    ("fault", "kind", "in_doubt", "jobs"),
    [
        pytest.param({"throttle": 1}, OutboundBotThrottlingError, False, 0, id="throttled"),
        pytest.param({"status_500": 1}, OutboundBotApiError, True, 0, id="500"),
        pytest.param({"status_502": 1}, OutboundBotApiError, True, 0, id="502"),
        pytest.param({"status_503": 1}, OutboundBotApiError, True, 0, id="503"),
        pytest.param({"html": 1}, OutboundBotAnswerError, True, 0, id="html"),
        pytest.param({"reset": 1}, OutboundBotTransportError, True, 0, id="reset"),
        pytest.param({"answer_lost": 1}, OutboundBotTransportError, True, 3, id="acted-but-answer-lost"),
        pytest.param({"success_false": 1}, OutboundBotApiError, True, 3, id="acted-but-says-it-did-not"),
        pytest.param({"success_false": {"times": 1, "acts": False}}, OutboundBotApiError, True, 0, id="success-false"),
    ],
)
def test_assigning_says_whether_the_service_may_have_acted(
    client: OutboundBotClient,
    simulator: Simulator,
    group_id: str,
    make_job: Callable[..., str],
    fault: dict[str, Any],
    kind: type[OutboundBotError],
    in_doubt: bool,
    jobs: int,
) -> None:
    simulator.faults(**fault)

    with pytest.raises(kind) as caught:
        client.assign_jobs(job_group_id=group_id, jobs=[make_job(number) for number in range(3)])

    assert caught.value.in_doubt is in_doubt
    assert len(simulator.state()["groups"][group_id]["jobs"]) == jobs
    assert simulator.state()["requests"]["AssignJobs"] == 1


def test_a_batch_accepted_in_part_is_in_doubt(
    client: OutboundBotClient, simulator: Simulator, group_id: str, make_job: Callable[..., str]
) -> None:
    simulator.faults(partial_batch=1)

    with pytest.raises(OutboundBotApiError) as caught:
        client.assign_jobs(job_group_id=group_id, jobs=[make_job(number) for number in range(20)])

    assert caught.value.in_doubt


def test_creating_a_group_is_never_repeated(client: OutboundBotClient, simulator: Simulator) -> None:
    simulator.faults(answer_lost=1)

    with pytest.raises(OutboundBotTransportError):
        client.create_job_group(job_group_name="once", script_id=simulator.script_id)

    assert [group["name"] for group in simulator.state()["groups"].values()] == ["once"]


@pytest.mark.parametrize("fault", ["throttle", "status_503", "html", "reset", "answer_lost"])
def test_reading_is_repeated_while_the_api_is_out_of_order(
    client: OutboundBotClient, simulator: Simulator, group_id: str, fault: str
) -> None:
    simulator.faults(**{fault: 2})

    assert client.describe_job_group(job_group_id=group_id).job_group_id == group_id
    assert simulator.state()["requests"]["DescribeJobGroup"] >= 1


def test_reading_gives_up_with_the_last_failure(client: OutboundBotClient, simulator: Simulator, group_id: str) -> None:
    simulator.faults(throttle=True)

    with pytest.raises(OutboundBotThrottlingError):
        client.describe_job_group(job_group_id=group_id)


OK = {"Success": True, "Code": "OK", "HttpStatusCode": 200, "RequestId": "E0E8FFD3-8E0C-4B51-8B27-8A1B2C3D4E5F"}
HTML = b"<html><body>413 Request Entity Too Large 13800000001</body></html>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "in_doubt"),
    [
        pytest.param(400, {"Code": "Throttling"}, OutboundBotThrottlingError, False, id="throttling"),
        pytest.param(400, {"Code": "Throttling.Api"}, OutboundBotThrottlingError, False, id="throttling-api"),
        pytest.param(429, {"Code": "Throttling.User"}, OutboundBotThrottlingError, False, id="throttling-429"),
        pytest.param(503, {"Code": "Throttling.User"}, OutboundBotThrottlingError, True, id="throttling-503"),
        pytest.param(
            200, {**OK, "Success": False, "Code": "Throttling"}, OutboundBotThrottlingError, True, id="throttling-200"
        ),
        pytest.param(500, {"Code": "Throttling.User"}, OutboundBotThrottlingError, True, id="throttling-500"),
        pytest.param(400, {"Code": "ThrottlingOfSomeKind"}, OutboundBotApiError, True, id="almost-throttling"),
        pytest.param(404, {"Code": "NotExist.JobGroup"}, OutboundBotNotFoundError, False, id="no-group"),
        pytest.param(500, {"Code": "NotExist.JobGroup"}, OutboundBotNotFoundError, True, id="no-group-500"),
        pytest.param(400, {"Code": "MissingJobGroupId"}, OutboundBotApiError, False, id="missing"),
        pytest.param(400, {"Code": "InvalidParameter"}, OutboundBotApiError, False, id="invalid-parameter"),
        pytest.param(400, {"Code": "InvalidParameter.JobsJson"}, OutboundBotApiError, False, id="invalid-jobs"),
        pytest.param(404, {"Code": "InvalidApi.NotFound"}, OutboundBotApiError, False, id="no-api"),
        pytest.param(404, {"Code": "InvalidAccessKeyId.NotFound"}, OutboundBotAuthenticationError, False, id="no-key"),
        pytest.param(400, {"Code": "InvalidTimeStamp.Expired"}, OutboundBotAuthenticationError, False, id="clock"),
        pytest.param(403, {"Code": "Forbidden.RAM"}, OutboundBotAuthenticationError, False, id="ram"),
        pytest.param(403, {"Code": "NoPermission"}, OutboundBotAuthenticationError, False, id="no-permission"),
        pytest.param(403, {"Code": "Permission.Instance"}, OutboundBotAuthenticationError, False, id="permission"),
        pytest.param(400, {"Code": "SignatureNonceUsed"}, OutboundBotApiError, True, id="nonce-used-so-it-came-twice"),
        pytest.param(400, {"Code": "HandleJobGroupError"}, OutboundBotApiError, True, id="unknown-code"),
        pytest.param(500, {"Code": "InternalError"}, OutboundBotApiError, True, id="internal-error"),
        pytest.param(503, {"Code": "ServiceUnavailable"}, OutboundBotApiError, True, id="unavailable"),
        pytest.param(
            200, {**OK, "Success": False, "Code": "NotExist.JobGroup"}, OutboundBotApiError, True, id="200-code"
        ),
        pytest.param(200, {**OK, "Success": False}, OutboundBotApiError, True, id="200-success-false"),
        pytest.param(
            200, {**OK, "JobsId": ["a", "b"], "HttpStatusCode": 500}, OutboundBotApiError, True, id="200-but-500"
        ),
        pytest.param(200, {"JobsId": ["a", "b"]}, OutboundBotAnswerError, True, id="200-without-success"),
        pytest.param(200, {**OK, "JobsId": ["a"]}, OutboundBotAnswerError, True, id="too-few-ids"),
        pytest.param(200, {**OK, "JobsId": ["a", "b", "c"]}, OutboundBotAnswerError, True, id="too-many-ids"),
        pytest.param(200, {**OK, "JobsId": ["a", "a"]}, OutboundBotAnswerError, True, id="one-id-twice"),
        pytest.param(200, {**OK, "JobsId": ["a", None]}, OutboundBotAnswerError, True, id="null-id"),
        pytest.param(200, {**OK, "JobsId": "ab"}, OutboundBotAnswerError, True, id="ids-are-a-text"),
        pytest.param(200, OK, OutboundBotAnswerError, True, id="no-ids"),
        pytest.param(200, HTML, OutboundBotAnswerError, True, id="html-200"),
        pytest.param(414, HTML, OutboundBotAnswerError, True, id="html-414"),
        pytest.param(502, HTML, OutboundBotAnswerError, True, id="html-502"),
        pytest.param(302, b"", OutboundBotAnswerError, True, id="redirect"),
        pytest.param(200, b"", OutboundBotAnswerError, True, id="empty-200"),
        pytest.param(200, b"[]", OutboundBotAnswerError, True, id="list"),
        pytest.param(500, b"5", OutboundBotAnswerError, True, id="number"),
        pytest.param(400, b"[1]", OutboundBotAnswerError, True, id="list-400"),
        pytest.param(400, b"\xff\xfe\xff", OutboundBotAnswerError, True, id="not-utf8"),
        pytest.param(200, b'{"Success": tru', OutboundBotAnswerError, True, id="torn-json"),
        pytest.param(200, b'{"Success":' + b"[" * 200_000, OutboundBotAnswerError, True, id="nested-200"),
        pytest.param(400, b"[" * 200_000, OutboundBotAnswerError, True, id="nested-400"),
        pytest.param(
            400,
            {"Code": "SignatureDoesNotMatch", "Message": "no colon"},
            OutboundBotAuthenticationError,
            False,
            id="signature-without-a-colon",
        ),
        pytest.param(
            400,
            {"Code": "SignatureDoesNotMatch", "Message": "server string to sign is:POST&%2F&x"},
            OutboundBotAuthenticationError,
            False,
            id="signature",
        ),
        pytest.param(400, {"Code": 17}, OutboundBotApiError, True, id="code-is-a-number"),
    ],
)
def test_only_known_refusals_are_refusals(
    scripted: Scripted,
    make_job: Callable[..., str],
    status: int,
    body: object,
    kind: type[OutboundBotError],
    in_doubt: bool,
) -> None:
    if isinstance(body, dict) and status >= 300:
        body = {"Message": "some words", "RequestId": OK["RequestId"], "HostId": "h"} | body
    scripted.answer(status, body)

    with pytest.raises(kind) as caught:
        scripted.client().assign_jobs(job_group_id="g-1", jobs=[make_job(1), make_job(2)])

    assert caught.value.in_doubt is in_doubt
    assert len(scripted.requests) == 1
    assert "\n" not in str(caught.value)
    assert "13800000001" not in str(caught.value)


@given(
    code=st.sampled_from(
        [*sorted(REFUSALS), "Throttling.User", "NotExist.JobGroup", "MissingJobsJson", "InternalError"]
    ),
    status=st.integers(min_value=100, max_value=599),
)
@settings(max_examples=examples(300), deadline=None, print_blob=True)
def test_no_code_is_a_refusal_outside_4xx(code: str, status: int) -> None:
    error = from_code("AssignJobs", code, http_status=status)

    assert error.in_doubt is (code == "InternalError" or status // 100 != 4)


@pytest.mark.parametrize(
    ("answer", "call"),
    [
        pytest.param({}, lambda client: client.describe_job_group(job_group_id="g"), id="no-group"),
        pytest.param({"JobGroup": {}}, lambda client: client.describe_job_group(job_group_id="g"), id="no-group-id"),
        pytest.param(
            {"JobGroup": []}, lambda client: client.describe_job_group(job_group_id="g"), id="group-is-a-list"
        ),
        pytest.param({"Jobs": {"List": []}}, lambda client: client.list_jobs_by_group(job_group_id="g"), id="no-total"),
        pytest.param(
            {"Jobs": {"TotalCount": 5}},
            lambda client: client.list_jobs_by_group(job_group_id="g"),
            id="no-list-of-five",
        ),
        pytest.param(
            {"Jobs": {"TotalCount": 1, "List": [{}]}},
            lambda client: client.list_jobs_by_group(job_group_id="g"),
            id="no-id",
        ),
        pytest.param(
            {"Jobs": {"TotalCount": 1, "List": ["x"]}},
            lambda client: client.list_jobs_by_group(job_group_id="g"),
            id="text",
        ),
        pytest.param(
            {"Jobs": {"TotalCount": 0, "List": []}},
            lambda client: client.query_jobs_with_result(job_group_id="g"),
            id="rows",
        ),
        pytest.param({"Jobs": {}}, lambda client: client.list_jobs(job_ids=["j"]), id="jobs-by-id"),
        pytest.param({"DownloadParams": {}}, lambda client: client.download_recording(task_id="t"), id="recording"),
    ],
)
def test_a_listing_that_cannot_be_read_is_not_an_empty_one(
    scripted: Scripted, answer: dict[str, Any], call: Callable[[OutboundBotClient], object]
) -> None:
    scripted.answer(200, OK | answer)

    with pytest.raises(OutboundBotAnswerError):
        call(scripted.client())


def test_an_empty_group_may_have_no_list(scripted: Scripted) -> None:
    scripted.answer(200, OK | {"Jobs": {"TotalCount": 0, "List": None}})

    assert list(scripted.client().iter_jobs_by_group(job_group_id="g")) == []


def test_a_listing_ends_although_its_total_promises_more(scripted: Scripted) -> None:
    scripted.answer(200, OK | {"Jobs": {"TotalCount": 9, "List": [{"JobId": "j"}]}})
    scripted.answer(200, OK | {"Jobs": {"TotalCount": 9, "List": []}})

    assert [job.job_id for job in scripted.client().iter_jobs_by_group(job_group_id="g")] == ["j"]


def _client_of(endpoint: str, **settings: Any) -> OutboundBotClient:
    return OutboundBotClient(
        ClientSettings(access_key_id="a", access_key_secret="b", instance_id="i", endpoint=endpoint, **settings)
    )


def test_a_refused_connection_is_said_in_words(make_job: Callable[..., str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"

        with pytest.raises(OutboundBotTransportError, match="AssignJobs: no answer: connection refused"):
            _client_of(endpoint).assign_jobs(job_group_id="g", jobs=[make_job(1)])


def test_a_time_out_is_said_in_words(make_job: Callable[..., str]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = _client_of(f"http://127.0.0.1:{silent.getsockname()[1]}", read_timeout=0.2)

        with pytest.raises(OutboundBotTransportError, match="timed out waiting for the answer"):
            client.assign_jobs(job_group_id="g", jobs=[make_job(1)])


def test_plain_http_where_https_is_expected_is_said_in_words(
    simulator: Simulator, make_job: Callable[..., str]
) -> None:
    client = _client_of(simulator.api.removeprefix("http://"))

    with pytest.raises(OutboundBotTransportError, match="TLS"):
        client.assign_jobs(job_group_id="g", jobs=[make_job(1)])


def test_an_unknown_host_is_said_in_words(make_job: Callable[..., str]) -> None:
    client = _client_of("http://nowhere.invalid")

    with pytest.raises(OutboundBotTransportError, match="host name cannot be resolved"):
        client.assign_jobs(job_group_id="g", jobs=[make_job(1)])


def test_a_connection_that_is_not_taken_up_is_said_in_words(make_job: Callable[..., str]) -> None:
    with ExitStack() as open_sockets:
        busy = open_sockets.enter_context(socket.socket())
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for _ in range(4):  # more than the system keeps waiting, so that it answers nobody else
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(busy.getsockname())
        client = _client_of(f"http://127.0.0.1:{busy.getsockname()[1]}", connect_timeout=0.3)

        with pytest.raises(OutboundBotTransportError, match="timed out while connecting"):
            client.assign_jobs(job_group_id="g", jobs=[make_job(1)])


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half-a-head"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="no-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", id="no-gzip"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", id="too-many-headers"),
    ],
)
def test_what_is_no_answer_is_in_doubt(head: bytes, make_job: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(OutboundBotError) as caught:
            _client_of(f"http://127.0.0.1:{server.getsockname()[1]}").assign_jobs(job_group_id="g", jobs=[make_job(1)])
        thread.join()

    assert caught.value.in_doubt
    assert caught.value.__context__ is None


def test_an_answer_torn_off_is_in_doubt(make_job: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def tear() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Success": true')

        thread = threading.Thread(target=tear)
        thread.start()
        with pytest.raises(OutboundBotError) as caught:
            _client_of(f"http://127.0.0.1:{server.getsockname()[1]}").assign_jobs(job_group_id="g", jobs=[make_job(1)])
        thread.join()

    assert caught.value.in_doubt


def test_errors_cross_processes_whole(scripted: Scripted, make_job: Callable[..., str]) -> None:
    scripted.answer(404, {"Code": "NotExist.JobGroup", "Message": "none", "RequestId": OK["RequestId"]})
    with pytest.raises(OutboundBotNotFoundError) as caught:
        scripted.client().assign_jobs(job_group_id="g", jobs=[make_job(1)])

    copy = pickle.loads(pickle.dumps(caught.value))

    assert (type(copy), str(copy), copy.in_doubt, copy.code) == (
        OutboundBotNotFoundError,
        f"AssignJobs: NotExist.JobGroup: none (request {OK['RequestId']})",
        False,
        "NotExist.JobGroup",
    )
