"""
One complete campaign for each segment, for any number of segments.

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
from airflow_provider_outbound.task_groups.outboundbot import OutboundBotCampaignTaskGroup

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))
TIMEZONE = os.environ.get("OUTBOUND_EXAMPLE_TIMEZONE") or "Asia/Shanghai"
BEGIN, _, END = (os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "09:00-12:00").partition("-")


@dag(
    schedule=CronTriggerTimetable("0 4 * * *", timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "segments": Param(3, type="integer", minimum=1, maximum=9, description="Number of segments"),
        "contacts": Param(20, type="integer", minimum=1, maximum=100, description="Contacts in each segment"),
    },
    tags=["outbound", "example"],
)
def mapped_campaign() -> None:
    """Segments → a campaign for each."""

    @task
    def write_segments() -> list[dict[str, str]]:
        """Write one contact file per segment; put your own queries here."""
        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        segments = []
        for number in range(context["params"]["segments"]):
            path = Path(FOLDER, f"mapped-{number}-{run}.csv")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # phone numbers: only for Airflow's own user
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["reference_id", "phone_number"])
                # Reserved for fiction, see nightly_campaign; area codes 212, 213, … are one segment each.
                for last in range(context["params"]["contacts"]):
                    writer.writerow([f"mapped-{number}-{last:03}", f"+1{212 + number}55501{last:02}"])
            segments.append({"segment": f"segment {number}", "contacts_path": str(path)})
        return segments

    @task
    def delete_contacts(segments: Any) -> None:
        """Delete the lists after the calls; clearing a task that reads them writes them again."""
        for segment in segments:
            Path(segment["contacts_path"]).unlink(missing_ok=True)

    @task_group
    def each(segment: str, contacts_path: str) -> None:
        OutboundBotCampaignTaskGroup(
            job_group_name=segment,
            strategy=Strategy(working_time=[(BEGIN, END)], timezone=TIMEZONE, max_attempts_per_day=1),
            contacts_path=contacts_path,
            deferrable=True,
            path=f"{FOLDER}/mapped-{{{{ ti.map_index }}}}-{{{{ run_id | replace(':', '-') }}}}.jsonl",
        )

    segments = write_segments()
    segments.as_setup()
    each.expand_kwargs(segments) >> delete_contacts(segments).as_teardown()


mapped_campaign()
