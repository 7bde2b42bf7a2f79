"""The credentials with which requests are signed."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow_provider_outbound import __version__
from airflow_provider_outbound.core.client.settings import ClientSettings
from airflow_provider_outbound.exceptions import OutboundBotAuthenticationError

_SESSION_NAME = "airflow-provider-outbound"

#: Sent with every request. Answers are small: compression would only cost time.
_HEADERS = {"User-Agent": f"airflow-provider-outbound/{__version__}", "Accept-Encoding": "identity"}


class Signer:
    """
    Signs requests of the classic SDK with credentials that may change during the client's lifetime.

    The SDK's own signers cannot assume a role from an STS token, do not support OIDC, and refresh without a lock. So
    the credentials come from ``alibabacloud-credentials``.

    :raises OutboundBotAuthenticationError: the source named by ``settings`` has no credentials.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._provider = None if _is_plain_key(settings) else self._guarded(lambda: _provider(settings))

    def sign(self, region_id: str, request: Any) -> tuple[dict[str, str], str]:
        """
        Sign a request of the SDK.

        :return: Headers and signed query.
        """
        key_id, secret, token = self.keys()
        if token:
            request.add_query_param("SecurityToken", token)
        headers = {**request.get_signed_header(region_id, key_id, secret), **_HEADERS}
        if request.get_body_params():
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return headers, signed_query(request, region_id, key_id, secret)

    def keys(self) -> tuple[str, str, str | None]:
        """
        Return AccessKey id, its secret and perhaps a token, renewed if they were about to expire.

        :raises OutboundBotAuthenticationError: the source of the credentials does not give any.
        """
        if self._provider is None:
            return self._settings.access_key_id, self._settings.access_key_secret, self._settings.security_token
        with self._lock:
            found = self._guarded(self._provider.get_credentials)
        return found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token()

    def _guarded(self, ask: Any) -> Any:
        result, failure = None, None
        try:
            result = ask()
        except Exception as error:  # noqa: BLE001 - its providers raise errors of their own, of requests and of json
            # Their texts hold signed URLs and answers with credentials, so they are neither kept nor chained.
            failure = type(error).__name__
        if failure is not None or result is None:
            raise OutboundBotAuthenticationError(
                "Credentials", failure or "NoCredentials", _hint(self._settings), in_doubt=False
            )
        return result


def signed_query(request: Any, region_id: str, key_id: str, secret: str) -> str:
    """
    Sign an RPC request with HMAC-SHA1, as ``request.get_url`` does.

    That method percent-encodes the parameters three times, which takes most of the time of a request with a batch of
    contacts. Once is enough: of the encoded text, only ``%``, ``=`` and ``&`` must be encoded again.

    :return: The query, without its question mark.
    """
    from aliyunsdkcore.auth.algorithm import sha_hmac1
    from aliyunsdkcore.utils import parameter_helper

    parameters = {
        "RegionId": region_id,
        **request.get_query_params(),
        "Version": request.get_version(),
        "Action": request.get_action_name(),
        "Format": request.get_accept_format(),
        "Timestamp": parameter_helper.get_iso_8061_date(),
        "SignatureMethod": sha_hmac1.get_signer_name(),
        "SignatureType": sha_hmac1.get_signer_type(),
        "SignatureVersion": sha_hmac1.get_signer_version(),
        "SignatureNonce": parameter_helper.get_uuid(),
        "AccessKeyId": key_id,
    }
    query, form = _encoded(parameters), request.get_body_params()
    # The parameters of query and form are signed together.
    signed = _encoded({**parameters, **form}) if form else query
    again = signed.replace("%", "%25").replace("=", "%3D").replace("&", "%26")
    # Compared with the string that a refusal of the signature quotes.
    request.string_to_sign = f"{request.get_method()}&%2F&{again}"
    signature = sha_hmac1.get_sign_string(request.string_to_sign, f"{secret}&")
    return f"{query}&Signature={_quote(signature)}"


def form_of(request: Any) -> bytes | None:
    """Return the encoded form that a request sends in its body; ``None`` if it has only a query."""
    form = request.get_body_params()
    return _encoded(form).encode("ascii") if form else None


def _encoded(parameters: Mapping[str, Any]) -> str:
    return "&".join(f"{_quote(name)}={_quote(str(parameters[name]))}" for name in sorted(parameters))


#: Each byte in its percent-encoded form; a list, because its ``__getitem__`` is faster than a tuple's.
_QUOTED = [quote(bytes((byte,)), safe="") for byte in range(256)]


def _quote(text: str) -> str:
    """Return ``quote(text, safe="")`` in half its time, which is much of the time of a request with a full batch."""
    return "".join(map(_QUOTED.__getitem__, text.encode()))


def _is_plain_key(settings: ClientSettings) -> bool:
    return bool(settings.access_key_id) and not settings.role_arn


def _provider(settings: ClientSettings) -> Any:
    from alibabacloud_credentials.http import HttpOptions
    from alibabacloud_credentials.provider import (
        EcsRamRoleCredentialsProvider,
        RamRoleArnCredentialsProvider,
        StaticAKCredentialsProvider,
        StaticSTSCredentialsProvider,
    )

    options = HttpOptions(
        connect_timeout=round(settings.connect_timeout * 1000), read_timeout=round(settings.read_timeout * 1000)
    )
    base: Any
    if settings.security_token:
        base = StaticSTSCredentialsProvider(
            access_key_id=settings.access_key_id,
            access_key_secret=settings.access_key_secret,
            security_token=settings.security_token,
        )
    elif settings.access_key_id:
        base = StaticAKCredentialsProvider(
            access_key_id=settings.access_key_id, access_key_secret=settings.access_key_secret
        )
    elif settings.ecs_role:
        # Refreshed on demand, under our lock: the provider's own refresher is a thread that never ends.
        base = EcsRamRoleCredentialsProvider(
            role_name=settings.ecs_role, http_options=options, async_update_enabled=False
        )
    else:
        base = _default_chain()
    if not settings.role_arn:
        return base
    return RamRoleArnCredentialsProvider(
        credentials_provider=base,
        role_arn=settings.role_arn,
        role_session_name=settings.role_session_name or _SESSION_NAME,
        http_options=options,
    )


@functools.cache
def _default_chain() -> Any:
    """Alibaba Cloud's default chain; one for each process, because each starts a thread that lasts until it exits."""
    from alibabacloud_credentials.provider import DefaultCredentialsProvider

    return DefaultCredentialsProvider()


def _hint(settings: ClientSettings) -> str:
    if settings.role_arn:
        return f"{settings.origin}: role_arn {settings.role_arn!r} cannot be assumed; check it and its trust policy"
    if settings.ecs_role:
        return f"{settings.origin}: ecs_role {settings.ecs_role!r} gave no credentials; does this ECS machine have it?"
    return (
        f"{settings.origin}: no AccessKey is given, and Alibaba Cloud's default chain has no credentials; "
        "put the AccessKey id into login and its secret into password"
    )
