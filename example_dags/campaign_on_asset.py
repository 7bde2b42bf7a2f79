"""
A campaign that starts when its contacts are ready: the task that writes the file emits an asset event.

The event names the file, so each run calls its own contacts, even if there are several events. The environment
variables of ``nightly_campaign`` apply here too.
"""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Asset, Param, dag, get_current_context, task

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

CONTACTS = Asset("outbound_example_contacts")


@dag(
    schedule=None,
    catchup=False,
    params={"contacts": Param(40, type="integer", minimum=1, maximum=100, description="Number of contacts")},
    tags=["outbound", "example"],
)
def contacts_for_asset() -> None:
    """Write a file of contacts, and emit an event that names it."""

    @task(outlets=[CONTACTS])
    def write_contacts() -> None:
        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        path = Path(FOLDER, f"asset-{run}.csv")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # phone numbers: only for Airflow's own user
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["reference_id", "phone_number"])
            # Reserved for fiction, see nightly_campaign.
            writer.writerows(
                [f"asset-{last:03}", f"+120455501{last:02}"] for last in range(context["params"]["contacts"])
            )
        context["outlet_events"][CONTACTS].extra["path"] = str(path)

    write_contacts()


@dag(
    schedule=[CONTACTS],
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["outbound", "example"],
)
def campaign_on_asset() -> None:
    """Create → assign → wait → export."""
    create = OutboundBotCreateJobGroupOperator(
        task_id="create",
        strategy=Strategy(working_time=[(BEGIN, END)], timezone=TIMEZONE, max_attempts_per_day=1),
    )
    # A run whose event was queued for longer than max_run_age calls nobody.
    assign = OutboundBotAssignJobsOperator(
        task_id="assign", job_group_id=create.output, contacts=CONTACTS, max_run_age=timedelta(hours=6)
    )
    wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
    export = OutboundBotExportResultsOperator(
        task_id="export",
        job_group_id=create.output,
        path=f"{FOLDER}/asset-{{{{ run_id | replace(':', '-') }}}}.jsonl",
    )

    @task
    def delete_contacts() -> None:
        """Delete the list once it is assigned: the ledger holds everything that is needed."""
        for event in get_current_context()["triggering_asset_events"][CONTACTS]:
            Path(event.extra["path"]).unlink(missing_ok=True)

    assign >> [wait, delete_contacts()]
    wait >> export


contacts_for_asset()
campaign_on_asset()
