"""Send one request: rate-limited, signed, over https, and never twice unless the caller allows it."""

from __future__ import annotations

import importlib
import json
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from airflow_provider_outbound.core.client.credentials import Signer, form_of
from airflow_provider_outbound.core.client.errors import from_answer, from_code, read_object, texts_in, unusable
from airflow_provider_outbound.core.client.rate_limiter import RateLimiter, TakeSlots
from airflow_provider_outbound.core.client.settings import ClientSettings
from airflow_provider_outbound.core.client.transport import Wire
from airflow_provider_outbound.exceptions import (
    OutboundBotApiError,
    OutboundBotThrottlingError,
    OutboundBotTransportError,
)

#: Attempts for a request that is safe to repeat.
_ATTEMPTS = 4


class RequestSender:
    """
    Sends requests, from any number of threads. Connects and imports nothing before the first.

    Open connections are closed when the sender is garbage-collected, at the latest when the process ends.

    :param settings: Address, credentials and timeouts.
    :param take_slots: Takes slots of a rate limit that processes share.
    """

    def __init__(self, settings: ClientSettings, take_slots: TakeSlots | None = None) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: tuple[Signer, Wire] | None = None
        self._limiter = RateLimiter(settings.max_requests_per_second, take_slots)
        self._throttled = 0

    def take_throttled(self) -> int:
        """Return the number of throttled requests since the last call."""
        with self._lock:
            count, self._throttled = self._throttled, 0
        return count

    def repeatable(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Send a request that is safe to repeat, and retry it after a temporary failure."""
        return self._retried(partial(self.send, action, **parameters))

    def _retried(self, send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        retrying = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=4),
            retry=retry_if_exception(_is_passing),
            reraise=True,
        )
        return retrying(send)

    def send(
        self,
        action: str,
        before_request: Callable[[], None] | None = None,
        *,
        urgent: bool = False,
        **parameters: Any,
    ) -> dict[str, Any]:
        """
        Send one request, once.

        :param before_request: Called right before sending; if it raises, nothing is sent.
        :param urgent: Whether to send it at once, whatever the connection's rate limit.
        :param parameters: By wire name; ``None`` is left out, and the items of a sequence are numbered from 1.
        :return: The answer, if it reports success.
        """
        build = partial(_request, action, parameters)
        return self._send(action, build, partial(self._private, parameters), before_request, urgent=urgent)

    def send_built(
        self,
        action: str,
        build: Callable[[], Any],
        private: Iterable[str],
        before_request: Callable[[], None] | None = None,
        *,
        repeat: bool,
    ) -> dict[str, Any]:
        """
        Send a request of the SDK.

        :param build: Builds the request object; called for each attempt.
        :param private: Texts of the request that must not be shown.
        :param before_request: Called right before sending; if it raises, nothing is sent.
        :param repeat: Whether it is safe to repeat, and to be retried after a temporary failure.
        :return: The answer, if it reports success.
        """
        send = partial(self._send, action, build, lambda: [*self._private({}), *private], before_request)
        return self._retried(send) if repeat else send()

    def _send(
        self,
        action: str,
        build: Callable[[], Any],
        private: Callable[[], Iterable[str]],
        before_request: Callable[[], None] | None = None,
        *,
        urgent: bool = False,
    ) -> dict[str, Any]:
        # Built first: a request that cannot be built needs no credentials.
        request = build()
        signer, wire = self._connected()
        if not urgent:
            self._limiter.wait()
        headers, query = signer.sign(self._settings.region_id, request)
        if before_request is not None:
            # Called last, because fetching credentials and signing parameters may take long.
            before_request()
        status, body = wire.send(action, request.get_method(), headers, query, form_of(request))
        if not 200 <= status < 300:
            error = from_answer(action, status, body, request.string_to_sign, private())
            if isinstance(error, OutboundBotThrottlingError):
                with self._lock:
                    self._throttled += 1
            raise error
        return self._success(action, body, private)

    def _success(self, action: str, body: bytes, private: Callable[[], Iterable[str]]) -> dict[str, Any]:
        answer = read_object(body)
        if answer is None:
            raise unusable(action, "the answer is not the API's JSON", http_status=200)
        code, status = answer.get("Code", "OK"), answer.get("HttpStatusCode", 200)
        if _is_true(answer.get("Success")) and code == "OK" and status in (200, "200"):
            return answer
        if "Success" not in answer and "Code" not in answer:
            raise unusable(action, "the answer has neither Success nor Code", http_status=200)
        raise from_code(
            action,
            "Unsuccessful" if code == "OK" else code,
            answer.get("Message"),
            http_status=200,
            request_id=answer.get("RequestId"),
            private=private(),
        )

    def _connected(self) -> tuple[Signer, Wire]:
        with self._lock:
            if self._connection is None:
                signer, wire = Signer(self._settings), Wire(self._settings)
                self._connection = signer, wire
                weakref.finalize(self, wire.close)
            return self._connection

    def _private(self, parameters: Mapping[str, Any]) -> Iterator[str]:
        """Yield texts that must not be shown although a message of the API may repeat them."""
        yield self._settings.access_key_id
        yield self._settings.access_key_secret
        yield self._settings.security_token
        block_list = parameters.get("ContactBlockListsJson")
        for job in (*(parameters.get("JobsJson") or ()), *([block_list] if block_list else ())):
            yield job
            try:
                yield from texts_in(json.loads(job))
            except ValueError:
                continue


def _request(action: str, parameters: Mapping[str, Any]) -> Any:
    """Build the SDK's request object."""
    module = importlib.import_module(f"aliyunsdkoutboundbot.request.v20191226.{action}Request")
    request = getattr(module, f"{action}Request")()
    request.set_accept_format("JSON")
    for name, value in parameters.items():
        if value is None:
            continue
        if isinstance(value, str):
            request.add_query_param(name, value)
        elif isinstance(value, bool):
            # The SDK would send "True", and no document says that the API accepts it.
            request.add_query_param(name, "true" if value else "false")
        elif isinstance(value, Sequence):
            for number, item in enumerate(value, start=1):
                request.add_query_param(f"{name}.{number}", item)
        else:
            request.add_query_param(name, str(value))
    return request


def _is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, OutboundBotThrottlingError | OutboundBotTransportError):
        return True
    return isinstance(error, OutboundBotApiError) and (error.http_status or 0) >= 500


def _is_true(value: object) -> bool:
    return value is True or value == "true"
