"""For test_wrong_machines.py: a campaign on each misconfigured machine."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)

for machine in ("other-key", "sqlite", "no-extra"):
    with DAG(f"on_{machine}", schedule=None, default_args={"queue": machine}):
        create = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True)
        OutboundBotAssignJobsOperator(task_id="assign", job_group_id=create.output, contacts=["13800000000"])
