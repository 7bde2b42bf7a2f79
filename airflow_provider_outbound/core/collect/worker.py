"""
The collector: takes messages off the broker and keeps them in the ledger.

One program in two lives. As a service (``outbound collect``) it runs until it is told to stop. As the child of a
triggerer (``python -m airflow_provider_outbound.core.collect.worker``) it reads its settings from standard input, one
line of JSON, ends when that input closes or its parent dies, and writes ``changed`` to standard output whenever there
is something new to look at. It reports on standard error, ``LEVEL words``, a line each.

A message is acknowledged after the commit that keeps it, never before. So a collector may be killed at any moment: what
it held comes again to the next one, and the ledger knows what it has already.

Receiving, keeping and acknowledging go on at the same time, each in a thread: while one lot is committed, the next
comes in and the last is acknowledged.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
import tenacity

from airflow_provider_outbound.core.collect.report import Reporter
from airflow_provider_outbound.core.rocketmq import open_consumer
from airflow_provider_outbound.core.rocketmq.base import Consumer, Message, RocketMQSettings
from airflow_provider_outbound.exceptions import (
    LedgerError,
    LedgerUnavailableError,
    OutboundBotError,
    RocketMQError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger, Recorded

#: What is written when there is something new to look at.
CHANGED = b"changed\n"
#: Most messages in hand that are not kept yet: what waits there is kept in one transaction.
IN_HAND = 512
#: The same in bytes, and the bytes kept in one transaction, give or take a message: read, a body takes thirty times the
#: memory.
IN_HAND_BYTES, AT_ONCE_BYTES = 32 * 1024**2, 8 * 1024**2
#: How long one poll waits for a message (seconds).
POLL_SECONDS = 3.0
#: Longest pause between two attempts to reach a broker or a database (seconds).
MAX_PAUSE_SECONDS = 15.0
#: Objects made, and not gone, between two searches for lost cycles. A lot of messages is thousands of objects, none of
#: them lost: with Python's own figure a tenth of the processor's time goes into looking for them.
GARBAGE_THRESHOLD = 20_000
#: How long a collector that was told to stop may take to keep and acknowledge what it has in hand, and then to let the
#: acknowledgements under way end, before it leaves the broker (seconds).
FINISH_SECONDS, LAST_ACKNOWLEDGEMENTS_SECONDS = 1.5, 1.0
#: How long a report under way may keep a collector from ending (seconds).
LAST_REPORT_SECONDS = 1.0
#: How long a collector that was told to stop may take before it just ends (seconds).
STOP_SECONDS = 8.0

DONE, FAILED = 0, 1

logger = logging.getLogger("airflow_provider_outbound.collect")

_Result = TypeVar("_Result")


@attrs.frozen(kw_only=True)
class WorkerSettings:
    """
    What a collector needs to know.

    :param ledger_url: SQLAlchemy URL of the ledger.
    :param ledger_keys: Fernet keys of the ledger, newest first.
    :param rocketmq: The subscription to read.
    """

    ledger_url: str = attrs.field(repr=False)
    ledger_keys: tuple[str, ...] = attrs.field(repr=False)
    rocketmq: RocketMQSettings

    def to_dict(self) -> dict[str, Any]:
        """As JSON for standard input. Holds passwords and keys: never log it."""
        return {
            "ledger_url": self.ledger_url,
            "ledger_keys": list(self.ledger_keys),
            "rocketmq": self.rocketmq.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of :meth:`to_dict`."""
        return cls(
            ledger_url=values["ledger_url"],
            ledger_keys=tuple(values["ledger_keys"]),
            rocketmq=RocketMQSettings.from_dict(values["rocketmq"]),
        )


class OutageLogger:
    """Says once that something does not work, and once that it works again."""

    def __init__(self, restored: str, on_trouble: Callable[[str], None] = lambda _: None) -> None:
        self._restored = restored
        self._on_trouble = on_trouble
        self._said = ""

    @property
    def lasts(self) -> bool:
        return bool(self._said)

    def say(self, words: str) -> None:
        before, self._said = self._said, words
        self._on_trouble(words)
        if words != before:
            logger.warning("%s", words)

    def over(self) -> None:
        if self._said:
            logger.info("%s", self._restored)
        self._said = ""


class _InFlight:
    """Messages between the broker and the ledger, and those kept but not acknowledged yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._received: collections.deque[Message] = collections.deque()
        self._kept: list[Message] = []
        self._unkept = self._unkept_bytes = self._unacknowledged = 0
        self._received_all = self._kept_all = False

    def put(self, messages: Sequence[Message]) -> None:
        """Add what was received."""
        with self._changed:
            self._received.extend(messages)
            self._unkept += len(messages)
            self._unkept_bytes += sum(len(message.body) for message in messages)
            self._changed.notify_all()

    def wait_until_kept(self, most: int, stop: threading.Event) -> None:
        """Wait until no more than ``most`` are not kept yet, and not too many bytes, or one was told to stop."""
        with self._changed:
            while (self._unkept > most or self._unkept_bytes > IN_HAND_BYTES) and not stop.is_set():
                self._changed.wait(0.5)

    def take(self) -> list[Message]:
        """What was received, as much as is kept at once, waiting for the first; empty at the end of receiving."""
        with self._changed:
            while not self._received and not self._received_all:
                # Not without end: a signal that comes just before the wait is acted on after it.
                self._changed.wait(0.5)
            taken: list[Message] = []
            size = 0
            while self._received and size < AT_ONCE_BYTES:
                taken.append(self._received.popleft())
                size += len(taken[-1].body)
            return taken

    def keep(self, taken: Sequence[Message], kept: Sequence[Message]) -> None:
        """Of those that were taken these are kept, and may be acknowledged; the others come again."""
        with self._changed:
            self._kept.extend(kept)
            self._unkept -= len(taken)
            self._unkept_bytes -= sum(len(message.body) for message in taken)
            self._unacknowledged += len(kept)
            self._changed.notify_all()

    def take_kept(self) -> list[Message]:
        """Everything to acknowledge, waiting for the first; empty when nothing more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self._kept_all)
            taken, self._kept = self._kept, []
            return taken

    def acknowledge(self, count: int) -> None:
        """So many are done with."""
        with self._changed:
            self._unacknowledged -= count
            self._changed.notify_all()

    def end_receiving(self) -> None:
        """Nothing more will be received."""
        with self._changed:
            self._received_all = True
            self._changed.notify_all()

    def end_keeping(self) -> None:
        """Nothing more will be kept."""
        with self._changed:
            self._kept_all = True
            self._changed.notify_all()

    def wait_until_done(self, seconds: float) -> None:
        """Wait until nothing is in hand, so long at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._unkept == self._unacknowledged == 0, seconds)


class Collector:
    """
    Moves messages from a consumer to a ledger.

    :param settings: Subscription and ledger.
    :param stop: Set to end; what is in hand is kept and acknowledged first if ledger and broker answer.
    :param on_change: Called after each commit that stored something new. Must not block.
    """

    def __init__(
        self, settings: WorkerSettings, *, stop: threading.Event, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._on_change = on_change
        self._reporter = Reporter(settings.rocketmq)
        self._broker = OutageLogger("RocketMQ broker answers again", self._reporter.note_trouble)
        self._database = OutageLogger("the ledger answers again: collecting goes on")
        self._in_hand = _InFlight()
        self._failure: BaseException | None = None
        self._told_of_others = False

    def run(self) -> None:
        """
        Collect until told to stop.

        :raises RocketMQClientError: The client library is missing or unusable.
        :raises LedgerError: The ledger is of a newer version, or its key is another one.
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
            reporting = self._reporter.start(ledger, self._stop)
            try:
                self._consume(ledger)
            except Exception as error:
                # Whoever waits reads the ledger, not this process's log.
                if not isinstance(error, LedgerError):
                    self._reporter.note_trouble(_words_of(error), for_good=True)
                    self._reporter.write(ledger)
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
        # Not at once: the client that polls is the one that acknowledges.
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
                    self._reporter.note_contact(messages=bool(messages))
                if messages:
                    self._in_hand.put(messages)
                    # More are there: they may come in meanwhile. Else this lot is kept first, so that nothing is taken
                    # that cannot be kept, and the next poll finds more than one.
                    more = (len(messages) == consumer.batch_size or consumer.prefetches) and not self._database.lasts
                    self._in_hand.wait_until_kept(IN_HAND - consumer.batch_size if more else 0, self._stop)
        except BaseException as error:  # noqa: BLE001 - raised where the collector is run
            self._failure = error
        finally:
            self._in_hand.end_receiving()

    def _acknowledge(self, consumer: Consumer) -> None:
        while messages := self._in_hand.take_kept():
            try:
                missed = consumer.acknowledge(messages)
            except Exception as error:  # noqa: BLE001 - they come again, which does no harm
                logger.warning("acknowledging failed: %s", describe_exception(error))
                missed = len(messages)
            if missed:
                logger.info("%d stored messages could not be acknowledged: they will come again", missed)
            self._in_hand.acknowledge(len(messages))

    def _store(self, ledger: Ledger, messages: Sequence[Message]) -> Sequence[Message]:
        """Keep messages, however long the database is away; return those that are kept."""
        try:
            return messages if self._record(ledger, messages) else []
        except LedgerError:
            # No message can be kept until somebody changes the database, so none is received meanwhile.
            raise
        except Exception as error:  # noqa: BLE001 - one message that no rule foresaw must not stop the others
            if len(messages) == 1:
                logger.error("a message cannot be kept, and will come again: %s", describe_exception(error))  # noqa: TRY400
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
        if recorded.quarantined:
            logger.warning("%d messages cannot be read: they are kept in the ledger's quarantine", recorded.quarantined)
        if recorded.others and not self._told_of_others:
            logger.info("messages of other bot instances than %s are not stored", ", ".join(instance_ids))
            self._told_of_others = True
        if recorded.new:
            self._on_change()
        return True

    def _persist(
        self, act: Callable[[], _Result], error: type[OutboundBotError], trouble: OutageLogger
    ) -> _Result | None:
        """Do something until it works; ``None`` if told to stop before."""
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
            # An attempt that was cut short by the end says nothing about the other side.
            trouble.over()
        return result


def describe_exception(error: BaseException) -> str:
    """Kind and place of an unforeseen error. Its text is left out: it may quote what it stumbled over."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _words_of(error: Exception) -> str:
    return str(error) if isinstance(error, OutboundBotError) else f"the collector failed: {describe_exception(error)}"


def run(
    settings: WorkerSettings, *, stop: threading.Event | None = None, on_change: Callable[[], None] = lambda: None
) -> int:
    """
    Collect until SIGTERM, SIGINT or ``stop``. To be called from a process's main thread.

    :return: Exit code: 0 when stopped, 1 after an error, which was logged in one line.
    """
    stop = stop or threading.Event()
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
    # The RocketMQ client's own callbacks fail by the page while a broker is away; its trouble is said in words instead.
    for noisy in ("asyncio", "concurrent.futures"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    threading.Thread(target=_end_late, args=(stop,), name="collect-deadline", daemon=True).start()
    try:
        Collector(settings, stop=stop, on_change=on_change).run()
    except Exception as error:  # noqa: BLE001 - the process ends; whoever started it starts it again
        logger.error("%s", _words_of(error))  # noqa: TRY400 - one line, no traceback
        return FAILED
    logger.info("stopped")
    return DONE


def _end_late(stop: threading.Event) -> None:
    """A database or a client that hangs must not keep a stopped collector alive; an open transaction is rolled back."""
    stop.wait()
    threading.Event().wait(STOP_SECONDS)
    leave(DONE)


def leave(code: int) -> None:
    """End the process now: the client's threads would make an ordinary exit wait, at worst for ever."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


class _Lines(logging.Handler):
    """One line a record to a pipe; dropped if the reader is behind, for a log must not stop the work."""

    def emit(self, record: logging.LogRecord) -> None:
        words = " ".join(record.getMessage().split())
        with contextlib.suppress(OSError):
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{record.levelname} {words}\n".encode())


def _report_change() -> None:
    # A full pipe already says that there is something to look at.
    with contextlib.suppress(OSError):
        os.write(1, CHANGED)


def _watch_parent(parent: int, stop: threading.Event) -> None:
    """Stop when standard input closes, or when the parent is gone but somebody inherited its end of the pipe."""
    while not stop.is_set() and os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], 1.0)
        if readable and not os.read(0, 4096):
            break
    stop.set()


def _read_settings() -> dict[str, Any]:
    """The first line of standard input. Not read through ``sys.stdin``, whose lock a waiting reader would hold."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            break
        line += piece
    values: dict[str, Any] = json.loads(line)
    return values


def main() -> int:
    """The child's program."""
    # Both are pipes of this process's own, so nobody else is surprised.
    os.set_blocking(1, False)
    os.set_blocking(2, False)
    logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        values = _read_settings()
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
    threading.Thread(target=_watch_parent, args=(parent, stop), name="collect-parent", daemon=True).start()
    return run(settings, stop=stop, on_change=_report_change)


if __name__ == "__main__":
    leave(main())
