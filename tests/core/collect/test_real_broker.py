"""
The collector on a real RocketMQ, fed by the simulator through a real producer, by either protocol.

OUTBOUND_TEST_BROKER names the proxy and OUTBOUND_TEST_NAMESERVER the name server, HOST:PORT; the topic and the consumer
groups below must exist there. OUTBOUND_TEST_LIBROCKETMQ is the path of librocketmq.so where it is not found by itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from support.processes import until
from support.simulated import client_of, simulated_service
from support.workers import StartWorker

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.ledger import Ledger

pytestmark = pytest.mark.broker

TOPIC, GROUP, KILLED_GROUP = "outbound-test", "outbound-test", "outbound-test-kill"


@attrs.frozen(kw_only=True)
class Way:
    """A protocol, and where the broker speaks it."""

    transport: str
    endpoint: str
    librocketmq: str | None = None


@pytest.fixture(params=["grpc", "remoting"])
def way(request: pytest.FixtureRequest) -> Way:
    if request.param == "grpc":
        return Way(transport="grpc", endpoint=request.getfixturevalue("broker_endpoint"))
    endpoint = os.environ.get("OUTBOUND_TEST_NAMESERVER")
    if not endpoint:
        pytest.skip("OUTBOUND_TEST_NAMESERVER is not set (the name server of a real RocketMQ, HOST:PORT)")
    return Way(transport="remoting", endpoint=endpoint, librocketmq=os.environ.get("OUTBOUND_TEST_LIBROCKETMQ") or None)


@pytest.fixture
def cloud(way: Way) -> Iterator[dict[str, Any]]:
    """A simulator that publishes to the broker; its ready line."""
    options = ["--topic", TOPIC, "--publish-to", f"{way.transport}://{way.endpoint}"]
    options += ["--librocketmq", way.librocketmq] if way.librocketmq else []
    # Ids of its own: a group that is new reads what earlier tests left in the topic.
    options += ["--seed", str(random.randrange(2**32)), "--call-seconds", "0.2", "--concurrency", "50"]
    with simulated_service(*options, broker=False) as service:
        yield service


def campaign(cloud: dict[str, Any], jobs: int) -> str:
    """A group whose jobs are being called; its id."""
    client = client_of(cloud)
    group = client.create_job_group(job_group_name="real broker", script_id=cloud["script_id"])
    for start in range(0, jobs, 25):
        contacts = [
            {"contacts": [{"phoneNumber": f"1370000{index:04}", "referenceId": f"r-{index}"}], "extras": []}
            for index in range(start, min(jobs, start + 25))
        ]
        client.assign_jobs(job_group_id=group.job_group_id, jobs=[json.dumps(contact) for contact in contacts])
    return group.job_group_id


def told_by_cloud(cloud: dict[str, Any], group_id: str) -> dict[str, str]:
    """Final status of each job, as the simulator knows it."""
    with urllib.request.urlopen(f"{cloud['api']}/_simulator/state") as answer:
        group = json.load(answer)["groups"][group_id]
    return {job["job_id"]: job["status"] for job in group["jobs"]}


def told_by_ledger(ledger: Ledger, group_id: str) -> dict[str, str]:
    """Final status of each job, as messages told it."""
    return {
        str(row.job_id): str(row.status)
        for row in ledger.results.iter_results(group_id)
        if row.source == "message" and row.status is not None and (row.status.is_terminal or not row.status.is_known)
    }


@pytest.fixture
def real(settings: WorkerSettings, way: Way) -> Callable[[str], WorkerSettings]:
    """Settings of a collector on the real broker."""

    def make(group: str) -> WorkerSettings:
        rocketmq = attrs.evolve(
            settings.rocketmq,
            transport=way.transport,
            endpoints=(way.endpoint,),
            librocketmq=way.librocketmq,
            topic=TOPIC,
            # A group's queues are shared out among all its members, and a killed member by gRPC stays one for a while.
            consumer_group=group if way.transport == "grpc" else f"{group}-remoting",
        )
        return attrs.evolve(settings, rocketmq=rocketmq)

    return make


def test_every_result_of_a_campaign_reaches_the_ledger_once(
    cloud: dict[str, Any], ledger: Ledger, start: StartWorker, real: Callable[[str], WorkerSettings]
) -> None:
    start(real(GROUP))
    group_id = campaign(cloud, 100)

    until(lambda: len(told_by_ledger(ledger, group_id)) == 100, "100 results")

    assert told_by_ledger(ledger, group_id) == told_by_cloud(cloud, group_id)
    assert {row.revision for row in ledger.results.iter_results(group_id)} == {1}


def test_collectors_that_are_killed_lose_nothing_and_count_nothing_twice(
    cloud: dict[str, Any], ledger: Ledger, start: StartWorker, real: Callable[[str], WorkerSettings]
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    result_filter = random.Random(seed)
    group_id = campaign(cloud, 150)
    for _ in range(3):
        worker = start(real(KILLED_GROUP))
        worker.wait_for("collecting")
        time.sleep(result_filter.uniform(0, 1.5))
        worker.end(signal.SIGKILL)

    start(real(KILLED_GROUP))
    until(lambda: len(told_by_ledger(ledger, group_id)) == 150, "150 results")

    assert told_by_ledger(ledger, group_id) == told_by_cloud(cloud, group_id)
    assert {row.revision for row in ledger.results.iter_results(group_id)} == {1}


def test_a_missing_consumer_group_is_named(way: Way, start: StartWorker, real: Callable[[str], WorkerSettings]) -> None:
    if way.transport == "remoting":
        pytest.skip("over remoting the broker makes the group, unless it is told not to")
    start(real("nobody-made-this-group")).wait_for("has no consumer group 'nobody-made-this-group'")
