"""What comes after a campaign: acting on each result once, the do-not-call list, and who is called again."""

from __future__ import annotations

from airflow_provider_outbound.core.follow_up.block_list import BlockListResult, save_block_list
from airflow_provider_outbound.core.follow_up.contacts import from_results
from airflow_provider_outbound.core.follow_up.rows import follow_up

__all__ = ["BlockListResult", "follow_up", "from_results", "save_block_list"]
