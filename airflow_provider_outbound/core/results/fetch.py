"""
One recording over HTTP: its link checked, its size and type checked, its file whole or not there.

A link is signed: whoever has it hears the call. So neither links nor the errors of the HTTP library, which quote them,
are logged or raised.
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

#: The largest recording taken: 256 MiB, more than four hours of uncompressed telephone sound.
MAX_BYTES = 1 << 28
#: Why a download was given up.
TOO_SLOW = "it comes too slowly"
_CHUNK = 1 << 16
#: How sound begins, and the suffix that it gets.
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
#: The service's own storage; its internal addresses are private ones.
_STORAGE = ".aliyuncs.com"
#: Names that mean something within one network only: without a dot, or under a domain that is kept for that.
_LOCAL_NAME = re.compile(r"[^.]*\.?|.*\.(localhost|local|localdomain|internal|intranet|lan|home|corp|home\.arpa)\.?")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RecordingUnavailableError(Exception):
    """
    There is no recording to be had now.

    :param reason: Why, without the link.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Fetcher:
    """
    Fetches recordings, from any number of threads.

    :param settings: Of the client that was given the links: its patience, and whether it speaks TLS.
    :param connections: Kept open at a time.
    :param go_on: Called now and then, and before a file is put into place; raises to stop.
    """

    def __init__(self, settings: ClientSettings, *, connections: int, go_on: Callable[[], None]) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        self._settings = settings
        self._go_on = go_on
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Else an entry of a netrc file would be sent along.
        self._session.auth = lambda request: request
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        _quiet()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def fetch(self, url: str, folder: Any, stem: str, *, until: float = math.inf) -> int:
        """
        Fetch one recording into ``folder``, as ``stem`` with the suffix of what it is; readable by its owner alone.

        A server that sends a byte now and then may keep the calling thread for longer, but no file appears then.

        :param until: When to give up, on the monotonic clock.
        :return: Its size in bytes.
        :raises RecordingUnavailableError: it is not there, not whole, or no sound; or the link leads elsewhere.
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
                    # Who has been given up puts nothing into place.
                    self._check(until)
        finally:
            _fetching.reset(token)
        return size

    def _check(self, until: float) -> None:
        self._go_on()
        if time.monotonic() >= until:
            raise RecordingUnavailableError(TOO_SLOW)

    def _chunks(self, link: str, until: float) -> Generator[bytes, None, None]:
        """The body. Errors of the library are ``OSError`` and quote the link: neither leaves this method."""
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
                    failure = f"{got} of {declared} bytes came"
        except (requests.RequestException, OSError, ValueError) as error:
            # ValueError: an address that the library below cannot take apart.
            failure = f"its link cannot be followed to the end ({type(error).__name__})"
        if failure:
            raise RecordingUnavailableError(failure)


def safe_link(url: str, api: str) -> str:
    """
    A link as it may be followed; messages name links too, and whoever can write messages must not choose what this
    machine connects to.

    The host is the API's own, the service's storage, or one with public addresses only, whether a proxy is set or not.
    A link without TLS is followed with TLS, unless the API's own address is without.

    :raises RecordingUnavailableError: it leads elsewhere.
    """
    try:
        parts, own = urlsplit(url), urlsplit(api)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise RecordingUnavailableError("its link is no address") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise RecordingUnavailableError("its link is not http or https")
    if (parts.scheme, parts.netloc.lower()) == (own.scheme, own.netloc.lower()):
        return url
    if "[" in parts.netloc:
        # The service names hosts. No library of ours takes all forms of these for what they are.
        raise RecordingUnavailableError("its link leads to a bare IPv6 address, which may be a private address")
    if parts.scheme == "http" and own.scheme == "https":
        parts = parts._replace(scheme="https", netloc=host if port in (None, 80) else parts.netloc)
    if not host.endswith(_STORAGE):
        _check_host(parts, host)
    return parts.geturl()


def _check_host(parts: SplitResult, host: str) -> None:
    """Refuse a host that this machine finds at an address that is not public."""
    try:
        found = socket.getaddrinfo(host, parts.port or 443, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        if _has_proxy(parts) and not _LOCAL_NAME.fullmatch(host):
            # Behind a proxy a machine may know no names: the proxy resolves this one, and decides.
            return
        raise RecordingUnavailableError("the host of its link is unknown") from None
    if not all(_is_public(ipaddress.ip_address(address[0])) for *_, address in found):
        raise RecordingUnavailableError("its link leads to a private address")


def _has_proxy(parts: SplitResult) -> bool:
    from requests.utils import get_environ_proxies

    return bool(get_environ_proxies(parts.geturl()))


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address, and the IPv4 address that it may carry inside, is reachable from anywhere."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inside is None and address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return inside.is_global
    return address.is_global


def is_sound(path: Any) -> bool:
    """
    Whether a file, local or in a store, is a whole recording as :meth:`Fetcher.fetch` writes them.

    :raises OSError: it cannot be read.
    """
    with path.open("rb") as file:
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
    raise RecordingUnavailableError("it is no sound" if head else "it is empty")


def _check_riff(head: bytes, size: int) -> None:
    """A WAV file says how long it is; one written as it was recorded says nothing: 0 or the largest number."""
    if not head.startswith(b"RIFF"):
        return
    if len(head) < 8:
        raise RecordingUnavailableError("it is no sound")
    (declared,) = struct.unpack("<I", head[4:8])
    if declared not in (0, 0xFFFFFFFF) and size < declared + 8:
        raise RecordingUnavailableError(f"{size} of {declared + 8} bytes came")


_fetching: ContextVar[bool] = ContextVar("fetching", default=False)


class _NoLinks(logging.Filter):
    """Drops what the HTTP library logs of our requests: it holds whole links."""

    def filter(self, _record: logging.LogRecord) -> bool:
        return not _fetching.get()


def _quiet() -> None:
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(item, _NoLinks) for item in logger.filters):
        logger.addFilter(_NoLinks())
