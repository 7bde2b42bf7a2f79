"""A campaign for test_privacy.py: contacts from a file with rows that are none, tasks that fail and are tried again."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

with DAG(
    "private_campaign",
    schedule=None,
    params={name: Param("", type="string") for name in ("contacts", "exclude", "rejects", "results")},
    default_args={"retries": 30, "retry_delay": timedelta(seconds=1)},
):
    create = OutboundBotCreateJobGroupOperator(
        task_id="create", strategy=Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)
    )
    strict = OutboundBotAssignJobsOperator(
        task_id="strict", job_group_id=create.output, contacts_path="{{ params.contacts }}", retries=1
    )
    assign = OutboundBotAssignJobsOperator(
        task_id="assign",
        job_group_id=create.output,
        contacts_path="{{ params.contacts }}",
        exclude_path="{{ params.exclude }}",
        on_invalid="skip",
        rejects_path="{{ params.rejects }}",
        settle_seconds=4,
        batch_size=4,
        trigger_rule="all_done",
    )
    wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
    export = OutboundBotExportResultsOperator(
        task_id="export",
        job_group_id=create.output,
        path="{{ params.results }}",
        conversation=True,
        deferrable=True,
    )
    create >> strict >> assign >> wait >> export
