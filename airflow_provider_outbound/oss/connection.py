"""Reads connections with which files in OSS are read and written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.hooks.connection import find_connection, read_extra
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_outbound.core.client import ClientSettings

#: The connection of paths that name none.
DEFAULT_CONN_ID = "oss_default"
#: Of the provider of Alibaba Cloud, which stores everything in extra.
_FOREIGN_TYPES = ("oss", "alibaba_cloud")
_REGION = re.compile(r"[a-z0-9-]+")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@attrs.frozen(kw_only=True)
class OssSettings:
    """
    How to reach OSS.

    :param client: Region and credentials, with the same rules as those of the API's client.
    :param endpoint: URL of OSS; empty for the region's.
    """

    client: ClientSettings
    endpoint: str = ""


def read_settings(conn_id: str) -> OssSettings:
    """
    Read a connection of type ``oss``, ``alibaba_cloud`` or ``outboundbot``.

    The first two have all fields in extra: ``region`` (required), ``endpoint``, ``access_key_id``,
    ``access_key_secret``, ``security_token``, ``role_arn``, ``role_session_name``, ``ecs_role``. Login and password may
    hold the AccessKey instead. Of the third, the region and the credentials are used.

    :raises OutboundBotConfigError: the connection does not exist, has another type, or a field cannot be used.
    """
    connection = find_connection(conn_id)
    if connection is None:
        raise OutboundBotConfigError(
            f"connection {conn_id!r} does not exist; create it with: airflow connections add {conn_id} --conn-type oss"
            " …, or name one in the path: oss://conn_id@bucket/file"
        )
    if connection.conn_type == OutboundBotHook.conn_type:
        return OssSettings(client=OutboundBotHook(conn_id).settings.client)
    if connection.conn_type not in _FOREIGN_TYPES:
        raise OutboundBotConfigError(
            f"connection {conn_id!r} is of type {connection.conn_type!r}; give one of type"
            f" {', '.join(map(repr, _FOREIGN_TYPES))} or {OutboundBotHook.conn_type!r}"
        )
    return _from_extra(connection)


def _from_extra(connection: Connection) -> OssSettings:
    from airflow_provider_outbound.core.client import ClientSettings

    origin = f"connection {connection.conn_id!r}"
    extra = read_extra(connection, "region")

    def text(name: str, default: str | None = "") -> str:
        value = extra.get(name)
        if value is not None and not isinstance(value, str):
            raise OutboundBotConfigError(f"{origin}: {name} is a {type(value).__name__}; give a text")
        return (value or default or "").strip()

    if text("auth_type", "AK") != "AK":
        raise OutboundBotConfigError(f"{origin}: auth_type {text('auth_type')!r} is unknown; give 'AK' or omit it")
    client = ClientSettings(
        access_key_id=text("access_key_id", connection.login),
        access_key_secret=text("access_key_secret", connection.password),
        security_token=text("security_token"),
        role_arn=text("role_arn"),
        role_session_name=text("role_session_name"),
        ecs_role=text("ecs_role"),
        region_id=_region(text("region"), origin),
        origin=origin,
    )
    return OssSettings(client=client, endpoint=_endpoint(text("endpoint"), origin))


def _region(region: str, origin: str) -> str:
    if not region:
        raise OutboundBotConfigError(
            f'{origin}: region is missing; add the bucket\'s region to extra, e.g. {{"region": "cn-hangzhou"}}'
        )
    if region.startswith("oss-") or not _REGION.fullmatch(region):
        raise OutboundBotConfigError(
            f"{origin}: region {region!r} is not a region; write it as 'cn-hangzhou', without 'oss-'"
        )
    return region


def _endpoint(endpoint: str, origin: str) -> str:
    """Return a URL, or an empty text for the region's endpoint."""
    if not endpoint:
        return ""
    url: Any = None
    try:
        url = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        is_whole = url.port != 0 and url.scheme in ("http", "https") and bool(url.hostname)
    except ValueError:
        is_whole = False
    if not is_whole or url.path.strip("/") or url.query or url.fragment or "@" in url.netloc:
        # The value is not shown: it may be a key in the wrong field.
        raise OutboundBotConfigError(
            f"{origin}: endpoint is neither a host nor a URL without a path; give one such as"
            " 'oss-cn-hangzhou-internal.aliyuncs.com', or omit it"
        )
    if url.scheme == "http" and url.hostname not in _LOOPBACK:
        raise OutboundBotConfigError(
            f"{origin}: endpoint begins with http://, so phone numbers would travel unencrypted; write https://"
        )
    return f"{url.scheme}://{url.netloc}"
