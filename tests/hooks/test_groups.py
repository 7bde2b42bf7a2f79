"""A job group and its tags by the hook, as the service has them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from airflow_provider_outbound.core.client import TagHits
from airflow_provider_outbound.core.ledger import JobGroupRecord
from airflow_provider_outbound.exceptions import OutboundBotNotFoundError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.simulator.cloud import Cloud
from airflow_provider_outbound.simulator.testing import Simulator


@pytest.fixture
def group(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A group with two jobs that are tagged as refused, and one as interested."""
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    def create(cloud: Cloud) -> str:  # the service's state, in its own thread
        made = cloud.create_group(name="g", script_id=cloud.options.script_id)
        texts = [
            f'{{"contacts": [{{"phoneNumber": "138000000{end}", "referenceId": "r{end}"}}]}}' for end in (38, 39, 10)
        ]
        cloud.assign(made, cloud.read_jobs(texts))
        return made.group_id

    return str(simulator.run(create))


def test_tags_and_progress_are_those_of_the_service(simulator: Simulator, group: str) -> None:
    with OutboundBotHook() as hook:
        while (progress := hook.describe_job_group(group).progress) is None or progress.unfinished:
            time.sleep(0.05)
        hits = hook.describe_tag_hits_summary(group)

    assert progress.total == 3
    assert set(hits) == {
        TagHits(group="intent", name="refused", count=2),
        TagHits(group="intent", name="interested", count=1),
        TagHits(group="do_not_call", name="yes", count=2),
    }


def test_the_instance_is_that_of_the_group_in_the_ledger(simulator: Simulator, group: str) -> None:
    with OutboundBotHook() as hook:
        hook.ledger.groups.record(
            JobGroupRecord(job_group_id=group, instance_id="another", run_key=None, task_key=None)
        )
        for read in (hook.describe_job_group, hook.describe_tag_hits_summary):
            with pytest.raises(OutboundBotNotFoundError, match=r"NotExist\.Instance"):
                read(group)
