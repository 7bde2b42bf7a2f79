"""
A person approves before anybody is called: dry run → figures → approval → calls.

The dry run uses a second connection, ``outboundbot_dry_run``: a copy of ``outboundbot_default`` with "Dry run" switched
on. It reads and checks every contact as the real tasks do, and sends nothing. The approval is asked for in Airflow's
UI, under "Required actions". Without an answer within four hours its task fails, and nobody is called.

``OUTBOUND_EXAMPLE_FOLDER`` sets the folder for files.
"""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import ObjectStoragePath, Param, dag, get_current_context, task

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))
TIMEZONE = os.environ.get("OUTBOUND_EXAMPLE_TIMEZONE") or "Asia/Shanghai"
BEGIN, _, END = (os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "09:00-18:00").partition("-")
FIGURES = """\
| | contacts |
|---|---|
| in the list | {{ figures.read }} |
| **would be called** | **{{ figures.assignable }}** |
| repeated | {{ figures.duplicates }} |
| excluded | {{ figures.excluded }} |
| over a limit | {{ figures.capped }} |
| not a contact | {{ figures.rejected }} |
"""


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params={"contacts": Param(20, type="integer", minimum=1, maximum=1_000, description="Number of contacts")},
    tags=["outbound", "example"],
)
def approve_before_calling() -> None:
    """Contacts → dry run → a person approves → calls."""

    @task
    def write_contacts() -> str:
        """Write the contacts to call; put your own query here."""
        import phonenumbers

        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        # +1 AAA 555 01NN is reserved for fiction in every area: this example cannot disturb anybody.
        every = (f"+1{area}55501{last:02}" for area in range(201, 990) for last in range(100))
        valid = (number for number in every if phonenumbers.is_valid_number(phonenumbers.parse(number)))
        path = f"{FOLDER}/approval-{run}.csv"
        if "://" not in FOLDER:
            Path(FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(path).touch(mode=0o600)  # phone numbers: only for Airflow's own user
        list_path: Any = ObjectStoragePath(path)
        with list_path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["phone_number", "name"])
            for index, number in zip(range(1, context["params"]["contacts"] + 1), valid, strict=False):
                writer.writerow([number, f"Customer {index}"])
        return path

    @task
    def delete_contacts(path: Any) -> None:
        """Delete the list as soon as it is assigned, or was not approved."""
        ObjectStoragePath(path).unlink(missing_ok=True)

    contacts_path = write_contacts()
    contacts_path.as_setup()
    window = Strategy(working_time=[(BEGIN, END)], timezone=TIMEZONE, max_attempts_per_day=1)
    rehearse_create = OutboundBotCreateJobGroupOperator(
        task_id="rehearse_create", strategy=window, outboundbot_conn_id="outboundbot_dry_run"
    )
    rehearse = OutboundBotAssignJobsOperator(
        task_id="rehearse",
        job_group_id=rehearse_create.output,
        contacts_path=contacts_path,
        on_invalid="skip",
        outboundbot_conn_id="outboundbot_dry_run",
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Call {{ ti.xcom_pull(task_ids='rehearse')['assignable'] }} people?",
        body="{% set figures = ti.xcom_pull(task_ids='rehearse') %}" + FIGURES,
        response_timeout=timedelta(hours=4),
    )
    create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=window)
    assign = OutboundBotAssignJobsOperator(
        task_id="assign", job_group_id=create.output, contacts_path=contacts_path, on_invalid="skip"
    )
    wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
    rehearse >> approve >> create
    assign >> delete_contacts(contacts_path).as_teardown()
    assign >> wait


approve_before_calling()
