"""
The collector: receives messages from the broker and stores them in the ledger.

The same program runs in two ways. As a service (``outbound collect``) it runs until it is stopped. As the child process
of a triggerer (``python -m airflow_provider_outbound.core.collect.worker``) it reads its settings from standard input,
one line of JSON, and ends when that input closes or its parent dies. It writes ``changed`` to standard output whenever
something new is stored, and logs to standard error, one ``LEVEL words`` per line.

A message is acknowledged after the commit that stores it, never before. So a collector may be killed at any moment:
the messages it held are redelivered to the next one, and the ledger recognises those that it already has.

Receiving, storing and acknowledging run concurrently, each in its own thread: while one batch is committed, the next is
received and the previous one is acknowledged.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import tenacity

from airflow_provider_outbound.core.collect.in_flight import IN_HAND, InFlight
from airflow_provider_outbound.core.collect.outages import OutageLogger, describe_exception
from airflow_provider_outbound.core.collect.parent import LineHandler, read_settings, report_change, watch_parent
from airflow_provider_outbound.core.collect.report import Reporter
from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.rocketmq import open_consumer
from airflow_provider_outbound.core.rocketmq.base import Consumer, Message
from airflow_provider_outbound.exceptions import (
    LedgerError,
    LedgerUnavailableError,
    OutboundBotError,
    RocketMQError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import CollectorReport, Ledger, Recorded

#: How long one poll waits for a message (seconds).
POLL_SECONDS = 3.0
#: Longest pause between two attempts to reach a broker or a database (seconds).
MAX_PAUSE_SECONDS = 15.0
#: Garbage collection threshold, as a number of live objects allocated. A batch of messages is thousands of objects,
#: none of them in a cycle: with Python's default, a tenth of the CPU time goes into garbage collection.
GARBAGE_THRESHOLD = 20_000
#: When stopped, how long a collector may take to store and acknowledge the messages it holds, and then to finish
#: acknowledgements in progress, before it disconnects from the broker (seconds).
FINISH_SECONDS, LAST_ACKNOWLEDGEMENTS_SECONDS = 1.5, 1.0
#: How long a report in progress may delay the end of a collector (seconds).
LAST_REPORT_SECONDS = 1.0
#: How long a stopped collector may take before its process exits regardless (seconds).
STOP_SECONDS = 8.0

#: Exit codes; with the last one, the process is to be started again with other settings.
DONE, FAILED, OUTDATED = 0, 1, 75

logger = logging.getLogger("airflow_provider_outbound.collect")

_Result = TypeVar("_Result")


class Collector:
    """
    Moves messages from a consumer to a ledger.

    :param settings: Subscription and ledger.
    :param stop: Ends the collector when set. Messages it holds are stored and acknowledged first if ledger and broker
        answer.
    :param on_change: Called after each commit that stored something new. Must not block.
    :param check_outdated: Called after each failure of the broker; returns whether there are other settings now, such
        as a new password. The collector then ends.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        stop: threading.Event,
        on_change: Callable[[], None] = lambda: None,
        check_outdated: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._on_change = on_change
        self._check_outdated = check_outdated
        #: Whether it ended because there are other settings.
        self.is_outdated = False
        self.reporter = Reporter(settings.rocketmq)
        self._broker = OutageLogger("RocketMQ broker answers again", self._note_trouble)
        self._database = OutageLogger("the ledger answers again: collecting continues")
        self._in_hand = InFlight()
        self._failure: BaseException | None = None
        self._told_of_others = False
        #: Messages that this process has stored, those that were stored before, and those that could not be read.
        self.stored = self.repeated = self.quarantined = 0

    def report(self) -> CollectorReport:
        """The collector's state."""
        return self.reporter.report()

    def _note_trouble(self, words: str) -> None:
        self.reporter.note_trouble(words)
        if self._check_outdated():
            self.is_outdated = True
            self._stop.set()

    def run(self) -> None:
        """
        Collect until stopped.

        :raises RocketMQClientError: The client library is missing or unusable.
        :raises LedgerError: The ledger has a newer version, or uses another key.
        :raises OutboundBotConfigError: A setting is wrong.
        """
        from airflow_provider_outbound.core.ledger import open_ledger

        ledger = self._persist(
            lambda: open_ledger(self._settings.ledger_url, self._settings.ledger_keys),
            LedgerUnavailableError,
            self._database,
        )
        if ledger is None:
            return
        with ledger:
            reporting = self.reporter.start(ledger, self._stop)
            try:
                self._consume(ledger)
            except Exception as error:
                # Waiting tasks read the ledger, not the log of this process.
                if not isinstance(error, LedgerError):
                    self.reporter.note_trouble(_words_of(error), for_good=True)
                    self.reporter.write(ledger)
                raise
            finally:
                self._stop.set()
                reporting.join(LAST_REPORT_SECONDS)

    def _consume(self, ledger: Ledger) -> None:
        consumer = open_consumer(self._settings.rocketmq)
        try:
            threading.Thread(target=self._interrupt, args=(consumer,), name="collect-interrupt", daemon=True).start()
            self._collect(consumer, ledger)
        finally:
            consumer.close()
        if self._failure is not None:
            raise self._failure

    def _interrupt(self, consumer: Consumer) -> None:
        self._stop.wait()
        # Not at once: the client that polls also acknowledges.
        self._in_hand.wait_until_done(FINISH_SECONDS)
        consumer.interrupt()

    def _collect(self, consumer: Consumer, ledger: Ledger) -> None:
        topic, group = self._settings.rocketmq.topic, self._settings.rocketmq.consumer_group
        logger.info("collecting topic %s as consumer group %s", topic, group)
        receiver = threading.Thread(target=self._receive, args=(consumer,), name="collect-receive", daemon=True)
        acknowledger = threading.Thread(
            target=self._acknowledge, args=(consumer,), name="collect-acknowledge", daemon=True
        )
        receiver.start()
        acknowledger.start()
        try:
            while messages := self._in_hand.take():
                self._in_hand.keep(messages, self._store(ledger, messages))
        finally:
            self._stop.set()
            self._in_hand.end_keeping()
            acknowledger.join(LAST_ACKNOWLEDGEMENTS_SECONDS)

    def _receive(self, consumer: Consumer) -> None:
        try:
            while not self._stop.is_set():
                messages = self._persist(
                    lambda: consumer.receive(consumer.batch_size, POLL_SECONDS), RocketMQError, self._broker
                )
                if messages is not None:
                    self.reporter.note_contact(messages=bool(messages))
                if messages:
                    self._in_hand.put(messages)
                    # Receive ahead only while more messages are available. Otherwise store this batch first, so that
                    # nothing is received that cannot be stored, and so that the next poll finds more than one.
                    more = (len(messages) == consumer.batch_size or consumer.prefetches) and not self._database.lasts
                    self._in_hand.wait_until_kept(IN_HAND - consumer.batch_size if more else 0, self._stop)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self._failure = error
        finally:
            self._in_hand.end_receiving()

    def _acknowledge(self, consumer: Consumer) -> None:
        while messages := self._in_hand.take_kept():
            try:
                missed = consumer.acknowledge(messages)
            except Exception as error:  # noqa: BLE001 - they are redelivered, which does no harm
                logger.warning("acknowledging failed: %s", describe_exception(error))
                missed = len(messages)
            if missed:
                logger.info("%d stored messages could not be acknowledged: they will be redelivered", missed)
            self._in_hand.acknowledge(len(messages))

    def _store(self, ledger: Ledger, messages: Sequence[Message]) -> Sequence[Message]:
        """Store messages, however long the database is unavailable; return those that are stored."""
        try:
            return messages if self._record(ledger, messages) else []
        except LedgerError:
            # No message can be stored until somebody fixes the database, so none is received until then.
            raise
        except Exception as error:  # noqa: BLE001 - one unforeseen message must not stop the others
            if len(messages) == 1:
                logger.error("a message cannot be stored, and will be redelivered: %s", describe_exception(error))  # noqa: TRY400
                return []
        return [message for message in messages if self._store(ledger, [message])]

    def _record(self, ledger: Ledger, messages: Sequence[Message]) -> bool:
        from airflow_provider_outbound.core.ledger import Incoming

        incoming = [
            Incoming(
                body=message.body,
                message_id=message.message_id,
                topic=message.topic,
                fault=message.fault,
                head_of=message.head_of,
            )
            for message in messages
        ]
        instance_ids = self._settings.rocketmq.instance_ids
        recorded: Recorded | None = self._persist(
            lambda: ledger.inbox.record(incoming, instance_ids=instance_ids), LedgerUnavailableError, self._database
        )
        if recorded is None:
            return False
        self.stored += recorded.new
        self.repeated += recorded.repeated
        self.quarantined += recorded.quarantined
        if recorded.quarantined:
            unreadable = count_of(recorded.quarantined, "message")
            logger.warning("%s cannot be read: they are in the ledger's quarantine", unreadable)
        if recorded.others and not self._told_of_others:
            logger.info("messages of bot instances other than %s are not stored", ", ".join(instance_ids))
            self._told_of_others = True
        if recorded.new:
            self._on_change()
        return True

    def _persist(
        self, act: Callable[[], _Result], error: type[OutboundBotError], trouble: OutageLogger
    ) -> _Result | None:
        """Call ``act`` until it succeeds; return ``None`` if stopped before."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(error),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=MAX_PAUSE_SECONDS),
            stop=tenacity.stop_when_event_set(self._stop),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=lambda state: trouble.say(str(state.outcome.exception()) if state.outcome else ""),
        )
        try:
            result = attempts(act)
        except tenacity.RetryError:
            return None
        if not self._stop.is_set():
            # An attempt that was interrupted by the end of the collector proves nothing about the other side.
            trouble.over()
        return result


def _words_of(error: Exception) -> str:
    return str(error) if isinstance(error, OutboundBotError) else f"the collector failed: {describe_exception(error)}"


def run(
    settings: WorkerSettings,
    *,
    stop: threading.Event | None = None,
    on_change: Callable[[], None] = lambda: None,
    on_start: Callable[[Collector], object] = lambda _: None,
    check_outdated: Callable[[], bool] = lambda: False,
) -> int:
    """
    Collect until SIGTERM, SIGINT or ``stop``. Call it from the main thread of a process.

    :param on_start: Called with the collector before it begins.
    :param check_outdated: As for :class:`Collector`.
    :return: Exit code: :data:`DONE` when stopped, :data:`FAILED` after an error, which is logged in one line, and
        :data:`OUTDATED` if there are other settings.
    """
    stop = stop or threading.Event()
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
    # While a broker is away, callbacks of the RocketMQ client log long tracebacks; this module logs one line instead.
    for noisy in ("asyncio", "concurrent.futures"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    is_told = threading.Event()

    def end(*_: object) -> None:
        is_told.set()
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, end)
    threading.Thread(target=_end_late, args=(stop,), name="collect-deadline", daemon=True).start()
    try:
        collector = Collector(settings, stop=stop, on_change=on_change, check_outdated=check_outdated)
        on_start(collector)
        collector.run()
    except Exception as error:  # noqa: BLE001 - the process ends, and its parent or service manager restarts it
        logger.error("%s", _words_of(error))  # noqa: TRY400 - one line, no traceback
        return FAILED
    if collector.is_outdated and not is_told.is_set():
        return OUTDATED
    logger.info("stopped")
    return DONE


def _end_late(stop: threading.Event) -> None:
    """Exit even if a database or a client hangs; an open transaction is rolled back."""
    stop.wait()
    threading.Event().wait(STOP_SECONDS)
    leave(DONE)


def leave(code: int) -> None:
    """Exit the process now: an ordinary exit would wait for the client's threads, possibly for ever."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def main() -> int:
    """Run the collector as a child process."""
    # Both are pipes of this process alone, so no other process is affected.
    os.set_blocking(1, False)
    os.set_blocking(2, False)
    logger.addHandler(LineHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        values = read_settings()
        settings = WorkerSettings.from_dict(values)
    except (ValueError, KeyError, TypeError) as error:
        words = (
            str(error)
            if isinstance(error, OutboundBotError)
            else f"no settings on standard input ({describe_exception(error)})"
        )
        logger.error("%s", words)  # noqa: TRY400
        return FAILED
    stop = threading.Event()
    parent = values.get("parent_pid", os.getppid())
    threading.Thread(target=watch_parent, args=(parent, stop), name="collect-parent", daemon=True).start()
    return run(settings, stop=stop, on_change=report_change)


if __name__ == "__main__":
    leave(main())
