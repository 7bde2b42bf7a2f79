"""
Message bodies, unpacked within a bound: half a megabyte can unpack to half a gigabyte, and a hundred do so at once.

What is not read whole is described: how it was delivered, and why it was left.
"""

from __future__ import annotations

import zlib

#: Longest body that is read (bytes): the longest message that a RocketMQ broker takes unless told otherwise.
MAX_BODY = 4 * 1024 * 1024
#: What is kept of a longer one (bytes).
HEAD = 64 * 1024

#: How packed bodies begin. The proxies call all of them gzip; the last two need libraries that are not here.
_UNSUPPORTED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
#: zlib's switch for "gzip or zlib, as the header says".
_ANY_HEADER = 32 + zlib.MAX_WBITS


class Body(bytes):
    """The text of a message; if it cannot be had, what was delivered; of one that is too long, the head."""

    #: Why this is not the text; empty if it is.
    fault: str = ""
    #: If this is only the head: the number of bytes that were delivered.
    head_of: int | None = None

    @classmethod
    def faulty(cls, data: bytes, fault: str, head_of: int | None = None) -> Body:
        """A body that is not the text."""
        body = cls(data)
        body.fault, body.head_of = fault, head_of
        return body


def plain(data: bytes) -> Body:
    """A body that was not packed."""
    return Body(data) if len(data) <= MAX_BODY else head(data[:HEAD], len(data))


def head(data: bytes, size: int) -> Body:
    """The head of a body that is too long."""
    return Body.faulty(data, f"longer than {_MOST}: {size} bytes; only the head is kept", size)


def unpack(packed: bytes) -> Body:
    """Unpack a body of gzip or zlib, no further than :data:`MAX_BODY`."""
    unpacker = zlib.decompressobj(_ANY_HEADER)
    try:
        data = unpacker.decompress(packed, MAX_BODY + 1)
    except zlib.error:
        # Some brokers call a body packed that is not: it is read as it is.
        kind = _UNSUPPORTED.get(packed[:4])
        return Body.faulty(packed, f"packed with {kind}, which cannot be read") if kind else plain(packed)
    if len(data) > MAX_BODY:
        fault = f"unpacks to more than {_MOST} from {len(packed)} bytes; only the head is kept"
        return Body.faulty(data[:HEAD], fault, len(packed))
    if not unpacker.eof or unpacker.unused_data.strip(b"\0"):
        return Body.faulty(packed, "packed, and its end is missing or followed by something else")
    return Body(data)


_MOST = f"{MAX_BODY // 1024**2} MiB"
