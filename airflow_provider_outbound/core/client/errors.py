"""
What a failed request means: refused, or in doubt.

An answer may repeat the complete request (numbers, names, AccessKey id, signature). Only a code, a status, a request id
and the redacted text of the API's own message leave this module.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.models.wire import read_json
from airflow_provider_outbound.exceptions import (
    OutboundBotAnswerError,
    OutboundBotApiError,
    OutboundBotAuthenticationError,
    OutboundBotError,
    OutboundBotNotFoundError,
    OutboundBotThrottlingError,
    OutboundBotTransportError,
)

#: Codes with which the gateway reports that it did not forward the request. A code is a refusal if it is listed here,
#: or begins with a listed code and a dot (``NotExist`` stands for ``NotExist.JobGroup``), and the HTTP status is 4xx.
#: With a 5xx, or in the body of a 200, the request may have been forwarded, whatever the code. A wrong entry may call
#: somebody twice, and a missing one only costs a scan of the group, so uncertain codes are left out. SignatureNonceUsed
#: is one: each nonce is sent once, so it was used only if the same request has arrived before.
#: Source: general RPC error table, OutboundBot's error codes per action.
REFUSALS = frozenset(
    {
        "Forbidden",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidAccessKeySecret",  # the SDK's name, used here too, for a SignatureDoesNotMatch caused by the secret
        "InvalidApi",
        "InvalidParameter",
        "InvalidSecurityToken",
        "InvalidTimeStamp",
        "MissingParameter",
        "NoPermission",
        "NotExist",
        "Permission",
        "SignatureDoesNotMatch",
        "Throttling",
    }
)
#: ``MissingInstanceId`` and similar: "{Name} is mandatory for this action."
_MISSING = re.compile(r"Missing[A-Z]\w*")

_AUTHENTICATION = (
    "Forbidden",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidAccessKeySecret",
    "InvalidSecurityToken",
    "InvalidTimeStamp",
    "MissingSecurityToken",
    "NoPermission",
    "Permission",
    "SignatureDoesNotMatch",
)
#: Codes whose messages repeat the signed request.
_SIGNATURE = ("IncompleteSignature", "InvalidAccessKeySecret", "SignatureDoesNotMatch")

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")
_REQUEST_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ENCODED = re.compile(r"\S*(?:%[0-9A-Fa-f]{2}|[?&]\w+=)\S*")


def from_code(
    action: str,
    code: object,
    message: object = "",
    *,
    http_status: int | None,
    request_id: object = None,
    private: Iterable[str] = (),
) -> OutboundBotApiError:
    """
    Return the error for an answer that has a code.

    :param code: The API's code.
    :param message: The API's message, not yet redacted.
    :param http_status: Real HTTP status of the answer.
    :param private: Texts of the request that must not be shown.
    """
    name = code if isinstance(code, str) and _CODE.fullmatch(code) else "UnreadableCode"
    detail = _SIGNATURE_MEND if _begins(name, _SIGNATURE) else _redacted(message, private)
    status = http_status or 0
    refused = (_begins(name, REFUSALS) or _MISSING.fullmatch(name) is not None) and 400 <= status < 500
    kind: type[OutboundBotApiError] = OutboundBotApiError
    if _begins(name, ("Throttling",)):
        kind = OutboundBotThrottlingError
    elif _begins(name, ("NotExist",)):
        kind = OutboundBotNotFoundError
    elif _begins(name, _AUTHENTICATION):
        kind = OutboundBotAuthenticationError
    return kind(
        action,
        redact(name),
        detail,
        request_id=request_id if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id) else None,
        http_status=http_status,
        in_doubt=not refused,
    )


_SIGNATURE_MEND = "check AccessKey id and secret, and that nothing between here and the API changes requests"


def from_answer(
    action: str, status: int, body: bytes, string_to_sign: str, private: Iterable[str] = ()
) -> OutboundBotApiError:
    """
    Return the error for an answer whose HTTP status does not mean success.

    :param string_to_sign: The string that was signed. If a refusal of the signature quotes the same string, the secret
        is wrong.
    """
    answer = read_object(body)
    if answer is None or "Code" not in answer:
        return unusable(action, "the answer is not the API's JSON", http_status=status)
    code, message = answer["Code"], answer.get("Message")
    if code == "SignatureDoesNotMatch" and isinstance(message, str) and message.endswith(f":{string_to_sign}"):
        code = "InvalidAccessKeySecret"
    return from_code(action, code, message, http_status=status, request_id=answer.get("RequestId"), private=private)


def from_wire(action: str, error: Exception) -> OutboundBotError:
    """
    Return the error for an exception of ``urllib3``, or for one that escaped from a library below it.

    :param error: The exception. It must not be chained to the result, because its frames hold the request.
    """
    from urllib3.exceptions import HTTPError

    if isinstance(error, HTTPError | OSError):
        return OutboundBotTransportError(action, _network(error))
    return OutboundBotTransportError(action, f"the connection failed ({type(error).__name__})")


def _network(error: Exception) -> str:
    from urllib3 import exceptions as wire

    if isinstance(error, wire.ProxyError):
        return "the proxy refused or cannot be reached"
    if isinstance(error, wire.ReadTimeoutError):
        return "timed out waiting for the answer"
    if isinstance(error, wire.NameResolutionError):
        return "the host name cannot be resolved"
    if isinstance(error, wire.NewConnectionError):
        if isinstance(error.__cause__, ConnectionRefusedError):
            return "connection refused; is the endpoint right?"
        unreachable = getattr(error.__cause__, "errno", None) in (errno.ENETUNREACH, errno.EHOSTUNREACH)
        return "the network is unreachable" if unreachable else "the connection failed"
    if isinstance(error, wire.ConnectTimeoutError):
        return "timed out while connecting"
    if isinstance(error, wire.SSLError):
        reason = getattr(error.args[0], "verify_message", "") if error.args else ""
        detail = f" ({redact(reason)})" if reason else ""
        return f"the TLS connection failed{detail}; is the certificate trusted (REQUESTS_CA_BUNDLE)?"
    if isinstance(error, wire.ProtocolError):
        return "connection lost"
    return f"the connection failed ({type(error).__name__})"


def unusable(action: str, what: str, *, http_status: int | None = None) -> OutboundBotAnswerError:
    """Return the error for an answer that means neither success nor refusal."""
    status = f" (HTTP {http_status})" if http_status else ""
    return OutboundBotAnswerError(action, "UnusableAnswer", f"{what}{status}", http_status=http_status)


def read_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``body``; ``None`` if it is not one."""
    try:
        value = read_json(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text and number inside a parsed JSON value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _begins(code: str, names: Iterable[str]) -> bool:
    return any(code == name or code.startswith(f"{name}.") for name in names)


def _redacted(message: object, private: Iterable[str]) -> str:
    text = message if isinstance(message, str) else ""
    # Single ASCII characters stay: they reveal nothing, and no message would be readable without them.
    secrets = {secret for secret in private if len(secret.strip()) > 1 or not secret.isascii()}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = redact(_ENCODED.sub("***", " ".join(text.split())))
    return text if len(text) <= 300 else f"{text[:300]}…"
