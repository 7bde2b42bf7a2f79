"""
A nightly campaign: write the contacts, call them in the morning, act on the results.

Three environment variables of the scheduler, the DAG processor and the workers configure it:
``OUTBOUND_EXAMPLE_FOLDER`` (the folder for its files), ``OUTBOUND_EXAMPLE_WINDOW`` (``09:00-12:00``) and
``OUTBOUND_EXAMPLE_TIMEZONE`` (``Asia/Shanghai``).

Tasks may run on different machines, so the folder should be in an object store that all of them reach, for example
``s3://CONNECTION@bucket/outbound``. The default, a local folder, works on one machine only.
"""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import CronTriggerTimetable, ObjectStoragePath, Param, dag, get_current_context, task

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))
TIMEZONE = os.environ.get("OUTBOUND_EXAMPLE_TIMEZONE") or "Asia/Shanghai"
BEGIN, _, END = (os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "09:00-12:00").partition("-")


@dag(
    # Two in the morning: the contacts are ready long before the first phone may ring.
    schedule=CronTriggerTimetable("0 2 * * *", timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={"contacts": Param(200, type="integer", minimum=1, maximum=40_000, description="Number of contacts")},
    tags=["outbound", "example"],
)
def nightly_campaign() -> None:
    """Contacts of the night → create → assign → wait → export → those not reached."""

    @task
    def write_contacts() -> str:
        """Write the contacts to call; put your own query here."""
        import phonenumbers

        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])

        # +1 AAA 555 01NN is reserved for fiction in every area: this example cannot disturb anybody.
        every = (f"+1{area}55501{last:02}" for area in range(201, 990) for last in range(100))
        valid = (number for number in every if phonenumbers.is_valid_number(phonenumbers.parse(number)))
        path = f"{FOLDER}/contacts-{run}.csv"
        if "://" not in FOLDER:
            Path(FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(path).touch(mode=0o600)  # phone numbers: only for Airflow's own user
        list_path: Any = ObjectStoragePath(path)
        with list_path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["reference_id", "phone_number", "name", "segment"])
            for index, number in zip(range(1, context["params"]["contacts"] + 1), valid, strict=False):
                writer.writerow(
                    [f"customer-{index:05}", number, f"Customer {index}", "north" if index % 2 else "south"]
                )
        return path

    @task
    def delete_contacts(path: Any) -> None:
        """Delete the list as soon as it is assigned; clearing a task that reads it writes it again."""
        ObjectStoragePath(path).unlink(missing_ok=True)

    contacts_path = write_contacts()
    contacts_path.as_setup()
    create = OutboundBotCreateJobGroupOperator(
        task_id="create",
        strategy=Strategy(working_time=[(BEGIN, END)], timezone=TIMEZONE, max_attempts_per_day=1),
    )
    assign = OutboundBotAssignJobsOperator(
        task_id="assign", job_group_id=create.output, contacts_path=contacts_path, on_invalid="skip"
    )
    wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
    export = OutboundBotExportResultsOperator(
        task_id="export",
        job_group_id=create.output,
        path=f"{FOLDER}/results-{{{{ run_id | replace(':', '-') }}}}.jsonl",
    )
    # Contacts who did not answer: send them a text message today, or call them again tomorrow.
    follow_up = OutboundBotExportResultsOperator(
        task_id="follow_up",
        job_group_id=create.output,
        path=f"{FOLDER}/follow-up-{{{{ run_id | replace(':', '-') }}}}.csv",
        only="unanswered",
        include_phone_number=True,
    )
    assign >> delete_contacts(contacts_path).as_teardown()
    assign >> wait >> export >> follow_up


nightly_campaign()
