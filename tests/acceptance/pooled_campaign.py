"""For test_examples.py: two campaigns, whose waits share a pool and whose assignments may take twenty seconds."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

with DAG("pooled_campaign", schedule=None):
    create = OutboundBotCreateJobGroupOperator.partial(
        task_id="create", strategy=Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)
    ).expand(job_group_name=["one", "two"])
    assign = OutboundBotAssignJobsOperator.partial(
        task_id="assign",
        # Airflow keeps a DAG's file, and what is written there: numbers that no other test looks for.
        contacts=[f"137{index:08d}" for index in range(300)],
        settle_seconds=4,
        execution_timeout=timedelta(seconds=20),
        retries=10,
        retry_delay=timedelta(seconds=1),
    ).expand(job_group_id=create.output)
    wait = OutboundBotJobCompleteSensor.partial(task_id="wait", deferrable=True, pool="waiting").expand(
        job_group_id=assign.output
    )
