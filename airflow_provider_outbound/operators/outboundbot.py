"""Operators of a phone campaign: create a job group, assign contacts, control jobs, export results and recordings."""

from __future__ import annotations

from airflow_provider_outbound.operators.api import OutboundBotCallApiOperator
from airflow_provider_outbound.operators.assign import OutboundBotAssignJobsOperator
from airflow_provider_outbound.operators.block_list import OutboundBotSaveContactBlockListOperator
from airflow_provider_outbound.operators.block_list_sync import OutboundBotSyncContactBlockListOperator
from airflow_provider_outbound.operators.job_groups import OutboundBotCreateJobGroupOperator
from airflow_provider_outbound.operators.modify import OutboundBotModifyJobGroupOperator
from airflow_provider_outbound.operators.recordings import OutboundBotDownloadRecordingsOperator
from airflow_provider_outbound.operators.results import OutboundBotExportResultsOperator
from airflow_provider_outbound.operators.steering import (
    OutboundBotCancelJobsOperator,
    OutboundBotResumeJobsOperator,
    OutboundBotSuspendJobsOperator,
)

__all__ = [
    "OutboundBotAssignJobsOperator",
    "OutboundBotCallApiOperator",
    "OutboundBotCancelJobsOperator",
    "OutboundBotCreateJobGroupOperator",
    "OutboundBotDownloadRecordingsOperator",
    "OutboundBotExportResultsOperator",
    "OutboundBotModifyJobGroupOperator",
    "OutboundBotResumeJobsOperator",
    "OutboundBotSaveContactBlockListOperator",
    "OutboundBotSuspendJobsOperator",
    "OutboundBotSyncContactBlockListOperator",
]
