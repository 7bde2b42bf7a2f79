"""What the tasks of a purged group do when they are cleared: call nobody, and make nothing anew."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import update
from support.campaigns import ASSIGN, Campaign
from support.messages import store
from support.simulated import client_of

from airflow_provider_outbound.core.assign import (
    GroupSpec,
    abandon,
    create_group,
)
from airflow_provider_outbound.core.complete import Completion
from airflow_provider_outbound.core.ledger import CallCap, TaskKey, open_ledger, schema
from airflow_provider_outbound.exceptions import JobGroupPurgedError
from airflow_provider_outbound.simulator.testing import Simulator


@attrs.define(kw_only=True)
class PurgedCampaign(Campaign):
    """The tasks of a DAG run, as their operators do them."""

    job_group_id: str = ""
    options: Mapping[str, Any] = {"settle_seconds": 0.2, "lease_seconds": 6.0}

    def create(self) -> str:
        self.job_group_id = create_group(
            self.client,
            self.ledger,
            TaskKey("dag", "run", "create"),
            lambda: GroupSpec(name="nightly", script_id=self.simulator.script_id),
            instance_id=self.simulator.instance_id,
            settle_seconds=0.2,
        ).job_group_id
        return self.job_group_id

    def purge(self) -> None:
        """Purge the group as if it were old."""
        with self.ledger.write() as connection:
            connection.execute(
                update(schema.job_groups)
                .where(schema.job_groups.c.job_group_id == self.job_group_id)
                .values(ends_at=self.ledger.now() - timedelta(days=2), look_due_at=None)
            )
        purge = self.ledger.retention.purge(timedelta(0), job_group_id=self.job_group_id)
        assert [group.job_group_id for group in purge.purged] == [self.job_group_id], purge

    def state(self) -> dict[str, Any]:
        """The service's own account of groups and jobs."""
        state = self.simulator.state()
        return {name: state[name] for name in ("groups", "jobs_per_number")}


@pytest.fixture
def campaign(simulator: Simulator, tmp_path: Path, key: str) -> Iterator[PurgedCampaign]:
    client = client_of(simulator.ready, connect_timeout=2.0, read_timeout=5.0)
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [key]) as ledger:
        yield PurgedCampaign(simulator=simulator, client=client, ledger=ledger)


@pytest.fixture
def purged(campaign: PurgedCampaign) -> str:
    """A campaign's group that was assigned to, and then purged."""
    job_group_id = campaign.create()
    assert campaign.assign(5).assigned == 5
    campaign.purge()
    return job_group_id


def test_a_cleared_create_task_finds_its_group_and_makes_no_second(campaign: PurgedCampaign, purged: str) -> None:
    assert campaign.create() == purged

    assert list(campaign.state()["groups"]) == [purged]
    group = campaign.ledger.groups.get(purged)
    assert group is not None
    assert group.purged_at is not None


def test_a_cleared_assign_task_is_refused_before_it_sends_anything(campaign: PurgedCampaign, purged: str) -> None:
    before = campaign.state()["jobs_per_number"]
    requests = campaign.simulator.state()["requests"]

    with pytest.raises(JobGroupPurgedError, match=f"job group {purged}: its rows were purged") as refused:
        campaign.assign(5)
    abandon(campaign.ledger, ASSIGN, purged, settle_seconds=0.2)  # as the last try of a task does

    assert "\n" not in str(refused.value)
    assert campaign.state()["jobs_per_number"] == before
    assert campaign.simulator.state()["requests"] == requests


def test_a_cleared_sensor_ends_with_a_clear_error(campaign: PurgedCampaign, purged: str) -> None:
    completion = Completion(campaign.ledger, campaign.client, purged)

    with pytest.raises(JobGroupPurgedError, match=r"so it cannot be used\. Its results remain"):
        completion.check()


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_cleared_sensor_task_fails_and_does_not_defer(
    campaign: PurgedCampaign, purged: str, deferrable: bool, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

    for name, value in campaign.simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{campaign.ledger.engine.url.database}")
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", key)
    sensor = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=purged, deferrable=deferrable, mode="poke")

    with pytest.raises(JobGroupPurgedError, match="A new DAG run would call its whole list again"):
        sensor.execute({})


def test_cancelling_a_purged_group_leaves_its_tombstone(campaign: PurgedCampaign, purged: str) -> None:
    before = campaign.ledger.groups.state(purged)

    campaign.ledger.groups.note_cancelled(purged)

    assert campaign.ledger.groups.state(purged) == before


def test_a_waiter_is_woken_by_the_purge_of_a_group_it_just_came_to(campaign: PurgedCampaign) -> None:
    job_group_id = campaign.create()
    campaign.assign(5)
    seen = campaign.ledger.groups.newest()

    campaign.purge()

    assert campaign.ledger.groups.changed_since(seen)[1].keys() == {job_group_id}


def test_messages_that_come_late_change_nothing_at_the_service_or_here(campaign: PurgedCampaign, purged: str) -> None:
    (job, *_) = campaign.simulator.state()["groups"][purged]["jobs"]

    recorded = store(campaign.ledger, campaign.completed(job, status="Failed"))

    assert (recorded.new, recorded.purged) == (0, 1)
    assert campaign.ledger.results.counts(purged).total == 0


def test_calls_that_a_cap_cannot_count_any_more_are_told(
    campaign: PurgedCampaign, purged: str, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.another().assign(5, cap=CallCap(most=5, period=timedelta(days=1)))

    assert "the calls of 1 job group within its period were purged" in caplog.text


def test_the_error_crosses_processes(campaign: PurgedCampaign) -> None:
    error = JobGroupPurgedError("g1", campaign.ledger.now())

    copy = pickle.loads(pickle.dumps(error))

    assert (str(copy), copy.job_group_id, copy.purged_at) == (str(error), "g1", error.purged_at)
