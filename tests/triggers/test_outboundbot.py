"""A trigger ends with the last job, by way of a real collector, whoever dies on the way."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.processes import collectors, eventually, until
from support.waiting import StartTriggerer, WaitingCampaign, first_event, rebuilt

from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState
from airflow_provider_outbound.triggers import outboundbot
from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger


def test_the_sensor_before_the_events(campaign: WaitingCampaign) -> None:
    campaign.freeze()

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(campaign.assign, 20)
        campaign.thaw()
        return await waiting

    event = asyncio.run(scenario())

    assert event["status"] == "complete"
    assert (event["summary"]["completed"], event["summary"]["recovered"]) == (20, 0)


def test_the_events_before_the_sensor(campaign: WaitingCampaign) -> None:
    campaign.assign(10)
    assert campaign.wait_deferred()["summary"]["completed"] == 10
    second = campaign.another()
    second.assign(5, first=20)

    # Somebody else's wait collects the events of the second group, whose own sensor begins only then.
    async def others_wait() -> None:
        first = asyncio.create_task(first_event(campaign.trigger(expected_jobs=11)))
        done = lambda: second.ledger.results.counts(second.job_group_id).terminal == 5  # noqa: E731
        await eventually(done, "the events are stored")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    campaign.ledger.groups.save_reconcile_state(campaign.job_group_id, ReconcileState())
    asyncio.run(others_wait())

    event = second.wait_deferred()

    assert (event["summary"]["completed"], event["summary"]["recovered"]) == (5, 0)


def test_two_groups_of_one_consumer_group_share_one_collector(campaign: WaitingCampaign) -> None:
    second = campaign.another()
    campaign.freeze()
    campaign.assign(10)
    second.assign(10, first=60)

    async def scenario() -> list[dict[str, Any]]:
        waiting = [asyncio.create_task(first_event(group.trigger())) for group in (campaign, second)]
        await eventually(collectors, "a collector")
        assert len(collectors()) == 1
        campaign.thaw()
        return await asyncio.gather(*waiting)

    one, other = asyncio.run(scenario())

    assert (one["summary"]["answered"], one["summary"]["job_group_id"]) == (10, campaign.job_group_id)
    assert (other["summary"]["unanswered"], other["summary"]["job_group_id"]) == (10, second.job_group_id)


def test_an_assignment_still_running_is_waited_for(campaign: WaitingCampaign) -> None:
    campaign.assign(3)
    ledger = campaign.ledger
    running = ledger.assignments.open(
        TaskKey("dag", "run", "second"), campaign.job_group_id, owner="me", lease_seconds=600, settle_seconds=1
    )

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        done = lambda: ledger.results.counts(campaign.job_group_id).terminal == 3  # noqa: E731
        await eventually(done, "the first three are over")
        await asyncio.sleep(1)
        assert not waiting.done()
        await asyncio.to_thread(ledger.assignments.close, running, 0)
        return await waiting

    assert asyncio.run(scenario())["summary"]["completed"] == 3


def test_an_assignment_that_died_does_not_hang_the_wait(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    campaign.assign(3)
    campaign.ledger.assignments.open(
        TaskKey("dag", "run", "died"), campaign.job_group_id, owner="gone", lease_seconds=1.0, settle_seconds=0
    )

    event = campaign.wait_deferred(abandoned_after=0.5)

    assert (event["status"], event["summary"]["mismatch"], event["summary"]["completed"]) == ("complete", True, 3)


def test_a_ledger_that_is_away_when_the_wait_begins_is_waited_for(
    campaign: WaitingCampaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = tmp_path / "away"
    away.touch()
    campaign.assign(5)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{away}/ledger.db")
    monkeypatch.setattr(outboundbot, "LEDGER_SECONDS", 0.1)

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        await eventually(lambda: "will try again" in caplog.text, "the trouble is told")
        await asyncio.sleep(0.5)
        away.unlink()
        away.symlink_to(tmp_path)
        return await waiting

    event = asyncio.run(scenario())

    assert (event["status"], event["summary"]["completed"]) == ("complete", 5)
    told = [record for record in caplog.records if record.name == outboundbot.log.name]
    assert len(told) == 1


def test_a_ledger_that_stays_away_is_told_at_the_deadline(
    campaign: WaitingCampaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign.assign(1)
    (tmp_path / "away").touch()
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/away/ledger.db")

    event = campaign.wait_deferred(deadline=datetime.now(UTC) + timedelta(seconds=0.5))

    assert (event["status"], event["kind"]) == ("error", "LedgerUnavailableError")


def test_a_killed_triggerer_is_replaced(campaign: WaitingCampaign, triggerer: StartTriggerer) -> None:
    campaign.freeze()
    campaign.assign(10)
    first = triggerer(campaign.trigger())
    assert first.line() == "running"
    until(lambda: collectors(first.process.pid), "a collector")
    collector = collectors(first.process.pid)[0]
    first.kill()
    campaign.thaw()
    second = triggerer(campaign.trigger())

    assert second.line() == "running"
    event = json.loads(second.line())
    second.close()

    assert event["summary"]["completed"] == 10
    until(lambda: not os.path.exists(f"/proc/{collector}"), "the collector ends with its triggerer")  # noqa: PTH110


def test_a_killed_collector_is_replaced(campaign: WaitingCampaign) -> None:
    campaign.freeze()
    campaign.assign(10)

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        await eventually(collectors, "a collector")
        os.kill(collectors()[0], signal.SIGKILL)
        campaign.thaw()
        return await waiting

    assert asyncio.run(scenario())["summary"]["completed"] == 10


def test_without_any_message_the_api_fills_in(campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    campaign.simulator.faults(messages_withheld=True)
    campaign.assign(10)

    summary = campaign.wait_deferred()["summary"]

    assert (summary["completed"], summary["recovered"], summary["mismatch"]) == (10, 10, False)


def test_without_a_rocketmq_connection_the_api_alone_tells(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    campaign.assign(10)

    event = campaign.wait_deferred(rocketmq_conn_id=None)

    assert event["summary"]["recovered"] == 10
    assert not collectors()


def test_an_external_collector_is_left_to_its_service(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    monkeypatch.setenv("AIRFLOW__OUTBOUND__COLLECTOR", "external")
    campaign.assign(5)

    assert campaign.wait_deferred()["summary"]["completed"] == 5
    assert not collectors()


def test_a_deadline_ends_the_wait_with_what_there_is(campaign: WaitingCampaign) -> None:
    campaign.freeze()
    campaign.assign(5)

    event = campaign.wait_deferred(deadline=datetime.now(UTC) + timedelta(seconds=1))

    assert (event["status"], event["summary"]["completed"], event["summary"]["total"]) == ("timeout", 0, 5)
    assert event["summary"]["timed_out"]


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        pytest.param({"outboundbot_conn_id": "absent"}, "ConnectionMissingError", "absent", id="no-connection"),
        pytest.param({"rocketmq_conn_id": "absent"}, "ConnectionMissingError", "absent", id="no-rocketmq-connection"),
        pytest.param({"instance_id": "absent"}, "OutboundBotNotFoundError", "NotExist.Instance", id="no-instance"),
    ],
)
def test_what_waiting_cannot_mend_is_told_in_one_line(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], kind: str, words: str
) -> None:
    monkeypatch.setattr(outboundbot, "MISSING_SECONDS", 0)
    campaign.assign(1)

    event = campaign.wait_deferred(**options)

    assert (event["status"], event["kind"]) == ("error", kind)
    assert words in event["message"]
    assert "\n" not in event["message"]


def test_a_group_that_does_not_exist_is_told(campaign: WaitingCampaign) -> None:
    event = asyncio.run(_event_of(OutboundBotJobCompleteTrigger(job_group_id="gone")))

    assert (event["kind"], "job group gone does not exist" in event["message"]) == ("JobGroupFailedError", True)


async def _event_of(trigger: OutboundBotJobCompleteTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError("no event")


def test_a_cancelled_wait_leaves_nothing_behind(campaign: WaitingCampaign) -> None:
    from airflow_provider_outbound.triggers.shared_resources import SharedResources

    campaign.freeze()
    campaign.assign(3)

    async def scenario() -> None:
        waits = [asyncio.create_task(first_event(campaign.trigger())) for _ in range(20)]
        await eventually(collectors, "a collector")
        assert sum(thread.name.startswith("outbound-wait") for thread in threading.enumerate()) <= 8
        for wait in waits:
            wait.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waits, return_exceptions=True)
        )

    asyncio.run(scenario())

    assert not SharedResources.open
    until(lambda: not collectors(), "the collector ends after its last waiter")


def test_every_argument_survives_the_database() -> None:
    arguments: dict[str, Any] = {
        "job_group_id": "g",
        "outboundbot_conn_id": "a",
        "rocketmq_conn_id": None,
        "instance_id": "i",
        "expected_jobs": 3,
        "deadline": datetime(2030, 1, 1, tzinfo=UTC),
        "cancel_on_kill": True,
        "abandoned_after": 1.5,
    }

    assert rebuilt(OutboundBotJobCompleteTrigger(**arguments)).serialize()[1] == arguments


@pytest.mark.parametrize(
    ("state", "requests"),
    [
        pytest.param("deferred", 0, id="moved-to-another-triggerer"),
        pytest.param(None, 0, id="cleared"),
        pytest.param("scheduled", 0, id="cleared-and-scheduled"),
        pytest.param("running", 0, id="gone-on-elsewhere"),
        pytest.param("failed", 1, id="marked-failed"),
        pytest.param("success", 1, id="marked-successful"),
    ],
)
def test_a_killed_wait_cancels_only_if_a_person_ended_its_task(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, state: str | None, requests: int
) -> None:
    _tell_state(monkeypatch, state)
    campaign.freeze()
    campaign.assign(3)

    asyncio.run(campaign.trigger(cancel_on_kill=True).on_kill())
    asyncio.run(campaign.trigger().on_kill())

    assert campaign.simulator.state()["requests"].get("CancelJobs", 0) == requests


def test_a_cancellation_goes_on_when_airflow_asks_again(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each of its rounds, a second apart, a triggerer cancels those triggers again that have not ended."""
    _tell_state(monkeypatch, "failed")
    campaign.freeze()
    campaign.assign(3)
    campaign.simulator.faults(throttle={"times": 3, "actions": ["CancelJobs"]})

    async def triggerer() -> None:
        call = asyncio.create_task(asyncio.wait_for(campaign.trigger(cancel_on_kill=True).on_kill(), 30))
        await asyncio.sleep(0.2)
        call.cancel("user-action")
        with pytest.raises(asyncio.CancelledError):
            await call
        gc.collect()
        until = time.monotonic() + 60
        while campaign.simulator.state()["requests"].get("CancelJobs", 0) < 4:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)

    asyncio.run(triggerer())


def test_a_cancellation_is_tried_again(campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is anything to cancel is not known, and the cancellation itself is refused for a while."""
    _tell_state(monkeypatch, "failed")
    monkeypatch.setattr(outboundbot, "CANCEL_PAUSE", 0.1)
    campaign.freeze()
    campaign.assign(3)
    campaign.simulator.faults(reset={"actions": ["DescribeJobGroup"]}, throttle={"actions": ["CancelJobs"], "times": 9})

    asyncio.run(campaign.trigger(cancel_on_kill=True).on_kill())

    assert campaign.simulator.state()["requests"]["CancelJobs"] == 10


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param({"throttle": {"actions": ["CancelJobs"]}}, "Throttling", id="for-too-long"),
        pytest.param({"success_false": {"actions": ["CancelJobs"], "acts": False}}, "CancelJobs", id="refused"),
    ],
)
def test_a_cancellation_that_fails_says_what_is_left_to_do(
    campaign: WaitingCampaign,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
    reason: str,
) -> None:
    _tell_state(monkeypatch, "failed")
    monkeypatch.setattr(outboundbot, "CANCEL_SECONDS", 0)
    campaign.freeze()
    campaign.assign(3)
    campaign.simulator.faults(**fault)

    asyncio.run(campaign.trigger(cancel_on_kill=True).on_kill())

    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith(f"Job group {campaign.job_group_id}: the waiting task was ended, but it is not certain")
    assert reason in error
    assert error.endswith(f"Run: outbound cancel {campaign.job_group_id}")


def test_a_cancellation_needs_no_key_of_the_ledger(campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    _tell_state(monkeypatch, "failed")
    monkeypatch.setattr(outboundbot, "CANCEL_SECONDS", 0)
    campaign.freeze()
    campaign.assign(3)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_KEY", "b3RoZXIta2V5LW9mLTMyLWJ5dGVzLS0hISEhISEhISE=")

    asyncio.run(campaign.trigger(cancel_on_kill=True).on_kill())

    assert campaign.simulator.state()["requests"]["CancelJobs"] == 1


def test_a_wait_that_another_triggerer_ended_cancels_nothing(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task went on with that one's event, and has ended; the stalled one learns that its trigger is gone."""
    _tell_state(monkeypatch, "success")
    campaign.assign(3)
    assert campaign.wait_deferred()["summary"]["completed"] == 3

    asyncio.run(campaign.trigger(cancel_on_kill=True).on_kill())

    assert "CancelJobs" not in campaign.simulator.state()["requests"]


def test_a_wait_whose_time_is_over_cancels_nothing_by_itself(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tell_state(monkeypatch, "failed")
    campaign.freeze()
    campaign.assign(3)

    asyncio.run(campaign.trigger(cancel_on_kill=True, deadline=datetime.now(UTC)).on_kill())

    assert "CancelJobs" not in campaign.simulator.state()["requests"]


def _tell_state(monkeypatch: pytest.MonkeyPatch, state: str | None) -> None:
    """Only a running triggerer can ask Airflow for the state of a task, so its answer is put here."""

    async def told(_: OutboundBotJobCompleteTrigger) -> str | None:
        return state

    monkeypatch.setattr(OutboundBotJobCompleteTrigger, "_task_state", told)
