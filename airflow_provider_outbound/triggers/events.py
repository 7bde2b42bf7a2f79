"""The trigger that starts DAGs by what happens in calls."""

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
#: Most events in one batch: a batch is stored in a column of Airflow's database, twice.
MAX_BATCH = 1000
#: Longest time between two looks at the log (seconds) while nothing is said to be new.
POLL_SECONDS = 60.0
#: How often the cursor of a subscription moves past events that it did not ask for (seconds).
IDLE_SECONDS = 60.0
#: How long to rest after an error (seconds): a service waits for its mend.
RETRY_SECONDS = 30.0
#: How long an event gets to be stored by Airflow where Airflow does not say when it is (seconds).
STORED_SECONDS = 3.0


class OutboundBotCallEventTrigger(BaseEventTrigger):
    """
    Give the events of calls, in batches, to an ``AssetWatcher``, which starts DAGs.

    Events are read from the ledger, from the subscription's cursor on, so what happens while no triggerer runs is
    given later. A new subscription begins with what is recorded from then on. It shares its collector with all other
    triggers.

    Each batch comes at least once, and in order. With Airflow 3.3 and later the cursor moves only after Airflow said
    that it stored the batch. Airflow 3.2 does not say so: there the cursor moves three seconds after the batch was
    handed over, so one is lost if the triggerer then takes longer than that to store it and is killed meanwhile. After
    a kill a batch may come again: ``sequence`` is each event's own number, the same every time.

    The payload, in the asset event's ``extra["payload"]``, holds ids and counts, no numbers and no names:
    ``subscription``, ``count``, ``by_type``, ``job_group_ids``, and ``events``, each with ``sequence``,
    ``event_type``, ``job_group_id``, ``job_id`` and ``occurred_at`` (ISO 8601, or ``None``).

    :param subscription: Name of the cursor, kept in the ledger; one for each trigger.
    :param event_types: Only these: ``JobComplete``, ``Dialing``, ``CallAnswered``, ``CallFinished``,
        ``RecordingReady``; ``None`` for all, also for those that the service may add.
    :param job_group_id: Only events of this group.
    :param batch_size: Most events in one batch, up to 1000.
    :param max_wait: How long a batch waits to become full (seconds).
    :param rocketmq_conn_id: Connection to the messages; ``None`` if others collect them.
    :raises OutboundBotConfigError: An argument cannot be used; raised where the DAG is parsed.
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
        # At once: in a triggerer the error would stand in a log that the DAG's author may never see.
        _check_name("subscription", subscription, 256)
        _check_event_types(event_types)
        if job_group_id is not None:
            _check_name("job_group_id", job_group_id, 128)
        if type(batch_size) is not int or not 1 <= batch_size <= MAX_BATCH:
            raise OutboundBotConfigError(f"batch_size: {batch_size!r} is not a whole number from 1 to {MAX_BATCH}")
        if isinstance(max_wait, bool) or not isinstance(max_wait, int | float) or not 0 <= max_wait < math.inf:
            raise OutboundBotConfigError(f"max_wait: {max_wait!r} is not a number of seconds")
        if rocketmq_conn_id is not None:
            _check_name("rocketmq_conn_id", rocketmq_conn_id, 250)
        self.subscription = subscription
        # A set has no order, and another order would be another trigger to Airflow.
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
        """A stream for each trigger: what is shared, the collector, is shared below; here it is for the receipts."""
        return json.dumps(self.serialize(), sort_keys=True)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """The stream by which Airflow 3.3 says what it has stored."""
        from airflow_provider_outbound.triggers.event_stream import EventStream

        trigger = cls(**kwargs)
        return EventStream(trigger.pages, trigger.confirm)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[EventPage]) -> AsyncIterator[TriggerEvent]:
        """Make the trigger's events."""
        async for page in shared_stream:
            if page.events:
                yield TriggerEvent(self._payload(page))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give batches without being told when they are stored: for Airflow before 3.3."""
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                if page.events:
                    yield TriggerEvent(self._payload(page))
                    await asyncio.sleep(STORED_SECONDS)
                await self.confirm(page)

    async def pages(self) -> AsyncGenerator[EventPage]:
        """Read the log from the cursor on, for ever; errors are logged, and reading goes on after a rest."""
        position: int | None = None
        while True:
            try:
                async with aclosing(self._pages(position)) as pages:
                    async for page in pages:
                        position = page.upto
                        yield page
                # A connection was corrected: reading goes on with it from where it was.
                continue
            except OutboundBotError as error:
                log.error("Subscription %r: %s", self.subscription, error)  # noqa: TRY400 - one line
            except Exception as error:  # noqa: BLE001 - whatever it was, the next look may go well
                from airflow_provider_outbound.core.collect.worker import describe_exception

                # Not the error's own text: a library's may hold what it was given.
                log.error("Subscription %r: reading failed: %s", self.subscription, describe_exception(error))  # noqa: TRY400
            await asyncio.sleep(RETRY_SECONDS)

    async def confirm(self, page: EventPage) -> None:
        """Move the cursor behind a page. If that fails, the next one's does it, or the page comes again."""
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
        # Registered first and read afterwards: what happens between the two is seen.
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
        raise OutboundBotConfigError(f"{argument}: {value!r} is a template; a trigger renders none, so give its value")


def _check_event_types(event_types: object) -> None:
    if event_types is None:
        return
    if isinstance(event_types, str):
        raise OutboundBotConfigError(f"event_types: a list is needed: [{event_types!r}]")
    if not isinstance(event_types, list | tuple | set | frozenset):
        raise OutboundBotConfigError(f"event_types: {event_types!r} is not a list of event types")
    if not event_types:
        raise OutboundBotConfigError("event_types: the list is empty, so nothing would ever come; leave it out for all")
    for name in event_types:
        if name not in _EVENT_TYPES:
            meant = difflib.get_close_matches(str(name), _EVENT_TYPES, 1)
            hint = f"did you mean {meant[0]!r}? " if meant else ""
            raise OutboundBotConfigError(
                f"event_types: {name!r} is not an event type; {hint}Use any of {', '.join(_EVENT_TYPES)}"
            )
