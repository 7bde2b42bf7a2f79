"""The HTTP API: requests as the two SDKs send them, the gateway's answers, and the simulator's control routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from socket import SO_LINGER, SOL_SOCKET
from typing import Any
from urllib.parse import unquote_plus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request  # noqa: TC002  # Starlette reads endpoints' annotations
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_outbound.simulator import recordings
from airflow_provider_outbound.simulator.actions import Payload, act
from airflow_provider_outbound.simulator.cloud import Cloud, Refusal
from airflow_provider_outbound.simulator.empty_answers import HEADERS, has_empty_answer
from airflow_provider_outbound.simulator.guard import ControlGuard
from airflow_provider_outbound.simulator.signatures import Gatekeeper

#: Controls the broker: JSON in, JSON out.
Control = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]

_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class _Dropped(Response):
    """No answer: the connection closes, or is reset."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002  # nothing is sent
        transport = scope["state"]["transport"]
        if self.reset:
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class _Sound(Response):
    """A recording, in two parts with a pause between them, or only the first part."""

    media_type = "audio/x-wav"

    def __init__(self, content: bytes, *, pause: float, truncated: bool) -> None:
        super().__init__(content)
        self.pause = pause
        self.truncated = truncated

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        half = len(self.body) // 2
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[:half], "more_body": True})
        await asyncio.sleep(self.pause)
        if self.truncated:
            await _Dropped(reset=False)(scope, receive, send)
        else:
            await send({"type": "http.response.body", "body": self.body[half:]})


class Api:
    """
    The HTTP side of a :class:`Cloud`.

    :param latency: seconds added to every answer.
    :param max_requests_per_second: requests above this rate are throttled; ``None``: no limit.
    :param broker_control: answers ``POST /_simulator/broker``.
    """

    def __init__(
        self,
        cloud: Cloud,
        *,
        latency: float = 0.0,
        max_requests_per_second: float | None = None,
        broker_control: Control,
    ) -> None:
        self.cloud = cloud
        self.latency = latency
        self.max_requests_per_second = max_requests_per_second
        self._broker_control = broker_control
        self._recent: deque[float] = deque()
        self._background: set[asyncio.Task[None]] = set()
        options = cloud.options
        self._gatekeeper = Gatekeeper(
            access_key_id=options.access_key_id,
            access_key_secret=options.access_key_secret,
            security_token=options.security_token,
        )
        self._sound = recordings.sound()
        app = Starlette(
            routes=[
                Route("/", self._serve, methods=["GET", "POST"]),
                Route("/recordings/{name}", self._recording),
                Route("/_simulator/state", self._state),
                Route("/_simulator/counts", self._counts),
                Route("/_simulator/faults", self._faults, methods=["GET", "POST", "DELETE"]),
                Route("/_simulator/reset", self._reset, methods=["POST"]),
                Route("/_simulator/clock", self._clock, methods=["GET", "POST"]),
                Route("/_simulator/broker", self._broker, methods=["GET", "POST"]),
            ]
        )
        self.app = ControlGuard(app, "/_simulator")

    async def _serve(self, request: Request) -> Response:
        """Serve one request of an SDK."""
        body = await request.body()
        raw_pairs = _pairs(request.scope["query_string"].decode("latin-1"))
        query = {unquote_plus(key): unquote_plus(value) for key, value in raw_pairs}
        action = query.get("Action") or request.headers.get("x-acs-action") or ""
        self.cloud.requests[action] += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        if (broken := self._broken(action)) is not None:
            return broken
        try:
            values = self._checked(request, raw_pairs, query, body)
            if not action:
                raise Refusal(400, "MissingAction", "Action is mandatory for this action.")
            self._throttle(action)
            if late := self.cloud.faults.strikes("late", action=action):
                self._later(late.seconds, action, values)
                return _Dropped(reset=False)
            unsuccessful = self.cloud.faults.strikes("success_false", action=action)
            throttled = self.cloud.faults.strikes("throttle_503", action=action)
            acts = all(fault is None or fault.acts for fault in (unsuccessful, throttled))
            payload = act(self.cloud, action, values) if acts else {}
            if throttled:
                raise Refusal(503, "Throttling.User", "Request was denied due to user flow control.")
        except Refusal as refusal:
            return self._refused(refusal)
        except RecursionError:
            return self._refused(Refusal(400, "InvalidParameter", "A parameter is nested too deeply."))
        if self.cloud.faults.strikes("answer_lost", action=action):
            return _Dropped(reset=False)
        if unsuccessful:
            payload = {"HttpStatusCode": 500, "Code": "InternalError", "Success": False, "Message": "Internal error."}
        return JSONResponse(self._common() | payload, headers=HEADERS if has_empty_answer(action) else None)

    def _broken(self, action: str) -> Response | None:
        """The answer of a fault in place of the service, which has not acted."""
        strikes = self.cloud.faults.strikes
        if strikes("reset", action=action):
            return _Dropped(reset=True)
        if strikes("html", action=action):
            return Response(_PAGE, status_code=502, media_type="text/html")
        for status, code in ((500, "InternalError"), (502, "BadGateway"), (503, "ServiceUnavailable")):
            if strikes(f"status_{status}", action=action):
                return self._refused(Refusal(status, code, "The request has failed due to a fault of the server."))
        return None

    def _checked(
        self, request: Request, raw_pairs: list[tuple[str, str]], query: dict[str, str], body: bytes
    ) -> dict[str, str]:
        """The request's parameters, after its signature was checked."""
        form: list[tuple[str, str]] = []
        if body and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            form = _pairs(body.decode("latin-1"))
        values = query | {unquote_plus(key): unquote_plus(value) for key, value in form}
        if "authorization" in request.headers:
            self._gatekeeper.check_acs3(request.method, query, request.headers, body)
        else:
            self._gatekeeper.check_classic(request.method, raw_pairs + form, values)
        return values

    def _throttle(self, action: str) -> None:
        refusal = Refusal(400, "Throttling.User", "Request was denied due to user flow control.")
        if self.cloud.faults.strikes("throttle", action=action):
            self.cloud.throttled += 1
            raise refusal
        if self.max_requests_per_second is None:
            return
        now = asyncio.get_running_loop().time()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self.max_requests_per_second:
            self.cloud.throttled += 1
            raise refusal
        self._recent.append(now)

    def _later(self, seconds: float, action: str, values: Mapping[str, str]) -> None:
        async def act_late() -> None:
            await asyncio.sleep(seconds)
            with contextlib.suppress(Refusal):  # there is no client to answer
                act(self.cloud, action, values)

        task = asyncio.get_running_loop().create_task(act_late())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _common(self) -> Payload:
        return {
            "RequestId": self.cloud.new_id().upper(),
            "HttpStatusCode": 200,
            "Code": "OK",
            "Success": True,
            "Message": "Success",
        }

    def _refused(self, refusal: Refusal) -> Response:
        """A refusal in the gateway's format, which has no Success field."""
        request_id = self.cloud.new_id().upper()
        answer = {
            "RequestId": request_id,
            "HostId": f"outboundbot.{self.cloud.options.region_id}.aliyuncs.com",
            "Code": refusal.code,
            "Message": refusal.message,
            "Recommend": f"https://next.api.aliyun.com/troubleshoot?q={refusal.code}&product=OutboundBot",
        }
        return JSONResponse(answer, status_code=refusal.http_status)

    async def _recording(self, request: Request) -> Response:
        query, name = request.query_params, request.path_params["name"]
        expires = query.get("Expires", "")
        secret = self.cloud.options.access_key_secret
        if not expires.isdigit() or not recordings.is_valid(name, expires, query.get("Signature", ""), secret=secret):
            return Response("<Error><Code>AccessDenied</Code></Error>", status_code=403, media_type="application/xml")
        self.cloud.requests["recording"] += 1
        strikes = self.cloud.faults.strikes
        if strikes("recording_missing"):
            return Response("<Error><Code>NoSuchKey</Code></Error>", status_code=404, media_type="application/xml")
        if strikes("recording_wrong_type"):
            return Response(_PAGE, media_type="text/html")
        slow = strikes("recording_slow")
        return _Sound(self._sound, pause=slow.seconds if slow else 0.0, truncated=bool(strikes("recording_truncated")))

    async def _state(self, _: Request) -> Response:
        return JSONResponse(self.cloud.state())

    async def _counts(self, _: Request) -> Response:
        return JSONResponse(self.cloud.counts())

    async def _faults(self, request: Request) -> Response:
        if request.method != "GET":
            wanted = await _json(request) if request.method == "POST" else {}
            try:
                self.cloud.faults.update(wanted)
            except (TypeError, ValueError) as error:
                raise HTTPException(400, str(error)) from error
        return JSONResponse(self.cloud.faults.state())

    async def _reset(self, _: Request) -> Response:
        for task in self._background:
            task.cancel()
        self.cloud.reset()
        self._recent.clear()
        return JSONResponse(await self._broker_control({"reset": True}))

    async def _clock(self, request: Request) -> Response:
        clock = self.cloud.clock
        if request.method == "POST":
            wanted = await _json(request)
            try:
                if "advance" in wanted:
                    clock.advance(float(wanted["advance"]))
                clock.set(now=wanted.get("now"), speed=wanted.get("speed"))
            except (TypeError, ValueError) as error:
                raise HTTPException(400, str(error)) from error
        return JSONResponse({"now": clock.now(), "speed": clock.speed})

    async def _broker(self, request: Request) -> Response:
        wanted = await _json(request) if request.method == "POST" else {}
        try:
            return JSONResponse(await self._broker_control(wanted))
        except ValueError as error:
            raise HTTPException(400, str(error)) from error


def _finite(text: str) -> float:
    """Parse a finite number, which every setting of the clock must be."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        value = json.loads(body or b"{}", parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return value


def _pairs(text: str) -> list[tuple[str, str]]:
    """Percent-encoded parameters, including empty values, which are signed too."""
    return [(key, value) for key, _, value in (part.partition("=") for part in text.split("&") if part)]
