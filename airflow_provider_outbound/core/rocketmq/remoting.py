"""
RocketMQ's remoting protocol: the one file that imports rocketmq-client-python.

Of this transport the dependency and its clear error are in; consuming over it is not offered yet.
"""

from __future__ import annotations

import ctypes.util
import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from airflow_provider_outbound.exceptions import RocketMQClientError

_import_lock = threading.Lock()


def load_client(librocketmq: str | None = None) -> ModuleType:
    """
    Import rocketmq-client-python beside rocketmq-python-client, whichever of them was installed last.

    :param librocketmq: Path of librocketmq.so; without it the system's library path is searched.
    :return: The module ``rocketmq.client``.
    :raises RocketMQClientError: The library or its native part is missing; the message says both ways out.
    """
    # The folder's __init__.py may be the gRPC client's, which is imported with care or not at all.
    from airflow_provider_outbound.core.rocketmq import grpc

    if librocketmq and not Path(librocketmq).is_file():
        raise RocketMQClientError(f"librocketmq {librocketmq!r} is no file: {_WAYS_OUT}")
    # Missing or unusable, its __init__.py may be in the way or not: the import below finds out.
    with suppress(RocketMQClientError):
        grpc.load_client()
    with _import_lock, _library_at(librocketmq):
        try:
            return importlib.import_module("rocketmq.client")
        except ModuleNotFoundError:
            raise RocketMQClientError(
                "RocketMQ transport 'remoting' needs the package rocketmq-client-python:"
                " pip install --force-reinstall rocketmq-client-python"
            ) from None
        except (ImportError, OSError, NotImplementedError) as error:
            reason = " ".join(str(error).split())
            raise RocketMQClientError(
                f"RocketMQ transport 'remoting' found no usable librocketmq ({reason}): {_WAYS_OUT}"
            ) from None


_WAYS_OUT = (
    "put librocketmq.so on the machine's library path or name its file in the connection's extra 'librocketmq',"
    " or use transport 'grpc' with a RocketMQ 5 proxy"
)


@contextmanager
def _library_at(path: str | None) -> Iterator[None]:
    """The client asks the system for its library when it is imported, and takes no path: answer for the system."""
    find_library = ctypes.util.find_library
    if path:
        ctypes.util.find_library = lambda name: path if name == "rocketmq" else find_library(name)
    try:
        yield
    finally:
        ctypes.util.find_library = find_library
