"""
Decompresses message bodies with a size limit: half a megabyte can decompress to half a gigabyte, a hundred times over.

A body that is not read completely keeps the delivered bytes, or their head, and the reason.
"""

from __future__ import annotations

import zlib

#: Longest body that is read (bytes): the default maximum message size of a RocketMQ broker.
MAX_BODY = 4 * 1024 * 1024
#: How much is kept of a longer one (bytes).
HEAD = 64 * 1024

#: Magic numbers of compressed bodies that need libraries not installed here. The proxies label all of them gzip.
_UNSUPPORTED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
#: zlib's value for "gzip or zlib, detected from the header".
_ANY_HEADER = 32 + zlib.MAX_WBITS


class Body(bytes):
    """The text of a message; if it cannot be read, the delivered bytes; if it is too long, the head."""

    #: Why this is not the text; empty if it is.
    fault: str = ""
    #: The number of bytes delivered, if this is only their head.
    head_of: int | None = None

    @classmethod
    def faulty(cls, data: bytes, fault: str, head_of: int | None = None) -> Body:
        """Create a body that is not the text."""
        body = cls(data)
        body.fault, body.head_of = fault, head_of
        return body


def plain(data: bytes) -> Body:
    """Return a body that was not compressed."""
    return Body(data) if len(data) <= MAX_BODY else head(data[:HEAD], len(data))


def head(data: bytes, size: int) -> Body:
    """Return the head of a body that is too long."""
    return Body.faulty(data, f"longer than {_MOST}: {size} bytes; only the head is kept", size)


def unpack(packed: bytes) -> Body:
    """Decompress a gzip or zlib body, up to :data:`MAX_BODY`."""
    unpacker = zlib.decompressobj(_ANY_HEADER)
    try:
        data = unpacker.decompress(packed, MAX_BODY + 1)
    except zlib.error:
        # Some brokers label a body as compressed that is not; it is read unchanged.
        kind = _UNSUPPORTED.get(packed[:4])
        return Body.faulty(packed, f"compressed with {kind}, which cannot be read") if kind else plain(packed)
    if len(data) > MAX_BODY:
        fault = f"decompresses to more than {_MOST} from {len(packed)} bytes; only the head is kept"
        return Body.faulty(data[:HEAD], fault, len(packed))
    if not unpacker.eof or unpacker.unused_data.strip(b"\0"):
        return Body.faulty(packed, "compressed, and its end is missing or followed by other data")
    return Body(data)


_MOST = f"{MAX_BODY // 1024**2} MiB"
