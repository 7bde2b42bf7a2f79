"""Events reach Airflow in order and at least once: the cursor stays behind what Airflow has stored."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import pytest
from support.ledgers import count
from support.processes import PATIENCE, eventually
from support.waiting import MakeTrigger, WaitingCampaign

from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.triggers import events
from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger

shared_stream = pytest.importorskip("airflow.triggers.shared_stream", reason="Airflow before 3.3 gives no receipts")

T = TypeVar("T")
SUBSCRIPTION = "tests"


def patiently(coroutine: Coroutine[Any, Any, T]) -> T:
    async def run() -> T:
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    return asyncio.run(run())


class Triggerer:
    """What Airflow's triggerer does with one event trigger: Airflow's own streams, the database left out."""

    def __init__(self, one: OutboundBotCallEventTrigger) -> None:
        self._key = one.shared_stream_key()
        self._manager = shared_stream.SharedStreamManager()
        self._stream = one.filter_shared_stream(self._manager.subscribe(trigger_id=1, trigger=one, key=self._key))
        self._fired: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._unstored: list[int] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for event in self._stream:
            number = self._manager.bind_pending_event(trigger_id=1, key=self._key)
            assert number is not None
            self._unstored.append(number)
            self._fired.put_nowait(json.loads(json.dumps(event.payload)))

    async def fire(self) -> dict[str, Any]:
        """The next event that the trigger fires."""
        return await self._fired.get()

    @property
    def is_silent(self) -> bool:
        """Whether nothing more was fired."""
        return self._fired.empty()

    def store(self) -> None:
        """Everything fired is in Airflow's database now."""
        self._manager.confirm_persisted(self._unstored)
        self._unstored.clear()

    async def stop(self) -> None:
        """The trigger is cancelled."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._manager.unsubscribe(1, self._key)


@asynccontextmanager
async def triggerer(one: OutboundBotCallEventTrigger) -> AsyncIterator[Triggerer]:
    running = Triggerer(one)
    try:
        yield running
    finally:
        await running.stop()


def cursor(ledger: Ledger, name: str = SUBSCRIPTION) -> int:
    return ledger.events.open_cursor(name)


def jobs(payload: dict[str, Any]) -> list[str]:
    return [event["job_id"] for event in payload["events"]]


def test_a_batch_tells_what_happened_to_which_jobs_and_nothing_of_people(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger
) -> None:
    cursor(ledger)
    happen(1, 2)
    happen(3, event="CallAnswered", group="group-2")

    async def scenario() -> dict[str, Any]:
        async with triggerer(call_events()) as running:
            return await running.fire()

    payload = patiently(scenario())

    assert jobs(payload) == ["job-1", "job-2", "job-3"]
    assert payload["events"][2] == {
        "sequence": payload["events"][0]["sequence"] + 2,
        "event_type": "CallAnswered",
        "job_group_id": "group-2",
        "job_id": "job-3",
        "occurred_at": "2023-11-14T22:13:20.003+00:00",
    }
    assert {name: payload[name] for name in payload if name != "events"} == {
        "subscription": SUBSCRIPTION,
        "count": 3,
        "by_type": {"CallAnswered": 1, "JobComplete": 2},
        "job_group_ids": ["group-1", "group-2"],
    }
    assert "1380000" not in json.dumps(payload)
    assert "Zhang" not in json.dumps(payload)


def test_the_cursor_moves_only_when_airflow_has_stored_the_batch(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger
) -> None:
    begin = cursor(ledger)
    happen(1)

    async def scenario() -> None:
        async with triggerer(call_events()) as running:
            payload = await running.fire()
            await asyncio.sleep(0.5)
            assert cursor(ledger) == begin

            running.store()
            await eventually(lambda: cursor(ledger) == payload["events"][-1]["sequence"], "the cursor moves")

            await asyncio.to_thread(happen, 2)
            assert jobs(await running.fire()) == ["job-2"]

    patiently(scenario())


def test_what_was_not_stored_when_a_triggerer_died_is_given_again(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger
) -> None:
    begin = cursor(ledger)
    happen(1, 2, 3)

    async def scenario() -> list[list[str]]:
        fired = []
        for _ in range(2):
            async with triggerer(call_events(batch_size=2)) as running:
                fired.append(jobs(await running.fire()))
        async with triggerer(call_events(batch_size=2)) as running:
            fired += [jobs(await running.fire()), jobs(await running.fire())]
            running.store()
            await eventually(lambda: cursor(ledger) == begin + 3, "the cursor moves")
        await asyncio.to_thread(happen, 4)
        async with triggerer(call_events(batch_size=2)) as running:
            return [*fired, jobs(await running.fire())]

    assert patiently(scenario()) == [
        ["job-1", "job-2"],
        ["job-1", "job-2"],
        ["job-1", "job-2"],
        ["job-3"],
        ["job-4"],
    ]


def test_a_new_subscription_begins_with_the_present(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger
) -> None:
    happen(1)

    async def scenario() -> dict[str, Any]:
        async with triggerer(call_events()) as running:
            assert count(ledger, "cursors") == 0
            await eventually(lambda: count(ledger, "cursors"), "the subscription is known")
            await asyncio.to_thread(happen, 2)
            return await running.fire()

    assert jobs(patiently(scenario())) == ["job-2"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"event_types": ["CallAnswered"]}, ["job-2", "job-4"], id="types"),
        pytest.param({"job_group_id": "group-2"}, ["job-3", "job-4"], id="group"),
        pytest.param({"event_types": ["CallAnswered"], "job_group_id": "group-2"}, ["job-4"], id="both"),
        pytest.param({"batch_size": 3}, ["job-1", "job-2", "job-3"], id="batch-size"),
    ],
)
def test_only_what_was_asked_for_is_given(
    ledger: Ledger,
    happen: Callable[..., None],
    arguments: dict[str, Any],
    expected: list[str],
    call_events: MakeTrigger,
) -> None:
    cursor(ledger)
    happen(1)
    happen(2, event="CallAnswered")
    happen(3, group="group-2")
    happen(4, event="CallAnswered", group="group-2")

    async def scenario() -> dict[str, Any]:
        async with triggerer(call_events(**arguments)) as running:
            return await running.fire()

    assert jobs(patiently(scenario())) == expected


def test_the_cursor_passes_what_was_not_asked_for(
    ledger: Ledger, happen: Callable[..., None], monkeypatch: pytest.MonkeyPatch, call_events: MakeTrigger
) -> None:
    monkeypatch.setattr(events, "IDLE_SECONDS", 0.0)
    begin = cursor(ledger)
    happen(1)

    async def scenario() -> None:
        async with triggerer(call_events(event_types=["RecordingReady"])) as running:
            await eventually(lambda: cursor(ledger) > begin, "the cursor moves")
            assert running.is_silent

    patiently(scenario())


def test_a_long_log_does_not_pile_up_in_the_triggerer(
    ledger: Ledger, happen: Callable[..., None], monkeypatch: pytest.MonkeyPatch, call_events: MakeTrigger
) -> None:
    from airflow_provider_outbound.triggers import event_stream

    monkeypatch.setattr(event_stream, "MAX_UNSTORED", 2)
    cursor(ledger)
    happen(*range(10))

    async def scenario() -> tuple[list[str], list[str]]:
        async with triggerer(call_events(batch_size=1)) as running:
            first = [*jobs(await running.fire()), *jobs(await running.fire())]
            await asyncio.sleep(0.5)
            assert running.is_silent
            rest: list[str] = []
            while len(rest) < 8:
                running.store()
                rest += jobs(await running.fire())
            return first, rest

    first, rest = patiently(scenario())
    assert [*first, *rest] == [f"job-{number}" for number in range(10)]


def test_nothing_passes_a_batch_that_was_not_stored(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger
) -> None:
    begin = cursor(ledger)
    happen(1, 2)

    async def scenario() -> None:
        stream = OutboundBotCallEventTrigger.create_shared_stream_producer(call_events(batch_size=1).serialize()[1])
        opened: Any = stream.open_stream()
        first, second = (await anext(opened))[1], (await anext(opened))[1]
        await stream.advance(
            [
                shared_stream.AdvanceItem(first, shared_stream.AdvanceOutcome(acked=0, failed=1)),
                shared_stream.AdvanceItem(second, shared_stream.AdvanceOutcome(acked=1, failed=0)),
            ]
        )
        await opened.aclose()

    patiently(scenario())

    assert cursor(ledger) == begin


def test_a_stream_that_ends_leaves_its_cursor(
    ledger: Ledger, happen: Callable[..., None], call_events: MakeTrigger
) -> None:
    """A triggerer that ends takes the reader away from the page in its hand, and Airflow calls that page stored."""
    begin = cursor(ledger)
    happen(1)

    async def scenario() -> None:
        stream = OutboundBotCallEventTrigger.create_shared_stream_producer(call_events().serialize()[1])
        opened: Any = stream.open_stream()
        page = (await anext(opened))[1]
        advancing = asyncio.create_task(
            stream.advance([shared_stream.AdvanceItem(page, shared_stream.AdvanceOutcome(acked=1, failed=0))])
        )
        await asyncio.sleep(0)
        await opened.aclose()
        await advancing

    patiently(scenario())

    assert cursor(ledger) == begin


def test_messages_of_the_service_arrive_through_the_shared_collector(
    campaign: WaitingCampaign, call_events: MakeTrigger
) -> None:
    cursor(campaign.ledger)

    async def scenario() -> list[str]:
        async with triggerer(call_events(rocketmq_conn_id="rocketmq_default", event_types=["JobComplete"])) as running:
            found: list[str] = []
            await asyncio.to_thread(campaign.assign, 5)
            while len(found) < 5:
                found += jobs(await running.fire())
                running.store()
            return found

    found = patiently(scenario())

    called = campaign.simulator.state()["groups"][campaign.job_group_id]["jobs"]
    assert sorted(found) == sorted(job["job_id"] for job in called)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [pytest.param({"rocketmq_conn_id": "nowhere"}, "nowhere", id="connection")],
)
def test_what_cannot_be_read_is_said_in_one_line_and_tried_again(
    campaign: WaitingCampaign,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    words: str,
    call_events: MakeTrigger,
) -> None:
    monkeypatch.setattr(events, "RETRY_SECONDS", 0.01)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == events.__name__]

    async def scenario() -> None:
        async with triggerer(call_events(**arguments)):
            await eventually(lambda: len(lines()) >= 2, "it is said twice")

    with caplog.at_level(logging.ERROR):
        patiently(scenario())

    assert words in lines()[0]
    assert "\n" not in lines()[0]
