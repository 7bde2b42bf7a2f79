"""
The OutboundBot API (2019-12-26) over ``aliyun-python-sdk-outboundbot``: one method for each action.

Names are loaded on first use, so that a DAG that only names a connection does not import the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client.answers import Page
    from airflow_provider_outbound.core.client.api import BlockedNumber, OutboundBotClient, RecordingUrl
    from airflow_provider_outbound.core.client.base import MAX_JOBS_PER_REQUEST
    from airflow_provider_outbound.core.client.groups import TagHits
    from airflow_provider_outbound.core.client.guard import ActionGuard
    from airflow_provider_outbound.core.client.settings import ClientSettings

__all__ = [
    "MAX_JOBS_PER_REQUEST",
    "ActionGuard",
    "BlockedNumber",
    "ClientSettings",
    "OutboundBotClient",
    "Page",
    "RecordingUrl",
    "TagHits",
]

_MODULES = {
    "MAX_JOBS_PER_REQUEST": "base",
    "ActionGuard": "guard",
    "BlockedNumber": "api",
    "ClientSettings": "settings",
    "OutboundBotClient": "api",
    "Page": "answers",
    "RecordingUrl": "api",
    "TagHits": "groups",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
