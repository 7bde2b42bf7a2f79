"""
Downloads one recording over HTTP, with its link, size and type checked. The file is complete or does not exist.

A link is signed: anybody who has it can listen to the call. So neither links nor the errors of the HTTP library, which
quote them, are logged or raised.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import re
import socket
import struct
import time
from collections.abc import Callable, Generator
from contextlib import closing
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow_provider_outbound.core.files import atomic_write

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import ClientSettings

#: The largest recording accepted: 256 MiB, more than four hours of uncompressed telephone audio.
MAX_BYTES = 1 << 28
#: The reason when a download is abandoned.
TOO_SLOW = "the download is too slow"
_CHUNK = 1 << 16
#: Offset and magic number of each audio format, and its suffix.
_KINDS = (
    (0, b"RIFF", ".wav"),
    (0, b"ID3", ".mp3"),
    (0, b"\xff\xfb", ".mp3"),
    (0, b"\xff\xf3", ".mp3"),
    (0, b"\xff\xf2", ".mp3"),
    (0, b"OggS", ".ogg"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),
    (0, b"#!AMR", ".amr"),
    (4, b"ftyp", ".mp4"),
)
_HEAD = 12
#: The service's own storage; its internal addresses are private.
_STORAGE = ".aliyuncs.com"
#: Names that are valid only within one network: without a dot, or under a domain reserved for that.
_LOCAL_NAME = re.compile(r"[^.]*\.?|.*\.(localhost|local|localdomain|internal|intranet|lan|home|corp|home\.arpa)\.?")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RecordingUnavailableError(Exception):
    """
    The recording is not available.

    :param reason: Why, without the link.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Fetcher:
    """
    Downloads recordings. Threads may share it.

    :param settings: Settings of the client that returned the links: its timeouts, and whether it uses TLS.
    :param connections: The number of connections kept open.
    :param go_on: Called after each chunk and before a file is put into place; raises to stop the download.
    """

    def __init__(self, settings: ClientSettings, *, connections: int, go_on: Callable[[], None]) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        self._settings = settings
        self._go_on = go_on
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Otherwise credentials of a netrc file would be sent.
        self._session.auth = lambda request: request
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        _quiet()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def fetch(self, url: str, folder: Any, stem: str, *, until: float = math.inf) -> int:
        """
        Download one recording to ``folder``, named ``stem`` with the suffix of its format. Only the owner can read it.

        A server that sends a byte now and then may block the calling thread after ``until``, but no file appears then.

        :param until: When to give up, on the monotonic clock.
        :return: Its size in bytes.
        :raises RecordingUnavailableError: it does not exist, is incomplete, is not audio, or its link must not be
            followed.
        :raises OutboundBotConfigError: the file cannot be written.
        """
        link = safe_link(url, self._settings.url)
        token = _fetching.set(True)
        try:
            with closing(self._chunks(link, until)) as chunks:
                head = b""
                while len(head) < _HEAD and (chunk := next(chunks, b"")):
                    head += chunk
                suffix = _suffix(head)
                size = len(head)
                with atomic_write(folder / f"{stem}{suffix}", private=True) as file:
                    file.write(head)
                    for chunk in chunks:
                        file.write(chunk)
                        size += len(chunk)
                    _check_riff(head, size)
                    # An abandoned download must not put its file into place.
                    self._check(until)
        finally:
            _fetching.reset(token)
        return size

    def _check(self, until: float) -> None:
        self._go_on()
        if time.monotonic() >= until:
            raise RecordingUnavailableError(TOO_SLOW)

    def _chunks(self, link: str, until: float) -> Generator[bytes, None, None]:
        """Yield the body. Errors of the library quote the link, so they do not leave this method."""
        import requests

        failure = ""
        try:
            response = self._session.get(
                link,
                stream=True,
                allow_redirects=False,
                timeout=(self._settings.connect_timeout, self._settings.read_timeout),
                headers={"Accept-Encoding": "identity"},
            )
            with response:
                if response.status_code != 200:
                    raise RecordingUnavailableError(f"its link answers HTTP {response.status_code}")
                declared = response.headers.get("Content-Length", "")
                got = 0
                for chunk in response.iter_content(_CHUNK):
                    self._check(until)
                    got += len(chunk)
                    if got > MAX_BYTES:
                        raise RecordingUnavailableError(f"it is larger than {MAX_BYTES} bytes")
                    yield chunk
                if declared.isdigit() and "Content-Encoding" not in response.headers and int(declared) != got:
                    failure = f"only {got} of {declared} bytes arrived"
        except (requests.RequestException, OSError, ValueError) as error:
            # ValueError: a URL that the library below cannot parse.
            failure = f"its download failed ({type(error).__name__})"
        if failure:
            raise RecordingUnavailableError(failure)


def safe_link(url: str, api: str) -> str:
    """
    Return the URL at which a link may be followed.

    Messages contain links too, and anybody who can write messages must not choose what this machine connects to. The
    host must be the API's own, the service's storage, or one with only public addresses, whether a proxy is set or not.
    An HTTP link is followed with HTTPS, unless the API's own URL is HTTP.

    :raises RecordingUnavailableError: the link leads to another host.
    """
    try:
        parts, own = urlsplit(url), urlsplit(api)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise RecordingUnavailableError("its link is not a URL") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise RecordingUnavailableError("its link is not http or https")
    if (parts.scheme, parts.netloc.lower()) == (own.scheme, own.netloc.lower()):
        return url
    if "[" in parts.netloc:
        # The service uses host names. No library used here recognises all forms of IPv6 addresses.
        raise RecordingUnavailableError("its link leads to a bare IPv6 address, which may be a private address")
    if parts.scheme == "http" and own.scheme == "https":
        parts = parts._replace(scheme="https", netloc=host if port in (None, 80) else parts.netloc)
    if not host.endswith(_STORAGE):
        _check_host(parts, host)
    return parts.geturl()


def _check_host(parts: SplitResult, host: str) -> None:
    """Refuse a host that resolves to an address that is not public."""
    try:
        found = socket.getaddrinfo(host, parts.port or 443, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        if _has_proxy(parts) and not _LOCAL_NAME.fullmatch(host):
            # Behind a proxy a machine may be unable to resolve names: the proxy resolves this one, and decides.
            return
        raise RecordingUnavailableError("the host of its link is unknown") from None
    if not all(_is_public(ipaddress.ip_address(address[0])) for *_, address in found):
        raise RecordingUnavailableError("its link leads to a private address")


def _has_proxy(parts: SplitResult) -> bool:
    from requests.utils import get_environ_proxies

    return bool(get_environ_proxies(parts.geturl()))


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address, and any IPv4 address embedded in it, is public."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inside is None and address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return inside.is_global
    return address.is_global


def is_sound(path: Any) -> bool:
    """
    Return whether a file, local or in an object store, is a complete recording as written by :meth:`Fetcher.fetch`.

    :raises OSError: it cannot be read.
    """
    # A small buffer, because object stores read as much as the buffer holds.
    with path.open("rb", buffering=_HEAD) as file:
        head = file.read(_HEAD)
    try:
        _suffix(head)
        _check_riff(head, path.stat().st_size)
    except RecordingUnavailableError:
        return False
    return True


def _suffix(head: bytes) -> str:
    for offset, magic, suffix in _KINDS:
        if head[offset:].startswith(magic):
            return suffix
    raise RecordingUnavailableError("it is not audio" if head else "it is empty")


def _check_riff(head: bytes, size: int) -> None:
    """Check the length in the header of a WAV file; a file streamed while recording has 0 or the maximum there."""
    if not head.startswith(b"RIFF"):
        return
    if len(head) < 8:
        raise RecordingUnavailableError("it is not audio")
    (declared,) = struct.unpack("<I", head[4:8])
    if declared not in (0, 0xFFFFFFFF) and size < declared + 8:
        raise RecordingUnavailableError(f"only {size} of {declared + 8} bytes arrived")


_fetching: ContextVar[bool] = ContextVar("fetching", default=False)


class _NoLinks(logging.Filter):
    """Drops what the HTTP library logs about these requests, because it contains complete links."""

    def filter(self, _record: logging.LogRecord) -> bool:
        return not _fetching.get()


def _quiet() -> None:
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(item, _NoLinks) for item in logger.filters):
        logger.addFilter(_NoLinks())
