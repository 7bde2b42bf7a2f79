"""The trigger that starts DAGs on call events."""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Hashable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_outbound import config
from airflow_provider_outbound.core.models.enums import EventType
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook
from airflow_provider_outbound.triggers.connections import Connections
from airflow_provider_outbound.triggers.shared_resources import (
    load_watch,
    lookup_limiter,
    settings_reader,
    shared_resources,
)

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_provider_outbound.core.ledger import EventPage

log = logging.getLogger(__name__)

_EVENT_TYPES = tuple(str(event_type) for event_type in EventType)
#: The maximum number of events in one batch: a batch is stored in a column of Airflow's database, twice.
MAX_BATCH = 1000
#: Longest interval between two polls of the log while no change is reported (seconds).
POLL_SECONDS = 60.0
#: How often the cursor moves past events that the subscription does not select (seconds).
IDLE_SECONDS = 60.0
#: Pause after an error (seconds): the trigger waits until the cause is fixed.
RETRY_SECONDS = 30.0
#: How long Airflow may take to store an event, if it does not report when it has (seconds).
STORED_SECONDS = 3.0


class OutboundBotCallEventTrigger(BaseEventTrigger):
    """
    Fire with batches of call events for an ``AssetWatcher``, which starts DAGs.

    Events are read from the ledger, from the subscription's cursor on, so events that happen while no triggerer runs
    are delivered later. A new subscription starts with events recorded after its creation. All triggers share one
    collector.

    Batches are delivered at least once and in order. With Airflow 3.3 and later the cursor moves only after Airflow has
    reported that it stored the batch. Airflow 3.2 does not report that: there the cursor moves three seconds after the
    trigger fired, so a batch is lost if the triggerer takes longer than that to store it and is then killed. After a
    kill a batch may be delivered again: ``sequence`` is each event's own number, the same every time.

    The payload, in the asset event's ``extra["payload"]``, contains ids and counts, no phone numbers and no names:
    ``subscription``, ``count``, ``by_type``, ``job_group_ids``, and ``events``, each with ``sequence``,
    ``event_type``, ``job_group_id``, ``job_id`` and ``occurred_at`` (ISO 8601, or ``None``).

    :param subscription: Name of the cursor, stored in the ledger; one per trigger.
    :param event_types: Only these: ``JobComplete``, ``Dialing``, ``CallAnswered``, ``CallFinished``,
        ``RecordingReady``; ``None`` for all, including types that the service may add.
    :param job_group_id: Only events of this group.
    :param batch_size: The maximum number of events in one batch, up to 1000.
    :param max_wait: How long a batch waits to become full (seconds).
    :param rocketmq_conn_id: Connection of type ``rocketmq``; ``None`` if other processes collect the messages.
    :raises OutboundBotConfigError: an argument cannot be used; raised when the DAG is parsed.
    """

    def __init__(
        self,
        *,
        subscription: str,
        event_types: Collection[str] | None = None,
        job_group_id: str | None = None,
        batch_size: int = 100,
        max_wait: float = 5.0,
        rocketmq_conn_id: str | None = RocketMQHook.default_conn_name,
    ) -> None:
        super().__init__()
        # Checked here: in a triggerer the error would be in a log that the DAG's author may never see.
        _check_name("subscription", subscription, 256)
        _check_event_types(event_types)
        if job_group_id is not None:
            _check_name("job_group_id", job_group_id, 128)
        if type(batch_size) is not int or not 1 <= batch_size <= MAX_BATCH:
            raise OutboundBotConfigError(f"batch_size: {batch_size!r} is not a whole number from 1 to {MAX_BATCH}")
        if isinstance(max_wait, bool) or not isinstance(max_wait, int | float) or not 0 <= max_wait < math.inf:
            raise OutboundBotConfigError(f"max_wait: {max_wait!r} is not a number of seconds; give 0 or more")
        if rocketmq_conn_id is not None:
            _check_name("rocketmq_conn_id", rocketmq_conn_id, 250)
        self.subscription = subscription
        # A set has no order, and with another order Airflow would see another trigger.
        self.event_types = sorted(event_types) if isinstance(event_types, set | frozenset) else event_types
        self.job_group_id = job_group_id
        self.batch_size = batch_size
        self.max_wait = max_wait
        self.rocketmq_conn_id = rocketmq_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "subscription": self.subscription,
                "event_types": self.event_types,
                "job_group_id": self.job_group_id,
                "batch_size": self.batch_size,
                "max_wait": self.max_wait,
                "rocketmq_conn_id": self.rocketmq_conn_id,
            },
        )

    def shared_stream_key(self) -> Hashable | None:
        """Use one stream per trigger, to learn what was stored; the collector is shared at a lower level."""
        return json.dumps(self.serialize(), sort_keys=True)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the stream through which Airflow 3.3 reports what it has stored."""
        from airflow_provider_outbound.triggers.event_stream import EventStream

        trigger = cls(**kwargs)
        return EventStream(trigger.pages, trigger.confirm)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[EventPage]) -> AsyncIterator[TriggerEvent]:
        """Yield the trigger's events."""
        async for page in shared_stream:
            if page.events:
                yield TriggerEvent(self._payload(page))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield batches without learning when they are stored, for Airflow before 3.3."""
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                if page.events:
                    yield TriggerEvent(self._payload(page))
                    await asyncio.sleep(STORED_SECONDS)
                await self.confirm(page)

    async def pages(self) -> AsyncGenerator[EventPage]:
        """Read the log from the cursor on, forever; errors are logged, and reading continues after a pause."""
        position: int | None = None
        while True:
            try:
                async with aclosing(self._pages(position)) as pages:
                    async for page in pages:
                        position = page.upto
                        yield page
                # A connection was corrected: reading continues with it at the same position.
                continue
            except OutboundBotError as error:
                log.error("Subscription %r: %s", self.subscription, error)  # noqa: TRY400 - one line
            except Exception as error:  # noqa: BLE001 - whatever it was, the next attempt may succeed
                from airflow_provider_outbound.core.collect.outages import describe_exception

                # Not the error's own text, which may contain private data.
                log.error("Subscription %r: reading failed: %s", self.subscription, describe_exception(error))  # noqa: TRY400
            await asyncio.sleep(RETRY_SECONDS)

    async def confirm(self, page: EventPage) -> None:
        """Move the cursor past a page. If that fails, the next page moves it, or this page is delivered again."""
        settings = await settings_reader.run(config.load)
        try:
            async with shared_resources(settings) as shared:
                await shared.run(lambda: shared.ledger().events.move_cursor(self.subscription, page.upto))
        except OutboundBotError as error:
            log.warning("Subscription %r: its cursor was not moved: %s", self.subscription, error)

    async def _pages(self, position: int | None) -> AsyncGenerator[EventPage]:
        from airflow_provider_outbound.core.collect.watch import subscribe

        async with lookup_limiter.passed():
            settings = await settings_reader.run(config.load)
        connections = Connections(
            f"Subscription {self.subscription!r}",
            (self.rocketmq_conn_id if settings.collector == "embedded" else None,),
            lambda: load_watch(self.rocketmq_conn_id, settings),
            settings.reconcile_interval,
        )
        watch = await connections.settings()
        clock = asyncio.get_running_loop().time
        # Subscribe first and read afterwards, so that no change in between is missed.
        async with (
            subscribe(watch, self.job_group_id, every_change=True) as waiter,
            shared_resources(settings) as shared,
        ):
            if position is None:
                position = await shared.run(lambda: shared.ledger().events.open_cursor(self.subscription))
            after = position

            def read() -> EventPage:
                return shared.ledger().events.read(
                    after, self.batch_size, event_types=self.event_types or (), job_group_id=self.job_group_id
                )

            given_at, pause = clock(), 0.0
            while True:
                await waiter.changed(min(pause, connections.due_in()))
                if await connections.corrected():
                    return
                page = await shared.run(read)
                if page.events:
                    until = clock() + self.max_wait
                    while not page.is_full and (left := until - clock()) > 0:
                        await waiter.changed(left)
                        page = await shared.run(read)
                if page.events or (page.upto > after and clock() - given_at >= IDLE_SECONDS):
                    yield page
                    given_at = clock()
                after, pause = page.upto, 0.0 if page.is_full else POLL_SECONDS

    def _payload(self, page: EventPage) -> dict[str, Any]:
        return {
            "subscription": self.subscription,
            "count": len(page.events),
            "by_type": dict(sorted(Counter(str(event.event_type) for event in page.events).items())),
            "job_group_ids": sorted({event.job_group_id for event in page.events}),
            "events": [
                {
                    "sequence": event.sequence,
                    "event_type": str(event.event_type),
                    "job_group_id": event.job_group_id,
                    "job_id": event.job_id,
                    "occurred_at": event.occurred_at and event.occurred_at.isoformat(timespec="milliseconds"),
                }
                for event in page.events
            ],
        }


def _check_name(argument: str, value: object, longest: int) -> None:
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise OutboundBotConfigError(f"{argument}: {value!r} is not a text of 1 to {longest} characters")
    if "{{" in value or "{%" in value:
        raise OutboundBotConfigError(f"{argument}: {value!r} is a template, and triggers render none; give the value")


def _check_event_types(event_types: object) -> None:
    if event_types is None:
        return
    if isinstance(event_types, str):
        raise OutboundBotConfigError(f"event_types: a text is not a list; write [{event_types!r}]")
    if not isinstance(event_types, list | tuple | set | frozenset):
        raise OutboundBotConfigError(f"event_types: {event_types!r} is not a list of event types")
    if not event_types:
        raise OutboundBotConfigError("event_types: the list is empty, so no event would match; leave it out for all")
    for name in event_types:
        if name not in _EVENT_TYPES:
            meant = difflib.get_close_matches(str(name), _EVENT_TYPES, 1)
            hint = f"did you mean {meant[0]!r}? " if meant else ""
            raise OutboundBotConfigError(
                f"event_types: {name!r} is not an event type; {hint}Use any of {', '.join(_EVENT_TYPES)}"
            )
