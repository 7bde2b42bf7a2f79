"""
Errors of OSS as errors of files, whose texts may be shown.

The SDK's own errors contain the AccessKey id, the text that was signed and the object's name. Codes and the number of
the request are enough to find the cause, and are all that is taken from them.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Any, TypeVar

from airflow_provider_outbound.exceptions import OutboundBotError

T = TypeVar("T")

_CODE = re.compile(r"[A-Za-z0-9.-]{1,64}")
_KEY_HINT = "check the AccessKey of its connection"
#: What to do about the codes that people meet.
_HINTS = {
    "AccessDenied": "the key lacks a permission, or region or endpoint of its connection are another bucket's",
    "InvalidAccessKeyId": _KEY_HINT,
    "InvalidArgument": "check region and endpoint of its connection",
    "InvalidObjectState": "the object is archived: restore it first",
    "InvalidSecurityToken": "check the security_token of its connection",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "SecurityTokenExpired": "the security_token of its connection has expired",
    "SignatureDoesNotMatch": _KEY_HINT,
}


def ask(operation: Callable[[], T]) -> T:
    """
    Call the SDK.

    :raises FileNotFoundError: there is no such object.
    :raises PermissionError: OSS refuses the key, or there are no credentials.
    :raises OSError: anything else.
    """
    try:
        return operation()
    except Exception as error:  # noqa: BLE001 - the SDK raises errors of its own, of requests and of XML
        failure = _os_error(error)
    # Outside the handler, so that the SDK's error is neither its cause nor its context.
    raise failure


def _os_error(error: Exception) -> OSError:
    from alibabacloud_oss_v2 import exceptions

    inner: Any = error.unwrap() if isinstance(error, exceptions.OperationError) else error
    if isinstance(inner, exceptions.ServiceError):
        return _refusal(inner)
    if isinstance(inner, exceptions.CredentialsFetchError):
        source = inner.kwargs.get("error")
        text = str(source) if isinstance(source, OutboundBotError) else "its connection has no credentials"
        return PermissionError(errno.EACCES, text)
    if isinstance(inner, exceptions.BucketNameInvalidError):
        return OSError(errno.EINVAL, "the bucket's name is invalid; write oss://conn_id@bucket/file")
    if isinstance(inner, exceptions.ObjectNameInvalidError):
        return OSError(errno.EINVAL, "the object's name is longer than 1024 characters")
    if isinstance(inner, exceptions.InconsistentError):
        return OSError(errno.EIO, "OSS received other data than were sent")
    if isinstance(inner, exceptions.RequestError | exceptions.ResponseError):
        return OSError(errno.EHOSTUNREACH, f"OSS cannot be reached ({type(inner.unwrap()).__name__})")
    return ConnectionError(errno.ECONNRESET, f"the answer of OSS broke off ({type(inner).__name__})")


def _refusal(error: Any) -> OSError:
    code = _shown(error.code)
    which = ", ".join(text for text in (code, _shown(error.ec), f"request {_shown(error.request_id)}") if text)
    status = error.status_code
    if code == "NoSuchBucket":
        # Not FileNotFoundError: a misspelt bucket must not pass for a list that may be missing.
        return OSError(errno.EINVAL, "there is no such bucket; check its name and the region of its connection")
    if code == "NoSuchUpload":
        return FileNotFoundError(errno.ENOENT, "its upload was ended by somebody else, perhaps by a lifecycle rule")
    if status == 404:
        return FileNotFoundError(errno.ENOENT, "there is no such object")
    if status == 412:
        return OSError(errno.ESTALE, "it was replaced while it was read; try again when nobody writes it")
    if status in (301, 307):
        return OSError(errno.EINVAL, f"OSS refers to another endpoint ({which}); {_HINTS['InvalidArgument']}")
    hint = f"; {_HINTS[code]}" if code in _HINTS else ""
    if status in (401, 403):
        return PermissionError(errno.EACCES, f"OSS refuses access ({which}){hint}")
    return OSError(errno.EIO, f"OSS answers HTTP {status} ({which}){hint}")


def _shown(code: Any) -> str:
    """Return a code or a request id; an empty text if it is something else, which nobody vouches for."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""
