"""A connection that is corrected while a trigger waits is taken up, and nothing is lost in the change."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseHook
from support.processes import collectors, eventually
from support.waiting import MakeTrigger, WaitingCampaign, first_event

from airflow_provider_outbound.core.collect.watch import end_all
from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.triggers import connections, outboundbot, steering
from airflow_provider_outbound.triggers.connections import Connections
from airflow_provider_outbound.triggers.shared_resources import SharedResources

API, MESSAGES = "AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", "AIRFLOW_CONN_ROCKETMQ_DEFAULT"
INTERVAL = "AIRFLOW__OUTBOUND__RECONCILE_INTERVAL"
#: A wait that never notices ends by this deadline, and its test fails.
LONG = timedelta(seconds=60)


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> Callable[[], None]:
    """Put something wrong into a connection; returns what corrects it."""
    good = os.environ[name]
    connection = json.loads(good)
    extra = connection["extra"] if isinstance(connection["extra"], dict) else json.loads(connection["extra"])
    connection |= {key: value for key, value in fields.items() if key in connection}
    connection["extra"] = extra | {key: value for key, value in fields.items() if key not in connection}
    monkeypatch.setenv(name, json.dumps(connection))
    return lambda: monkeypatch.setenv(name, good)


def soon() -> datetime:
    return datetime.now(UTC) + LONG


@pytest.fixture
def without_garbage_collection() -> Iterator[None]:
    """What is freed, is freed because nothing refers to it."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def _log_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "airflow_provider_outbound")


def test_an_api_address_that_was_wrong_at_the_start_and_is_corrected(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(INTERVAL, "1")
    campaign.assign(5)
    correct = spoil(monkeypatch, API, host="http://127.0.0.1:9")

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger(rocketmq_conn_id=None, deadline=soon())))
        await eventually(lambda: "will try again" in caplog.text, "the trouble is told")
        old = [client for desk in SharedResources.open.values() for client in desk._clients.values()]
        assert len(old) == 1
        old.clear()
        correct()
        await eventually(lambda: "has been changed" in caplog.text, "the correction is noticed")
        return await waiting

    event = asyncio.run(scenario())

    assert (event["status"], event["summary"]["completed"]) == ("complete", 5)


def test_a_key_that_was_replaced_before_the_service_refused_it_is_no_end(
    campaign: WaitingCampaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.assign(5)
    correct = spoil(monkeypatch, API, password="replaced")
    # A ledger that is away keeps the first request back until the connection is corrected.
    away = tmp_path / "away"
    away.touch()
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{away}/ledger.db")
    monkeypatch.setattr(outboundbot, "LEDGER_SECONDS", 0.1)

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger()))
        await eventually(lambda: "will try again" in caplog.text, "the trouble is told")
        correct()
        away.unlink()
        away.symlink_to(tmp_path)
        return await waiting

    event = asyncio.run(scenario())

    assert (event["status"], event["summary"]["completed"]) == ("complete", 5), event


def test_a_key_that_is_refused_and_not_corrected_ends_the_wait(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign.assign(1)
    spoil(monkeypatch, API, password="wrong")

    event = campaign.wait_deferred()

    assert (event["status"], event["kind"]) == ("error", "OutboundBotAuthenticationError")


@pytest.mark.parametrize("wrong", [{"topic": "misspelt"}, {"consumer_group": "misspelt"}], ids=["topic", "group"])
def test_a_subscription_that_was_wrong_at_the_start_and_is_corrected(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: dict[str, str]
) -> None:
    monkeypatch.setenv(INTERVAL, "10")
    campaign.freeze()
    campaign.assign(10)
    correct = spoil(monkeypatch, MESSAGES, **wrong)

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger(deadline=soon())))
        await eventually(collectors, "a collector")
        first = set(collectors())
        correct()
        replaced = lambda: (now := set(collectors())) and not now & first  # noqa: E731
        await eventually(replaced, "another collector instead of the first")
        campaign.thaw()
        return await waiting

    event = asyncio.run(scenario())

    assert (event["status"], event["summary"]["completed"], event["summary"]["recovered"]) == ("complete", 10, 0)
    assert "has been changed" in caplog.text


def test_messages_that_come_while_the_collector_changes_are_counted_once(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The edits keep topic and consumer group: the old collector and the new one share its messages for a while."""
    monkeypatch.setenv(INTERVAL, "3")
    ledger = campaign.ledger
    running = ledger.assignments.open(
        TaskKey("dag", "run", "last"), campaign.job_group_id, owner="me", lease_seconds=600, settle_seconds=1
    )

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger(deadline=soon())))
        await eventually(collectors, "a collector")
        for number in range(3):
            await asyncio.to_thread(campaign.assign, 40, task=f"part-{number}", first=100 * number)
            spoil(monkeypatch, MESSAGES, instance_id=[campaign.simulator.instance_id, f"other-{number}"])
            changed = lambda count=number + 1: caplog.text.count("has been changed") >= count  # noqa: E731
            await eventually(changed, "the change is noticed")
        await asyncio.to_thread(ledger.assignments.close, running, 0)
        return await waiting

    event = asyncio.run(scenario())

    told = [row.job_id for row in ledger.results.iter_results(campaign.job_group_id)]
    assert (event["status"], event["summary"]["completed"]) == ("complete", 120)
    assert len(told) == len(set(told)) == 120


@pytest.mark.parametrize("name", [API, MESSAGES])
@pytest.mark.parametrize("mistake", [None, '{"conn_type": "http"}', "{"], ids=["deleted", "other-type", "no-json"])
def test_a_mistake_while_a_trigger_waits_does_not_end_the_wait(
    campaign: WaitingCampaign,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    mistake: str | None,
) -> None:
    monkeypatch.setenv(INTERVAL, "1")
    campaign.freeze()
    campaign.assign(5)

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger(deadline=soon())))
        await eventually(lambda: "next request to the API at" in caplog.text, "it waits")
        if mistake is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, mistake)
        await eventually(lambda: "connections unchanged" in caplog.text, "the mistake is told")
        await asyncio.sleep(2.0)
        campaign.thaw()
        return await waiting

    event = asyncio.run(scenario())

    assert (event["status"], event["summary"]["completed"]) == ("complete", 5)
    assert caplog.text.count("connections unchanged") == 1


@pytest.mark.parametrize("name", [API, MESSAGES])
def test_a_wait_begins_although_a_secrets_backend_does_not_answer_at_first(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Airflow says then that the connection does not exist, as when a restarted triggerer begins all of its waits."""
    monkeypatch.setattr(connections, "MISSING_PAUSE", 0.1)
    campaign.assign(5)
    good = os.environ[name]
    monkeypatch.delenv(name)

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(campaign.trigger(deadline=soon())))
        await eventually(lambda: "will try again" in caplog.text, "the trouble is told")
        await asyncio.sleep(0.5)
        monkeypatch.setenv(name, good)
        return await waiting

    event = asyncio.run(scenario())

    assert (event["status"], event["summary"]["completed"]) == ("complete", 5), event
    assert caplog.text.count("will try again") == 1


def test_a_subscription_to_call_events_takes_up_a_corrected_connection(
    campaign: WaitingCampaign, call_events: MakeTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INTERVAL, "1")
    campaign.ledger.events.open_cursor("tests")
    correct = spoil(monkeypatch, MESSAGES, topic="misspelt")

    async def scenario() -> list[int]:
        seen: list[int] = []
        trigger = call_events(rocketmq_conn_id="rocketmq_default", event_types=["JobComplete"])
        async with asyncio.timeout(90), aclosing(trigger.pages()) as pages:
            reading = asyncio.ensure_future(anext(pages))
            await eventually(collectors, "a collector")
            await asyncio.to_thread(campaign.assign, 5)
            correct()
            while len(seen) < 5:
                page = await reading
                seen += [event.sequence for event in page.events]
                reading = asyncio.ensure_future(anext(pages))
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return seen

    seen = asyncio.run(scenario())

    assert seen == sorted(set(seen))
    assert len(seen) == 5


def test_a_wait_for_cancelled_jobs_takes_up_a_corrected_connection(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(steering, "CORRECTION_SECONDS", 1.0)
    campaign.assign(1)
    correct = spoil(monkeypatch, API, host="http://127.0.0.1:9")
    trigger = steering.OutboundBotJobsSteeredTrigger(
        action="cancel", job_group_id=campaign.job_group_id, job_ids=None, deadline=soon(), poll_interval=0.2
    )

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.ensure_future(anext(aiter(trigger.run())))
        await asyncio.sleep(3.0)
        correct()
        return dict((await waiting).payload)

    # The service has ended the job meanwhile, so nothing is left to wait for.
    assert asyncio.run(scenario()) == {"status": "done"}
    assert "has been changed" in caplog.text


@pytest.mark.usefixtures("without_garbage_collection")
def test_a_client_goes_with_the_last_wait_that_used_it(
    campaign: WaitingCampaign, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(INTERVAL, "1")
    campaign.freeze()
    campaign.assign(1)

    def clients() -> list[Any]:
        return [client.settings for desk in SharedResources.open.values() for client in list(desk._clients.values())]

    async def scenario() -> None:
        waits = [asyncio.create_task(first_event(campaign.trigger())) for _ in range(3)]
        await eventually(clients, "a client")
        assert len(clients()) == 1
        spoil(monkeypatch, API, read_timeout=9.0)
        changed = lambda: caplog.text.count("has been changed") == 3  # noqa: E731
        await eventually(changed, "the change is noticed by each")
        await eventually(lambda: [one.read_timeout for one in clients()] == [9.0], "one client")
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    asyncio.run(scenario())


def test_many_waits_ask_airflow_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHARED", '{"conn_type": "http", "host": "one"}')
    asked = 0
    real = BaseHook.aget_connection

    async def counted(conn_id: str) -> Any:
        nonlocal asked
        asked += 1
        return await real(conn_id)

    async def load() -> str:
        return os.environ["AIRFLOW_CONN_SHARED"]

    monkeypatch.setattr(BaseHook, "aget_connection", counted)

    async def scenario() -> None:
        nonlocal asked
        waits = [Connections("a wait", ["shared"], load, 2.0) for _ in range(200)]
        await asyncio.gather(*(wait.settings() for wait in waits))
        await asyncio.sleep(max(wait.due_in() for wait in waits) + 0.01)
        asked = 0
        assert not any(await asyncio.gather(*(wait.corrected() for wait in waits)))
        assert 1 <= asked <= 40
        monkeypatch.setenv("AIRFLOW_CONN_SHARED", '{"conn_type": "http", "host": "two"}')
        assert all(await asyncio.gather(*(wait.corrected(at_once=True) for wait in waits)))

    asyncio.run(scenario())
    end_all()
