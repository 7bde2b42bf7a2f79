"""What follows a campaign: handling each result once, the service's block list, and calling contacts again."""

from __future__ import annotations

from airflow_provider_outbound.core.follow_up.block_list import BlockListResult, save_block_list
from airflow_provider_outbound.core.follow_up.block_list_sync import SyncedBlockList, sync_block_list
from airflow_provider_outbound.core.follow_up.contacts import from_results
from airflow_provider_outbound.core.follow_up.rows import follow_up

__all__ = [
    "BlockListResult",
    "SyncedBlockList",
    "follow_up",
    "from_results",
    "save_block_list",
    "sync_block_list",
]
