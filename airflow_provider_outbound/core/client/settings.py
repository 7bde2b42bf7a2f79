"""Settings of a client: address, credentials and timeouts."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import attrs

from airflow_provider_outbound.exceptions import OutboundBotConfigError

DEFAULT_REGION = "cn-shanghai"

_REGION = re.compile(r"[a-zA-Z0-9-]+")


@attrs.frozen(kw_only=True)
class ClientSettings:
    """
    Settings of an :class:`OutboundBotClient`.

    Credentials are the AccessKey, with its STS token if there is one; or, with ``ecs_role``, the role of this ECS
    machine; or, with neither, Alibaba Cloud's default chain (environment, OIDC, profile files, ECS role). If
    ``role_arn`` is given, these credentials assume that role.

    :param access_key_id: AccessKey id; empty for none.
    :param access_key_secret: Its secret.
    :param security_token: STS token that was issued with the AccessKey.
    :param role_arn: RAM role to assume, e.g. ``acs:ram::123456:role/outbound``.
    :param role_session_name: Name of that session in the audit trail.
    :param ecs_role: Name of the RAM role bound to this ECS machine.
    :param region_id: Region of the instance.
    :param endpoint: Host or URL of the API; empty for the region's. https, unless it begins with ``http://``.
    :param instance_id: Instance for calls that do not name one.
    :param connect_timeout: Seconds to wait for a connection.
    :param read_timeout: Seconds to wait for an answer.
    :param max_requests_per_second: Limit for all clients that share slots; ``None`` for no limit.
    :param origin: Where these settings come from, for messages, e.g. ``connection 'outboundbot_default'``.
    :raises OutboundBotConfigError: a value cannot be used; the message names the field.
    """

    access_key_id: str = attrs.field(default="", repr=False)
    access_key_secret: str = attrs.field(default="", repr=False)
    security_token: str = attrs.field(default="", repr=False)
    role_arn: str = ""
    role_session_name: str = ""
    ecs_role: str = ""
    region_id: str = DEFAULT_REGION
    endpoint: str = ""
    instance_id: str = ""
    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    max_requests_per_second: float | None = None
    origin: str = "the client's settings"

    def __attrs_post_init__(self) -> None:
        if not _REGION.fullmatch(self.region_id):
            raise self.wrong("region_id", f"{self.region_id!r} is not a region", "use one such as 'cn-shanghai'")
        if bool(self.access_key_id) != bool(self.access_key_secret):
            missing = "password (AccessKey secret)" if self.access_key_id else "login (AccessKey id)"
            raise self.wrong(missing, "is empty", "give both AccessKey id and secret, or neither")
        if self.security_token and not self.access_key_id:
            raise self.wrong("security_token", "has no AccessKey", "give the AccessKey issued with it")
        if self.ecs_role and self.access_key_id:
            raise self.wrong("ecs_role", "cannot be combined with an AccessKey", "give one of the two")
        for field in ("connect_timeout", "read_timeout", "max_requests_per_second"):
            value = getattr(self, field)
            if value is not None and not 0 < value < float("inf"):
                raise self.wrong(field, f"{value!r} is not above 0", "give a positive number")
        _ = self.url

    @property
    def url(self) -> str:
        """Scheme and host of the API."""
        if not self.endpoint:
            return f"https://outboundbot.{self.region_id}.aliyuncs.com"
        url = self.endpoint if "://" in self.endpoint else f"https://{self.endpoint}"
        hint = "give a host such as 'outboundbot.cn-shanghai.aliyuncs.com' or a URL such as 'http://127.0.0.1:8180'"
        try:
            parts = urlsplit(url)
            whole = parts.port != 0 and parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            whole = False
        if not whole or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            # The value is not shown: it may be a key in the wrong field.
            raise self.wrong("host (endpoint)", "is neither a host nor an http(s) URL without a path", hint)
        return f"{parts.scheme}://{parts.netloc}"

    def wrong(self, field: str, what: str, hint: str) -> OutboundBotConfigError:
        """Return an error about one of these settings."""
        return OutboundBotConfigError(f"{self.origin}: {field} {what}; {hint}")
