"""
Two rounds a day: call everybody in the first, and those who did not answer again in the second.

Nobody is called more than three times in seven days by all campaigns of the ledger together: the cap counts people, not
jobs. The second round reads its contacts from the first one's results in the ledger, so it needs no file or XCom with
numbers. The environment variables of ``nightly_campaign`` apply here too, and ``OUTBOUND_EXAMPLE_SECOND_WINDOW``
(``16:00-18:00``).
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
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))
TIMEZONE = os.environ.get("OUTBOUND_EXAMPLE_TIMEZONE") or "Asia/Shanghai"
FIRST = os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "09:00-12:00"
SECOND = os.environ.get("OUTBOUND_EXAMPLE_SECOND_WINDOW") or os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "16:00-18:00"
# In both rounds: somebody may have said between them that they want no more calls.
DO_NOT_CALL = os.environ.get("OUTBOUND_EXAMPLE_DO_NOT_CALL")
EXCLUSIONS: dict[str, Any] = {"exclude_path": DO_NOT_CALL} if DO_NOT_CALL else {}


def strategy(window: str) -> Strategy:
    begin, _, end = window.partition("-")
    return Strategy(working_time=[(begin, end)], timezone=TIMEZONE, max_attempts_per_day=1)


@dag(
    schedule=CronTriggerTimetable("0 4 * * *", timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={"contacts": Param(50, type="integer", minimum=1, maximum=100, description="Number of contacts")},
    tags=["outbound", "example"],
)
def redial_with_cap() -> None:
    """Contacts → create → assign → wait → create → assign those not reached → wait → export."""

    @task
    def write_contacts() -> str:
        """Write the contacts to call; put your own query here."""
        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        path = Path(FOLDER, f"redial-contacts-{run}.csv")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # phone numbers: only for Airflow's own user
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["reference_id", "phone_number"])
            # Reserved for fiction, see nightly_campaign.
            writer.writerows(
                [f"redial-{last:03}", f"+191755501{last:02}"]
                for last in range(100 - context["params"]["contacts"], 100)
            )
        return str(path)

    @task
    def delete_contacts(path: Any) -> None:
        """Delete the list as soon as it is assigned; clearing a task that reads it writes it again."""
        Path(path).unlink(missing_ok=True)

    contacts_path = write_contacts()
    contacts_path.as_setup()
    first = OutboundBotCreateJobGroupOperator(task_id="create", strategy=strategy(FIRST))
    assign = OutboundBotAssignJobsOperator(
        task_id="assign",
        job_group_id=first.output,
        contacts_path=contacts_path,
        max_calls_per_contact=3,
        period=timedelta(days=7),
        **EXCLUSIONS,
    )
    wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=first.output, deferrable=True)

    second = OutboundBotCreateJobGroupOperator(task_id="create_again", strategy=strategy(SECOND))
    # People who are on a block list, or were not dialled, are not among the unanswered. Without any, the run ends here.
    assign_again = OutboundBotAssignJobsOperator(
        task_id="assign_again",
        job_group_id=second.output,
        contacts_from=first.output,
        only="unanswered",
        max_calls_per_contact=3,
        period=timedelta(days=7),
        **EXCLUSIONS,
    )
    wait_again = OutboundBotJobCompleteSensor(task_id="wait_again", job_group_id=second.output, deferrable=True)
    export = OutboundBotExportResultsOperator(
        task_id="export",
        job_group_id=second.output,
        path=f"{FOLDER}/redial-{{{{ run_id | replace(':', '-') }}}}.jsonl",
    )
    assign >> delete_contacts(contacts_path).as_teardown()
    assign >> wait >> second >> assign_again >> wait_again >> export


redial_with_cap()
