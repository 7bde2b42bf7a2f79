"""How the page's requests are answered: JSON, conditional requests, errors."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import (
    LedgerError,
    LedgerMissingError,
    OutboundBotConfigError,
    OutboundBotError,
)

log = logging.getLogger(__name__)

#: What changes with each answer although nothing has happened.
_CLOCK = "now"
_HEADERS = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
UNKNOWN = "There is no such campaign, or you may not see it"


def answer(request: Request, content: Mapping[str, Any]) -> Response:
    """Answer a GET; 304 without content if the browser has the same content already."""
    same = {name: value for name, value in content.items() if name != _CLOCK}
    tag = f'"{hashlib.sha256(_encode(same)).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag}
    if tag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(_encode(content), media_type="application/json", headers=headers)


def unknown() -> HTTPException:
    """The answer to what does not exist and to what is forbidden: nobody can tell which."""
    return HTTPException(404, UNKNOWN)


def iso(moment: datetime | None) -> str | None:
    """A time as ISO 8601, UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refusal(status: int, error: str, fix: str | None = None) -> JSONResponse:
    """An error in the page's form."""
    return JSONResponse({"error": error, "fix": fix}, status_code=status, headers=_HEADERS)


def on_http_error(_request: Request, error: Exception) -> Response:
    """Answer an error that a request raised on purpose."""
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 - registered for this class only
    answered = refusal(error.status_code, str(error.detail))
    answered.headers.update(error.headers or {})
    return answered


def on_invalid(_request: Request, error: Exception) -> Response:
    """Answer a request with wrong parameters, without repeating their values, which may be phone numbers."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    wrong = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
    # The name of a field that is not expected may be a number too.
    return refusal(422, redact(wrong) or "The request cannot be read")


def on_package_error(_request: Request, error: Exception) -> Response:
    """Answer an error of this package: the ledger cannot be read, or a setting is wrong."""
    assert isinstance(error, OutboundBotError)  # noqa: S101 - registered for this class only
    what, _, fix = redact(str(error)).partition("; ")
    if isinstance(error, LedgerMissingError):
        log.debug("The page found no ledger: %s", error)
    else:
        log.warning("The page could not answer a request: %s", error)
    is_ours = isinstance(error, LedgerError | OutboundBotConfigError)
    return refusal(503 if is_ours else 502, what, fix or None)


def on_database_error(request: Request, error: Exception) -> Response:
    """Answer an error of the ledger's database, or that all connections to it are in use."""
    # Without the text, which may quote a statement.
    log.warning("The page could not answer %s: %s", request.url.path, type(error).__name__)
    return refusal(503, "The ledger did not answer in time", "Try again in a moment, and see the log of the api-server")


def on_any_error(request: Request, error: Exception) -> Response:
    """Answer an error that nobody expected. Its text is logged and not sent."""
    log.error("The page failed to answer %s", request.url.path, exc_info=error)
    return refusal(500, "The page failed to answer this request", "see the log of the api-server")


def _encode(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
