"""
RocketMQ's remoting protocol, through rocketmq-client-python's librocketmq.

That library pushes: it calls a function for each message, on its own threads, and acknowledges the message when the
function returns. So each call blocks here until its message is acknowledged.

The library delivers up to 32 messages fetched at once one after the other on one thread, and they are one unit to the
broker: they are consumed when the last call has returned. If one call returns "later", all of them go back to the
broker and are redelivered 10 seconds later (the next time after 30, and so on; after 16 times they become dead
letters). Until then they count as consumed, even if sending them back failed. So "later" is the last resort, and is
never used while the broker has a problem.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from airflow_provider_outbound.core.rocketmq.base import Consumer, Message, RocketMQSettings
from airflow_provider_outbound.core.rocketmq.bodies import Body
from airflow_provider_outbound.core.rocketmq.librocketmq import Library, load_library
from airflow_provider_outbound.core.rocketmq.probe import diagnose
from airflow_provider_outbound.exceptions import RocketMQError

#: Messages held at once; each blocks a thread of the library, which costs little but address space.
THREADS = 256
#: Messages of one queue that the library prefetches: enough for every thread if the topic has four queues. It delivers
#: messages fetched at once on one thread, and fetches 32 at most.
FETCHED_AHEAD = 32 * THREADS // 4
#: How long to wait for one more message, and in total (seconds): every batch, however small, costs a commit.
NEXT_SECONDS, GATHER_SECONDS = 0.002, 0.01
#: How often a message is handed out before it goes back to the broker, so that those fetched with it are not blocked.
#: Only if other messages were acknowledged since: otherwise the message is not the cause.
HAND_OUTS = 3
#: After this time without a message (seconds), the broker is asked what is wrong, since the library does not report it.
PROBE_SECONDS = 15.0
#: How long to wait for the library's own shutdown (seconds).
SHUTDOWN_SECONDS = 3.5

#: The longest time that the library needs to stop delivering messages after a shutdown began (seconds).
_STOP_TAKING_SECONDS = 0.5
#: The channel of a user name, which the library requires. This is Alibaba Cloud's value; other brokers ignore it.
_CHANNEL = b"ALIYUN"

_SUCCESS, _LATER = 0, 1


class _Held:
    """A message whose callback is waiting for an answer."""

    __slots__ = ("_answer", "_answered", "body", "earlier_attempts", "hand_outs", "handed_out_at", "message_id")

    def __init__(self, *, body: Body, message_id: str, earlier_attempts: int) -> None:
        self.body = body
        self.message_id = message_id
        #: How often it went back to the broker.
        self.earlier_attempts = earlier_attempts
        self.hand_outs = 0
        self.handed_out_at = 0.0
        self._answer: int | None = None
        self._answered = threading.Lock()
        self._answered.acquire()

    def wait(self) -> int:
        self._answered.acquire()
        return _LATER if self._answer is None else self._answer

    def end(self, answer: int) -> None:
        """Answer the callback, unless it was answered."""
        if self._answer is None:
            self._answer = answer
            self._answered.release()


class RemotingConsumer(Consumer):
    """
    A push consumer whose callbacks block until their message is acknowledged.

    A message that was received and not acknowledged in time is handed out again from this process, without the broker.
    """

    batch_size = 128
    prefetches = True

    def __init__(self, settings: RocketMQSettings) -> None:
        self._settings = settings
        self._library = load_library(settings.librocketmq)
        self._client: _PushConsumer | None = None
        #: Messages that can be received. ``None`` wakes up a receiver.
        self._arrived: queue.SimpleQueue[_Held | None] = queue.SimpleQueue()
        #: Messages received and not acknowledged, by the end of their lease. One thread receives, another acknowledges.
        self._leased: dict[_Held, None] = {}
        self._lock = threading.Lock()
        #: All messages whose callbacks are waiting.
        self._held: set[_Held] = set()
        self._heard_at = self._acknowledged_at = 0.0
        self._interrupted = threading.Event()
        self._closing = False

    def receive(self, max_messages: int, wait_seconds: float) -> list[Message]:
        if self._interrupted.is_set():
            return []
        if self._client is None:
            self._start()
        received = self._expired(max_messages)
        try:
            held = self._arrived.get(timeout=0 if received else wait_seconds)
            latest = time.monotonic() + GATHER_SECONDS
            while held is not None:
                received.append(held)
                if len(received) >= max_messages:
                    break
                held = self._arrived.get(timeout=max(0.0, min(NEXT_SECONDS, latest - time.monotonic())))
        except queue.Empty:
            pass
        if self._interrupted.is_set():
            return []
        if not received:
            self._diagnose()
        return [self._lease(held) for held in received]

    def acknowledge(self, messages: Sequence[Message]) -> int:
        missed = 0
        for message in messages:
            with self._lock:
                is_leased = self._leased.pop(message.handle, False) is None
            if is_leased:
                message.handle.end(_SUCCESS)
                self._acknowledged_at = time.monotonic()
            else:
                missed += 1
        return missed

    def interrupt(self) -> None:
        self._interrupted.set()
        self._arrived.put(None)

    def close(self) -> None:
        self.interrupt()
        self._closing = True
        client, self._client = self._client, None
        if client is not None:
            ending = threading.Thread(target=self._leave, args=(client,), name="rocketmq-shutdown", daemon=True)
            ending.start()
            ending.join(SHUTDOWN_SECONDS)
        with self._lock:
            self._leased.clear()

    def _start(self) -> None:
        if trouble := diagnose(self._settings):
            raise RocketMQError(trouble)
        self._client = _PushConsumer(self._library, self._settings, self._hold)
        self._heard_at = time.monotonic()

    def _diagnose(self) -> None:
        if time.monotonic() - self._heard_at < PROBE_SECONDS:
            return
        if trouble := diagnose(self._settings):
            raise RocketMQError(trouble)
        self._heard_at = time.monotonic()

    def _hold(self, body: Body, message_id: str, earlier_attempts: int) -> int:
        """Hold a message until it is acknowledged. The library calls this for each message, on one of its threads."""
        held = _Held(body=body, message_id=message_id, earlier_attempts=earlier_attempts)
        self._held.add(held)
        if self._closing:
            return _LATER
        self._arrived.put(held)
        answer = held.wait()
        self._held.discard(held)
        return answer

    def _expired(self, max_messages: int) -> list[_Held]:
        """Return messages whose lease has ended, to be handed out again."""
        latest = time.monotonic() - self._settings.lease_seconds
        expired = []
        with self._lock:
            due = list(itertools.takewhile(lambda held: held.handed_out_at <= latest, self._leased))[:max_messages]
            for held in due:
                del self._leased[held]
        for held in due:
            at_fault = held.hand_outs >= HAND_OUTS and self._acknowledged_at > held.handed_out_at
            if at_fault and not diagnose(self._settings):
                held.end(_LATER)
            else:
                expired.append(held)
        return expired

    def _lease(self, held: _Held) -> Message:
        self._heard_at = held.handed_out_at = time.monotonic()
        held.hand_outs += 1
        with self._lock:
            self._leased[held] = None
        return Message(
            body=held.body,
            fault=held.body.fault,
            head_of=held.body.head_of,
            message_id=held.message_id,
            topic=self._settings.topic,
            delivery_attempt=held.earlier_attempts + held.hand_outs,
            handle=held,
        )

    def _leave(self, client: _PushConsumer) -> None:
        """
        Leave the consumer group; messages held here go back to the broker.

        If the broker does not answer they are not sent back, so that none is lost: they are redelivered once the broker
        notices that this process or its connection has ended.
        """
        if self._held and diagnose(self._settings):
            return
        ending = threading.Thread(target=client.shut_down, name="rocketmq-shutdown", daemon=True)
        ending.start()
        if self._held:
            # The shutdown first stops the threads, then waits for those in a callback, so that none takes another
            # message.
            ending.join(_STOP_TAKING_SECONDS)
            for held in list(self._held):
                held.end(_LATER)
        ending.join()


class _PushConsumer:
    """The library's consumer, started."""

    def __init__(
        self, library: Library, settings: RocketMQSettings, on_message: Callable[[Body, str, int], int]
    ) -> None:
        self._library = library
        self._on_message = on_message
        # Kept here, because the library holds no reference to it.
        self._callback = library.callback_type(self._called)
        functions, check = library.functions, library.check
        self._handle = functions.CreatePushConsumer(settings.qualified(settings.consumer_group).encode())
        options = [
            (functions.SetPushConsumerNameServerAddress, ";".join(settings.endpoints).encode()),
            # Consumers with the same instance name in one process would be one consumer.
            (functions.SetPushConsumerInstanceName, f"outbound-{uuid.uuid4().hex}".encode()),
            (functions.SetPushConsumerThreadCount, THREADS),
            (functions.RegisterMessageCallback, self._callback),
        ]
        for option, value in options:
            check(option(self._handle, value))
        if library.set_fetched_ahead is not None:
            library.set_fetched_ahead(self._handle, FETCHED_AHEAD)
        if settings.username:
            credentials = (settings.username.encode(), settings.password.encode(), _CHANNEL)
            check(functions.SetPushConsumerSessionCredentials(self._handle, *credentials))
        check(functions.Subscribe(self._handle, settings.qualified(settings.topic).encode(), settings.tag.encode()))
        try:
            check(functions.StartPushConsumer(self._handle))
        except Exception as error:  # noqa: BLE001 - the package's errors have various types
            reason = " ".join(str(error).split())
            raise RocketMQError(f"RocketMQ client cannot start ({reason})") from None

    def _called(self, _: int, message: int) -> int:
        # After an exception the answer to the library would be undefined.
        try:
            library = self._library
            message_id = (library.message_id(message) or b"").decode(errors="replace")
            return self._on_message(library.body(message), message_id, library.reconsume_times(message))
        except BaseException:  # noqa: BLE001
            return _LATER

    def shut_down(self) -> None:
        with contextlib.suppress(Exception):
            self._library.check(self._library.functions.ShutdownPushConsumer(self._handle))
        self._library.functions.DestroyPushConsumer(self._handle)
