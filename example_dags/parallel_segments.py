"""
Two segments called in parallel, each with its own script in its own job group.

The environment variables of ``nightly_campaign`` apply here too.
"""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task, task_group

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
    schedule=CronTriggerTimetable("0 3 * * *", timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "scripts": Param(
            ["simulator-script", "simulator-script-2"], type="array", description="One script per segment"
        ),
        "contacts": Param(50, type="integer", minimum=1, maximum=100, description="Contacts in each segment"),
    },
    tags=["outbound", "example"],
)
def parallel_segments() -> None:
    """Segments → for each: create → assign → wait → export."""

    @task
    def write_segments() -> list[dict[str, str]]:
        """Write one contact file per script; put your own queries here."""
        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        segments = []
        for number, script_id in enumerate(context["params"]["scripts"]):
            path = Path(FOLDER, f"segment-{number}-{run}.csv")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # phone numbers: only for Airflow's own user
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["reference_id", "phone_number"])
                # Reserved for fiction, see nightly_campaign; area codes 202, 203, … are one segment each.
                for last in range(context["params"]["contacts"]):
                    writer.writerow([f"segment-{number}-{last:03}", f"+1{202 + number}55501{last:02}"])
            segments.append({"script_id": script_id, "contacts_path": str(path)})
        return segments

    @task
    def delete_contacts(segments: Any) -> None:
        """Delete the lists after the calls; clearing a task that reads them writes them again."""
        for segment in segments:
            Path(segment["contacts_path"]).unlink(missing_ok=True)

    @task_group
    def segment(script_id: str, contacts_path: str) -> None:
        create = OutboundBotCreateJobGroupOperator(
            task_id="create",
            script_id=script_id,
            strategy=Strategy(working_time=[(BEGIN, END)], timezone=TIMEZONE, max_attempts_per_day=1),
        )
        assign = OutboundBotAssignJobsOperator(
            task_id="assign", job_group_id=create.output, contacts_path=contacts_path, on_invalid="skip"
        )
        wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
        export = OutboundBotExportResultsOperator(
            task_id="export",
            job_group_id=create.output,
            path=f"{FOLDER}/segment-{{{{ ti.map_index }}}}-{{{{ run_id | replace(':', '-') }}}}.jsonl",
        )
        assign >> wait >> export

    segments = write_segments()
    segments.as_setup()
    segment.expand_kwargs(segments) >> delete_contacts(segments).as_teardown()


parallel_segments()
