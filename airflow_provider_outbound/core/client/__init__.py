"""The OutboundBot API (2019-12-26) over ``aliyun-python-sdk-outboundbot``: one method an action."""

from __future__ import annotations

from airflow_provider_outbound.core.client.answers import Page
from airflow_provider_outbound.core.client.api import MAX_JOBS_PER_REQUEST, OutboundBotClient, RecordingUrl
from airflow_provider_outbound.core.client.settings import ClientSettings

__all__ = ["MAX_JOBS_PER_REQUEST", "ClientSettings", "OutboundBotClient", "Page", "RecordingUrl"]
