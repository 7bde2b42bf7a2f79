"""A campaign for test_kill.py: long calls, and a wait that cancels them if a person ends it."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

CONTACTS = [f"138{index:06d}00" for index in range(4_000)]

with DAG("killed_campaign", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=1)}):
    create = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True)
    assign = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=create.output, contacts=CONTACTS)
    wait = OutboundBotJobCompleteSensor(
        task_id="wait", job_group_id=create.output, deferrable=True, cancel_on_kill=True
    )
    create >> assign >> wait
