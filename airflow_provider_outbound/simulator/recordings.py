"""Recordings: signed links that expire, each to a short WAV file."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import math
import struct
import time
import wave
from urllib.parse import urlencode

#: Seconds for which a link is valid.
LINK_SECONDS = 3600
_RATE = 8000


def link(base: str, name: str, *, access_key_id: str, secret: str) -> str:
    """The signed URL of a recording."""
    expires = str(int(time.time()) + LINK_SECONDS)
    query = {"Expires": expires, "OSSAccessKeyId": access_key_id, "Signature": _signature(name, expires, secret)}
    return f"{base}/recordings/{name}?{urlencode(query)}"


def is_valid(name: str, expires: str, signature: str, *, secret: str) -> bool:
    """Whether a link was made by :func:`link` and has not expired."""
    return hmac.compare_digest(_signature(name, expires, secret), signature) and int(expires) >= time.time()


def _signature(name: str, expires: str, secret: str) -> str:
    text = f"GET\n\n\n{expires}\n/recordings/{name}"
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def sound() -> bytes:
    """A quarter of a second of a 440 Hz tone: 8 kHz, 16 bit, one channel."""
    samples = (round(8000 * math.sin(2 * math.pi * 440 * index / _RATE)) for index in range(_RATE // 4))
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(_RATE)
        recording.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()
