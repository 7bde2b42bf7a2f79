"""Each action, by the real SDK, against the simulator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.campaigns import MakeSimulator
from support.scripted import Scripted

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.exceptions import LeaseLostError, OutboundBotConfigError, OutboundBotNotFoundError
from airflow_provider_outbound.simulator.testing import Simulator

MakeJob = Callable[..., str]


def _wait(client: OutboundBotClient, group_id: str) -> None:
    """Until nobody is being called any more."""
    progress = client.describe_job_group(job_group_id=group_id).progress
    while progress is None or progress.unfinished:
        threading.Event().wait(0.02)
        progress = client.describe_job_group(job_group_id=group_id).progress


def test_a_group_is_created_as_asked_and_found_again(client: OutboundBotClient, simulator: Simulator) -> None:
    made = client.create_job_group(
        job_group_name="spring", script_id=simulator.script_id, description="by dag a", ringing_duration=30
    )

    found = client.describe_job_group(job_group_id=made.job_group_id)

    assert (found.name, found.description, found.script_id) == ("spring", "by dag a", simulator.script_id)
    assert [group.job_group_id for group in client.iter_job_groups(search_text="spring")] == [made.job_group_id]
    assert list(client.iter_job_groups(search_text="autumn")) == []


def test_every_assigned_job_is_listed_page_by_page_with_its_outcome(
    client: OutboundBotClient, group_id: str, make_job: MakeJob
) -> None:
    ids = client.assign_jobs(job_group_id=group_id, jobs=[make_job(number, name="王芳") for number in range(99)])
    _wait(client, group_id)

    by_group = list(client.iter_jobs_by_group(job_group_id=group_id, page_size=40))
    with_result = list(client.iter_jobs_with_result(job_group_id=group_id, page_size=40))
    by_id = client.list_jobs(job_ids=sorted(ids))

    assert len(ids) == 99
    assert (
        {job.job_id for job in by_group} == {job.job_id for job in with_result} == {job.job_id for job in by_id} == ids
    )
    assert {job.reference_id for job in by_group} == {f"r-{number}" for number in range(99)}
    one = next(job for job in with_result if job.reference_id == "r-0")
    assert client.describe_job(job_id=one.job_id).status == one.status
    page = client.list_jobs_by_group(job_group_id=group_id, page_number=3, page_size=40)
    assert (len(page.items), page.total) == (19, 99)


def test_a_recording_has_a_url_that_is_not_shown(client: OutboundBotClient, group_id: str, make_job: MakeJob) -> None:
    (job_id,) = client.assign_jobs(job_group_id=group_id, jobs=[make_job(0)])
    _wait(client, group_id)
    call = client.describe_job(job_id=job_id).last_call
    assert call is not None
    assert call.task_id is not None

    recording = client.download_recording(task_id=call.task_id)

    assert recording.url.startswith("http://127.0.0.1")
    assert recording.url not in repr(recording)


def test_jobs_are_suspended_resumed_and_cancelled_as_named(simulator_factory: MakeSimulator, make_job: MakeJob) -> None:
    simulator = simulator_factory(call_seconds=3600, concurrency=1, clock_speed=0)
    client = _client(simulator)
    group_id = client.create_job_group(job_group_name="slow", script_id=simulator.script_id).job_group_id
    client.assign_jobs(job_group_id=group_id, jobs=[make_job(number) for number in range(6)])

    def statuses() -> dict[str | None, str]:
        return {job.reference_id: str(job.status) for job in client.iter_jobs_by_group(job_group_id=group_id)}

    client.suspend_jobs(job_group_id=group_id, reference_ids=["r-4", "r-5"])
    assert [name for name, status in sorted(statuses().items()) if status == "Paused"] == ["r-4", "r-5"]

    client.resume_jobs(job_group_id=group_id, reference_ids=["r-4"])
    assert [name for name, status in sorted(statuses().items()) if status == "Paused"] == ["r-5"]

    client.cancel_jobs(job_group_id=group_id, all_jobs=True)
    assert "Cancelled" in statuses().values()
    assert "Paused" not in statuses().values()


def _client(simulator: Simulator) -> OutboundBotClient:
    from airflow_provider_outbound.core.client import ClientSettings

    return OutboundBotClient(
        ClientSettings(
            access_key_id=simulator.access_key_id,
            access_key_secret=simulator.access_key_secret,
            endpoint=simulator.api,
            instance_id=simulator.instance_id,
        )
    )


def test_naming_no_job_steers_none(client: OutboundBotClient, group_id: str, simulator: Simulator) -> None:
    client.cancel_jobs(job_group_id=group_id, job_ids=[])

    assert simulator.state()["requests"].get("CancelJobs", 0) == 0


def test_more_jobs_than_fit_one_request_are_steered_by_several(
    client: OutboundBotClient, group_id: str, simulator: Simulator
) -> None:
    client.cancel_jobs(job_group_id=group_id, reference_ids=[f"r-{number}" for number in range(100)])

    assert simulator.state()["requests"]["CancelJobs"] == 2


def test_booleans_and_the_group_are_always_sent_in_the_documented_form(scripted: Scripted) -> None:
    scripted.answer(200, {"Success": True, "Code": "OK"})
    client = scripted.client()

    client.suspend_jobs(job_group_id="g-1", job_ids=["j-1"])
    client.suspend_jobs(job_group_id="g-1", all_jobs=True)

    named, everything = scripted.requests
    assert (named["All"], named["JobId.1"], named["JobGroupId"]) == ("false", "j-1", "g-1")
    assert (everything["All"], everything["JobGroupId"]) == ("true", "g-1")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client: client.describe_job_group(job_group_id="nobody"), id="group"),
        pytest.param(lambda client: client.describe_job(job_id="nobody"), id="job"),
        pytest.param(lambda client: client.create_job_group(job_group_name="n", script_id="nobody"), id="script"),
        pytest.param(lambda client: client.list_job_groups(instance_id="nobody"), id="instance"),
    ],
)
def test_what_does_not_exist_is_refused(client: OutboundBotClient, call: Callable[[OutboundBotClient], object]) -> None:
    with pytest.raises(OutboundBotNotFoundError, match=r"NotExist\.") as caught:
        call(client)

    assert not caught.value.in_doubt


@pytest.mark.parametrize(
    ("call", "named"),
    [
        pytest.param(lambda client: client.describe_job_group(job_group_id=""), "job_group_id", id="group"),
        pytest.param(
            lambda client: client.create_job_group(job_group_name="n", script_id=""), "script_id", id="script"
        ),
        pytest.param(lambda client: client.assign_jobs(job_group_id="g", jobs=[]), "0 jobs", id="no-jobs"),
        pytest.param(lambda client: client.assign_jobs(job_group_id="g", jobs=["{}"] * 100), "100 jobs", id="100-jobs"),
        pytest.param(lambda client: client.list_jobs(job_ids=["j"] * 100), "100 job ids", id="100-ids"),
        pytest.param(
            lambda client: client.cancel_jobs(job_group_id="g", job_ids=["j"], all_jobs=True),
            "all_jobs",
            id="all-and-some",
        ),
    ],
)
def test_what_cannot_be_meant_is_not_sent(
    client: OutboundBotClient, simulator: Simulator, call: Callable[[OutboundBotClient], object], named: str
) -> None:
    with pytest.raises(OutboundBotConfigError, match=named):
        call(client)

    assert sum(simulator.state()["requests"].values()) == 0


def test_a_missing_instance_is_named_with_its_connection(connect: Callable[..., OutboundBotClient]) -> None:
    client = connect(instance_id="", origin="connection 'night'")

    with pytest.raises(OutboundBotConfigError, match="connection 'night': instance_id is missing"):
        client.describe_job_group(job_group_id="g")


def test_threads_share_a_client(client: OutboundBotClient, group_id: str, make_job: MakeJob) -> None:
    batches = [[make_job(batch * 10 + number) for number in range(10)] for batch in range(16)]

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda jobs: client.assign_jobs(job_group_id=group_id, jobs=jobs), batches))

    assert len(frozenset().union(*ids)) == 160


def test_the_last_word_before_a_request_can_stop_it(
    client: OutboundBotClient, group_id: str, simulator: Simulator, make_job: MakeJob
) -> None:
    def stop() -> None:
        raise LeaseLostError("the lease is over")

    with pytest.raises(LeaseLostError, match="lease"):
        client.assign_jobs(job_group_id=group_id, jobs=[make_job(1)], before_request=stop)

    assert simulator.state()["requests"].get("AssignJobs", 0) == 0
