"""The API as the newer official SDK (ACS3-HMAC-SHA256) meets it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from airflow_provider_outbound.simulator.testing import Simulator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the vendor's modules, not ours
    from alibabacloud_outboundbot20191226 import models
    from alibabacloud_outboundbot20191226.client import Client
    from alibabacloud_tea_openapi.models import Config


def _client(simulator: Simulator, **changes: Any) -> Client:
    settings = {
        "access_key_id": simulator.access_key_id,
        "access_key_secret": simulator.access_key_secret,
        "endpoint": simulator.api.removeprefix("http://"),
        "protocol": "HTTP",
        "region_id": simulator.region_id,
    }
    return Client(Config(**(settings | changes)))


def _create(simulator: Simulator, client: Client) -> str:
    request = models.CreateJobGroupRequest(
        instance_id=simulator.instance_id, script_id=simulator.script_id, job_group_name="名 ~*+/=&%"
    )
    return str(client.create_job_group(request).body.job_group.job_group_id)


def test_a_group_takes_99_jobs_and_refuses_100(simulator: Simulator, request: pytest.FixtureRequest) -> None:
    client = _client(simulator)
    group = _create(simulator, client)
    jobs = [
        f'{{"contacts":[{{"phoneNumber":"1380000{index:04d}","referenceId":"r{index}","name":"张三"}}]}}'
        for index in range(100)
    ]

    def assign(count: int) -> Any:
        return client.assign_jobs(
            models.AssignJobsRequest(instance_id=simulator.instance_id, job_group_id=group, jobs_json=jobs[:count])
        )

    with pytest.raises(Exception, match="at most 99"):
        assign(100)
    accepted = assign(99)

    listed = client.list_jobs_by_group(
        models.ListJobsByGroupRequest(
            instance_id=simulator.instance_id, job_group_id=group, page_number=1, page_size=99
        )
    ).body
    described = client.describe_job_group(
        models.DescribeJobGroupRequest(instance_id=simulator.instance_id, job_group_id=group)
    ).body
    results = client.query_jobs_with_result(
        models.QueryJobsWithResultRequest(
            instance_id=simulator.instance_id, job_group_id=group, page_number=1, page_size=5
        )
    ).body
    groups = client.list_job_groups(
        models.ListJobGroupsRequest(instance_id=simulator.instance_id, page_number=1, page_size=5)
    ).body
    job = client.describe_job(
        models.DescribeJobRequest(instance_id=simulator.instance_id, job_id=accepted.body.jobs_id[0])
    ).body

    assert len(set(accepted.body.jobs_id)) == listed.jobs.total_count == 99
    assert {row.job_id for row in listed.jobs.list} == set(accepted.body.jobs_id)
    assert (described.success, described.code, described.http_status_code) == (True, "OK", 200)
    assert described.job_group.progress.total_jobs == 99
    assert described.job_group.job_group_name == "名 ~*+/=&%"
    assert results.jobs.row_count == 99
    assert results.jobs.list[0].latest_task.contact.reference_id == "r0"
    assert groups.job_groups.list[0].progress.total_jobs == 99
    assert job.job.contacts[0].phone_number == "13800000000"


def test_a_wrong_secret_is_refused(simulator: Simulator) -> None:
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        _create(simulator, _client(simulator, access_key_secret="wrong"))

    assert simulator.state()["groups"] == {}
