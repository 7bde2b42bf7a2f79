"""The SDK's client, made safe: https, no foreign keys, no proxy for this machine, nothing private in its logs."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from airflow_provider_outbound.core.client.credentials import Signer
from airflow_provider_outbound.core.client.settings import ClientSettings

#: Connections kept open, and so the most requests at once that do not reconnect each time.
POOL_SIZE = 32

#: What has the last word before this thread's request goes out; what it raises, goes up instead.
last_check: ContextVar[Callable[[], None] | None] = ContextVar("last_check", default=None)

#: They write whole request URLs, at ERROR too, or with DEBUG=sdk in the environment straight to the terminal.
_TALKATIVE = (
    "aliyunsdkcore.client",
    "aliyunsdkcore.http.http_response",
    "aliyunsdkcore.retry.retry_condition",
    "aliyunsdkcore.vendored.requests.packages.urllib3.connectionpool",
    "aliyunsdkcore.vendored.requests.packages.urllib3.util.retry",
    "Tea.core",  # alibabacloud-credentials: role credentials are fetched with it
    "credentials",
)


def open_sdk_client(settings: ClientSettings) -> Any:
    """
    Build the SDK's client. Nothing is sent.

    :raises OutboundBotAuthenticationError: no credentials can be found where ``settings`` say.
    """
    from aliyunsdkcore.client import AcsClient

    signer = Signer(settings)
    client = AcsClient(
        # The constructor prefers ALIYUN_ACCESS_KEY_ID of the environment to a credential= it is given, but not to a
        # key. This one never signs anything.
        ak="unused",
        secret="unused",  # noqa: S106 - see above
        region_id=settings.region_id,
        auto_retry=False,
        connect_timeout=settings.connect_timeout,
        timeout=settings.read_timeout,
        proxy=proxies_for(settings.url),
    )
    client._signer = signer  # noqa: SLF001 - the SDK has no public way to refresh credentials by a lock
    client.session.close()
    client.session = _session()
    # Else a netrc entry for the host would be sent along.
    client.session.trust_env = False
    for scheme in ("https://", "http://"):
        client.session.mount(scheme, _checking_adapter())
    quiet_sdk_loggers()
    return client


def _session() -> Any:
    """
    A session that sends a signed URL as it is.

    The usual one looks at every character of it again, which for a batch of contacts takes as long as all the rest of
    the request, and changes nothing in what is encoded already.
    """
    from aliyunsdkcore.vendored.requests import Session

    class SignedSession(Session):  # type: ignore[misc]  # untyped
        def prepare_request(self, request: Any) -> Any:
            base, mark, query = request.url.partition("?")
            request.url = base
            prepared = super().prepare_request(request)
            prepared.url = f"{prepared.url}{mark}{query}"
            return prepared

    return SignedSession()


def _checking_adapter() -> Any:
    """
    An adapter that asks :data:`last_check` when all but connecting and sending is done.

    Credentials may have to be fetched and parameters to be signed before, which takes its time.
    """
    from aliyunsdkcore.vendored.requests.adapters import HTTPAdapter

    class CheckingAdapter(HTTPAdapter):  # type: ignore[misc]  # untyped
        def send(self, *arguments: Any, **options: Any) -> Any:
            check = last_check.get()
            if check is not None:
                check()
            return super().send(*arguments, **options)

    return CheckingAdapter(pool_connections=POOL_SIZE, pool_maxsize=POOL_SIZE)


def proxies_for(url: str) -> dict[str, str | None]:
    """
    The proxies of the environment that apply to ``url``; the SDK itself ignores NO_PROXY.

    :return: By scheme. Never empty, since the SDK would then read the environment for itself.
    """
    host = urlsplit(url).hostname or ""
    found = {} if _is_this_machine(host) or proxy_bypass_environment(host) else getproxies_environment()
    return {scheme: found.get(scheme) for scheme in ("http", "https")}


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class _NoSignedUrls(logging.Filter):
    """Drops records that show a signed request."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "AccessKeyId=" not in record.getMessage()


def quiet_sdk_loggers() -> None:
    """Switch off what the SDKs log, for this process: it holds phone numbers, names, keys and signatures."""
    for name in _TALKATIVE:
        logging.getLogger(name).disabled = True
    # Children keep their own levels and handlers; whatever they still say goes no further than this.
    logging.getLogger("aliyunsdkcore").propagate = False
    # Others use this one too, so only our requests for role credentials are taken out.
    requests_log = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(item, _NoSignedUrls) for item in requests_log.filters):
        requests_log.addFilter(_NoSignedUrls())
