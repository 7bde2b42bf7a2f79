"""
The transport: the SDK builds requests, and the ``urllib3`` that Airflow itself uses sends them.

The SDK's own copy of ``urllib3`` is too old: on Python 3.12 and later it does not send the server's name (SNI).
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_outbound.core.client.errors import from_wire
from airflow_provider_outbound.core.client.settings import ClientSettings

if TYPE_CHECKING:
    import ssl

#: Connections kept open. More concurrent requests than this reconnect each time.
POOL_SIZE = 32

#: Environment variables that name the certificate authorities to trust: the SDK's own, then those of ``requests``.
_CA_BUNDLES = ("ALIBABA_CLOUD_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

#: Loggers that ``alibabacloud-credentials`` uses to fetch role credentials. They log complete request URLs, even at
#: ERROR.
_TALKATIVE = ("Tea.core", "credentials")

#: The signed query of this thread's request.
_query: ContextVar[str] = ContextVar("_query")


class Wire:
    """
    Connections to the API, for any number of threads. Connects at the first request.

    It repeats no request, follows no redirect, and sends no cookies and no netrc entry.

    :param settings: Address and timeouts.
    :raises OutboundBotConfigError: the address, the environment's proxy or its certificates cannot be used.
    """

    def __init__(self, settings: ClientSettings) -> None:
        from urllib3 import Timeout

        self._url = f"{settings.url}/"
        self._timeout = Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        self._connections = _pool_manager(settings)
        quiet_loggers()

    def send(
        self, action: str, method: str, headers: Mapping[str, str], query: str, form: bytes | None = None
    ) -> tuple[int, bytes]:
        """
        Send one request, once.

        :param action: Named in errors.
        :param method: ``GET`` or ``POST``, as it was signed.
        :param query: Signed; sent unchanged.
        :param form: Sent as the body.
        :return: HTTP status and body of the answer.
        :raises OutboundBotTransportError: there was no answer; in doubt.
        """
        status, body, failure = 0, b"", None
        token = _query.set(query)
        try:
            answer = self._connections.urlopen(
                method,
                self._url,
                body=form,
                headers=headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
            )
            status, body = answer.status, answer.data
        except Exception as error:  # noqa: BLE001 - its own errors, and any that escape from libraries below it
            failure = from_wire(action, error)
        finally:
            _query.reset(token)
        if failure is not None:
            # Raised outside the except block, so that the library's exception, whose frames hold the request, is not
            # its context.
            raise failure
        return status, body

    def close(self) -> None:
        """Close the connections."""
        self._connections.clear()


class _SignedRequestLine:
    """
    A connection that adds the signed query when the request line is encoded.

    The query holds phone numbers and names, so everything above, such as urllib3's log, its exceptions, or an installed
    tracer, sees only ``POST /``. urllib3 would also check every character of the query again, which for a batch of
    contacts takes longer than the rest of the request and changes nothing, because the query is encoded already.
    """

    def _encode_request(self, request: str) -> bytes:
        """Override the method of ``http.client.HTTPConnection``, which only encodes."""
        method, target, version = request.split(" ")
        return f"{method} {target}?{_query.get()} {version}".encode("ascii")


def _pool_manager(settings: ClientSettings) -> Any:
    from urllib3 import PoolManager
    from urllib3.exceptions import LocationValueError

    context = _tls_context(settings)
    proxy = proxy_for(settings.url)
    manager = _proxy_manager(settings, proxy, context) if proxy else PoolManager(maxsize=POOL_SIZE, ssl_context=context)
    manager.pool_classes_by_scheme = {
        scheme: _with_signed_request_line(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    try:
        manager.connection_from_url(settings.url)  # connects when the first request is sent
    except LocationValueError:
        hint = "give one such as 'outboundbot.cn-shanghai.aliyuncs.com'"
        raise settings.wrong("host (endpoint)", "is not a host name", hint) from None
    return manager


def _with_signed_request_line(pool: Any) -> Any:
    """Return a subclass of the pool whose connections are also :class:`_SignedRequestLine`."""
    connection = type("SignedConnection", (_SignedRequestLine, pool.ConnectionCls), {})
    return type("SignedConnectionPool", (pool,), {"ConnectionCls": connection})


def _proxy_manager(settings: ClientSettings, proxy: str, context: ssl.SSLContext) -> Any:
    """Return a manager made by ``requests``, which supports SOCKS and a password in the proxy's address."""
    from requests.adapters import HTTPAdapter
    from requests.utils import prepend_scheme_if_needed

    try:
        address = prepend_scheme_if_needed(proxy, "http")
        options = {} if address.lower().startswith("socks") else {"proxy_ssl_context": context}
        return HTTPAdapter(pool_maxsize=POOL_SIZE).proxy_manager_for(address, ssl_context=context, **options)
    except Exception as error:  # noqa: BLE001 - three libraries, each with its own errors
        kind = type(error).__name__
    # Neither the address nor the error's text is shown: they may hold the proxy's password.
    hint = "correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY (SOCKS needs PySocks), or name the host in NO_PROXY"
    raise settings.wrong("the environment's proxy", f"cannot be used ({kind})", hint)


def _tls_context(settings: ClientSettings) -> ssl.SSLContext:
    """Verify servers as ``requests`` does: a certificate for the server's name, issued by a trusted authority."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH
    from urllib3.util.ssl_ import create_urllib3_context

    name = next((name for name in _CA_BUNDLES if os.environ.get(name)), "certifi")
    bundle = Path(os.environ.get(name) or DEFAULT_CA_BUNDLE_PATH)
    context = create_urllib3_context()
    try:
        if bundle.is_dir():
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except OSError as error:
        what = f"names {str(bundle)!r}, which cannot be read: {error.strerror or error}"
        raise settings.wrong(name, what, "name a file or a folder of PEM certificates") from None
    return context


def proxy_for(url: str) -> str | None:
    """Return the environment's proxy for ``url``, as ``requests`` chooses it; none if ``url`` is on this machine."""
    from requests.utils import get_environ_proxies, select_proxy

    if _is_this_machine(urlsplit(url).hostname or ""):
        return None
    return select_proxy(url, get_environ_proxies(url))


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class _NoSignedUrls(logging.Filter):
    """Drops records that show a signed request."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "AccessKeyId=" not in record.getMessage()


def quiet_loggers() -> None:
    """Disable the logs of the credentials' libraries in this process: they contain keys and signatures."""
    for name in _TALKATIVE:
        logging.getLogger(name).disabled = True
    # Other code uses this logger too, so only the requests for role credentials are dropped.
    requests_log = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(item, _NoSignedUrls) for item in requests_log.filters):
        requests_log.addFilter(_NoSignedUrls())
