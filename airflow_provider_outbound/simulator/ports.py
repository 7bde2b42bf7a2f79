"""Listening sockets on this machine."""

from __future__ import annotations

import socket


class PortInUseError(OSError):
    """A port is taken; the message names it."""


def listen(port: int, option: str) -> socket.socket:
    """
    Listen on 127.0.0.1.

    :param port: 0 picks one.
    :param option: the option that chose the port, for the message.
    :raises PortInUseError: the port is taken.
    """
    # With the protocol named, asyncio disables Nagle's algorithm; otherwise every answer would take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise PortInUseError(
            f"port {port} on 127.0.0.1 is in use or not allowed; choose another {option}, or 0"
        ) from error
    listener.setblocking(False)
    return listener
