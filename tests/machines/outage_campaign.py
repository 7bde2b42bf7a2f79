"""
Campaigns for test_outage.py: the tasks of one are retried for as long as necessary, those of the other never.

A task stops waiting for unanswered requests after a multiple of ``settle_seconds``: here within a minute.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

for dag_id, retries in (("patient_campaign", 50), ("impatient_campaign", 0)):
    with DAG(
        dag_id,
        schedule=None,
        render_template_as_native_obj=True,
        default_args={"retries": retries, "retry_delay": timedelta(seconds=2)},
        params={"first": Param(0, type="integer"), "contacts": Param(100, type="integer")},
    ):
        create = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True)
        assign = OutboundBotAssignJobsOperator(
            task_id="assign",
            job_group_id=create.output,
            contacts="{{ range(params.first, params.first + params.contacts) | map('string') | list }}",
            settle_seconds=5,
            # Slow, so that the API can fail in the middle of both campaigns.
            batch_size=5,
            max_parallel_requests=1,
        )
        wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
        export = OutboundBotExportResultsOperator(
            task_id="export",
            job_group_id=create.output,
            path="s3://store@outbound/outage/{{ dag.dag_id }}-{{ params.first }}.jsonl",
        )
        assign >> wait >> export
