"""
A campaign that stops dialling when its tasks stop: creating the job group is the setup, cancelling it the teardown.

If a task fails, or you mark a task or the run as failed, the teardown runs and dialling stops. After a complete
campaign there is nothing left to cancel. The environment variables of ``nightly_campaign`` apply here too.
"""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))
TIMEZONE = os.environ.get("OUTBOUND_EXAMPLE_TIMEZONE") or "Asia/Shanghai"
BEGIN, _, END = (os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "09:00-12:00").partition("-")


@dag(
    schedule=CronTriggerTimetable("0 5 * * *", timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={"contacts": Param(40, type="integer", minimum=1, maximum=70_000, description="Number of contacts")},
    tags=["outbound", "example"],
)
def setup_and_teardown() -> None:
    """Contacts → create (setup) → assign → wait → export → cancel (teardown)."""

    @task
    def write_contacts() -> str:
        """Write the contacts to call; put your own query here."""
        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        path = Path(FOLDER, f"teardown-{run}.csv")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # phone numbers: only for Airflow's own user
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["reference_id", "phone_number"])
            # Reserved for fiction, see nightly_campaign.
            for index in range(context["params"]["contacts"]):
                writer.writerow([f"person-{index:05}", f"+1{212 + index // 100}55501{index % 100:02}"])
        return str(path)

    @task
    def delete_contacts(path: Any) -> None:
        """Delete the list as soon as it is assigned; clearing a task that reads it writes it again."""
        Path(path).unlink(missing_ok=True)

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
        path=f"{FOLDER}/teardown-{{{{ run_id | replace(':', '-') }}}}.jsonl",
    )
    cancel = OutboundBotCancelJobsOperator(task_id="cancel", job_group_id=create.output, all_jobs=True, deferrable=True)
    assign >> delete_contacts(contacts_path).as_teardown()
    assign >> wait >> export >> cancel.as_teardown(setups=create)


setup_and_teardown()
