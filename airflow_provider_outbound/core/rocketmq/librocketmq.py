"""
Loads librocketmq through rocketmq-client-python.

Only the package's declarations of the native functions are used, which are the same in all its versions; the classes
built on them differ from version to version.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from airflow_provider_outbound.core.rocketmq import grpc
from airflow_provider_outbound.core.rocketmq.base import WAYS_TO_LIBROCKETMQ, check_library, missing_client
from airflow_provider_outbound.core.rocketmq.bodies import HEAD, MAX_BODY, Body, head
from airflow_provider_outbound.exceptions import RocketMQClientError

#: The library's only log level at which it writes nothing.
_FATAL = 1
#: ``MQMessage::setBody(std::string const&)`` in a library that was built with GNU's older string…
_OLDER_STRING = "_ZN8rocketmq9MQMessage7setBodyERKSs"
#: …whose length is stored this many bytes before its text.
_LENGTH_BEFORE_TEXT = 24

_import_lock = threading.Lock()


@attrs.frozen(kw_only=True)
class Library:
    """librocketmq, ready for use. Its log is off, and nothing is written to the home folder."""

    #: The native functions, each named as in the library.
    functions: Any
    #: Raises an error if the status returned by a function means one.
    check: Callable[[int], None]
    #: Makes ``function(consumer, message) -> status`` callable by the library.
    callback_type: Callable[[Callable[[int, int], int]], Any]
    #: Creates the structure that ``SendMessageSync`` fills.
    send_result: Callable[[], Any]
    #: Address of a message's body. These three functions hold the GIL, because they return immediately.
    body_address: Callable[[int], int | None]
    message_id: Callable[[int], bytes | None]
    reconsume_times: Callable[[int], int]
    #: Sets how many messages of a queue a consumer prefetches; ``None`` if the library has no such function.
    set_fetched_ahead: Callable[[int, int], int] | None
    #: Whether a body's length is known. Otherwise a body ends at its first NUL byte.
    knows_length: bool

    def body(self, message: int) -> Body:
        """Return a message's body, decompressed by the library; if it is too long, only the head is copied."""
        address = self.body_address(message)
        if not address:
            return Body()
        if self.knows_length:
            length = ctypes.c_size_t.from_address(address - _LENGTH_BEFORE_TEXT).value
        else:
            length = _text_length(address, MAX_BODY + 1)
        if length > MAX_BODY:
            return head(ctypes.string_at(address, HEAD), length)
        return Body(ctypes.string_at(address, length))


def load_library(path: str | None = None) -> Library:
    """
    Load librocketmq even if rocketmq-python-client is installed too.

    :param path: The file; ``None`` for the one that the package contains, or the machine's.
    :raises RocketMQClientError: It is missing or cannot be used; the message says how to install it.
    """
    check_library(path)
    with _import_lock:
        return _load(str(Path(path).resolve()) if path else None)


@functools.cache
def _load(path: str | None) -> Library:
    # The folder's __init__.py may be the gRPC client's, which only load_client can import safely.
    with contextlib.suppress(RocketMQClientError):
        grpc.load_client()
    with grpc.temporary_home(), _found_at(path):
        try:
            ffi = importlib.import_module("rocketmq.ffi")
            check = importlib.import_module("rocketmq.exceptions").ffi_check
            _silence(ffi.dll)
        except ModuleNotFoundError:
            raise RocketMQClientError(missing_client("remoting")) from None
        except (ImportError, OSError, AttributeError, NotImplementedError) as error:
            reason = " ".join(str(error).split())
            raise RocketMQClientError(
                f"RocketMQ transport 'remoting' found no usable librocketmq ({reason}): {WAYS_TO_LIBROCKETMQ}"
            ) from None
    loaded = ffi.dll._name  # noqa: SLF001 - ctypes has no public name for it
    if path and loaded != path:
        raise RocketMQClientError(f"librocketmq {path!r} cannot be used: this process has loaded {loaded!r}")
    return Library(
        functions=ffi.dll,
        check=check,
        callback_type=ffi.MSG_CALLBACK_FUNC,
        send_result=ffi._CSendResult,  # noqa: SLF001 - there is no public name for it
        body_address=ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(("GetMessageBody", ffi.dll)),
        message_id=ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(("GetMessageId", ffi.dll)),
        reconsume_times=ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(("GetMessageReconsumeTimes", ffi.dll)),
        set_fetched_ahead=_optional(ffi.dll, "SetPushConsumerMaxCacheMessageSize"),
        knows_length=hasattr(ffi.dll, _OLDER_STRING),
    )


def _text_length(address: int, most: int) -> int:
    """Return the number of bytes before the first NUL, ``most`` at most."""
    measure = ctypes.CDLL(None).strnlen
    measure.argtypes, measure.restype = (ctypes.c_void_p, ctypes.c_size_t), ctypes.c_size_t
    return int(measure(address, most))


def _optional(functions: Any, name: str) -> Callable[[int, int], int] | None:
    """Return a function ``(consumer, number) -> status`` that the package does not declare; ``None`` if missing."""
    if not hasattr(functions, name):
        return None
    declare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    declared: Callable[[int, int], int] = declare((name, functions))
    return declared


def _silence(functions: Any) -> None:
    """Turn off the log, which the library opens with its first object. A producer is used, as it starts no threads."""
    functions.SetProducerLogLevel(functions.CreateProducer(b"outbound"), _FATAL)


@contextlib.contextmanager
def _found_at(path: str | None) -> Iterator[None]:
    """Make the package find the library at ``path``: it searches for one on import and accepts no path."""
    if path is None:
        yield
        return
    find_library = ctypes.util.find_library
    ctypes.util.find_library = lambda name: path if name == "rocketmq" else find_library(name)
    ctypes.cdll.LoadLibrary = lambda name: ctypes.CDLL(path)  # type: ignore[method-assign]  # noqa: ARG005
    try:
        yield
    finally:
        ctypes.util.find_library = find_library
        del ctypes.cdll.LoadLibrary
