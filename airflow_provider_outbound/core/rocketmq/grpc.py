"""
RocketMQ 5 over gRPC: the only file that imports rocketmq-python-client.

That library leaves threads running, hangs after a fork and writes log files to the home folder, so the consumer should
run in its own process: :mod:`airflow_provider_outbound.core.collect.worker`.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib
import itertools
import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import attrs

from airflow_provider_outbound.core.rocketmq.base import (
    Consumer,
    Message,
    RocketMQSettings,
    missing_client,
)
from airflow_provider_outbound.core.rocketmq.bodies import Body, plain, unpack
from airflow_provider_outbound.exceptions import RocketMQClientError, RocketMQError

#: Deadline of one request (seconds).
REQUEST_TIMEOUT = 3
#: Shortest poll (seconds). Poll and request deadline must add up to at least five seconds, the server's minimum.
MIN_POLL_SECONDS = 3
#: Messages acknowledged by one request, and concurrent requests.
ACKNOWLEDGE_SIZE, ACKNOWLEDGE_THREADS = 32, 4
#: A broker that has not registered a new consumer yet answers 50001 for a moment, so a poll is attempted this often…
BRIEF_ATTEMPTS = 3
#: …this long apart (seconds), before the consumer is replaced.
BRIEF_PAUSE = 0.5
#: After this many replacements, the error message lists the likely causes of an unexplained refusal.
EXPLAIN_AFTER = 3
#: How long to wait for a client's own shutdown (seconds).
SHUTDOWN_SECONDS = 3.5

#: The protocol's codes for success, and for a body that is not compressed.
_OK, _IDENTITY = 20000, 1

_CLIENT_LOGGER = "rocketmq-python-client"
_import_lock = threading.Lock()


@attrs.frozen(kw_only=True)
class Client:
    """The names of rocketmq-python-client that are used here."""

    AckMessageRequest: Any
    ClientConfiguration: Any
    Credentials: Any
    FilterExpression: Any
    Message: Any
    Producer: Any
    SimpleConsumer: Any


class _Notes(logging.Handler):
    """
    Keeps the latest warnings of the client, the only place where it reports why it fails.

    They are searched for known words and never shown, because their text may hold private data.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: collections.deque[tuple[float, str]] = collections.deque(maxlen=50)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((time.monotonic(), record.getMessage()))

    def since(self, moment: float) -> str:
        return "\n".join(line for noted_at, line in list(self._lines) if noted_at >= moment)


_notes = _Notes()


@contextlib.contextmanager
def temporary_home() -> Iterator[None]:
    """Set a temporary home folder: clients open a log file there when they are imported, and fail if they cannot."""
    home = os.environ.get("HOME")
    with tempfile.TemporaryDirectory(prefix="outbound-rocketmq-", ignore_cleanup_errors=True) as folder:
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            if home is None:
                os.environ.pop("HOME", None)
            else:
                os.environ["HOME"] = home


@functools.cache
def load_client() -> Client:
    """
    Import rocketmq-python-client even if rocketmq-client-python is installed too.

    Both install into the folder ``rocketmq`` and overwrite each other's ``__init__.py``. The one name that the gRPC
    client imports from there is set beforehand. Nothing is written to the home folder.

    :raises RocketMQClientError: The library is missing or cannot be imported; the message says how to fix that.
    """
    with _import_lock, temporary_home():
        try:
            package = importlib.import_module("rocketmq")
            client = importlib.import_module("rocketmq.v5.client")
            if not hasattr(package, "ClientConfiguration"):
                package.ClientConfiguration = client.ClientConfiguration  # type: ignore[attr-defined]
            consumer = importlib.import_module("rocketmq.v5.consumer")
            producer = importlib.import_module("rocketmq.v5.producer")
            model = importlib.import_module("rocketmq.v5.model")
            protocol = importlib.import_module("rocketmq.grpc_protocol")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "rocketmq":
                raise RocketMQClientError(missing_client("grpc")) from None
            raise RocketMQClientError(_unusable(error)) from None
        except Exception as error:  # noqa: BLE001 - protobuf and grpc raise their own types
            raise RocketMQClientError(_unusable(error)) from None
        _bound_bodies(model.Message)
        logger = logging.getLogger(_CLIENT_LOGGER)
        for handler in list(logger.handlers):
            if handler is not _notes:
                logger.removeHandler(handler)
                handler.close()
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        if _notes not in logger.handlers:
            logger.addHandler(_notes)
    return Client(
        AckMessageRequest=protocol.AckMessageRequest,
        ClientConfiguration=client.ClientConfiguration,
        Credentials=client.Credentials,
        FilterExpression=model.FilterExpression,
        Message=model.Message,
        Producer=producer.Producer,
        SimpleConsumer=consumer.SimpleConsumer,
    )


def _bound_bodies(message_type: Any) -> None:
    """
    Replace the library's decompression; the ``body`` of a received message is a :class:`Body` then.

    The library decompresses bodies without a size limit. If it cannot decompress one it raises and loses all messages
    of that response, repeatedly, because the bad one is redelivered.
    """

    def body(message: Any) -> Body:
        data, encoding = bytes(message.body), message.system_properties.body_encoding
        return plain(data) if encoding == _IDENTITY else unpack(data)

    message_type._Message__uncompress_body = staticmethod(body)  # noqa: SLF001 - there is no public hook for this


def _unusable(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (
        f"rocketmq-python-client cannot be imported ({type(error).__name__}: {reason}):"
        ' pip install --force-reinstall "airflow-provider-outbound[grpc]"'
    )


class GrpcConsumer(Consumer):
    """
    A SimpleConsumer that recovers after its broker did.

    The library's consumer does not: once the proxy has lost its settings, it is refused until it is replaced. The same
    code means three things (a brief race, lost settings, a group that does not exist). So the poll is repeated briefly,
    then the consumer is replaced, and after some replacements the error names the likely causes.
    """

    def __init__(self, settings: RocketMQSettings) -> None:
        self._settings = settings
        self._library = load_client()
        self._endpoints = itertools.cycle(settings.endpoints)
        self._endpoint = settings.endpoints[0]
        self._client: Any = None
        self._started_at = 0.0
        self._replacements = 0
        self._polling = False
        #: Messages requested at once. The library formats each one it receives for a log that is discarded: very long
        #: ones would exceed the request deadline, and all of them would be redelivered.
        self._at_once = self.batch_size
        self._interrupted = threading.Event()
        self._lock = threading.Lock()
        self._acknowledgers = ThreadPoolExecutor(ACKNOWLEDGE_THREADS, thread_name_prefix="acknowledge")

    def receive(self, max_messages: int, wait_seconds: float) -> list[Message]:
        for attempt in range(BRIEF_ATTEMPTS):
            if attempt and self._interrupted.wait(BRIEF_PAUSE):
                break
            try:
                received = self._poll(min(max_messages, self._at_once), wait_seconds)
            except Exception as error:  # noqa: BLE001 - the library raises any type; diagnosed by its text below
                trouble = error
                self._at_once = 1
            else:
                self._replacements = 0
                if received:
                    self._at_once = min(2 * self._at_once, self.batch_size)
                return received
        if self._interrupted.is_set():
            return []
        words = self._diagnose(trouble)
        self._replacements += 1
        self._drop_client()
        raise RocketMQError(words) from None

    def _poll(self, max_messages: int, wait_seconds: float) -> list[Message]:
        if self._client is None:
            self._start_client()
        with self._lock:
            if self._interrupted.is_set():
                return []
            self._polling = True
        try:
            self._client.await_duration = max(MIN_POLL_SECONDS, math.ceil(wait_seconds))
            received = self._client.receive(max_messages, self._settings.lease_seconds)
        finally:
            self._polling = False
        return [
            Message(
                body=message.body,
                fault=message.body.fault,
                head_of=message.body.head_of,
                message_id=message.message_id or "",
                topic=message.topic or self._settings.topic,
                delivery_attempt=message.delivery_attempt or 1,
                handle=message,
            )
            for message in received
        ]

    def acknowledge(self, messages: Sequence[Message]) -> int:
        client = self._client
        if client is None:
            return len(messages)
        by_endpoints: dict[Any, list[Any]] = collections.defaultdict(list)
        for message in messages:
            by_endpoints[message.handle.endpoints].append(message.handle)
        requests = [
            handles[start : start + ACKNOWLEDGE_SIZE]
            for handles in by_endpoints.values()
            for start in range(0, len(handles), ACKNOWLEDGE_SIZE)
        ]
        futures = [self._acknowledgers.submit(self._acknowledge, client, handles) for handles in requests]
        done, pending = wait(futures, timeout=REQUEST_TIMEOUT * 3)
        told = sum(future.result() for future in done if future.exception() is None)
        for future in pending:
            future.cancel()
        return len(messages) - told

    def _acknowledge(self, client: Any, handles: Sequence[Any]) -> int:
        """
        Acknowledge several messages in one request, which the library does not offer; return how many succeeded.

        Messages refused in this request are acknowledged once more through the library, one by one.
        """
        library, configuration = self._library, client.client_configuration
        request = library.AckMessageRequest()
        request.group.name = self._settings.consumer_group
        request.topic.name = handles[0].topic
        request.group.resource_namespace = request.topic.resource_namespace = configuration.namespace
        for handle in handles:
            request.entries.add(message_id=handle.message_id, receipt_handle=handle.receipt_handle)
        answer = client.rpc_client.ack_message_async(
            handles[0].endpoints, request, metadata=client.sign(), timeout=REQUEST_TIMEOUT
        ).result(REQUEST_TIMEOUT + 1)
        accepted = {entry.receipt_handle for entry in answer.entries if entry.status.code == _OK}
        if not answer.entries and answer.status.code == _OK:
            return len(handles)
        told = len(accepted)
        for handle in handles:
            if handle.receipt_handle not in accepted:
                with contextlib.suppress(Exception):
                    client.ack(handle)
                    told += 1
        return told

    def interrupt(self) -> None:
        with self._lock:
            self._interrupted.set()
            polling = self._polling
        # Shutting down ends a waiting poll; the broker gives the messages reserved for it to others within seconds.
        if polling:
            _shut_down(self._client)

    def close(self) -> None:
        self._interrupted.set()
        self._drop_client()
        self._acknowledgers.shutdown(wait=False, cancel_futures=True)

    def _start_client(self) -> None:
        # One endpoint per client: the library accepts several only if all are IP addresses, not host names.
        self._endpoint = next(self._endpoints)
        self._started_at = time.monotonic()
        configuration = self._library.ClientConfiguration(
            self._endpoint,
            self._library.Credentials(self._settings.username, self._settings.password),
            self._settings.namespace,
            REQUEST_TIMEOUT,
        )
        self._client = self._library.SimpleConsumer(
            configuration,
            self._settings.consumer_group,
            {self._settings.topic: self._library.FilterExpression(self._settings.tag)},
            await_duration=MIN_POLL_SECONDS,
            tls_enable=self._settings.tls,
        )
        self._client.startup()

    def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            _shut_down(client)

    def _diagnose(self, error: Exception) -> str:
        """Describe what the client raised and logged, without quoting it."""
        settings, broker = self._settings, f"RocketMQ broker at {self._endpoint}"
        group = settings.consumer_group
        code = getattr(error, "code", None)
        code = code() if callable(code) else code
        clues = f"{type(error).__name__} {code} {error}\n{_notes.since(self._started_at)}".lower()

        def noted(*words: str) -> bool:
            return any(word in clues for word in words)

        if noted("group not found", "subscription group not exist", "40403"):
            return f"{broker} has no consumer group {group!r}: create it there, or correct consumer_group"
        if noted("40402", "no topic route info"):
            return f"{broker} has no topic {settings.topic!r}: create it there, or correct topic"
        if noted("unauthorized", "unauthenticated", "permission_denied", "forbidden", "40100", "40300"):
            return f"{broker} refuses the credentials: correct login and password (and namespace)"
        if noted("unavailable", "deadline_exceeded"):
            encryption = "on" if settings.tls else "off"
            return f"{broker} cannot be reached: correct host and port, or tls (now {encryption}), or start the broker"
        said = f"{type(error).__name__}{f' {code}' if code else ''}"
        if self._replacements < EXPLAIN_AFTER:
            return f"{broker} does not serve this consumer ({said}): reconnecting"
        return (
            f"{broker} still does not serve this consumer ({said}) after {EXPLAIN_AFTER} new connections. Likely"
            f" causes: consumer group {group!r} does not exist, the credentials are wrong, or the proxy is unhealthy"
        )


def _shut_down(client: Any) -> None:
    """Stop a client's threads and connection; if it hangs it is abandoned, as its threads end with the process."""

    def end() -> None:
        with contextlib.suppress(Exception):
            client.shutdown()
        with contextlib.suppress(Exception):
            client.rpc_client.stop()
        # The library does not shut down this pool, so every replaced consumer would leave its threads behind.
        decoders = getattr(client, "_Consumer__message_decode_executor", None)
        if decoders is not None:
            decoders.shutdown(wait=False)

    thread = threading.Thread(target=end, name="rocketmq-shutdown", daemon=True)
    thread.start()
    thread.join(SHUTDOWN_SECONDS)
