"""A link from a task to its campaign on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from airflow.sdk import BaseOperatorLink

from airflow_provider_outbound import config

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class CampaignLink(BaseOperatorLink):
    """
    The task's campaign, on the page inside Airflow.

    The plugin registers the link, so Airflow works it out at each look: before, during and after the task, and for
    each task of a mapped operator. It names the task; the page finds its campaign.
    """

    name = "Campaign"

    @property
    def operators(self) -> list[type]:  # type: ignore[override]
        """The classes whose tasks have the link."""
        from airflow_provider_outbound.operators import block_list, modify, outboundbot, results, steering
        from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

        return [
            outboundbot.OutboundBotCreateJobGroupOperator,
            outboundbot.OutboundBotAssignJobsOperator,
            modify.OutboundBotModifyJobGroupOperator,
            steering.OutboundBotSuspendJobsOperator,
            steering.OutboundBotResumeJobsOperator,
            steering.OutboundBotCancelJobsOperator,
            results.OutboundBotExportResultsOperator,
            results.OutboundBotDownloadRecordingsOperator,
            block_list.OutboundBotSaveContactBlockListOperator,
            OutboundBotJobCompleteSensor,
        ]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        query = {
            "dag_id": ti_key.dag_id,
            "run_id": ti_key.run_id,
            "task_id": ti_key.task_id,
            "map_index": ti_key.map_index,
        }
        return f"{config.page_root()}/plugin/outbound?{urlencode(query)}"
